"""Stage `download`: fetch the chosen dataset, verify it, list its labels: data/raw/."""

import workspace
from thaw.datasets import catalogue, layouts


def main() -> None:
    params = workspace.read_params()
    chosen = catalogue.entry(workspace.DATASETS, params.dataset)
    pictures = layouts.bring(chosen, params.source, workspace.RAW, workspace.CHECKSUMS)
    print(
        f"{len(pictures)} pictures in {workspace.RAW} ({chosen.title}; licence: {chosen.licence})"
    )

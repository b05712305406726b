"""Stage `download`: fetch the chosen dataset, verify it, list its labels: data/dataset/."""

from pathlib import Path

import keeping
import workspace
from thaw.datasets import catalogue, layouts


def main() -> None:
    params = workspace.read_params()
    if workspace.RAW.exists() and Path(".dvc").exists():
        keeping.protect()
    chosen = catalogue.entry(workspace.DATASETS, params.dataset)
    source = params.source and workspace.at_home(params.source)

    def announce(folder: Path) -> None:
        keeping.expect("download", folder, workspace.RAW)

    pictures = layouts.bring(chosen, source, workspace.RAW, workspace.CHECKSUMS, announce)
    print(
        f"{len(pictures)} pictures in {workspace.RAW} ({chosen.title}; licence: {chosen.licence})"
    )

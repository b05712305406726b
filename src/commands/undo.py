"""Bring params.yaml and all results back as they were last committed.

    python src undo

It is the way back from a run that stopped, a wrong value, an experiment applied by mistake. Nothing
is lost: what params.yaml, dvc.lock, metrics/, plots/, folds/ and robustness/ hold now, and what you
changed where stages write, is moved to a folder in kept/ first. Code, datasets/ and all other files
stay as they are.
"""

from pathlib import Path

import keeping
import workspace
from thaw.core.errors import ThawError, shortlist

LOCK = Path("dvc.lock")


def main() -> None:
    places = (
        *(workspace.PARAMS, LOCK, workspace.GIVEN),
        *(workspace.METRICS, workspace.PLOTS, workspace.MODELS),
        *(Path("folds"), workspace.ROBUSTNESS.parent),  # beside metrics/ and the model card
    )
    known = keeping.committed(*places)
    changed = [path for path, same in known.items() if not same]
    new = [path for path in workspace.GIVEN.glob("dvc.*") if path not in known]
    moved, folder = keeping.move_aside([*changed, *new])
    if changed:
        keeping.restore(changed)
    lost = keeping.check_out()
    if moved:
        print(f"what was here is in {folder}/:")
        print(*(f"  {path}" for path in moved), sep="\n")
    if lost:
        raise ThawError(
            "params.yaml is as last committed, but DVC's cache here lacks some results of then: "
            f"{shortlist([str(path) for path in lost], 3)}; `dvc pull` brings them from a remote, "
            "`dvc repro` makes them anew"
        )
    print("params.yaml and all results are as last committed")

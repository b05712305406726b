"""Stage `check`: check all parameters, before any other stage removes what it made."""

import workspace
from thaw.files.serialize import write_text


def main() -> None:
    workspace.read_params()
    write_text(workspace.CHECKED, "params.yaml is sound\n")

"""Stage `check`: check all parameters, before any other stage removes what it made."""

import workspace
from thaw.core import effects
from thaw.files.serialize import write_text


def main() -> None:
    for line in effects.notes(workspace.read_params()):
        print(f"note: {line}")
    write_text(workspace.CHECKED, "params.yaml is sound\n")

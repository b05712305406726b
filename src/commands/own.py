"""Run the pipeline on pictures of your own.

    make own SOURCE="~/my photos (2024)"
    python src own "~/my photos (2024)" [--name first-try] [batch_size=16 seed=2]

SOURCE is a folder, an archive or an address, as it is, without any quoting but the shell's. It runs
as an experiment, here, with `augment.preset: photo`: params.yaml then says all that it ran with.
`python src undo` is the way back.
"""

import argparse
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import workspace
from commands import recipe
from thaw.core import params
from thaw.core.arguments import Parser
from thaw.core.errors import ThawError
from thaw.files import catalogues, fetching
from thaw.pictures import presets
from thaw.review import recipes

# The whole preset: no value that was set for other pictures stays.
PHOTOGRAPHS = {"augment": dict.fromkeys(presets.OFF) | {"preset": "photo"}}


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "source", nargs="?", default="", metavar="SOURCE", help="a folder, an archive or an address"
    )
    recipe.add_settings(parser, "own")
    parser.add_argument("--name", help="of the experiment")
    return parser.read()


def main() -> None:
    given = arguments()
    if not given.source.strip():
        raise ThawError('give where your pictures are: `make own SOURCE="~/my photos"`')
    if "${" in given.source:
        raise ThawError(f"{given.source}: DVC takes ${{…}} for a variable; rename that folder")
    source = given.source
    with suppress(ValueError, RuntimeError):  # `find` says what is wrong
        if (local := fetching.local_path(source)) is not None:
            source = str(Path.cwd() / workspace.called_from / local)
    fetching.find(source)
    here: Any = catalogues.read_yaml(workspace.PARAMS)
    overrides: dict[str, Any] = {"dataset": "folder", "source": source, **PHOTOGRAPHS}
    for text in recipe.settings(given):
        overrides = recipes.merge(overrides, recipes.setting(text))
    place = "your parameters over params.yaml"
    workspace.check_params(params.parse(recipes.merge(here, overrides), place), place)
    words = [
        f"--set-param={key}={recipe.quoted(value)}" for key, value in recipes.leaves(overrides)
    ]
    name = [f"--name={given.name}"] if given.name else []
    command = [sys.executable, "-m", "dvc", "exp", "run", *name, *words]
    if code := subprocess.run(command, check=False).returncode:
        raise SystemExit(code)
    print(f"\n{(workspace.METRICS / 'evaluation.md').read_text('utf-8')}")
    print("Look at it picture by picture: `make page`. Try a photo: `make demo`.")

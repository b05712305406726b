"""List the published systems, or run one as an experiment.

    make recipes
    make recipe NAME=vgg16-adam [AS=my-name] [SET="source=file:///… batch_size=64"]
    python src recipe vgg16-adam [--name my-name] [source=file:///… batch_size=64]

The experiment has the recipe's name or the one given. The recipe's parameters go over those
committed in params.yaml, and those given over both. It runs in a copy of the repository that DVC
makes, so that nothing here changes; `dvc exp apply NAME` brings the result here.
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import workspace
from thaw.core import params
from thaw.core.arguments import Parser
from thaw.core.errors import ThawError
from thaw.files import catalogues
from thaw.review import recipes

WIDEST = 100  # columns of the list, in a wider terminal too


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("recipe", nargs="?", help="a file of recipes/, without .yaml")
    add_settings(parser, "recipe")
    parser.add_argument("--name", help="of the experiment, instead of the recipe's")
    parser.add_argument("--md", action="store_true", help="the list as a Markdown table")
    return parser.read()


def add_settings(parser: Parser, target: str) -> None:
    """Take parameters, each by itself and all as one text, as `make` passes them on."""
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="other parameters")
    parser.add_argument(
        "--set",
        default="",
        metavar="TEXT",
        help=f"other parameters as one text, quoted as in a shell, as `make {target}` passes SET "
        "on",
    )


def settings(given: argparse.Namespace) -> list[str]:
    """The parameters that `add_settings` took, a text each."""
    return [*words(given.set), *given.settings]


def main() -> None:
    given = arguments()
    if given.recipe is None and not given.name and not given.set:
        show(given.md)
        return
    if not given.recipe:
        raise ThawError("give a recipe's name: `make recipe NAME=codes-svm`, or see `make recipes`")
    run(given.recipe, settings(given), given.name or given.recipe)


def show(as_markdown: bool) -> None:
    every = {
        name: recipes.read(workspace.RECIPES, name) for name in catalogues.names(workspace.RECIPES)
    }
    if as_markdown:
        print(recipes.table(every))
        return
    columns = shutil.get_terminal_size((WIDEST, 24)).columns
    print(recipes.listing(every, min(columns, WIDEST)))
    print("\nTo run one: make recipe NAME=codes-svm")


def words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ThawError(
            f"{text}: {str(error).lower()}; quote as in a shell: source='/my pictures/pets.zip'"
        ) from None


def run(recipe: str, settings: list[str], name: str) -> None:
    if find_spec("dvc") is None:
        raise ThawError("DVC is not installed here; run `make venv`, which installs it")
    overrides = recipes.read(workspace.RECIPES, recipe).params
    for text in settings:
        overrides = recipes.merge(overrides, recipes.setting(text))
    merged = recipes.merge(_committed(), overrides)
    place = f"recipes/{recipe}.yaml over params.yaml"
    workspace.check_params(params.parse(merged, place), place)
    if name in _dvc("exp", "list", "--name-only").split():
        raise ThawError(
            f"there is an experiment {name} already (`dvc exp show`); "
            f"remove it with `dvc exp remove {name}`, or name this one: make recipe "
            f"NAME={recipe} AS={name}-2"
        )
    here = catalogues.read_yaml(workspace.PARAMS)
    same = dict(recipes.leaves(here)) if isinstance(here, dict) else {}
    words = [
        f"--set-param={key}={quoted(value)}"
        for key, value in recipes.leaves(merged)
        if key not in same or same[key] != value
    ]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", f"--name={name}", *words]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise SystemExit(code)
    print(f"to see it: dvc exp show; dvc metrics diff HEAD {name}; dvc exp apply {name}")


def _committed() -> dict[str, Any]:
    done = subprocess.run(
        ["git", "show", "HEAD:./params.yaml"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ThawError(
            "params.yaml is not committed here; run from the folder that holds it, in a Git "
            "repository with a commit"
        )
    values: dict[str, Any] = catalogues.parse_yaml(done.stdout, "params.yaml, as committed")
    return values


def _dvc(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def quoted(value: Any) -> str:
    """As DVC's `--set-param` (Hydra's grammar) reads it back."""
    if isinstance(value, str):
        # Hydra reads a backslash as one unless it stands before a quote, as the last ones do here.
        escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + (found[2] and r"\'"), value)
        return f"'{escaped}'"
    return json.dumps(value)

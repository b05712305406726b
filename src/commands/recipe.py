"""List the recipes, or run one as a DVC experiment of its name.

    python src recipe
    python src recipe vgg16-adam [--name NAME] [source=file:///… batch_size=64]

The recipe's parameters go over those committed in params.yaml. It runs in a copy of the repository
that DVC makes, so that nothing here changes; `dvc exp apply NAME` brings the result here.
"""

import argparse
import json
import re
import subprocess
import sys
from typing import Any

import yaml

import workspace
from thaw.core import params
from thaw.core.errors import ThawError
from thaw.files import catalogues
from thaw.review import recipes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", help="a file of recipes/, without .yaml")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="other parameters")
    parser.add_argument("--name", help="of the experiment, instead of the recipe's")
    given = parser.parse_args()
    if given.recipe is None:
        print(
            recipes.table(
                {
                    name: recipes.read(workspace.RECIPES, name)
                    for name in catalogues.names(workspace.RECIPES)
                }
            )
        )
        return
    run(given.recipe, given.settings, given.name or given.recipe)


def run(recipe: str, settings: list[str], name: str) -> None:
    overrides = recipes.read(workspace.RECIPES, recipe).params
    for text in settings:
        overrides = recipes.merge(overrides, recipes.setting(text))
    merged = recipes.merge(_committed(), overrides)
    params.parse(merged, f"recipes/{recipe}.yaml over params.yaml")
    if name in _dvc("exp", "list", "--name-only").split():
        raise ThawError(
            f"there is an experiment {name} already (`dvc exp show`); "
            f"remove it with `dvc exp remove {name}`, or name this one: make recipe "
            f"NAME={recipe} AS={name}-2"
        )
    here = catalogues.read_yaml(workspace.PARAMS)
    same = dict(recipes.leaves(here)) if isinstance(here, dict) else {}
    words = [
        f"--set-param={key}={_quoted(value)}"
        for key, value in recipes.leaves(merged)
        if key not in same or same[key] != value
    ]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name, *words]
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
    values: dict[str, Any] = yaml.safe_load(done.stdout)
    return values


def _dvc(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def _quoted(value: Any) -> str:
    """As DVC's `--set-param` (Hydra's grammar) reads it back."""
    if isinstance(value, str):
        # Hydra reads a backslash as one unless it stands before a quote, as the last ones do here.
        escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + (found[2] and r"\'"), value)
        return f"'{escaped}'"
    return json.dumps(value)

"""Write versions/: for each stage the pinned versions of the packages that its code imports.

    python tools/pin_stages.py

A stage depends on its file, so that another version of what computes its result re-runs it. `make
lock` runs this.
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
VERSIONS = ROOT / "versions"
# What is installed under another name than it is imported by.
INSTALLED = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
# No byte follows from them: they check, fetch what is compared with its sha256, or show progress.
WITHOUT_EFFECT = {"dvc", "filelock", "pooch", "pydantic", "pyyaml", "requests", "threadpoolctl"}
WITHOUT_EFFECT |= {"fsspec", "ray", "tqdm"}


def modules(name: str) -> set[Path]:
    """The files under src that importing `name` runs: it and the packages that it lies in."""
    parts = name.split(".")
    places = [SRC.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    files = [path for place in places for path in (place.with_suffix(".py"), place / "__init__.py")]
    return {path for path in files if path.is_file()}


def imports(path: Path) -> set[str]:
    """Names of all modules that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def closure(path: Path) -> set[Path]:
    """A file and all files under src that it imports, and that these import."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += [file for name in imports(one) for file in modules(name)]
    return seen


def pinned(stage: str) -> str:
    """The lines of requirements.txt of the packages that a stage's result follows from.

    None of stage `check`, which refuses, and notes checksums.
    """
    if stage == "check":
        return ""
    names = {
        name.split(".")[0] for path in closure(SRC / f"stages/{stage}.py") for name in imports(path)
    }
    wanted = {INSTALLED.get(name, name) for name in names - {*sys.stdlib_module_names}}
    wanted -= WITHOUT_EFFECT
    if "tensorflow" in wanted:
        wanted.add("tensorflow-cpu")
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return "".join(
        f"{line.split('#')[0].rstrip(' ' + chr(92))}\n"
        for line in lines
        if re.split(r"[=\[ ]", line)[0] in wanted
    )


def main() -> None:
    VERSIONS.mkdir(exist_ok=True)
    for stage in sorted(path.stem for path in (SRC / "stages").glob("[!_]*.py")):
        if lines := pinned(stage):
            (VERSIONS / f"{stage}.txt").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()

"""The pages for those who carry the work on: what they name is there, and examples are right."""

import thaw.networks.quiet  # noqa: F401

import ast
import copy
import json
import re
import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from test_dependencies import listed
from test_params import VALID

from places import ROOT
from thaw.core.errors import ThawError
from thaw.core.params import parse
from thaw.datasets import catalogue
from thaw.networks import backbones
from thaw.pretrained import weights
from thaw.training import classifiers

PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
PARAMS = yaml.safe_load(VALID)
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
MODULES = {path.stem: path for path in (*ROOT.glob("src/*.py"), *ROOT.glob("src/thaw/*.py"))}
# What names are looked for in: code, its settings, and the tests that the pages send one to.
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (
        *MODULES.values(),
        *ROOT.glob("*.yaml"),
        *ROOT.glob("requirements*.txt"),
        ROOT / "tests/test_backbones.py",
        ROOT / "tests/test_params.py",
        ROOT / "tests/test_storage.py",
    )
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {
    "dvc",
    "git",
    "make",
    "pip",
    "playwright",
    "pytest",
    "python",
    "sha256sum",
    "source",
    "stat",
}
# Words of other tools, forms of an address and of a file's name, and a name in the examples.
FOREIGN = {
    *(
        "--dry",
        "--local",
        ".dvc/config.local",
        "apt-get install chromium",
        "elu",
        "gelu",
        "leaves",
        "preprocess_input",
        "pypi:name==version",
    ),
    *("http:", "https:", "file:", "pypi:", "GOOGLE_APPLICATION_CREDENTIALS"),
}


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def spans(page: Path) -> list[str]:
    """What stands in backticks."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", text(page)))]


def blocks(page: Path, kind: str = "") -> list[str]:
    return [block for found, block in FENCE.findall(text(page)) if found == kind]


def outputs() -> set[str]:
    """The files and folders that the stages make."""
    found = set()
    for stage in STAGES.values():
        for item in (*stage["outs"], *stage.get("metrics", [])):
            found |= {item} if isinstance(item, str) else set(item)
    return found


def check_parameters(settings: Mapping[str, str]) -> None:
    """Refuse what is no parameter, and a value that it can't have."""
    params = copy.deepcopy(PARAMS)
    for name, value in settings.items():
        *groups, last = name.split(".")
        place = params
        for group in groups:
            place = place.get(group, {})
        assert last in place, f"{name} is no parameter"
        read = yaml.safe_load(value)
        place[last] = place[last] | read if isinstance(read, dict) else read
    parse(params)


def check_command(command: str) -> None:
    """Its target, stage, script and parameters are there."""
    program, *words = shlex.split(command, comments=True)
    assert program in PROGRAMS, command
    if program == "make" and words:
        assert words[0] in TARGETS, f"there is no target {words[0]}"
    if program in ("python", "pytest"):
        scripts = [ROOT / word for word in words if word.endswith(".py")]
        assert all(script.is_file() for script in scripts), command
    if program == "dvc" and words[:1] == ["repro"]:
        assert {word for word in words[1:] if word[0] != "-"} <= set(STAGES), command
    given = [after for word, after in pairwise(words) if word == "-S"]
    check_parameters(dict(setting.split("=", 1) for setting in given))


def check_path(path: str) -> None:
    made = [*outputs(), ".venv", ".dvc/cache"]
    bare = path.rstrip("/")
    there = (ROOT / bare).exists() or any(f"{each}/".startswith(f"{bare}/") for each in made)
    assert there, f"{path} is not there"


def check_name(name: str) -> None:
    """A parameter, a module, a thing in one, or another word of the code and its settings."""
    module, _, inner = name.removeprefix("thaw.").partition(".")
    if module in MODULES and inner not in ("", "json"):
        top = {
            node.targets[0].id if isinstance(node, ast.Assign) else node.name
            for node in ast.parse(text(MODULES[module])).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name))
        }
        assert inner in top, f"{MODULES[module].name} has no {inner}"
    elif name.startswith("thaw."):
        assert module in MODULES, f"there is no module {name}"
    elif re.fullmatch(r"\w+\.\w+", name) and module in PARAMS:
        assert inner in PARAMS[module], f"{name} is no parameter"
    else:
        # Files of the cache are named after the split.
        word = re.escape(re.sub(r"^(train|validation)_(?=\w+\.npy$)", "{name}_", name))
        assert re.search(rf"(?<![\w-]){word}(?![\w-])", SOURCES), f"{name} is not in the code"


def check(span: str) -> None:
    setting = re.fullmatch(r"([a-z_.]+)(?:: |=)(.+)", span)
    if span in FOREIGN:
        return
    if setting:
        check_parameters({setting[1]: setting[2]})
    elif span.startswith("["):
        check_parameters({"head.hidden": span})
    elif span.split()[0] in PROGRAMS:
        check_command(span)
    elif "/" in span or re.search(r"^\.(?!weights|tar|tgz|zip)|\w\.(md|py|yaml|lock|in)$", span):
        check_path(span)
    else:
        check_name(span)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    assert spans(page)
    for span in spans(page):
        check(span)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page(page: Path) -> None:
    for block in blocks(page):
        for command in re.split(r"\n| && ", block.strip()):
            check_command(command)


@pytest.mark.parametrize(
    "span",
    [
        *("make reproduce", "dvc repro train", "pytest tests/no.py", "dvc exp run -S seed=-1"),
        *(
            "head.drop",
            "head.dropout: 2",
            "fine_tune_from=100",
            "[0]",
            "dvc exp run -S head.x=0",
        ),
        *("src/thaw/cache.py", "data/feature/", "makefile.py", ".devcontainers", "docs/caches.md"),
        *("thaw.cache", "backbones.border", "datasets.Row", "train_border.npy", "block_99_add"),
    ],
)
def test_what_is_not_there_is_found(span: str) -> None:
    with pytest.raises((AssertionError, ThawError)):
        check(span)


def test_every_relative_link_leads_somewhere() -> None:
    pages = [*PAGES, ROOT / "CHANGELOG.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)]+)\)", FENCE.sub("", text(page))):
            if not target.startswith("https:"):
                assert (page.parent / target.split("#")[0]).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\((\w+\.md)\)", text(ROOT / "docs/README.md")))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


def test_the_examples_of_datasets() -> None:
    examples = blocks(ROOT / "docs/datasets.md", "yaml")
    assert len(examples) == 2
    for example in examples:
        catalogue.entry(yaml.safe_load(example), "leaves")


def test_the_example_of_weights() -> None:
    (example,) = blocks(ROOT / "docs/networks.md", "yaml")
    for base_model, entries in yaml.safe_load(example).items():
        assert base_model in text(ROOT / "weights.yaml")
        for entry in entries.values():
            weights.Entry.model_validate(entry)


def test_the_numbers_in_the_drawing() -> None:
    drawing = text(ROOT / "docs/cache.svg")
    base = backbones.build("MobileNetV2", 300)
    boundary = backbones.boundary(base, 100)
    last = len(base.layers) - 1
    height, width, channels = base.layers[boundary].output.shape[1:]
    blocks = backbones.with_blocks(base)
    every = sum(output.shape[-1] for output in blocks.outputs)
    for shown in (
        f"layers 0 to {boundary}, frozen",
        f"layers {boundary + 1} to {last}, frozen",
        f"{boundary + 1} and 99<",
        f"100 to {last}, trained",
        f"the last: {base.layers[boundary].name}",
        f"the last: {base.layers[last].name}",
        f"(1706, 8, {height}, {width}, {channels})",
        f"(1706, 8, 2, {every})",
        f"{classifiers.width_below(blocks, boundary)} of the {every}: blocks",
    ):
        assert shown in drawing


def test_the_container_makes_what_the_makefile_makes() -> None:
    container = json.loads(text(ROOT / ".devcontainer/devcontainer.json"))
    assert container["onCreateCommand"] in text(ROOT / ".gitlab-ci.yml")
    program, target = container["postCreateCommand"].split()
    assert program == "make"
    assert target in TARGETS
    assert container["image"] == "python:3.12"
    assert "iterative.dvc" in container["customizations"]["vscode"]["extensions"]


def test_the_hooks_are_pinned_tools_and_need_no_network() -> None:
    config = yaml.safe_load(text(ROOT / ".pre-commit-config.yaml"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    pinned = {line.split("==")[0] for line in listed(ROOT / "requirements-dev.txt")}
    entries = [hook["entry"].split() for hook in config["repos"][0]["hooks"]]
    assert [hook["language"] for hook in config["repos"][0]["hooks"]] == ["system"] * len(entries)
    assert {entry[0] for entry in entries} == {"ruff", "mypy"} <= pinned

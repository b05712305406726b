"""README and the pages: what they name is there, commands can be run, examples are right."""

import thaw.networks.quiet  # noqa: F401

import ast
import copy
import functools
import itertools
import json
import re
import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import yaml

from places import ROOT, SRC
from thaw.core.errors import ThawError
from thaw.core.params import parse
from thaw.datasets import catalogue
from thaw.files import catalogues
from thaw.networks import backbones
from thaw.pretrained import weights
from thaw.review import folds
from thaw.training import classifiers

README = ROOT / "README.md"
USE, BUILD = (sorted((ROOT / "docs" / name).glob("*.md")) for name in ("use", "build"))
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "docs/README.md", *USE, *BUILD]
LINKING = [*PAGES, ROOT / "CHANGELOG.md"]  # which names what is no more, too
LINES = 190  # of README
PIPELINE = ROOT / "docs/use/pipeline.md"
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
RECIPES = catalogues.names(ROOT / "recipes")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE)
CODE = sorted(path for path in SRC.rglob("*.py") if path.name != "__init__.py")
MODULES = {path.relative_to(SRC).with_suffix("").parts: path for path in CODE}
# What names are looked for in: code, its settings, and the tests that the pages send one to.
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (
        *CODE,
        *ROOT.glob("*.yaml"),
        *ROOT.glob("datasets/*.yaml"),
        *ROOT.glob("pretrained/*.yaml"),
        *ROOT.glob("recipes/*.yaml"),
        *ROOT.glob(".github/workflows/*.yml"),
        *ROOT.glob("requirements*.txt"),
        ROOT / "Makefile",
        ROOT / "tools/venv.sh",
        ROOT / "tests/networks/test_backbones.py",
        ROOT / "tests/core/test_params.py",
        ROOT / "tests/pipeline/test_storage.py",
        ROOT / "tests/pipeline/test_reproducible.py",
    )
)
FILES = {".json", ".npy", ".csv", ".png", ".tflite", ".keras", ".onnx", ".md"}
FIELDS = set(catalogue.Entry.model_fields)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PROGRAMS = {
    "dvc",
    "git",
    "make",
    "pip",
    "playwright",
    "pytest",
    "python",
    "rm",
    "sha256sum",
    "source",
    "stat",
}
# Words of other tools, forms of an address and of a file's name, and names in the examples.
FOREIGN = {
    *("--dry", "--local", ".dvc/config.local", "NO_COLOR=1", "PYTHONUTF8=1", "reports/pull-N"),
    *("apt-get install chromium", "pip install ai-edge-litert", "tensorboard --logdir logs"),
    *("ssh -L 8501:127.0.0.1:8501 server", "ai_edge_litert.interpreter", "Interpreter"),
    *("elu", "gelu", "leaves", "preprocess_input", "Lambda", "keras.models.load_model"),
    "mobilenet_v2/feature_vector/4",
    *("nvidia-smi", ".accelerator", "TF_FORCE_GPU_ALLOW_GROWTH=false"),
    *(f"CUDA_VISIBLE_DEVICES={which}" for which in ("-1 dvc repro", "0", "1", "0,1")),
    *("http:", "https:", "file:", "pypi:", "pypi:name==version", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("./-1.png", "-- -1.png", "Cats", "cats", "class path", "keras.json", "matplotlibrc"),
    *("rm .dvc/tmp/rwlock", "datasets/leaves.yaml", "python src NAME", "python src NAME --help"),
    *("train/", "validation/", "test/"),  # folders of pictures
    *("ray symmetric-run", "ray up", "kubectl exec", "/shared/thaw", "ReadWriteMany"),
    *(f"ray {word} cluster.yaml" for word in ("up", "attach", "down")),
    "pip install 'ray[default]==2.60.0' boto3",
    *("mixed_bfloat16", "auto_mixed_precision_onednn_bfloat16"),
    *("block6a_expand_conv", "conv5_block1_1_conv", "block13_sepconv1"),  # of other networks
}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def spans(page: Path) -> list[str]:
    """What stands in backticks."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", text(page)))]


def blocks(page: Path, kind: str = "") -> list[str]:
    return [block for found, block in FENCE.findall(text(page)) if found == kind]


def commands(page: Path) -> list[str]:
    """In its blocks: each line of one without a kind, the lines after `$ ` of a `console`."""
    whole = [block.replace("\\\n", "") for block in blocks(page)]
    lines = [line for block in whole for line in block.strip().split("\n")]
    shown = [line for block in blocks(page, "console") for line in block.split("\n")]
    lines += [line.removeprefix("$ ") for line in shown if line.startswith("$ ")]
    return [command for line in lines for command in line.split(" && ")]


def anchors(page: Path) -> set[str]:
    """What links to its headings end in, as GitHub makes it."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@functools.cache
def doors() -> dict[str, set[str]]:
    """The tables of `src/__main__.py`: the names of stages and commands."""
    tree = ast.parse(text(SRC / "__main__.py"))
    return {
        node.targets[0].id: set(ast.literal_eval(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("STAGES", "COMMANDS")
    }


@functools.cache
def layers() -> set[str]:
    return {layer.name for layer in backbones.build("MobileNetV2", 96).layers}


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
    """Its target, stage, script, recipe, options and parameters are there."""
    program, *words = shlex.split(command.removeprefix("time "), comments=True)
    if program.startswith(".venv/bin/"):
        program = program.removeprefix(".venv/bin/")
    assert program in PROGRAMS, command
    if program == "make" and words:
        assert words[0] in TARGETS, f"there is no target {words[0]}"
        given = dict(word.split("=", 1) for word in words[1:])
        for name, value in given.items():
            assert re.search(rf"\b{name}\b", MAKEFILE), f"the Makefile has no {name}"
            if name == "NAME" and value != "…":
                assert value in RECIPES, f"there is no recipe {value}"
            if name == "SET":
                settings = [setting.split("=", 1) for setting in value.split()]
                for each in itertools.zip_longest(*(v.split(",") for _, v in settings)):
                    known = {k: v for (k, _), v in zip(settings, each, strict=True) if v}
                    check_parameters(known)
    if program in ("python", "pytest"):
        places = [ROOT / word for word in words if re.search(r"\.py$|^tests/", word)]
        assert all(place.exists() for place in places), command
    if program == "python" and words[:1] == ["src"] and len(words) > 1:
        assert words[1] in doors()["STAGES"] | doors()["COMMANDS"], f"no {words[1]} in src/"
        for option in (word for word in words[2:] if word.startswith("--")):
            assert f'"{option}"' in text(SRC / f"commands/{words[1]}.py"), command
    if program == "dvc" and words[:1] == ["repro"]:
        assert {word for word in words[1:] if word[0] != "-"} <= set(STAGES), command
    given_to_dvc = [after for word, after in pairwise(words) if word == "-S"]
    check_parameters(dict(setting.split("=", 1) for setting in given_to_dvc))


def check_path(path: str) -> None:
    bare = path.rstrip("/")
    ignored = re.findall(r"^/(.+)/$", text(ROOT / ".gitignore"), re.MULTILINE)
    by_folds = map(str, (folds.RESULT, folds.PREDICTIONS))  # no stage's, and kept by Git
    known = (*outputs(), *by_folds, "robustness", ".dvc/cache")
    made = any(f"{each}/".startswith(f"{bare}/") for each in known)
    in_ignored = any(f"{bare}/".startswith(f"{each}/") for each in ignored)
    assert made or in_ignored or any(ROOT.glob(bare)), f"{path} is not there"


def named_in(module: Path) -> set[str]:
    """Functions, classes and values of a module."""
    found = set()
    for node in ast.parse(text(module)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def check_name(name: str) -> None:
    """A parameter, a module, a thing in one, or another word of the code and its settings."""
    parts = tuple(name.split("."))
    if any(found[-len(parts) :] == parts for found in MODULES):
        return
    *place, inner = parts
    if place and f".{inner}" not in FILES:
        homes = [path for found, path in MODULES.items() if found[-len(place) :] == tuple(place)]
        if homes or place[0] in ("thaw", "src") or place[0] in PARAMS:
            known = {inner for path in homes for inner in named_in(path)}
            group = PARAMS.get(place[0])
            known |= set(group) if len(place) == 1 and isinstance(group, dict) else set()
            assert inner in known, f"{'.'.join(place)} has no {inner}"
            return
    # Files of the cache are named after the split.
    word = re.escape(re.sub(r"^(train|validation)_(?=\w+\.npy$)", "{name}_", name))
    there = re.search(rf"(?<![\w-]){word}(?![\w-])", SOURCES)
    assert there or name in RECIPES or name in layers(), f"{name} is not in the code"


def check(span: str) -> None:
    setting = re.fullmatch(r"([a-z_.]+)(?:: |=)(.+)", span)
    if span in FOREIGN:
        return
    if setting and setting[1] in FIELDS:
        return  # of a dataset's file, an example of which another test reads
    if setting:
        check_parameters({setting[1]: setting[2]})
    elif span.startswith("["):
        check_parameters({"head.hidden": span})
    elif span.removeprefix("time ").split()[0].removeprefix(".venv/bin/") in PROGRAMS:
        check_command(span)
    elif span.startswith("-S "):
        check_command(f"dvc exp run {span}")
    elif "/" in span or re.search(
        r"^\.(?!weights|tar|tgz|zip|keras|onnx)|\w\.(md|py|yaml|lock|in)$", span
    ):
        check_path(span)
    else:
        check_name(span)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_names_is_there(page: Path) -> None:
    assert spans(page)
    for span in spans(page):
        check(span)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_of_a_page(page: Path) -> None:
    for command in commands(page):
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
        *("thaw.cache", "backbones.border", "labels.Row", "train_border.npy", "block_99_add"),
        *("thaw.drawing.graphs", "cache.Fact", "python src fine", "python src predict --yaml"),
        *("make recipe NAME=vgg", "make report TIP=main", "-S head.x=0", "--csvs", "tests/cores/"),
        *("pytest tests/no", "time make reproduce"),
    ],
)
def test_what_is_not_there_is_found(span: str) -> None:
    with pytest.raises((AssertionError, ThawError)):
        check(span)


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", text(page))):
        if not target.startswith("https:"):
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


def test_readme_is_short() -> None:
    assert len(text(README).splitlines()) <= LINES


def test_every_page_is_in_the_index_and_in_the_readme() -> None:
    for index in (ROOT / "docs/README.md", README):
        targets = {index.parent / target for target in LINK.findall(text(index))}
        missing = [name_of(page) for page in (*USE, *BUILD) if page not in targets]
        assert missing == [], index


def test_the_readme_has_every_command() -> None:
    readme = text(README)
    for command in doors()["COMMANDS"]:
        assert re.search(rf"`python src {command}\b", readme), command


def test_every_target_is_on_a_page() -> None:
    pages = " ".join("\n".join(map(text, PAGES)).split())
    targets = {target for target in TARGETS if not target.startswith("venv")} - {"clean"}
    assert [target for target in targets if not re.search(rf"\bmake {target}\b", pages)] == []


def test_the_readme_draws_the_tree() -> None:
    (tree,) = [block for block in blocks(README, "text") if "src/\n" in block]
    named = re.findall(r"^( *)([\w.]+/?)", tree, re.MULTILINE)
    shown: set[str] = set()
    above: list[str] = []
    for indent, name in named:
        above = [*above[: len(indent) // 2], name]
        shown.add("".join(above))
    rooms = [path.parent for path in (*SRC.glob("*/*.py"), *SRC.glob("thaw/*/*.py"))]
    assert {f"{name_of(room)}/" for room in rooms} <= shown
    assert [name for name in shown if not (ROOT / name).exists()] == []


def test_the_page_says_what_an_edit_reruns() -> None:
    page = text(PIPELINE)
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page.split("\n## Code\n")[1], re.MULTILINE))
    for package in (path for path in (SRC / "thaw").iterdir() if (path / "__init__.py").exists()):
        folder = f"src/thaw/{package.name}"
        stages = [name for name, stage in STAGES.items() if folder in stage["deps"]]
        told = rows[package.name]
        assert (["none"] if told.startswith("none") else re.findall(r"`(\w+)`", told)) == (
            stages or ["none"]
        ), package.name


def test_the_pages_say_what_dvc_calls_a_metric() -> None:
    called = {
        path: options
        for stage in STAGES.values()
        for each in stage.get("metrics", [])
        for path, options in each.items()
    }
    row = re.search(r"^\| `(.+)` \| what DVC calls a metric", text(PIPELINE), re.MULTILINE)
    assert row
    assert set(called) == {row[1]}


def test_the_examples_of_datasets() -> None:
    examples = blocks(ROOT / "docs/build/datasets.md", "yaml")
    assert len(examples) == 2
    for example in examples:
        catalogues.check(yaml.safe_load(example), catalogue.Entry, "the example")


def test_the_page_explains_every_field_of_a_dataset() -> None:
    page = text(ROOT / "docs/build/datasets.md")
    for field in catalogue.Entry.model_fields:
        assert re.search(rf"^\| (`\w+`, )?`{field}`(, `\w+`)? \|", page, re.MULTILINE), field
    for field in catalogue.Table.model_fields:
        assert f"`{field}`" in page, field
    for layout in get_args(catalogue.Entry.model_fields["layout"].annotation):
        assert f"`{layout}`:" in page, layout


@pytest.mark.parametrize("folder", ["datasets", "pretrained"])
def test_a_catalogue_s_file_says_where_its_fields_are_explained(folder: str) -> None:
    files = list((ROOT / folder).glob("*.yaml"))
    assert files
    for path in files:
        comment = "\n".join(text(path).splitlines()[:2])
        (page,) = re.findall(r"docs/build/\w+\.md", comment)
        assert (ROOT / page).is_file()


def test_the_page_names_every_licence() -> None:
    page = text(ROOT / "docs/build/datasets.md")
    for name in catalogues.names(ROOT / "datasets"):
        assert re.search(rf"^\| `{name}` \|", page, re.MULTILINE), name
    page = text(ROOT / "docs/build/networks.md")
    for name in catalogues.names(ROOT / "pretrained"):
        for entry in weights.catalogued(ROOT / "pretrained", name).values():
            row = re.search(rf"^\| `{name}` \|.*$", page, re.MULTILINE)
            assert row, name
            assert entry.licence in row[0], name


def test_the_example_of_weights() -> None:
    (example,) = blocks(ROOT / "docs/build/networks.md", "yaml")
    catalogues.check(yaml.safe_load(example), dict[str, weights.Entry], "the example")


def test_the_numbers_in_the_drawing() -> None:
    drawing = text(ROOT / "docs/build/cache.svg")
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
    pinned = set(re.findall(r"^([\w-]+)==", text(ROOT / "requirements-dev.txt"), re.MULTILINE))
    entries = [hook["entry"].split() for hook in config["repos"][0]["hooks"]]
    assert [hook["language"] for hook in config["repos"][0]["hooks"]] == ["system"] * len(entries)
    assert {entry[0] for entry in entries} == {"ruff", "mypy"} <= pinned

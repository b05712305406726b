"""The files of `recipes/`, `thaw.recipes`, and the command that runs one."""

import thaw.networks.quiet  # noqa: F401

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import recipe
from places import ROOT
from repository import Finished, Repository
from thaw.core import params
from thaw.core.errors import ThawError
from thaw.files import catalogues
from thaw.review import probing, recipes

pytestmark = pytest.mark.timeout(900)

FOLDER = ROOT / "recipes"
NAMES = catalogues.names(FOLDER)
DEFAULTS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
ISSUE = {
    "tensorflow-tutorial",
    "vgg16-rmsprop",
    "vgg16-adam",
    "vgg16-resize-crop",
    "codes-svm",
    "codes-softmax",
    "earlier-layer-svm",
    "all-layers",
    "cifar10-cnn",
    "cifar10-cnn-l2",
    "cifar10-cnn-he",
    "cifar10-cnn-batchnorm",
}


OWN = {"photos-lite2"}


def test_every_published_system_has_a_recipe() -> None:
    assert set(NAMES) == ISSUE | OWN


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_fits_the_parameters_there_are(name: str) -> None:
    found = recipes.read(FOLDER, name)
    merged = recipes.merge(DEFAULTS, found.params)
    params.parse(merged)
    assert found.measured != "not yet"
    # A preset or a value set in params.yaml would be drawn beside the recipe's.
    assert set(found.params["augment"]) == set(DEFAULTS["augment"])
    assert merged["dataset"] in catalogues.names(ROOT / "datasets")


def test_the_probe_names_recipes_that_there_are() -> None:
    assert {recipe for _, recipe, _ in probing.SITUATIONS.values()} <= set(NAMES)


def test_merging_goes_into_groups_and_leaves_the_rest() -> None:
    values = {"a": 1, "head": {"x": 1, "y": [1]}}
    merged = recipes.merge(values, {"head": {"y": [2]}, "b": None})
    assert merged == {"a": 1, "head": {"x": 1, "y": [2]}, "b": None}
    assert values == {"a": 1, "head": {"x": 1, "y": [1]}}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("batch_size=64", {"batch_size": 64}),
        ("head.dropout=0.5", {"head": {"dropout": 0.5}}),
        ("source=file:///a/b=c.zip", {"source": "file:///a/b=c.zip"}),
        ("head.hidden=[256, 128]", {"head": {"hidden": [256, 128]}}),
        ("fine_tune_at=null", {"fine_tune_at": None}),
    ],
)
def test_settings(text: str, found: dict[str, Any]) -> None:
    assert recipes.setting(text) == found


@pytest.mark.parametrize("text", ["batch_size", "=5", "a=[1"])
def test_what_is_no_setting_is_a_sentence(text: str) -> None:
    with pytest.raises(ThawError, match=r"such as batch_size=64|not YAML"):
        recipes.setting(text)


@pytest.mark.parametrize(
    "content",
    ["title: [", "- a", "title: a", "{title: a, source: b, published: c, measured: d, params: {}}"],
)
def test_what_is_no_recipe_is_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(ThawError, match=r"own\.yaml.*; ?mend it there|own\.yaml is not YAML"):
        recipes.read(tmp_path, "own")


def test_a_wrong_name_is_answered_with_close_ones() -> None:
    with pytest.raises(ThawError, match=r"vgg16-adm: .*such as vgg16-adam"):
        recipes.read(FOLDER, "vgg16-adm")


def test_the_page_has_the_table() -> None:
    found = recipes.table({name: recipes.read(FOLDER, name) for name in NAMES})
    assert found in (ROOT / "docs/use/recipes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "value", ["it's", r"a\b", "file:///a b,c", "{x}", "1", "null", "", "a\\", r"\\'\n"]
)
def test_texts_come_back_from_dvc_as_they_are(value: str, tmp_path: Path) -> None:
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    path.write_text("source: null\n")
    apply_overrides(path, [f"source={recipe.quoted(value)}"])
    assert yaml.safe_load(path.read_text()) == {"source": value}


@pytest.fixture(scope="module")
def repository(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = finished.repository.copy(tmp_path_factory.mktemp("recipes"))
    small = {
        "title": "Small",
        "source": "here",
        "published": "nothing",
        "measured": "nothing",
        "differs": "in nothing",
        "params": {"head": {"epochs": 1}, "fine_tune_at": None, "augment": {"views": 1}},
    }
    (made.path / "recipes").mkdir()
    (made.path / "recipes/small.yaml").write_text(yaml.safe_dump(small), encoding="utf-8")
    made.commit("Add a recipe")
    return made


def test_a_recipe_runs_as_an_experiment_of_its_name(repository: Repository) -> None:
    """With settings of one's own, over what is committed; and nothing in the folder changes."""
    path = repository.path / "params.yaml"
    committed = path.read_text(encoding="utf-8")
    edited = committed.replace("batch_size: 8", "batch_size: 5")
    path.write_text(edited, encoding="utf-8")
    model = (repository.path / "models/model.onnx").read_bytes()
    arguments = ("small", "head.dropout=0.4", "tensorboard=true")
    printed = repository.python("src", "recipe", *arguments)
    assert "dvc exp apply small" in printed
    assert path.read_text(encoding="utf-8") == edited
    assert (repository.path / "models/model.onnx").read_bytes() == model
    run = repository.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (ref,) = [name for name in run if name.endswith("/small")]
    ran = yaml.safe_load(repository.run("git", "show", f"{ref}:params.yaml"))
    expected = yaml.safe_load(committed)
    expected |= {"fine_tune_at": None, "tensorboard": True}
    expected["head"] |= {"epochs": 1, "dropout": 0.4}
    expected["augment"] |= {"views": 1}
    assert ran == expected
    scores = repository.run("git", "show", f"{ref}:metrics/evaluation.json")
    assert scores != (repository.path / "metrics/evaluation.json").read_text()
    assert list((repository.path / "logs/small/head/train").glob("events.*"))
    assert "logs" not in repository.run("git", "status", "--short")

    again = repository.python("src", "recipe", *arguments, code=1)
    assert "there is an experiment small already" in again
    assert "Traceback" not in again


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["smal"], "smal: recipes/ has no smal.yaml; give one such as small"),
        (["small", "batch_size=0"], "recipes/small.yaml over params.yaml: batch_size: 0: give"),
        (["small", "batch_sise=8"], "did you mean batch_size?"),
        (["small", "batch_size"], "batch_size: give a parameter and its value"),
    ],
)
def test_mistakes_are_sentences(
    repository: Repository, arguments: list[str], sentence: str
) -> None:
    printed = repository.python("src", "recipe", *arguments, code=1)
    assert sentence in printed
    assert "Traceback" not in printed


def listed(*words: str) -> str:
    return subprocess.run(
        [sys.executable, "src", "recipe", *words],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_list_for_programs_is_the_table() -> None:
    found = recipes.table({name: recipes.read(FOLDER, name) for name in NAMES})
    assert listed("--md").strip() == found.strip()


def test_the_list_fits_a_terminal() -> None:
    printed = listed()
    assert 90 < max(map(len, printed.splitlines())) <= 100
    assert re.findall(r"^([\w-]+): ", printed, re.M) == NAMES
    one_line = " ".join(printed.split())
    for name in NAMES:
        found = recipes.read(FOLDER, name)
        words = f"{name}: {found.title} published {found.published} measured here "
        words += f"{found.measured} differs {found.differs}"
        assert " ".join(words.split()) in one_line


@pytest.mark.parametrize("width", [20, 60])
def test_a_narrow_list(width: int) -> None:
    found = recipes.listing({name: recipes.read(FOLDER, name) for name in NAMES}, width)
    long = [line for line in found.splitlines() if len(line) > width]
    assert all(len(line[recipes.INDENT :].split()) <= 1 or ":" in line for line in long)
    assert bool(long) == (width < 30)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (" a=1  b=2 ", ["a=1", "b=2"]),
        ("source='/my pictures/a.zip' seed=2", ["source=/my pictures/a.zip", "seed=2"]),
        ('a="b c"', ["a=b c"]),
        (r"a=b\ c", ["a=b c"]),
        ("a=$HOME#x;`id`", ["a=$HOME#x;`id`"]),
    ],
)
def test_words_are_quoted_as_in_a_shell(text: str, found: list[str]) -> None:
    assert recipe.words(text) == found


@pytest.mark.parametrize("text", ["a='b", 'a="b', "a=b\\"])
def test_what_is_not_closed_is_a_sentence(text: str) -> None:
    with pytest.raises(ThawError, match=r"no (closing quotation|escaped character); quote as in"):
        recipe.words(text)


@pytest.mark.parametrize("words", [["--name", "mine"], ["--set", "seed=2"], ["", "--md"]])
def test_options_without_a_recipe_are_a_sentence(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["recipe", *words])
    with pytest.raises(ThawError, match="give a recipe's name"):
        recipe.main()


def test_without_dvc_a_recipe_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "find_spec", lambda _: None)
    with pytest.raises(ThawError, match="DVC is not installed here; run `make venv`"):
        recipe.run("codes-svm", [], "codes-svm")

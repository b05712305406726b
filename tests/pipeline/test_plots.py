"""`dvc plots show` and `dvc plots diff`, drawn from the curves of a coin, a perfect model and two
between them."""

import contextlib
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import numpy as np
import pytest
import vl_convert
import yaml
from PIL import Image
from playwright.sync_api import Browser

from browser import chromium, opened
from places import ROOT
from repository import Repository
from stages import evaluate
from thaw.evaluation import comparison, metrics, record
from thaw.files.serialize import write_csv
from thaw.training.loop import HISTORY

CLASSES = ["moss", "iron"]  # not in the order of letters
LABELS = np.arange(300) % 3 // 2  # a third is iron
SKILLS = {"workspace": {"head": 0.4, "fine_tuned": 1.0}, "before": {"head": 0.0, "fine_tuned": 0.4}}
PICTURES = ("confusion", "learning_curves", "pictures/mistakes", "pictures/samples")
Series = dict[str, np.ndarray]


def shares(skill: float) -> np.ndarray:
    """Of a coin (0), a perfect model (1), or one between."""
    truth = np.eye(2)[LABELS]
    found = (1 - skill) * np.random.default_rng(7).random((len(LABELS), 2)) + skill * truth
    return found / found.sum(axis=1, keepdims=True)


def write(repository: Repository, models: dict[str, float]) -> None:
    with contextlib.chdir(repository.path):
        for name, skill in models.items():
            found = shares(skill)
            said = evaluate.Said(found, found.argmax(axis=1), ("",) * len(LABELS), found)
            evaluate.write_curves(name, LABELS, said, CLASSES, 1)
    for name, first, epochs in (("head", 1, 3), ("model", 4, 2)):
        rows = [(epoch, 1 / epoch, 2 / epoch, 0.9, 0.8) for epoch in range(first, first + epochs)]
        write_csv(repository.path / f"plots/{name}.csv", HISTORY, rows)
    for name in PICTURES:
        path = repository.path / f"plots/{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(path)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of the workspace, and the page of `before` beside it."""
    repository = Repository(tmp_path_factory.mktemp("plots"))
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    (repository.path / "dvc.yaml").write_text(
        yaml.safe_dump({"plots": pipeline["plots"]}, sort_keys=False)
    )
    write(repository, SKILLS["before"])
    repository.commit("Before")
    repository.run("git", "tag", "before")
    write(repository, SKILLS["workspace"])
    found = {}
    for command in (["show"], ["diff", "before", "workspace", "--out", "diff"]):
        address = repository.dvc("plots", *command).splitlines()[-1]
        found[command[0]] = Path(url2pathname(address.removeprefix("file:")))
    assert "dvc_plots" not in repository.run("git", "status", "--porcelain")
    return found


def specifications(page: Path) -> dict[str, Any]:
    """Each chart of a page by the first word of its title."""
    found = re.findall(r"var spec = (.*);\n", page.read_text(encoding="utf-8"))
    return {spec["title"]["text"].split()[0]: spec for spec in map(json.loads, found)}


def lines(spec: dict[str, Any], lowest: float, highest: float) -> Series:
    """Points of each line as drawn, where the axes go from `lowest` to `highest` pixels."""
    found = {}
    for label, path in re.findall(
        r'<path aria-label="([^"]*)"[^>]*"line mark" d="M([^"]*)"', vl_convert.vegalite_to_svg(spec)
    ):
        pixels = np.array([point.split(",") for point in path.split("L")], dtype=float)
        points = (pixels - lowest) / (highest - lowest)
        found[re.search(r"line: ([^;]*)", label)[1]] = points * [1, -1] + [0, 1]
    return found


def named(kind: str) -> dict[str, float]:
    """The skill of each line by its name in the legend."""
    titles = record.COMPARED
    if kind == "show":
        return {titles[name]: skill for name, skill in SKILLS["workspace"].items()}
    return {
        f"{titles[name]}, {revision}": skill
        for revision, models in SKILLS.items()
        for name, skill in models.items()
    }


@pytest.mark.parametrize("kind", ["show", "diff"])
def test_roc_is_drawn_as_it_is(pages: dict[str, Path], kind: str) -> None:
    drawn = lines(specifications(pages[kind])["ROC"], 4, 296)
    assert drawn.keys() == named(kind).keys()
    for name, skill in named(kind).items():
        across, up = drawn[name].T
        area = metrics.scores(LABELS, shares(skill))["roc_auc"]
        assert np.trapezoid(up, across) == pytest.approx(area, abs=0.001)
        corner = np.hypot(across, 1 - up).min()  # how far it stays from (0, 1)
        assert corner < 0.001 if skill == 1 else corner > 0.03


@pytest.mark.parametrize("kind", ["show", "diff"])
def test_precision_and_recall_are_drawn_point_by_point(pages: dict[str, Path], kind: str) -> None:
    drawn = lines(specifications(pages[kind])["Precision"], 4, 296)
    assert drawn.keys() == named(kind).keys()
    for name, skill in named(kind).items():
        points = np.array(comparison.curve("pr", LABELS, shares(skill)))[:, :2]
        assert drawn[name] == pytest.approx(points, abs=0.001)


@pytest.mark.parametrize("chart", ["Accuracy", "Loss"])
def test_learning_curves_have_a_point_an_epoch(pages: dict[str, Path], chart: str) -> None:
    drawn = vl_convert.vegalite_to_svg(specifications(pages["show"])[chart])
    marks = re.findall(r'aria-label="epoch: (\d+); [^"]*; line: (\w+)[^"]*"[^>]*"point"', drawn)
    assert [int(epoch) for epoch, part in marks if part == "validation"] == [1, 2, 3, 4, 5]
    assert [int(epoch) for epoch, part in marks if part == "training"] == [1, 2, 3, 4, 5]
    axis = re.search(r'role-axis-label".*?</g>', drawn)[0]
    assert re.findall(r">(\d+)</text>", axis) == ["1", "2", "3", "4", "5"]
    # Two lines of each part, and where the second begins.
    assert drawn.count('"line mark"') == 4
    assert (
        re.findall(r'aria-label="epoch: ([\d.]+)"[^>]*"(?:rule|text) mark"', drawn) == ["3.5"] * 2
    )
    assert "fine-tuning →" in drawn
    beside = vl_convert.vegalite_to_svg(specifications(pages["diff"])[chart])
    assert set(re.findall(r"; line: ([^;]*);", beside)) == {
        f"{part}, {revision}" for revision in SKILLS for part in ("training", "validation")
    }


@pytest.mark.parametrize("kind", ["show", "diff"])
def test_confusion_matrices_are_those_of_the_picture(pages: dict[str, Path], kind: str) -> None:
    """Actual classes in rows, predicted ones in columns, numbers in the cells, the row's share as
    shade."""
    drawn = vl_convert.vegalite_to_svg(specifications(pages[kind])["Confusion"])
    cells = re.findall(
        r'actual: \w+; text: (\d+) (\d+)%[^>]*"text mark"[^>]*translate\(([\d.]+),([\d.]+)\)', drawn
    )
    shades = re.findall(r'share: ([\d.]+);[^>]*"rect mark"[^>]*rgb\((\d+),', drawn)
    tables = [
        metrics.confusion(LABELS, shares(skill).argmax(axis=1), 2) for skill in named(kind).values()
    ]
    assert len({table.tobytes() for table in tables}) > 1
    assert len(cells) == len(shades) == 4 * len(tables)
    for number, table in enumerate(tables):
        four = sorted(cells[4 * number :][:4], key=lambda cell: (float(cell[3]), float(cell[2])))
        assert [int(count) for count, *_ in four] == table.ravel().tolist()
        percent = np.round(100 * table / table.sum(axis=1, keepdims=True)).ravel()
        assert [int(share) for _, share, *_ in four] == percent.tolist()
    order = [float(share) for share, _ in sorted(shades, key=lambda pair: -int(pair[1]))]
    assert order == sorted(order)
    names = re.findall(r">(moss|iron)</text>", drawn)
    assert names == CLASSES * (len(names) // 2)


def test_the_page_that_dvc_fills_is_made_by_the_tool() -> None:
    made = runpy.run_path(str(ROOT / "tools/plots_page.py"))
    assert made["page"]() == made["PAGE"].read_text(encoding="utf-8"), (
        "the pinned vl-convert or tools/plots_page.html changed: python tools/plots_page.py"
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("kind", ["show", "diff"])
def test_all_is_drawn_without_a_network(
    pages: dict[str, Path], browser: Browser, kind: str
) -> None:
    with opened(browser, pages[kind].as_uri(), offline=True) as page:
        page.wait_for_function("document.querySelectorAll('.vega-embed svg.marks').length >= 5")
        charts = page.locator(".vega-embed")
        assert charts.count() == 5
        for chart in charts.all():
            assert chart.locator("svg [role=graphics-symbol]").count() >= 4
        pictures = "[...document.images].map((image) => image.naturalWidth)"
        assert page.evaluate(pictures) == [40] * len(PICTURES) * (1 + (kind == "diff"))
        assert all(address.startswith(("file:", "data:")) for address in page.seen.requests)
        # A mouse over a curve is told the point.
        page.locator("#ROC_of_the_test_pictures svg.marks").hover()
        page.locator("#vg-tooltip-element.visible", has_text="threshold").wait_for()


def test_a_chart_that_can_t_be_drawn_says_so(pages: dict[str, Path], browser: Browser) -> None:
    broken = pages["show"].with_name("broken.html")
    text = pages["show"].read_text(encoding="utf-8").replace('"layer": [', '"layers": [')
    text = re.sub(r"(vegaEmbed\('#Accuracy_by_epoch', )spec", r"\1{}", text)  # as before any run
    broken.write_text(text, encoding="utf-8")
    with opened(browser, broken.as_uri(), offline=True) as page:
        page.get_by_text("#Accuracy_by_epoch: no data").wait_for()
        page.get_by_text("#ROC_of_the_test_pictures: Error: Invalid specification").wait_for()

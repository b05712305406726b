"""`make page` on a run of the real pipeline, looked at in Chromium; and the run's model card."""

import csv
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from browser import chromium, opened
from repository import NASTY, Finished, Repository
from written import restored

pytestmark = pytest.mark.timeout(900)

WIDTHS = (390, 768, 1280)
LOADED = "images => images.every(image => image.complete && image.naturalWidth > 0)"


def page_of(repository: Repository, *words: str, code: int = 0) -> str:
    return repository.command("page", *words, code=code)


@pytest.fixture(scope="module")
def repository(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished.repository.copy(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def file(repository: Repository) -> Path:
    printed = page_of(repository, "--heat-maps", "3")
    assert re.search(r"^page/index\.html \(\d+\.\d MB\); open it in a browser$", printed, re.M)
    return repository.path / "page/index.html"


@pytest.fixture(scope="module")
def rows(repository: Repository) -> list[dict[str, str]]:
    """The test pictures, with what the fine-tuned model says as `predicted`."""
    with (repository.path / "data/predictions.csv").open(newline="") as opened_file:
        found = list(csv.DictReader(opened_file))
    for row in found:
        shares = {name: float(row[f"fine_tuned_{name}"]) for name in ("moss", "rusty iron")}
        row["predicted"] = max(shares, key=lambda name: shares[name])
        row["confidence"] = str(max(shares.values()))
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    with opened(browser, file.as_uri()) as found:
        found.wait_for_selector("#pictures img")
        yield found


def count(page: Page) -> int:
    return int(re.findall(r"\d+", page.inner_text("#count"))[0])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens_at_every_width(browser: Browser, file: Path, width: int, scheme: str) -> None:
    with opened(browser, file.as_uri(), width, color_scheme=scheme) as page:
        for place in range(4):
            page.wait_for_selector(f"#chart-{place} svg path")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.wait_for_function(f"({LOADED})([...document.querySelectorAll('#pictures img')])")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background))) > 384) == (scheme == "light")
        assert {url.split(":")[0] for url in page.seen.requests} <= {"file", "data", "blob"}
        assert [url for url in page.seen.requests if url.startswith("file")] == [file.as_uri()]


def test_it_says_what_the_run_found(
    page: Page, repository: Repository, rows: list[dict[str, str]]
) -> None:
    scores = repository.json("metrics/evaluation.json")["test"]
    assert page.inner_text("h1") == "A folder of one's own pictures"
    accuracy = page.locator(".metrics tr", has_text="accuracy").first
    expect(accuracy).to_contain_text(f"{scores['fine_tuned']['accuracy']:.4f}")
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert scores["fine_tuned"]["accuracy"] == pytest.approx(right / len(rows))
    expect(page.locator(".tiles .big").first).to_have_text(f"{right / len(rows):.1%}")
    commit = repository.run("git", "rev-parse", "HEAD")[:7]
    expect(page.locator(".meta")).to_have_text(f"cifar10_cnn on folder, commit {commit}")
    expect(page.locator("#parameters")).to_contain_text("block1_pool")
    expect(page.locator("#summary")).to_contain_text("Of the surest 80 % of the pictures")
    for stage in ("download", "extract_features", "model_card"):
        expect(page.locator("#pipeline svg")).to_contain_text(stage)
    expect(page.locator(".warning:visible")).to_have_count(0)


def test_the_gallery_filters(page: Page, rows: list[dict[str, str]]) -> None:
    assert count(page) == len(rows)
    assert page.locator("#pictures li").count() == len(rows) <= 60
    wrong = [row for row in rows if row["label"] != row["predicted"]]
    assert 0 < len(wrong) < len(rows)
    page.select_option("[name=kind]", "wrong")
    assert count(page) == page.locator("#pictures .wrong").count() == len(wrong)
    page.select_option("[name=kind]", "right")
    assert count(page) == len(rows) - len(wrong)
    page.select_option("[name=kind]", "heat")
    assert count(page) == min(3, len(wrong))
    page.click("[type=reset]")
    page.wait_for_function(f"document.querySelectorAll('#pictures li').length === {len(rows)}")
    page.select_option("[name=actual]", label="moss")
    page.select_option("[name=predicted]", label="rusty iron")
    wanted = [row for row in wrong if row["label"] == "moss"]
    assert count(page) == len(wanted)
    page.select_option("[name=predicted]", "")
    page.fill("[name=text]", "MOSS-1")
    found = [row for row in rows if "moss-1" in row["path"].lower()]
    assert count(page) == len(found) > 0
    page.fill("[name=text]", "no such picture")
    assert count(page) == 0


def test_a_number_of_the_confusion_matrix_shows_its_pictures(
    page: Page, rows: list[dict[str, str]]
) -> None:
    for actual, label in enumerate(("moss", "rusty iron")):
        for predicted, name in enumerate(("moss", "rusty iron")):
            wanted = sum((row["label"], row["predicted"]) == (label, name) for row in rows)
            place = f"[data-model='1'][data-actual='{actual}'][data-predicted='{predicted}']"
            button = page.locator(f".confusion button{place}")
            assert button.inner_text().split()[0] == str(wanted)
            if wanted:
                button.click()
                assert count(page) == wanted
            else:
                expect(button).to_be_disabled()


def test_the_slider_shows_what_a_threshold_does(page: Page, rows: list[dict[str, str]]) -> None:
    slider = page.locator("#threshold-at")
    test = page.locator(".judged").nth(1)
    expect(page.locator(".judged").first).to_contain_text("Validation: choose here")
    expect(page.locator("#threshold-value")).to_have_text("0.5")
    used = test.locator("td").all_inner_texts()
    for text, threshold in (("0.5", 0.5), ("0.505", 0.505), ("0", 0)):
        if text == "0.505":
            slider.focus()
            page.keyboard.press("ArrowRight")
        elif text == "0":
            page.keyboard.press("Home")
        expect(page.locator("#threshold-value")).to_have_text(text)
        taken = [float(row["fine_tuned_rusty iron"]) >= threshold for row in rows]
        iron = [row["label"] == "rusty iron" for row in rows]
        pairs = list(zip(iron, taken, strict=True))
        counts = [pairs.count(each) for each in product((True, False), repeat=2)]
        assert [int(each) for each in test.locator("td").all_inner_texts()] == counts
    expect(test.locator("[data-score=recall]")).to_have_text("100.0%")
    page.click("#threshold-used")
    assert test.locator("td").all_inner_texts() == used
    assert page.locator("#line-recall").get_attribute("points")


def test_the_card_is_there_to_read_and_to_save(page: Page, repository: Repository) -> None:
    page.click("#card summary")
    card = (repository.path / "models/model_card.md").read_text(encoding="utf-8")
    assert page.locator("#card pre").text_content() == card
    with page.expect_download() as saved:
        page.click("#card a")
    assert saved.value.suggested_filename == "model_card.md"
    assert Path(saved.value.path()).read_text(encoding="utf-8") == card


def test_the_page_says_how_large_and_how_quick_the_model_is(page: Page) -> None:
    tile = page.locator(".tiles li", has_text="model.onnx")
    expect(tile).to_contain_text(re.compile(r"\d+\.\d MB"))
    expect(tile).to_contain_text(re.compile(r"\d+ ms a picture, decoding included \(.*cores\)"))
    expect(page.locator("#summary")).to_contain_text("Weak spots: none looked for")


def test_a_picture_is_looked_at_by_keyboard(page: Page, rows: list[dict[str, str]]) -> None:
    wrong = [row for row in rows if row["label"] != row["predicted"]]
    worst = max(wrong, key=lambda row: float(row["confidence"]))
    page.focus("#filters [type=reset]")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    title = page.locator("#viewer-h")
    expect(title).to_contain_text(worst["path"])
    expect(title).to_contain_text(f"is {worst['label']}")
    heat = page.locator("#viewer-heat")
    expect(heat).to_contain_text(f"what spoke for “{worst['predicted']}”")
    expect(heat.locator(".scale")).to_contain_text("most")
    page.wait_for_function(f"({LOADED})([...document.querySelectorAll('.shown img')])")
    first = title.inner_text()
    page.keyboard.press("ArrowRight")
    expect(title).not_to_have_text(first)
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text(first)
    page.keyboard.press("ArrowLeft")  # round to the last, which is right and has no heat map
    expect(heat).to_be_hidden()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    assert page.evaluate("document.activeElement.title") == worst["path"]


def test_any_file_name_is_shown_as_it_is(page: Page, rows: list[dict[str, str]]) -> None:
    (nasty,) = (row["path"] for row in rows if row["path"].endswith(NASTY))
    page.fill("[name=text]", "onerror=alert(1)")
    assert count(page) == 1
    page.click("#pictures button")
    expect(page.locator("#viewer-h")).to_contain_text(nasty)


def test_the_theme_is_chosen_and_kept(page: Page) -> None:
    def ink() -> str:
        return page.evaluate("getComputedStyle(document.body).color")

    light = ink()
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: light"
    page.click("#theme")
    page.wait_for_selector("#chart-3[data-drawn=dark] svg text")
    assert ink() != light
    drawn = page.evaluate("document.querySelector('#chart-0 svg text').getAttribute('fill')")
    assert drawn == "#e8ecef"
    page.reload()
    expect(page.locator("#theme")).to_have_text("Theme: dark")


def test_a_curve_tells_its_values(page: Page) -> None:
    chart = page.locator("#chart-0 svg.marks")
    expect(chart).to_contain_text("12345epoch")  # whole ones
    point = page.locator("#chart-0 svg .mark-symbol path").first
    point.hover(force=True)
    expect(page.locator("#vg-tooltip-element")).to_contain_text("epoch")


def test_the_wheel_scrolls_the_page_over_a_chart(page: Page) -> None:
    chart = page.locator("#chart-0 svg.marks")
    chart.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    chart.hover()
    page.mouse.wheel(0, 300)
    page.wait_for_function(f"scrollY > {before} + 100")


def test_no_more_pictures_than_asked_and_no_tensorflow_without_heat_maps(
    repository: Repository, file: Path, browser: Browser
) -> None:
    kept = file.read_bytes()
    script = (
        "import runpy, sys; sys.argv = ['src', 'page', '--heat-maps', '0', '--pictures', '5'];"
        "runpy.run_path('src', run_name='__main__');"
        "sys.exit('tensorflow' in sys.modules)"
    )
    repository.run(sys.executable, "-c", script)
    with opened(browser, file.as_uri()) as page:
        assert page.locator("#pictures li").count() == 5
        expect(page.locator("#gallery")).to_contain_text("mistakes of the fine-tuned model first")
        assert page.locator("[name=kind] option[value=heat]").count() == 0
    assert page_of(repository, "--heat-maps", "3")
    assert file.read_bytes() == kept  # the same bytes again
    assert repository.run("git", "status", "--porcelain") == ""


def test_folds_are_shown_where_they_are_of_the_present_parameters(
    repository: Repository, tmp_path: Path
) -> None:
    other = repository.copy(tmp_path)
    other.python("src", "folds", "--k", "2")  # here TensorFlow runs already
    page_of(other, "--heat-maps", "0")
    shown = (other.path / "page/index.html").read_text(encoding="utf-8")
    assert "2 folds: each of" in shown
    other.edit({"head.dropout": 0.5})
    page_of(other, "--heat-maps", "0")
    assert "2 folds: each of" not in (other.path / "page/index.html").read_text(encoding="utf-8")


def test_doubt_and_robustness_are_shown(
    repository: Repository, rows: list[dict[str, str]], browser: Browser, tmp_path: Path
) -> None:
    other = repository.copy(tmp_path)
    file, path = other.path / "page/index.html", rows[0]["path"]
    page_of(other, "--heat-maps", "0")
    assert 'href="#robustness"' not in file.read_text(encoding="utf-8")
    other.command("robustness", "--pictures", "4")
    (other.path / "data/doubts.csv").write_text(
        f"path,model,why\n{path},fine_tuned,unlike its own\n", encoding="utf-8"
    )
    page_of(other, "--heat-maps", "0")
    with opened(browser, file.as_uri()) as page:
        expect(page.locator("#robustness")).to_contain_text("accuracy is")
        assert page.locator("#robustness tbody tr").count() == 9  # kinds
        page.select_option("[name=kind]", "doubt")
        assert count(page) == 1
        expect(page.locator("#pictures small")).to_contain_text("in doubt")
        page.click("#pictures button")
        expect(page.locator("#viewer-doubt")).to_have_text("In doubt, fine-tuned: unlike its own.")
        page.keyboard.press("Escape")
        page.select_option("[name=model]", label="head only")
        assert count(page) == 0


def test_parameters_that_changed_since_are_told(
    repository: Repository, file: Path, browser: Browser
) -> None:
    before = (repository.path / "params.yaml").read_text()
    repository.edit({"fine_tune_at": 11})
    try:
        page_of(repository, "--heat-maps", "0")
        with opened(browser, file.as_uri()) as page:
            warning = page.locator(".warning:visible")
            expect(warning).to_contain_text("fine_tune_at changed in params.yaml since")
            expect(page.locator(".meta")).to_contain_text(", with changes")
    finally:
        (repository.path / "params.yaml").write_text(before)


@pytest.mark.parametrize(
    "gone", ["data/predictions.csv", "metrics/test.json", "models/model.keras"]
)
def test_what_is_missing_is_named_and_the_page_kept(
    repository: Repository, file: Path, gone: str
) -> None:
    kept = file.read_bytes()
    place, aside = repository.path / gone, repository.path / "aside"
    place.rename(aside)
    try:
        printed = page_of(repository, code=1)
    finally:
        aside.rename(place)
    (sentence,) = re.findall("^error: .*", printed, re.M)
    assert gone in sentence
    assert "dvc repro" in sentence
    assert "Traceback" not in printed
    assert file.read_bytes() == kept


def test_scores_of_an_older_thaw_are_a_sentence(repository: Repository) -> None:
    with restored(repository, "metrics/test.json"):
        (repository.path / "metrics/test.json").write_text('{"fine_tuning": {}}')
        printed = page_of(repository, code=1)
    assert "error: metrics/test.json was written by an older Thaw; run `dvc repro`" in printed


def test_a_number_that_is_none_is_refused(repository: Repository) -> None:
    printed = page_of(repository, "--heat-maps", "-1", code=1)
    assert printed.startswith("error: --heat-maps: -1: give a whole number from 0; ")


def test_the_card_says_how_to_load_the_model(repository: Repository, tmp_path: Path) -> None:
    card = (repository.path / "models/model_card.md").read_text()
    assert "# Model card: A folder of one's own pictures" in card
    for name in ("model.keras", "model.onnx"):
        shutil.copy(repository.path / "models" / name, tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", card, re.S)
    assert [len(block.splitlines()) for block in blocks] == [3, 3]
    pixels = "import numpy\npixels = numpy.random.default_rng(1).uniform(0, 255, (4, 32, 32, 3))\n"
    found = []
    for number, block in enumerate(blocks):
        script = tmp_path / f"{number}.py"
        script.write_text(f"{pixels}{block}numpy.save('{number}.npy', logits)\n")
        repository.run("env", "-C", str(tmp_path), sys.executable, str(script))
        found.append(np.load(tmp_path / f"{number}.npy"))
    assert found[0].shape == (4, 1)
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_where_nothing_was_fine_tuned_nothing_says_so(
    browser: Browser, repository: Repository
) -> None:
    with restored(repository, "metrics/*.json"):
        path = repository.path / "metrics/test.json"
        text = path.read_text().replace('"thawed": true', '"thawed": false')
        path.write_text(re.sub(r'"tried": \d+', '"tried": 0', text))
        page_of(repository, "--heat-maps", "0")
        with opened(browser, (repository.path / "page/index.html").as_uri()) as page:
            page.wait_for_selector("#pictures img")
            shown = page.inner_text("main")
            assert "Nothing was fine-tuned (fine_tune_at: null)" in shown
            assert "mistakes of the fine-tuned" not in shown
            assert page.locator(".metrics thead th").all_inner_texts() == ["metric", "head only"]
            assert page.locator("[name=kind] option").all_inner_texts() == [
                "all",
                "mistakes",
                "right ones",
            ]
            page.locator("#pictures button").first.click()
            expect(page.locator("dialog")).to_be_visible()

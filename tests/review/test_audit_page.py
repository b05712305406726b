"""The page's section of an audit: what it shows, and the corrections that its buttons gather."""

from collections.abc import Iterator
from pathlib import Path

import jinja2
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from browser import chromium, opened
from thaw.review import audit_page, auditing, pages
from thaw.splitting import corrections
from thaw.splitting.corrections import Correction

NASTY = 'a/<b>, "x" & \'y.png'
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw=="
FACTS = {
    "of": "training and validation",
    "pictures": 1200,
    "wrong": 3,
    "split": "s",
    "giveaways": [
        {"name": "the border", "accuracy": 0.9, "low": 0.88, "high": 0.92, "most": 0.5},
        {"name": "size", "accuracy": 0.5, "low": 0.45, "high": 0.55, "most": 0.5},
    ],
}


def findings() -> pd.DataFrame:
    rows = [
        (NASTY, auditing.LABEL, "0.98", "moss", "rust", "rust", "0.99", "n1.png|n2.png", ""),
        *((f"{n}.png", auditing.LABEL, "0.9", "moss", "rust", "rust", "0.8", "", "") for n in "ab"),
        ("c.png", "dark", "5.0", "rust", "", "rust", "0.7", "", "mean of grey 3 of 255"),
    ]
    return pd.DataFrame(rows, columns=auditing.COLUMNS, dtype=object)


def section(classes: list[str], made: list[Correction] | None = None) -> tuple[dict, dict]:
    return audit_page.section(
        findings(),
        FACTS | {"classes": classes},
        {"n1.png": "moss", "n2.png": "rust"},
        made or [],
        lambda wanted: {(path, side): f"{DOT}#{side}" for path, side in wanted},
    )


def test_what_is_shown_and_what_is_left_out() -> None:
    context, data = section(["moss", "rust"])
    assert context["kinds"] == [
        (auditing.LABEL, "labels that look wrong", 3),
        ("dark", "dark", 1),
    ]
    assert len(context["giveaways"]) == 1
    first = data["findings"][0]
    assert (first["path"], first["share"]) == (NASTY, 0.99)
    assert [each["label"] for each in first["near"]] == ["moss", "rust"]
    many = pd.concat([findings()] * 200)
    counts = audit_page.shown(many)["kind"].value_counts()
    assert counts.to_dict() == {auditing.LABEL: 120, "dark": 30}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def write(folder: Path, classes: list[str], made: list[Correction] | None = None) -> str:
    context, data = section(classes, made)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pages.TEMPLATES), autoescape=True
    )
    part = environment.get_template("audit.html.j2").render(audit=context)
    script = (pages.TEMPLATES / "audit.js").read_text("utf-8")
    path = folder / "page.html"
    path.write_text(
        f'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">{part}'
        f'<script type="application/json" id="audit-data">{pages.embedded(data)}</script>'
        f'<script type="module">{script}</script>',
        encoding="utf-8",
    )
    return path.as_uri()


def texts(page: Page) -> list[tuple[str, str, str, str]]:
    """The corrections of the text, as stage `split` reads them."""
    text = page.input_value("#corrections")
    return [(e.path, e.label, e.reason, e.who) for e in corrections.parse(text, "the page")]


def test_buttons_gather_what_stage_split_reads(browser: Browser, tmp_path: Path) -> None:
    before = [Correction("old.png", "drop", "noise, much", "Ben", 2)]
    before.append(Correction("a.png", "moss", "right", "Ben", 3))
    with opened(browser, write(tmp_path, ["moss", "rust"], before)) as page:
        cards = page.locator("#findings > li")
        expect(cards).to_have_count(3)
        expect(cards.nth(0)).to_contain_text(NASTY)
        expect(cards.nth(0).locator(".near .other")).to_have_count(1)
        page.fill("[name=reason]", 'a "crack", here')
        page.fill("[name=who]", "Ann")
        cards.nth(0).get_by_role("button", name="is rust").click()
        cards.nth(1).get_by_role("button", name="drop").click()
        cards.nth(2).get_by_role("button", name="moss is right").click()
        reason = 'a "crack", here'
        assert texts(page) == [
            ("old.png", "drop", "noise, much", "Ben"),
            ("a.png", "drop", reason, "Ann"),
            (NASTY, "rust", reason, "Ann"),
            ("b.png", "moss", reason, "Ann"),
        ]
        cards.nth(2).get_by_role("button", name="moss is right").click()  # again: taken back
        assert len(texts(page)) == 3
        page.select_option("[name=done]", "yes")
        expect(cards).to_have_count(2)
        page.select_option("[name=done]", "")
        page.select_option("[name=kind]", "dark")
        expect(cards).to_have_count(1)
        with page.expect_download() as found:
            page.click("#corrections-download")
        assert found.value.suggested_filename == "corrections.csv"
        assert found.value.path().read_text("utf-8") == page.input_value("#corrections")
        page.reload()
        assert len(texts(page)) == 3  # kept in the browser
        page.click("#corrections-clear")
        assert [path for path, *_ in texts(page)] == ["old.png", "a.png"]


def test_many_classes_are_a_list(browser: Browser, tmp_path: Path) -> None:
    classes = ["moss", "rust", *(f"class {number}" for number in range(9))]
    with opened(browser, write(tmp_path, classes), 360) as page:
        first = page.locator("#findings > li").nth(0)
        first.get_by_label("is another class").select_option("class 7")
        assert texts(page) == [(NASTY, "class 7", "seen in the audit", "")]
        first.get_by_role("button", name="drop").click()
        assert texts(page) == [(NASTY, "drop", "seen in the audit", "")]
        expect(first.get_by_label("is another class")).to_have_value("")

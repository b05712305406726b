"""What people say of labels: read, checked, counted."""

import re
from pathlib import Path

import pytest

from thaw.core.errors import ThawError
from thaw.splitting import corrections

HEAD = "path,label,reason,who\n"


def test_a_file_that_is_not_there_holds_none(tmp_path: Path) -> None:
    assert corrections.read(tmp_path / "corrections.csv") == []


def test_blank_lines_quotes_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    text = f'\ufeff{HEAD}\n"a, b.png", cat ,"two\nlines",\nc.png,drop,blurred, Ann \n'
    path.write_text(text, encoding="utf-8", newline="\r\n")
    found = corrections.read(path)
    assert [(c.path, c.label, c.who, c.line) for c in found] == [
        ("a, b.png", "cat", "", 3),
        ("c.png", "drop", "Ann", 5),
    ]
    assert corrections.dropped(found) == {"c.png"}
    labels = {"a, b.png": "dog", "c.png": "dog", "d.png": "dog"}
    assert corrections.corrected(labels, found) == labels | {"a, b.png": "cat"}


def test_they_are_counted_by_what_they_do() -> None:
    text = f"{HEAD}b.png,dog,right,\na.png,cat,wrong,Ann\nc.png,drop,noise,\n"
    found = corrections.count(
        corrections.parse(text, "x"), {"a.png": "dog", "b.png": "dog", "c.png": "cat"}
    )
    assert str(found) == "1 label changed, 1 picture dropped, 1 label confirmed"
    assert found.listed[0] == {
        "path": "a.png",
        "was": "dog",
        "label": "cat",
        "reason": "wrong",
        "who": "Ann",
    }
    assert [each["path"] for each in found.listed] == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "a.png,cat,wrong,me\n",
            "corrections.csv, line 1 is a.png,cat,wrong,me; it must be path,la",
        ),
        (f"{HEAD}a.png,cat,wrong\n", "corrections.csv, line 2 has 3 columns, not 4 (path,label,re"),
        (f"{HEAD},cat,wrong,me\n", "corrections.csv, line 2 has no path; give a path"),
        (f"{HEAD}a.png,,wrong,me\n", "corrections.csv, line 2 has no label; give a class, or drop"),
        (f"{HEAD}a.png,cat, ,me\n", "corrections.csv, line 2 has no reason; give a reason"),
        (f'{HEAD}a.png,cat,"x,me\n', "corrections.csv, line 2 is no line of a table (unexpected e"),
        (
            f"{HEAD}a.png,cat,x,\nb.png,cat,x,\na.png,drop,x,\n",
            "corrections.csv: lines 2 and 4 both correct a.png; remove one",
        ),
        (
            f"{HEAD}no/a.png,cat,x,\n",
            "corrections.csv, line 2: the dataset has no picture no/a.png; did you mean a.png?",
        ),
        (
            f"{HEAD}z.png,cat,x,\n",
            "corrections.csv, line 2: the dataset has no picture z.png; mend",
        ),
        (
            f"{HEAD}a.png,Cat,x,\n",
            "corrections.csv, line 2: Cat is no class; give one of dog, cat, or drop",
        ),
    ],
)
def test_a_wrong_one_is_a_sentence(text: str, sentence: str) -> None:
    def read() -> None:
        found = corrections.parse(text, "corrections.csv")
        corrections.check(found, ["a.png", "b.png"], ["dog", "cat"], "corrections.csv")

    with pytest.raises(ThawError, match=f"^{re.escape(sentence)}"):
        read()


def test_a_class_named_drop_is_refused_where_something_is_corrected() -> None:
    found = corrections.parse(f"{HEAD}a.png,drop,x,\n", "x")
    corrections.check([], ["a.png"], ["drop", "keep"], "x")
    with pytest.raises(ThawError, match=r"^x: drop is a class of this dataset"):
        corrections.check(found, ["a.png"], ["drop", "keep"], "x")

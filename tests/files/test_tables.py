"""`thaw.files.tables`: our own tables come back as written, a stranger's are read or refused."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from places import SRC
from thaw.core.errors import ThawError
from thaw.files import tables
from thaw.files.serialize import write_csv

STRANGE = [
    *("a,b.png", 'say "x".png', "line\nbreak", "carriage\rreturn", "both\r\n", " blank ", "-1", ""),
    *("007", "1e5", "1_000", "0x1F", "True", "NA", "nan", "NaN", "None", "null", "<NA>", "inf"),
    *("é", "e\u0301", "\u2028", "\x85", "\x0c", "\ufeffbom", "#", "'", '"', '""', "a\\b", "\t"),
]


def test_own_table_comes_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    columns = ("path", "na me", "#")
    rows = [(cell, cell, other) for cell, other in zip(STRANGE, reversed(STRANGE), strict=True)]
    write_csv(path, columns, rows)
    for source in (path, io.StringIO(path.read_bytes().decode())):
        found = tables.read(source)
        assert tuple(found.columns) == columns
        assert list(found.index) == list(range(len(rows)))
        assert list(found.itertuples(index=False, name=None)) == rows
        assert {type(cell) for cell in found.to_numpy().flat} == {str}


def test_own_table_of_one_column_keeps_its_empty_cells(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ("name",), [("",), ("x",), ("",)])
    assert tables.read(tmp_path / "a.csv")["name"].tolist() == ["", "x", ""]


def test_own_table_with_the_line_ends_of_windows(tmp_path: Path) -> None:
    """Git may write them on a checkout."""
    (tmp_path / "a.csv").write_bytes(b"epoch,loss\r\n1,0.5\r\n2,0.25\r\n")
    assert tables.numbers(tmp_path / "a.csv").to_numpy().tolist() == [[1, 0.5], [2, 0.25]]


def test_own_table_without_rows(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ("epoch", "loss"), [])
    for read in (tables.read, tables.numbers):
        found = read(tmp_path / "a.csv")
        assert (list(found.columns), len(found)) == (["epoch", "loss"], 0)


def test_numbers_are_those_that_python_reads(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values = [*generator.random(2000), *10 ** generator.uniform(-300, 300, 2000), 0.0, -0.0, 12]
    write_csv(tmp_path / "a.csv", ("number",), [(float(value),) for value in values])
    found = tables.numbers(tmp_path / "a.csv")["number"]
    assert found.dtype == np.float64
    assert found.tolist() == [float(f"{value:.9g}") for value in values]


@pytest.mark.parametrize(
    "text", ["", "\n", "a,b\n1,2,3\n", 'a,b\n"1,2\n', "a,b\nx,1\n", "a,b\n1\n", "a,b\n1,\n"]
)
def test_what_is_no_table_of_numbers_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        tables.numbers(io.StringIO(text))


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        tables.read(tmp_path / "a.csv")
    assert caught.value.filename == str(tmp_path / "a.csv")


# A stranger's


def stranger(
    tmp_path: Path,
    content: str | bytes,
    columns: list[str] | None = None,
    separator: str | None = None,
    needed: tuple[str, ...] = ("picture", "label"),
) -> dict[int, list[str]]:
    """The cells that are needed, by line."""
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = tables.stranger(path, "own: labels.csv", columns, separator, needed)
    return dict(zip(found.index, found[[*needed]].to_numpy().tolist(), strict=True))


def refused(tmp_path: Path, content: str | bytes, **options: object) -> str:
    with pytest.raises(ThawError) as caught:
        stranger(tmp_path, content, **options)
    text = str(caught.value)
    assert text.startswith("own: labels.csv")
    assert "\n" not in text
    return text.removeprefix("own: labels.csv").lstrip(":, ")


TWO = ["picture", "label"]


@pytest.mark.parametrize("separator", ["\t", ";", ",", " ", "   "])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_parts_the_columns_is_found(
    tmp_path: Path, separator: str, named: bool, end: str, mark: str
) -> None:
    rows = [["picture", "note", "label"]] * named + [["0.png", "x", "007"], ["1.png", "y", "NA"]]
    text = mark + end.join(separator.join(row) for row in rows)
    columns = None if named else ["picture", "note", "label"]
    for content in (text, text + end, text + end + end):
        found = stranger(tmp_path, content, columns)
        assert found == {1 + named: ["0.png", "007"], 2 + named: ["1.png", "NA"]}


@pytest.mark.parametrize("separator", ["\t", ";", ","])
def test_quotes_keep_separators_and_line_ends(tmp_path: Path, separator: str) -> None:
    row = f'"a {separator} ""b"".png"{separator}"one\r\ntwo"'
    text = f"picture{separator}label\r\n\r\n{row}\r\nc.png{separator}\r\n"
    assert stranger(tmp_path, text) == {
        3: [f'a {separator} "b".png', "one\r\ntwo"],
        5: ["c.png", ""],
    }


def test_names_with_a_blank_are_no_white_space(tmp_path: Path) -> None:
    found = stranger(tmp_path, "a b.png,cat\nlong name c.png,dog\n", TWO)
    assert found == {1: ["a b.png", "cat"], 2: ["long name c.png", "dog"]}


def test_first_line_that_repeats_the_columns_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stranger(tmp_path, "\npicture;label\na;b\npicture;label\n", TWO) == {
        3: ["a", "b"],
        4: ["picture", "label"],
    }
    told = "own: labels.csv, line 2 names the columns, and is left out\n"
    assert capsys.readouterr().out == told
    stranger(tmp_path, "a;b\n", TWO)
    stranger(tmp_path, "picture;label\na;b\n")
    assert capsys.readouterr().out == ""


def test_rows_of_nothing_are_left_out(tmp_path: Path) -> None:
    """Excel writes them for rows that once held something."""
    assert stranger(tmp_path, "picture;label\n;\na;b\n ; \n", None) == {3: ["a", "b"]}


def test_other_columns_may_have_any_names(tmp_path: Path) -> None:
    assert stranger(tmp_path, ",label,,picture,x,x\n0,b,,a,1,2\n") == {2: ["a", "b"]}


def test_one_character_or_white_space_may_be_given(tmp_path: Path) -> None:
    assert stranger(tmp_path, "a b,c|d\n", TWO, "|") == {1: ["a b,c", "d"]}
    assert stranger(tmp_path, " a;b  0,5\n", TWO, "whitespace") == {1: ["a;b", "0,5"]}
    assert stranger(tmp_path, "a;0,5\n", TWO, ";") == {1: ["a", "0,5"]}


def test_what_can_be_parted_in_two_ways_is_refused(tmp_path: Path) -> None:
    text = "photo (1).png,cat\nphoto (2).png,dog\n"
    assert refused(tmp_path, text, columns=TWO) == (
        "can be parted by white space and by `,`; say by `table.separator` in its file in "
        "datasets/ what parts the columns: whitespace, or the character"
    )


def test_two_ways_that_come_to_the_same_are_one(tmp_path: Path) -> None:
    assert stranger(tmp_path, "a\tb\nc\td\n", TWO) == {1: ["a", "b"], 2: ["c", "d"]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a;b\nc;d;e\n", "line 2 has 3 columns, not 2; mend the line"),
        ('"a\n\nb";x\n\nc\n', "line 5 has 1 columns, not 2; mend the line"),
        ('a;b\n"c;d\ne;f\n', "line 2 is no line of a table (unexpected end of data); look for a"),
        ('a;b\n"c"x;d\n', "line 2 is no line of a table ("),
        (
            "a|b\n",
            "white space, tab, `;` and `,` don't part the first line into 2 columns (picture, "
            "label); mend the line, or say by `table.separator` in its file in datasets/",
        ),
    ],
)
def test_line_that_does_not_fit_is_named(tmp_path: Path, text: str, told: str) -> None:
    assert refused(tmp_path, text, columns=TWO).startswith(told)


def test_the_line_is_that_by_what_fits_longest(tmp_path: Path) -> None:
    text = "a b;x\nc d;y\ne;f g h\ni\n"
    assert refused(tmp_path, text, columns=TWO).startswith("line 4 has 1 columns, not 2")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,label\na,b\n", "line 1 names no column picture (file, label); mend it, or the name"),
        ("picture,label,label\na,b,c\n", "line 1 names two columns label (picture, label, label)"),
        ("a.png,cat\n", "or list `columns` there where no line names them"),
        ("picture;label\na;b;c\n", "line 2 has 3 columns, not 2; mend the line"),
    ],
)
def test_first_line_that_names_other_columns_is_refused(
    tmp_path: Path, text: str, told: str
) -> None:
    assert told in refused(tmp_path, text)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_other_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    content = "picture;label\nGröße;b\n".encode(encoding)
    assert refused(tmp_path, content) == "is not UTF-8; save it as UTF-8 (in Excel: CSV UTF-8)"
    plain = "picture;label\na;b\n".encode(encoding)
    assert encoding == "latin-1" or refused(tmp_path, plain).startswith("is not UTF-8")


def test_empty_table_has_no_rows(tmp_path: Path) -> None:
    assert stranger(tmp_path, "\n \n", TWO) == {}
    assert stranger(tmp_path, "") == {}


# What it costs


def test_what_needs_no_table_does_not_import_pandas() -> None:
    """Half a second and 40 MB; 70 MB where PyArrow is, which pandas then imports."""
    modules = [
        *("commands.predict", "commands.recipe", "stages.download", "stages.model_card"),
        *("stages.weights", "stages.train_head", "stages.fine_tune"),
    ]
    script = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert "pandas" not in sys.modules, name
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *modules],
        env={"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr

"""Stage `split` in a folder of few pictures."""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageOps

import workspace
from helpers import picture
from places import ROOT
from stages import split
from thaw.core.errors import ThawError
from thaw.files import tables
from thaw.files.serialize import write_csv, write_json, write_text

SPLIT = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["split"]
CLASSES = ["ok", "nok"]  # not in the alphabet's order


def parameters(**changes: object) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    write_text(workspace.PARAMS, yaml.safe_dump(values | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with contextlib.chdir(tmp_path):
        for name in ("datasets", "pretrained"):
            Path(name).symlink_to(ROOT / name)
        rows = []
        for number in range(40):
            label = CLASSES[number % 2]
            picture(workspace.IMAGES / f"{number}.png", number)
            rows.append((f"{number}.png", label, "", ""))
        write_csv(workspace.LABELS, ("path", "label", "part", "subgroup"), rows)
        write_json(
            workspace.RAW / "dataset.json",
            {"classes": CLASSES, "split": {"held_out": None, "test": None}},
        )
        yield tmp_path


@pytest.mark.usefixtures("folder")
def test_classes_are_counted_in_the_datasets_order(capsys: pytest.CaptureFixture[str]) -> None:
    parameters()
    split.main()
    counts = json.loads((workspace.METRICS / "split.json").read_text())["pictures"]
    assert [list(by_class) for by_class in counts.values()] == [CLASSES] * 3
    assert "train       14 ok, 14 nok" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("brought", "expected"),
    [
        ((), {"train": 28, "validation": 6, "test": 6}),
        (("train", "validation"), {"train": 20, "validation": 16, "test": 4}),
        (("train", "test"), {"train": 16, "validation": 4, "test": 20}),
    ],
)
@pytest.mark.usefixtures("folder")
def test_the_usual_shares_follow_from_the_parts_that_are_brought(
    brought: tuple[str, ...], expected: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tables.read(workspace.LABELS)
    if brought:
        rows["part"] = [brought[number // 2 % 2] for number in range(len(rows))]
        write_csv(workspace.LABELS, list(rows), rows.to_numpy().tolist())
    parameters()
    split.main()
    assert Counter(tables.read(workspace.SPLIT)["split"]) == expected
    few = expected["test"]
    assert f"note: {few} test pictures tell little: {round(0.9 * few)} right of {few} means " in (
        capsys.readouterr().out
    )


@pytest.mark.usefixtures("folder")
def test_a_positive_class_that_is_not_there_is_refused_before_any_work() -> None:
    parameters(positive="nok")
    split.main()
    workspace.SPLIT.unlink()
    parameters(positive="defective")
    with pytest.raises(
        ThawError,
        match=r"^params.yaml: positive: defective: the dataset has the classes ok, nok; give one",
    ):
        split.main()
    assert not workspace.SPLIT.exists()


@pytest.mark.usefixtures("folder")
def test_groups_are_a_column_of_the_split_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    parameters(split=SPLIT | {"group": "name:^([0-9])"})
    split.main()
    rows = tables.read(workspace.SPLIT)
    assert [*rows] == ["path", "label", "split", "subgroup", "group"]
    assert rows["group"].tolist() == [path[0] for path in rows["path"]]
    assert rows.groupby("group")["split"].nunique().max() == 1
    told = capsys.readouterr().out
    assert "none on two sides; no class's share is off by more than" in told


@pytest.mark.usefixtures("folder")
def test_pictures_whose_group_is_in_a_later_brought_part_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = tables.read(workspace.LABELS)
    rows["part"] = ["test" if number % 10 > 7 else "train" for number in range(len(rows))]
    rows["column:patient"] = ["Ann", "Bob", *(str(n) for n in range(6)), "Ann", "Bob"] * 4
    write_csv(workspace.LABELS, list(rows), rows.to_numpy().tolist())
    parameters(split=SPLIT | {"group": "column:patient", "held_out": 0.4})
    split.main()
    found = tables.read(workspace.SPLIT)
    assert set(found["group"][found["split"] == "test"]) == {"Ann", "Bob"}
    assert Counter(found["split"])["test"] == 8
    told = capsys.readouterr().out
    assert (
        "left out: 8 pictures of parts that the dataset brings, as others of their group, or"
        in told
    )
    assert json.loads((workspace.METRICS / "split.json").read_text())["tied_left_out"] == 8


@pytest.mark.usefixtures("folder")
def test_without_groups_the_split_has_no_column_of_them() -> None:
    parameters()
    split.main()
    assert workspace.SPLIT.read_text().splitlines()[0] == "path,label,split,subgroup"


@pytest.fixture
def copied(folder: Path) -> Path:
    """Four of the forty pictures are mirrored copies of others."""
    for number in range(4):
        with Image.open(workspace.IMAGES / f"{number}.png") as image:
            ImageOps.mirror(image).save(workspace.IMAGES / f"{number + 20}.png")
    return folder


@pytest.mark.usefixtures("copied")
def test_near_duplicates_are_kept_together_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    parameters()
    split.main()
    pairs = tables.read(workspace.NEAR_DUPLICATES)
    assert set(zip(pairs["path"], pairs["other"], strict=True)) == {
        tuple(sorted((f"{number}.png", f"{number + 20}.png"))) for number in range(4)
    }
    assert set(pairs["how"]) == {"mirrored"}
    assert pairs["similarity"].astype(float).min() > 0.99
    rows = tables.read(workspace.SPLIT)
    side = dict(zip(rows["path"], rows["split"], strict=True))
    assert [*rows] == ["path", "label", "split", "subgroup"]
    assert all(
        side[one] == side[other] for one, other in zip(pairs["path"], pairs["other"], strict=True)
    )
    assert json.loads((workspace.METRICS / "split.json").read_text())["near_duplicates"] == 4
    told = capsys.readouterr().out
    assert "4 pairs of near-duplicates, kept together: 0.png and 20.png (mirrored)" in told
    assert "0 with two labels; all in data/near_duplicates.csv" in told


@pytest.mark.usefixtures("copied")
def test_near_duplicates_are_refused_on_request_and_still_listed() -> None:
    parameters(split=SPLIT | {"near_duplicates": "refuse"})
    with pytest.raises(
        ThawError, match=r"^4 pairs of near-duplicates: 0.png and 20.png \(mirrored\), .*and 1 more"
    ):
        split.main()
    assert len(tables.read(workspace.NEAR_DUPLICATES)) == 4
    assert not workspace.SPLIT.exists()


@pytest.mark.usefixtures("copied")
def test_near_duplicates_are_not_looked_for_where_they_are_ignored() -> None:
    parameters(split=SPLIT | {"near_duplicates": "ignore"})
    split.main()
    assert workspace.NEAR_DUPLICATES.read_text() == "path,other,similarity,how\n"
    assert json.loads((workspace.METRICS / "split.json").read_text())["near_duplicates"] == 0


@pytest.mark.usefixtures("folder")
def test_where_all_pictures_look_alike_none_is_taken_for_a_copy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parameters(split=SPLIT | {"near_duplicates": "ignore"})
    split.main()
    before = workspace.SPLIT.read_bytes()
    with Image.open(workspace.IMAGES / "0.png") as image:
        scene = image.resize((90, 90))
    for number in range(40):
        drawn = scene.copy()
        drawn.putpixel((number, number), (255, 0, 0))
        drawn.save(workspace.IMAGES / f"{number}.png")
    parameters(split=SPLIT | {"near_duplicates": "refuse"})
    split.main()
    told = capsys.readouterr().out
    note = (
        r"note: split.near_duplicates: refuse does nothing here: \d+ of 40 pictures are each like "
    )
    assert re.search(note, told)
    assert workspace.NEAR_DUPLICATES.read_text() == "path,other,similarity,how\n"
    assert len(workspace.SPLIT.read_bytes()) == len(before)


def correct(*lines: str) -> None:
    write_text(workspace.CORRECTIONS, "\n".join(["path,label,reason,who", *lines, ""]))


def rows_by_path() -> dict[str, tuple[str, str]]:
    found = tables.read(workspace.SPLIT)
    pairs = zip(found["label"], found["split"], strict=True)
    return dict(zip(found["path"], pairs, strict=True))


@pytest.mark.usefixtures("folder")
def test_without_corrections_the_split_is_as_it_was() -> None:
    parameters()
    split.main()
    before = [path.read_bytes() for path in (workspace.SPLIT, workspace.METRICS / "split.json")]
    correct()
    split.main()
    after = [path.read_bytes() for path in (workspace.SPLIT, workspace.METRICS / "split.json")]
    assert after == before


@pytest.mark.usefixtures("folder")
def test_corrections_change_labels_and_drop_pictures_and_move_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parameters()
    split.main()
    before = rows_by_path()
    correct(*(f"{n}.png,nok,scratched,Ann" for n in (0, 2)), "1.png,drop,noise,", "3.png,nok,ok,")
    split.main()
    after = rows_by_path()
    expected = {path: row for path, row in before.items() if path != "1.png"}
    expected |= {path: ("nok", before[path][1]) for path in ("0.png", "2.png")}
    assert after == expected
    noted = json.loads((workspace.METRICS / "split.json").read_text())
    assert (
        sum(noted["pictures"]["train"].values()) == Counter(s for _, s in after.values())["train"]
    )
    made = noted["corrections"]
    assert (made["relabelled"], made["dropped"], made["confirmed"]) == (2, 1, 1)
    assert made["listed"][0] == {
        "path": "0.png",
        "was": "ok",
        "label": "nok",
        "reason": "scratched",
        "who": "Ann",
    }
    assert "corrections.csv: 2 labels changed, 1 picture dropped, 1 label confirmed" in (
        capsys.readouterr().out
    )


@pytest.mark.usefixtures("folder")
def test_a_picture_that_can_not_be_read_may_be_dropped() -> None:
    (workspace.IMAGES / "5.png").write_bytes(b"no picture")
    parameters()
    with pytest.raises(ThawError, match=r"1 of 40 pictures .* can't be read"):
        split.main()
    correct("5.png,drop,broken,")
    split.main()
    assert len(rows_by_path()) == 39
    assert json.loads((workspace.METRICS / "split.json").read_text())["bad"] == 0


@pytest.mark.usefixtures("copied")
def test_dropping_one_of_each_pair_is_what_refuse_asks_for() -> None:
    parameters(split=SPLIT | {"near_duplicates": "refuse"})
    with pytest.raises(ThawError, match=r"4 pairs of near-duplicates"):
        split.main()
    pairs = tables.read(workspace.NEAR_DUPLICATES)
    correct(*(f"{path},drop,a copy," for path in pairs["other"]))
    split.main()
    assert tables.read(workspace.NEAR_DUPLICATES).empty
    assert not {*pairs["other"]} & {*rows_by_path()}


@pytest.mark.usefixtures("folder")
def test_corrections_that_leave_a_split_without_a_class_are_refused() -> None:
    parameters()
    split.main()
    gone = [path for path, row in rows_by_path().items() if row == ("nok", "test")]
    correct(*(f"{path},ok,it is," for path in gone))
    with pytest.raises(ThawError, match=r"leaves no picture of the class nok in the test split"):
        split.main()

"""Stage `split` in a folder of few pictures."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import workspace
from helpers import picture
from places import ROOT
from stages import split
from thaw.core.errors import ThawError
from thaw.files import tables
from thaw.files.serialize import write_csv, write_json, write_text

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

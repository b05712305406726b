"""Measure the model on noise, blur, JPEG and other corruptions: robustness/.

    make robustness [PICTURES=100] [VIEWS=all] [TEST=1]
    python src robustness --pictures 100 --views all --test

Corrupts validation pictures in nine ways, each in five strengths, and predicts them with
models/model.onnx. Prints accuracy and mean confidence, and what is lost; writes them to
robustness/, which Git keeps. `dvc repro` then has them in the model card. Choose between models by
validation pictures; the test pictures are for the end.
"""

import argparse
import hashlib
import tempfile
from dataclasses import asdict
from pathlib import Path

import pandas as pd

import workspace
from thaw.core.arguments import Parser, whole
from thaw.core.errors import ThawError, shortlist
from thaw.drawing import plots
from thaw.evaluation import robustness as judging
from thaw.evaluation.inference import Classifier
from thaw.files import tables
from thaw.files.serialize import write_csv, write_json, write_text
from thaw.review import robustness

MODEL = workspace.MODELS / "model.onnx"
OUT = workspace.ROBUSTNESS.parent
VIEWS = 16_000  # views of pictures: some minutes of two cores (docs/use/robustness.md)


def arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "--pictures",
        type=whole(2),
        metavar="N",
        help="how many, each class with its share (default: all, or as many as take some minutes)",
    )
    parser.add_argument(
        "--views",
        choices=("one", "all"),
        default="one",
        help="predict each picture by itself, or by the mean over its flips and turns as "
        "`python src predict` does, which takes up to 8 times as long (default: %(default)s)",
    )
    parser.add_argument(
        "--test", action="store_true", help="take the test pictures; validation's by default"
    )
    return parser.read()


def read(part: str, classes: list[str]) -> pd.DataFrame:
    """The rows of data/split.csv for a part.

    Raises:
        ThawError: when they are of other classes than the model.
    """
    split = tables.read(workspace.SPLIT)
    rows = split[split["split"] == part]
    if unknown := sorted({*rows["label"]} - {*classes}):
        raise ThawError(
            f"{workspace.SPLIT}: {shortlist(unknown)}: {MODEL} knows only {shortlist(classes)}; "
            "run `dvc repro`, which makes both fit"
        )
    return rows


def digest(rows: pd.DataFrame) -> str:
    """SHA-256 of pictures' names and labels."""
    names = zip(rows["path"], rows["label"], strict=True)
    return hashlib.sha256(
        "".join(f"{path}\0{label}\n" for path, label in names).encode()
    ).hexdigest()


def main() -> None:
    given = arguments()
    params = workspace.read_params()
    classifier = Classifier(MODEL)
    part = "test" if given.test else "validation"
    rows = read(part, classifier.classes)
    views = len(classifier.symmetries) if given.views == "all" else 1
    most = VIEWS // (views * (1 + len(robustness.CONDITIONS)))
    labels = rows["label"].map(classifier.classes.index).to_numpy()
    chosen = robustness.stratified(labels, given.pictures or most, params.split.seed)
    paths = rows["path"].iloc[chosen].tolist()
    found = robustness.predict(classifier, workspace.IMAGES, paths, params.split.seed, views)
    judged = judging.judge(
        labels[chosen],
        found[:, 0],
        dict(zip(robustness.KEYS, found[:, 1:].swapaxes(0, 1), strict=True)),
        decision=classifier.decision,
        model=hashlib.md5(MODEL.read_bytes(), usedforsecurity=False).hexdigest(),
        part=part,
        of=len(rows),
        picture_set=digest(rows.iloc[chosen]),
        views=views,
    )
    with tempfile.TemporaryDirectory(prefix=".part-", dir=".") as folder:
        made = Path(folder)
        write_json(made / workspace.ROBUSTNESS.name, asdict(judged))
        write_csv(made / "robustness.csv", robustness.COLUMNS, robustness.rows(judged))
        write_text(made / "robustness.md", robustness.as_markdown(judged))
        plots.robustness(judged, made / "robustness.png")
        OUT.mkdir(exist_ok=True)
        for path in sorted(made.iterdir()):
            path.replace(OUT / path.name)
    print(robustness.text(judged))
    print(f"\n{OUT}/")

"""Draw the data and what a model says about it: samples, views, predictions, mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from thaw.drawing import plots
from thaw.drawing.lettering import legible
from thaw.evaluation import deciding
from thaw.evaluation.metrics import Array, Labels
from thaw.pictures import augmentation, decoding
from thaw.pictures.augmentation import Augmentation
from thaw.pictures.depths import BitDepth

TILE = 160  # pixels
SHOWN = 12


@dataclass(frozen=True)
class Source:
    """Where the pictures lie, how they are resized and augmented, and what chooses some."""

    images: Path
    resize: str
    augmentation: Augmentation
    seed: int
    bit_depth: BitDepth = "file"

    def load(self, path: str) -> decoding.Pixels:
        return decoding.load(self.images / path, TILE, self.resize, self.bit_depth)

    def some(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.iloc[augmentation.random("gallery", self.seed).permutation(len(rows))[:SHOWN]]


def draw(
    source: Source,
    classes: Sequence[str],
    training: pd.DataFrame,
    test: pd.DataFrame,
    probabilities: Array,
    decided: Labels,
    folder: Path,
) -> None:
    """Draw all of them into a folder.

    Args:
        source: of the pictures.
        classes: their names.
        training: the training pictures, with columns path and label.
        test: the test pictures, likewise.
        probabilities: (test pictures, classes) of the model.
        decided: (test pictures,) numbers of the classes that it says.
        folder: for samples.png, augmented.png, predictions.png and mistakes.png.
    """
    chosen = source.some(training)
    names = legible(classes)
    samples = [
        plots.Tile(source.load(row.path), names[row.label], file=row.path)
        for row in chosen.itertuples()
    ]
    title = f"{len(chosen)} of {len(training):,} training pictures"
    plots.grid(samples, title, folder / "samples.png", 4)
    _draw_views(source, chosen["path"].iloc[0], folder / "augmented.png")
    _draw_predictions(source, classes, test, probabilities, decided, folder)


def _draw_views(source: Source, path: str, to: Path) -> None:
    pixels = source.load(path)
    views = [
        plots.Tile(
            augmentation.view(pixels, source.augmentation, index, source.seed, path),
            f"view {index + 1}",
        )
        for index in range(min(source.augmentation.count, SHOWN))
    ]
    shown = [plots.Tile(pixels, "the picture", file=path), *views][:SHOWN]
    count = source.augmentation.count
    title = f"{len(shown) - 1} of {count} augmented views of one training picture"
    plots.grid(shown, title, to)


def _draw_predictions(
    source: Source,
    classes: Sequence[str],
    rows: pd.DataFrame,
    probabilities: Array,
    decided: Labels,
    folder: Path,
) -> None:
    names = legible(classes)
    rows = rows.assign(
        predicted=[classes[best] for best in decided],
        share=deciding.confidence(probabilities, decided),
    )

    def grid(chosen: pd.DataFrame, title: str, name: str) -> None:
        tiles = []
        for row in chosen.itertuples():
            right = row.predicted == row.label
            caption = f"{names[row.predicted]} {row.share:.0%}\n"
            caption += "right" if right else f"wrong: is {names[row.label]}"
            colour = plots.RIGHT if right else plots.WRONG
            tiles.append(plots.Tile(source.load(row.path), caption, colour, row.path))
        plots.grid(tiles, title, folder / f"{name}.png", 4)

    some = source.some(rows)
    title = f"{len(some)} of {len(rows):,} test pictures: prediction and confidence"
    grid(some, title, "predictions")
    wrong = rows[rows["predicted"] != rows["label"]]
    worst = wrong.sort_values(["share", "path"], ascending=[False, True])[:SHOWN]
    title = f"The {len(worst)} most confident of {len(wrong):,} mistakes on the test pictures"
    grid(worst, title, "mistakes")

"""Draw the data and what a model says about it: samples, views, predictions, mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thaw.drawing import plots
from thaw.evaluation.metrics import Array
from thaw.pictures import augmentation, decoding
from thaw.pictures.augmentation import Augmentation

TILE = 160  # pixels
SHOWN = 12
Rows = Sequence[dict[str, str]]  # with path and label


@dataclass(frozen=True)
class Source:
    """Where the pictures lie, how they are resized and augmented, and what chooses some."""

    images: Path
    resize: str
    augmentation: Augmentation
    seed: int

    def load(self, path: str) -> decoding.Pixels:
        return decoding.load(self.images / path, TILE, self.resize)

    def some(self, rows: Rows) -> list[dict[str, str]]:
        order = augmentation.random("gallery", self.seed).permutation(len(rows))
        return [rows[index] for index in order[:SHOWN]]


def draw(
    source: Source,
    classes: Sequence[str],
    training: Rows,
    test: Rows,
    probabilities: Array,
    folder: Path,
) -> None:
    """Draw all of them into a folder.

    Args:
        source: of the pictures.
        classes: their names.
        training: the training pictures.
        test: the test pictures.
        probabilities: (test pictures, classes) of the model.
        folder: for samples.png, augmented.png, predictions.png and mistakes.png.
    """
    chosen = source.some(training)
    samples = [plots.Tile(source.load(row["path"]), row["label"]) for row in chosen]
    plots.grid(samples, "Training pictures", folder / "samples.png", 4)
    _draw_views(source, chosen[0]["path"], folder / "augmented.png")
    _draw_predictions(source, classes, test, probabilities, folder)


def _draw_views(source: Source, path: str, to: Path) -> None:
    pixels = source.load(path)
    views = [
        plots.Tile(
            augmentation.view(pixels, source.augmentation, index, source.seed, path),
            f"view {index + 1}",
        )
        for index in range(min(source.augmentation.count, SHOWN))
    ]
    shown = [plots.Tile(pixels, "the picture"), *views][:SHOWN]
    plots.grid(shown, "Augmented views of one training picture", to)


def _draw_predictions(
    source: Source, classes: Sequence[str], rows: Rows, probabilities: Array, folder: Path
) -> None:
    tiles = {}
    wrong = []
    for row, shares in zip(rows, probabilities, strict=True):
        best = int(shares.argmax())
        right = classes[best] == row["label"]
        caption = f"{classes[best]} {shares[best]:.0%}"
        caption += "\nright" if right else f"\nwrong: is {row['label']}"
        tiles[row["path"]] = (row, caption, plots.RIGHT if right else plots.WRONG)
        if not right:
            wrong.append((-float(shares[best]), row["path"]))

    def grid(paths: Sequence[str], title: str, name: str) -> None:
        chosen = [tiles[path] for path in paths]
        shown = [plots.Tile(source.load(row["path"]), text, colour) for row, text, colour in chosen]
        plots.grid(shown, title, folder / f"{name}.png", 4)

    some = [row["path"] for row in source.some(rows)]
    grid(some, "Test pictures: prediction and confidence", "predictions")
    worst = [path for _, path in sorted(wrong)[:SHOWN]]
    grid(worst, f"The most confident of {len(wrong)} mistakes on the test pictures", "mistakes")

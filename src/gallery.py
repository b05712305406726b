"""The pictures that stage `evaluate` draws: curves, samples, views, predictions, mistakes."""

from collections.abc import Sequence

import stage
from thaw import images, plots
from thaw.metrics import Array
from thaw.params import Params
from thaw.serialize import read_csv, write_csv

TILE = 160  # pixels
SHOWN = 12
PICTURES = stage.PLOTS / "pictures"


def draw(
    params: Params,
    classes: Sequence[str],
    rows: Sequence[dict[str, str]],
    found: dict[str, Array],
) -> None:
    """Draw all of them; `rows` are the test pictures', `found` each model's probabilities."""
    head, model = (
        [{column: float(value) for column, value in row.items()} for row in rows]
        for rows in (read_csv(stage.PLOTS / f"{name}.csv") for name in ("head", "model"))
    )
    starts = len(head) if model else None
    plots.learning_curves(head + model, starts, stage.PLOTS / "learning_curves.png")
    training = [row for row in read_csv(stage.SPLIT) if row["split"] == "train"]
    chosen = _some(training, params.seed)
    samples = [plots.Tile(_load(params, row["path"]), row["label"]) for row in chosen]
    plots.grid(samples, "Training pictures", PICTURES / "samples.png", 4)
    _draw_views(params, chosen[0]["path"])
    _draw_predictions(params, classes, rows, found["fine_tuned"])
    _write_predictions(classes, rows, found)


def _draw_views(params: Params, path: str) -> None:
    augmentation = images.Augmentation(**params.augment.model_dump())
    pixels = _load(params, path)
    views = [
        plots.Tile(images.view(pixels, augmentation, index, params.seed, path), f"view {index + 1}")
        for index in range(min(augmentation.count, SHOWN))
    ]
    plots.grid(
        [plots.Tile(pixels, "the picture"), *views][:SHOWN],
        "Augmented views of one training picture",
        PICTURES / "augmented.png",
    )


def _draw_predictions(
    params: Params, classes: Sequence[str], rows: Sequence[dict[str, str]], probabilities: Array
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
        shown = [
            plots.Tile(_load(params, row["path"]), caption, colour)
            for row, caption, colour in chosen
        ]
        plots.grid(shown, title, PICTURES / f"{name}.png", 4)

    some = [row["path"] for row in _some(rows, params.seed)]
    grid(some, "Test pictures: prediction and confidence", "predictions")
    worst = [path for _, path in sorted(wrong)[:SHOWN]]
    grid(worst, f"The most confident of {len(wrong)} mistakes on the test pictures", "mistakes")


def _write_predictions(
    classes: Sequence[str], rows: Sequence[dict[str, str]], found: dict[str, Array]
) -> None:
    columns = ["path", "label", "subgroup"]
    columns += [f"{name}_{label}" for name in found for label in classes]
    table = [
        [row["path"], row["label"], row["subgroup"]]
        + [float(f"{p:.6g}") for name in found for p in found[name][index]]
        for index, row in enumerate(rows)
    ]
    write_csv(stage.PREDICTIONS, columns, table)


def _some(rows: Sequence[dict[str, str]], seed: int) -> list[dict[str, str]]:
    order = images.random("gallery", seed).permutation(len(rows))
    return [rows[index] for index in order[:SHOWN]]


def _load(params: Params, path: str) -> images.Pixels:
    return images.load(stage.IMAGES / path, TILE, params.resize)

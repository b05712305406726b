"""Stage `split`: every picture checked, and each assigned to training, validation or test."""

import stage
from thaw import splits
from thaw.datasets import read_labels
from thaw.screening import screen
from thaw.serialize import write_csv, write_json

DEFAULT_SHARE = 0.2  # the 80/20 of the TensorFlow tutorial


def main() -> None:
    params = stage.read_params()
    pictures = read_labels(stage.RAW)
    published = stage.read_dataset()["split"]
    content, bad = screen(pictures, stage.IMAGES, params.on_bad_image, stage.BAD_IMAGES)
    good = [picture for picture in pictures if picture.path in content]
    divided = splits.divide(
        good,
        content,
        held_out=params.split.held_out or published["held_out"] or DEFAULT_SHARE,
        test=params.split.test or published["test"] or DEFAULT_SHARE,
        seed=params.seed,
    )
    labels = {picture.path: picture.label for picture in good}
    rows = [
        (picture.path, picture.label, divided.split[picture.path], picture.subgroup)
        for picture in good
        if picture.path in divided.split
    ]
    write_csv(stage.SPLIT, splits.COLUMNS, rows)
    counts = splits.counts(divided.split, labels)
    write_json(
        stage.METRICS / "split.json",
        {
            "pictures": counts,
            "identical": divided.duplicates,
            "identical_left_out": len(divided.left_out),
            "identical_with_other_label": len(divided.conflicts),
            "bad": len(bad),
        },
    )
    for part, by_class in counts.items():
        print(f"{part:<11}", ", ".join(f"{count} {name}" for name, count in by_class.items()))
    print(
        f"{divided.duplicates} pictures are identical to another "
        f"({len(divided.left_out)} left out of training, {len(divided.conflicts)} with two labels)"
    )


if __name__ == "__main__":
    stage.run(main)

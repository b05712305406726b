"""Augmentation by one word: what each `augment.preset` stands for."""

from collections.abc import Mapping
from typing import Any

OFF: dict[str, Any] = {
    "flip": "none",
    "quarter_turns": False,
    "rotation": 0.0,
    "shift": 0.0,
    "area": 1.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "noise": 0.0,
}
PRESETS: dict[str, dict[str, Any]] = {
    "none": OFF,
    # Nothing tells up from down, or left from right: cells, plates, pictures from above.
    "symmetric": OFF | {"flip": "both", "quarter_turns": True},
    # There is an upper side, and distance, place and light are those of the day.
    "photo": OFF
    | {
        "flip": "horizontal",
        "rotation": 0.03,
        "area": 0.6,
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.2,
    },
}


def fill(values: Mapping[str, Any]) -> dict[str, Any]:
    """The group `augment` of `params.yaml`, with the preset's values for those that are None.

    They are those of a `thaw.pictures.augmentation.Augmentation`.
    """
    given = {name: value for name, value in values.items() if value is not None}
    return PRESETS[given.pop("preset")] | given

"""Size, light, sharpness and what gives a class away, on small pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from thaw.review import traits


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traits, "TREES", 10)


def noise(seed: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(60, 200, (size[1], size[0], 3))
    return Image.fromarray(pixels.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))


def look(folder: Path, image: Image.Image, name: str) -> traits.Traits:
    image.save(folder / name)
    return traits.look(folder / name)


ODD = {
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(4)),
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.3),
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.7),
    "low contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.2),
    "odd size": lambda image: image.resize((120, 120)),
    "odd shape": lambda image: image.crop((0, 0, 40, 20)),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_picture_that_is_amiss_is_the_worst_of_its_kind(kind: str, tmp_path: Path) -> None:
    found = [look(tmp_path, noise(number), f"{number}.png") for number in range(30)]
    assert not any((score > traits.FAR).any() for score in traits.amiss(found).values())
    found.insert(7, look(tmp_path, ODD[kind](noise(99)), "odd.png"))
    score = traits.amiss(found)[kind]
    assert np.flatnonzero(score > traits.FAR).tolist() == [7]


def test_the_same_pixels_have_the_same_content(tmp_path: Path) -> None:
    one = look(tmp_path, noise(1), "a.png")
    assert one.content == look(tmp_path, noise(1), "a.bmp").content
    assert one.content != look(tmp_path, noise(2), "b.png").content
    assert (one.width, one.height, one.kind) == (40, 40, "PNG")
    tiny = look(tmp_path, Image.new("RGB", (1, 2), "white"), "tiny.png")
    assert (tiny.brightness, tiny.contrast) == (255, 0)


def giveaways(folder: Path, change: object = None, kind: str = "png") -> dict[str, bool]:
    found, labels = [], np.arange(60) % 2
    for number, label in enumerate(labels):
        image = noise(number)
        if label and change:
            image = change(image)  # type: ignore[operator]
        suffix = kind if label else "png"
        found.append(look(folder, image, f"{number}.{suffix}"))
    return {e.name: e.clear for e in traits.giveaways(found, labels, np.arange(60))}


def framed(image: Image.Image) -> Image.Image:
    image.paste("black", (0, 0, 40, 2))
    return image


def test_plain_noise_gives_nothing_away(tmp_path: Path) -> None:
    assert not any(giveaways(tmp_path).values())


@pytest.mark.parametrize(
    ("change", "kind", "name"),
    [
        (framed, "png", "the border"),
        (ODD["odd size"], "png", "size"),
        (ODD["bright"], "png", "light"),
        (None, "bmp", "the kind of file"),
    ],
)
def test_what_gives_a_class_away_is_told(
    change: object, kind: str, name: str, tmp_path: Path
) -> None:
    assert giveaways(tmp_path, change, kind)[name]


def test_few_pictures_of_a_class_tell_nothing(tmp_path: Path) -> None:
    one = look(tmp_path, noise(1), "a.png")
    assert traits.giveaways([one] * 8, np.arange(8) % 2, np.arange(8)) == []

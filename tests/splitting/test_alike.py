"""Copies of pictures are found, and others aren't."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from thaw.splitting import alike

Change = Callable[[Image.Image], Image.Image]
COUNT = 30


def scene(number: int) -> Image.Image:
    """Shapes of all sizes, as in a photo."""
    chance = np.random.default_rng(number)
    pixels = np.zeros((240, 300, 3))
    for cells in (3, 6, 12, 24, 48):
        noise = chance.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
        layer = Image.fromarray(noise).resize((300, 240), Image.Resampling.BICUBIC)
        pixels += np.asarray(layer) / 5
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def cut(image: Image.Image, side: float, left: float, top: float) -> Image.Image:
    w, h = image.size
    return image.crop(
        (round(w * left), round(h * top), round(w * (left + side)), round(h * (top + side)))
    )


CHANGES: dict[str, tuple[Change, str]] = {
    "none": (lambda image: image, "the same view"),
    "turned by 90": (lambda image: image.transpose(Image.Transpose.ROTATE_90), "turned by 90"),
    "turned by 180": (lambda image: image.transpose(Image.Transpose.ROTATE_180), "turned by 180"),
    "turned by 3": (lambda image: image.rotate(3, Image.Resampling.BICUBIC), "turned by "),
    "turned by -3": (lambda image: image.rotate(-3, Image.Resampling.BICUBIC), "turned by "),
    "mirrored": (ImageOps.mirror, "mirrored"),
    "flipped": (ImageOps.flip, "mirrored, turned by 180"),
    "transposed": (lambda image: image.transpose(Image.Transpose.TRANSPOSE), "mirrored, turned"),
    "half": (lambda image: image.resize((150, 120)), "the same view"),
    "cropped": (lambda image: cut(image, 0.8, 0.07, 0.15), "0.80 of the side"),
    "cropped and turned": (
        lambda image: cut(image, 0.85, 0.1, 0).transpose(Image.Transpose.ROTATE_270),
        "turned by 90, 0.85 of the side",
    ),
    "JPEG": (lambda image: encoded(image, 30), "the same view"),
    "brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.2), "the same view"),
    "mirrored, cropped, JPEG": (
        lambda image: encoded(cut(ImageOps.mirror(image), 0.9, 0.03, 0.08), 50),
        "mirrored, 0.90 of the side",
    ),
}


def small(images: list[Image.Image]) -> np.ndarray:
    shape = (alike.SIDE, alike.SIDE)
    return np.stack(
        [np.asarray(i.convert("L").resize(shape, Image.Resampling.BILINEAR)) for i in images]
    )


@pytest.fixture(scope="module")
def others() -> list[Image.Image]:
    return [scene(number) for number in range(COUNT)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found(others: list[Image.Image], change: str) -> None:
    make, how = CHANGES[change]
    found = alike.find(small([*others, make(others[7])]))
    assert [(pair.one, pair.other) for pair in found] == [(7, COUNT)]
    assert found[0].similarity >= alike.ALIKE
    said = found[0].how
    # Which is the whole and which the part, and so the words, may be the other way round.
    assert said.startswith(how) or (how.endswith("side") and "of the side" in said), said


def test_others_are_not_copies(others: list[Image.Image]) -> None:
    assert alike.find(small(others)) == []
    assert alike.find(small(others[:1])) == []


def test_pictures_without_anything_to_see_are_no_copies(others: list[Image.Image]) -> None:
    plain = [Image.new("RGB", (50, 50), (shade,) * 3) for shade in (0, 100, 255)]
    assert alike.find(small([*others[:5], *plain])) == []


def test_the_order_of_pictures_does_not_matter(others: list[Image.Image]) -> None:
    images = small([*others, ImageOps.mirror(others[3]), cut(others[9], 0.8, 0.1, 0.1)])
    order = np.random.default_rng(0).permutation(len(images))
    again = {
        tuple(sorted((order[pair.one], order[pair.other]))) for pair in alike.find(images[order])
    }
    assert again == {(3, COUNT), (9, COUNT + 1)}


def test_a_chain_of_pictures_alike_is_given_up(
    others: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = [cut(scene(99), 0.7, 0.01 * step, 0) for step in range(12)]
    images = small([*others, *chain])
    with pytest.raises(alike.TooMuchAlikeError) as caught:
        alike.find(images, largest=6)
    assert 6 <= caught.value.largest <= 12
    monkeypatch.setattr(alike, "_lay", lambda *_: 1 / 0)  # coefficients are enough to tell
    with pytest.raises(alike.TooMuchAlikeError):
        alike.find(images, largest=6)
    monkeypatch.undo()
    assert len(alike.find(images, largest=13)) >= 11


def test_of_many_pictures_whole_copies_are_found(
    others: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alike, "MANY", COUNT)
    looked: list[alike._Part] = []
    coefficients = alike._coefficients
    monkeypatch.setattr(
        alike,
        "_coefficients",
        lambda flat, part: (looked.append(part), coefficients(flat, part))[1],
    )
    images = small([*others, ImageOps.mirror(others[3])])
    assert len(alike._near(images)) > 0
    assert {part.side for part in looked} == {1}
    assert [(pair.one, pair.other) for pair in alike.find(images)] == [(3, COUNT)]

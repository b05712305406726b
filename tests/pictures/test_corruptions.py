"""Corruptions: what each does to pixels, and that strengths go from mild to severe."""

import numpy as np
import pytest

from thaw.pictures import corruptions
from thaw.pictures.corruptions import KINDS, Corruption, corrupted
from thaw.pictures.decoding import Pixels

SIZE = 96
BY_NAME = {kind.name: kind for kind in KINDS}
# A photo's stand-in: slopes, edges and grain, with room to black and white.
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]
GREY = 90 + 40 * np.sin(COLUMNS / 7) + 25 * (ROWS // 12 % 2) + (ROWS * 7 + COLUMNS * 13) % 9
PHOTO = np.stack([GREY, GREY + 10, GREY - 10], axis=-1).astype(np.uint8)


def changed(kind: str, strength: float, pixels: Pixels = PHOTO, seed: int = 1) -> Pixels:
    return corrupted(pixels, BY_NAME[kind], strength, seed, "a.png")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_strength_changes_more_than_the_one_before(kind: Corruption) -> None:
    pixels = np.kron(PHOTO, np.ones((3, 3, 1))).astype(np.uint8)  # as large as the default's
    found = [corrupted(pixels, kind, strength, 1, "a.png") for strength in kind.strengths]
    assert all(each.shape == pixels.shape and each.dtype == np.uint8 for each in found)
    errors = [np.abs(each.astype(float) - pixels).mean() for each in found]
    assert errors[0] > 0.2
    if kind.name in ("shift", "rotation"):  # edges come back a period further
        assert min(errors[2:]) > errors[0]
    else:
        assert errors == sorted(errors)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_same_arguments_give_the_same_bytes_and_a_grey_picture_stays_grey(
    kind: Corruption,
) -> None:
    grey = np.ascontiguousarray(PHOTO[..., :1].repeat(3, axis=-1))
    for strength in kind.strengths:
        found = corrupted(grey, kind, strength, 1, "a.png")
        assert np.array_equal(found, corrupted(grey, kind, strength, 1, "a.png"))
        assert np.array_equal(found[..., 0], found[..., 2])


@pytest.mark.parametrize("kind", ["noise", "shift", "rotation"])
def test_what_is_drawn_depends_on_picture_and_seed(kind: str) -> None:
    own = BY_NAME[kind]
    found = {
        corrupted(PHOTO, own, own.strengths[3], seed, f"{name}").tobytes()
        for seed in (1, 2)
        for name in range(20)
    }
    assert len(found) >= (2 if kind == "rotation" else 40)


def test_noise_has_the_deviation_that_it_says_and_grows_by_scale() -> None:
    flat = np.full((SIZE, SIZE, 3), [128, 120, 125], np.uint8)
    added = {
        level: changed("noise", level, flat).astype(float) - flat
        for level in BY_NAME["noise"].strengths
    }
    assert added[5].std() == pytest.approx(5, rel=0.03)
    assert added[20].std() == pytest.approx(20, rel=0.03)
    assert np.abs(added[20] - 4 * added[5]).max() <= 2.5  # both rounded


def test_blur_shift_and_resolution_are_shares_of_the_side() -> None:
    flat = np.zeros((200, 200, 3), np.uint8)
    flat[100, 100] = 255
    spread = changed("blur", 1.5, flat)[..., 0].astype(float)  # a deviation of 3 pixels
    place = np.arange(200) - 100
    deviation = np.sqrt((spread.sum(axis=1) * place**2).sum() / spread.sum())
    assert deviation == pytest.approx(3, abs=0.5)
    flat[98:103, 98:103] = 255
    moved = np.argwhere(changed("shift", 10, flat)[..., 0] > 128).mean(axis=0)
    assert np.hypot(*(moved - 100)) == pytest.approx(20, abs=0.5)
    steps = np.tile(np.arange(200) % 2 * 255, (200, 1))[..., None].repeat(3, -1).astype(np.uint8)
    assert np.ptp(changed("resolution", 50, steps)) <= 1  # two pixels become one


@pytest.mark.parametrize(
    ("kind", "times"), [("darker", 0.5), ("brighter", 1.25), ("contrast", 0.4)]
)
def test_light_is_multiplied(kind: str, times: float) -> None:
    grey = PHOTO[..., :1].repeat(3, axis=-1)
    found = changed(kind, times, grey).astype(float)
    means = found.mean() / grey.mean(), found.std() / grey.std()
    assert means == pytest.approx((1, times) if kind == "contrast" else (times, times), rel=0.02)


def test_jpeg_of_a_lower_quality_has_its_blocks() -> None:
    found = changed("JPEG", 7).astype(float)
    across = np.abs(np.diff(found[..., 0], axis=1)).mean(axis=0)
    assert across[7::8].mean() > 1.2 * across[3::8].mean()


def test_kinds_are_told_apart() -> None:
    assert len(BY_NAME) == len(corruptions.KINDS) == 9
    assert all(len(set(kind.strengths)) == 5 for kind in KINDS)

"""Views that are moved and recoloured, and the presets. Symmetries and angles: test_decoding.py."""

import dataclasses
import hashlib

import numpy as np
import pytest
import yaml
from PIL import Image

from places import ROOT
from thaw.pictures import presets
from thaw.pictures.augmentation import GREY, Augmentation, affine, recolour, view
from thaw.pictures.decoding import Pixels

OWN = (ROOT / "params.yaml").read_text(encoding="utf-8")
DIGEST = "258b372cfc78a476bda7d1bf748b7817face7f9d4b76057ae5b31446078f1632"
SIZE = 128
# Red tells the column and green the row, two a pixel: from 1 to 255.
ROWS, COLUMNS = (2 * line + 1 for line in np.mgrid[:SIZE, :SIZE])
PLACES = np.stack([COLUMNS, ROWS, np.full_like(ROWS, 100)], axis=-1).astype(np.uint8)
NUMBERS = {"rotation": 0.1, "shift": 0.2, "area": 0.5, "brightness": 0.3, "contrast": 0.3,
           "saturation": 0.3, "noise": 10}  # fmt: skip


def drawing(preset: str = "none", **values: object) -> Augmentation:
    return Augmentation.of({"preset": preset, "views": 8} | values)


def corner(pixels: Pixels) -> tuple[float, float, float]:
    """Left, top and side of what an upright view of PLACES shows, as shares of the picture's side.

    From the middle half, which lies inside wherever the view does.
    """
    quarter = SIZE // 4
    left, right = pixels[SIZE // 2, [quarter, -quarter], 0].astype(float)
    top = float(pixels[quarter, SIZE // 2, 1])
    side = (right - left) / (SIZE - 2 * quarter) / 2
    return left / 2 / SIZE - side / 4, top / 2 / SIZE - side / 4, side


def test_symmetries_are_drawn_as_they_always_were() -> None:
    """Else the default's cache changes: the digest is of before there was anything else."""
    pixels = np.arange(12 * 12 * 3, dtype=np.uint8).reshape(12, 12, 3)
    eight = drawing("symmetric", noise=0)
    drawn = b"".join(view(pixels, eight, index, 1, "a/b.png").tobytes() for index in range(8))
    assert hashlib.sha256(drawn).hexdigest() == DIGEST


@pytest.mark.parametrize(("across", "down"), [(0, 0), (0.25, 0.25), (-0.25, 0.1)])
def test_a_square_is_cut_out_and_scaled_to_the_whole(across: float, down: float) -> None:
    found = np.asarray(affine(PLACES, 0, 0.5, across, down), int)
    left, top = (SIZE * (0.25 + offset) for offset in (across, down))
    box = (left, top, left + SIZE / 2, top + SIZE / 2)
    expected = Image.fromarray(PLACES).resize((SIZE, SIZE), Image.Resampling.BILINEAR, box)
    assert np.abs(found - np.asarray(expected, int)).max() <= 1


@pytest.mark.parametrize("degrees", [0, 30, 45])
@pytest.mark.parametrize("side", [0.2, 1.0])
@pytest.mark.parametrize("offset", [-0.9, 0.0, 0.9])
def test_beyond_the_border_there_is_no_black(degrees: float, side: float, offset: float) -> None:
    bright = np.random.default_rng(1).integers(150, 256, (32, 32, 3), np.uint8)
    assert np.asarray(affine(bright, degrees, side, offset, -offset)).min() >= 149


def test_a_moved_picture_is_reflected_at_its_border() -> None:
    found = np.asarray(affine(PLACES, 0, 1, across=0.25), int)[SIZE // 2, :, 0]
    rest = SIZE * 3 // 4
    np.testing.assert_array_equal(found[:rest], PLACES[0, SIZE - rest :, 0])
    np.testing.assert_array_equal(found[rest:], PLACES[0, : rest - 1 : -1, 0])


def test_views_show_parts_of_all_sizes_that_are_allowed_in_all_places() -> None:
    some = [corner(view(PLACES, drawing(area=0.5), n, 1, "a")) for n in range(200)]
    left, top, side = np.array(some).T
    assert 0.48 < np.min(side**2) < 0.52
    assert 0.96 < np.max(side**2) < 1.03
    for start in (left, top):
        assert start.min() > -0.01
        assert (start + side).max() < 1.01
        assert start.min() < 0.02
        assert start.max() > 0.2
        place = (start / np.maximum(1 - side, 0.01))[side < 0.9]  # 0: at the edge, 1: at the other
        assert 0.4 < place.mean() < 0.6
    assert abs(np.corrcoef(left, top)[0, 1]) < 0.9


def test_views_are_shifted_both_ways_as_far_as_allowed() -> None:
    some = [corner(view(PLACES, drawing(shift=0.2), n, 1, "a")) for n in range(100)]
    left, top, side = np.array(some).T
    assert np.abs(side - 1).max() < 0.02
    for start in (left, top):
        assert -0.21 < start.min() < -0.17
        assert 0.17 < start.max() < 0.21
    assert abs(np.corrcoef(left, top)[0, 1]) < 0.3


@pytest.mark.parametrize(
    "factors", [(1, 1, 1), (1.2, 1, 1), (1, 0.7, 1), (1, 1.3, 1), (1, 1, 0), (0.8, 1.3, 1.4)]
)
def test_colours_follow_the_equation(factors: tuple[float, float, float]) -> None:
    brightness, contrast, saturation = factors
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    found = np.asarray(recolour(Image.fromarray(pixels), *factors))
    grey = (pixels @ np.array(GREY))[..., None]
    coloured = brightness * (grey + saturation * (pixels - grey))
    mean = brightness * grey.mean()
    expected = np.clip(mean + contrast * (coloured - mean), 0, 255)
    np.testing.assert_allclose(found, expected, atol=1)
    if factors == (1, 1, 1):
        np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(("name", "where"), [("brightness", 0), ("contrast", 1), ("saturation", 2)])
def test_colours_change_both_ways_as_far_as_allowed(name: str, where: int) -> None:
    """A picture of two greys and two colours shows the three factors each by itself."""
    pixels = np.full((4, 4, 3), 100, np.uint8)
    pixels[0], pixels[1] = 60, 140
    pixels[2, :2] = [120, 100, 49]  # of the same grey value as 100
    factors = []
    for number in range(100):
        found = view(pixels, drawing(**{name: 0.3}), number, 1, "a").astype(float)
        mean = (found @ np.array(GREY)).mean()
        greys = (found[1, 0, 0] - found[0, 0, 0]) / 80
        colours = (found[2, 0, 0] - found[2, 0, 2]) / 71
        bright = mean / (pixels @ np.array(GREY)).mean()
        factors.append((bright, greys / bright, colours / greys))
    drawn = np.array(factors)
    assert 0.69 < drawn[:, where].min() < 0.73
    assert 1.27 < drawn[:, where].max() < 1.31
    others = np.delete(drawn, where, axis=1)
    assert np.abs(others - 1).max() < 0.06


@pytest.mark.parametrize("name", NUMBERS)
def test_each_number_alone_makes_views_differ(name: str) -> None:
    alone = drawing(views=20, **{name: NUMBERS[name]})
    assert alone.count == 20
    assert drawing(views=20).count == 1
    pixels = np.random.default_rng(1).integers(0, 256, (48, 48, 3), np.uint8)
    keys = [(index, seed, path) for index in range(20) for seed in (1, 2) for path in "ab"]
    found = {view(pixels, alone, *key).tobytes() for key in keys}
    # Of 80, of which every other has no noise; two factors may be so close that they round alike.
    assert len(found) > (40 if name == "noise" else 75)


@pytest.mark.parametrize("grey", [True, False])
def test_noise_is_of_all_deviations_up_to_the_largest_and_grey_stays_grey(grey: bool) -> None:
    flat = np.full((64, 64, 3), [128, 128, 128 if grey else 120], np.uint8)
    views = [view(flat, drawing(noise=10), number, 1, "a").astype(int) for number in range(120)]
    added = [(each - flat) for each in views[::2]]
    deviations = [each.std() for each in added]
    assert min(deviations) < 1
    assert 9 < max(deviations) < 10.5
    assert abs(np.mean(added)) < 0.1
    alike = [
        np.corrcoef(each[..., 0].ravel(), each[..., 2].ravel())[0, 1]
        for each in added
        if each.std() > 1
    ]
    if grey:
        np.testing.assert_allclose(alike, 1)
    else:
        assert np.abs(alike).max() < 0.1


def test_noise_is_cut_off_at_black_and_white_and_never_wraps() -> None:
    ends = np.stack([np.full((64, 64, 3), value, np.uint8) for value in (0, 255)])
    for value, pixels in zip((0, 255), ends, strict=True):
        found = view(pixels, drawing(noise=30), 4, 1, "a").astype(int)
        assert 20 < np.abs(found - value).max() < 150


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_every_other_view_has_noise_and_each_symmetry_by_turns(preset: str) -> None:
    count = len(drawing(preset).symmetries)
    still = {"rotation": 0, "area": 1, "brightness": 0, "contrast": 0, "saturation": 0}
    quiet, noisy = (drawing(preset, **still, noise=noise) for noise in (0, 20))
    first, second = (
        [
            np.array_equal(view(PLACES, quiet, n, 1, "a"), view(PLACES, noisy, n, 1, "a"))
            for n in numbers
        ]
        for numbers in (range(count), range(count, 2 * count))
    )
    assert first == [bool(n % 2) for n in range(count)]
    assert second == [not same for same in first]


def test_noise_leaves_what_the_others_draw_as_it_was() -> None:
    """All but the noise of a view with other changes is the view without it."""
    change = {"brightness": 0.3, "area": 0.5, "rotation": 0.1, "flip": "both"}
    smooth = view(PLACES, drawing(**change), 2, 1, "a").astype(float)
    noisy = view(PLACES, drawing(**change, noise=8), 2, 1, "a").astype(float)
    inside = (smooth > 40) & (smooth < 215)
    assert 0.1 < np.std((noisy - smooth)[inside]) < 8.5
    assert abs(np.mean((noisy - smooth)[inside])) < 0.1


def test_symmetries_begin_with_the_picture_itself() -> None:
    assert drawing("photo", **NUMBERS).symmetries == [(0, False, False), (0, True, False)]
    assert drawing("symmetric").symmetries[0] == (0, False, False)


def test_colours_that_are_drawn_move_nothing() -> None:
    """Turning one number up leaves what the others draw as it was."""
    flat = np.full((8, 8, 3), 100, np.uint8)
    for index in range(8):
        coloured = view(flat, drawing(brightness=0.3), index, 1, "a")
        both = view(flat, drawing(brightness=0.3, area=0.5, rotation=0.1, shift=0.1), index, 1, "a")
        np.testing.assert_array_equal(both, coloured)


def test_a_photos_views_depend_on_their_arguments_alone() -> None:
    def draw(seed: int, name: str, indices: range) -> dict[int, bytes]:
        return {n: view(PLACES, drawing("photo"), n, seed, name).tobytes() for n in indices}

    first = draw(1, "a", range(8))
    assert draw(1, "a", range(7, -1, -1)) == first
    others = [draw(2, "a", range(8)), draw(1, "b", range(8))]
    assert len({*first.values(), *others[0].values(), *others[1].values()}) == 24


def test_a_photo_is_averaged_over_its_mirror_image_alone() -> None:
    assert drawing("photo").symmetries == [(0, False, False), (0, True, False)]


def test_off_is_what_an_augmentation_is_by_itself() -> None:
    plain = Augmentation(8, "none", False, 0.0)
    assert dataclasses.asdict(plain) == presets.OFF | {"views": 8}
    assert not plain.endless


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_a_value_replaces_the_presets(preset: str) -> None:
    assert set(presets.PRESETS[preset]) == set(presets.OFF)
    nothing = dict.fromkeys(presets.OFF) | {"preset": preset, "views": 3}
    assert presets.fill(nothing) == presets.PRESETS[preset] | {"views": 3}
    for name, value in {"quarter_turns": False, "area": 1.0, "flip": "none"}.items():
        found = presets.fill(nothing | {name: value})
        assert found == presets.PRESETS[preset] | {"views": 3, name: value}


def test_params_yaml_shows_the_numbers_of_every_preset() -> None:
    lines = OWN[OWN.index("\naugment:") : OWN.index("\npositive:")].splitlines()
    heading = next(
        number for number, line in enumerate(lines) if line.split("#")[0].strip() == "views: 8"
    )
    assert lines[heading].split()[-3:] == [*presets.PRESETS]
    shown = {line.split(":")[0].strip(): line.split()[-3:] for line in lines[heading + 1 :]}
    for name in presets.OFF:
        values = [preset[name] for preset in presets.PRESETS.values()]
        assert [yaml.safe_load(text) for text in shown[name]] == values

"""Find pictures that are copies of one another: turned, mirrored, scaled, cropped, re-encoded.

Pictures are compared as grey squares of `SIDE` pixels, without coarse light and shade. Their lowest
cosine coefficients, in a form that no mirroring and no quarter turn changes, find for each picture
a few others that it may be a part of. These are laid on each other (Lucas and Kanade 1981, IJCAI),
and the correlation of what they share decides.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from thaw.core.progress import track
from thaw.core.threads import in_threads
from thaw.pictures import decoding

SIDE = decoding.SMALL
ALIKE = 0.9  # correlation from which on two are copies; chosen by benchmarks/near_duplicates.py
LIKELY = 0.5  # correlation of coefficients from which on a pair is laid on each other
HOPELESS = 0.6  # correlation with few pixels, below which more won't help
NEAREST = 6  # others that each picture is compared with
COEFFICIENTS = 10  # along each side
BLOCK = 1024  # pictures that are looked through at once
MANY = 20_000  # pictures, beyond which cropped ones aren't looked for: it would take hours
SHARED = 0.5  # of the area, at least, when one lies on the other
SIDES = (0.55, 1.2)  # of the part that one is of the other
TURNS = (-5.0, 5.0)  # degrees that a whole picture may be turned by, to begin with
STEPS = {SIDE // 2: 12, SIDE: 5}  # of laying one on the other, with so many pixels a side
Array = np.ndarray

_rows, _columns = np.indices((COEFFICIENTS, COEFFICIENTS))
_WEIGHTS = ((_rows**2 + _columns**2) ** 0.25).astype(np.float32)
# Mirroring up and down changes the signs of odd rows, left and right those of odd columns; a
# quarter turn swaps rows and columns besides.
FLIPS = list(itertools.product((0, 1), (0, 1)))  # up, left
_PARITY = np.stack([((_rows % 2 == r) & (_columns % 2 == c)).ravel() for r, c in FLIPS], axis=1)
_SIGNS = np.array([[(-1) ** (r * up + c * left) for up, left in FLIPS] for r, c in FLIPS])


@dataclass(frozen=True)
class Pair:
    """Two pictures that are alike, by their numbers."""

    one: int
    other: int
    similarity: float  # the correlation of what they share, up to 1
    how: str  # what makes one of them of the other


@dataclass(frozen=True)
class _Part:
    """A part of a picture, in shares of its sides, turned by so many degrees."""

    top: float
    left: float
    side: float
    turn: float = 0.0


@dataclass(frozen=True)
class _Guess:
    """Which picture, in which view, may be which part of which other."""

    whole: int
    of: int
    part: int
    view: int
    score: float  # correlation of their coefficients


PARTS = [
    _Part(0, 0, 1),
    *(_Part(0, 0, 1, turn) for turn in TURNS),
    *(
        _Part(float(top), float(left), side)
        for side, steps in ((0.9, 3), (0.8, 5))
        for top in np.linspace(0, 1 - side, steps)
        for left in np.linspace(0, 1 - side, steps)
    ),
]


class TooMuchAlikeError(Exception):
    """So many pictures are alike, each like the next, that copies can't be told from others."""

    def __init__(self, largest: int) -> None:
        super().__init__(f"{largest} pictures, each like the next")
        self.largest = largest


def find(small: Array, largest: int | None = None, threshold: float = ALIKE) -> list[Pair]:
    """All pairs of pictures that are alike, in order of their numbers.

    Args:
        small: (pictures, SIDE, SIDE) uint8, grey.
        largest: the number of pictures, each like the next, from which on to give up.
        threshold: the least correlation.

    Raises:
        TooMuchAlikeError: when there are `largest`.
    """
    if len(small) < 2:
        return []
    likely = _likely(small, np.array(sorted(_near(small))))
    # Where it's hopeless, coefficients tell, before any laying one on the other.
    _refuse_chain([(g.whole, g.of) for g in likely if g.score >= threshold], len(small), largest)

    def work(guess: _Guess) -> Pair | None:
        similarity, how = _lay(small, guess)
        if similarity < threshold:
            return None
        one, other = sorted((guess.whole, guess.of))
        return Pair(one, other, round(similarity, 2), how)

    every = track(in_threads(work, likely), "comparing", len(likely), "pairs")
    found = [pair for pair in every if pair is not None]
    _refuse_chain([(pair.one, pair.other) for pair in found], len(small), largest)
    return found


def _refuse_chain(pairs: list[tuple[int, int]], count: int, largest: int | None) -> None:
    if largest is None or not pairs:
        return
    graph = coo_array((np.ones(len(pairs)), np.array(pairs).T), shape=(count, count))
    together = int(np.bincount(connected_components(graph)[1]).max())
    if together >= largest:
        raise TooMuchAlikeError(together)


def _near(small: Array) -> set[tuple[int, int]]:
    """Pairs of pictures of which one has coefficients as a part of the other has."""
    count = len(small)
    blocks = _blocks(count)
    whole = np.concatenate([_invariants(_coefficients(_flat(small[b]), PARTS[0])) for b in blocks])
    middle = whole.mean(axis=0)
    spread = whole.std(axis=0)
    spread = spread + 0.1 * spread.mean() + 1e-6
    parts = PARTS if count <= MANY else [part for part in PARTS if part.side == 1]
    whole = _unit((whole - middle) / spread)
    value = np.full((count, NEAREST), -1, np.float32)
    index = np.full((count, NEAREST), -1)
    for block in track(blocks, "looking for copies", unit="blocks of pictures"):
        flat = _flat(small[block])
        ours = [_unit((_invariants(_coefficients(flat, part)) - middle) / spread) for part in parts]
        for at in range(0, count, 8 * BLOCK):
            those = whole[at : at + 8 * BLOCK]
            best = those @ ours[0].T
            for each in ours[1:]:
                np.maximum(best, those @ each.T, out=best)
            own = np.arange(max(at, block.start), min(at + len(those), block.stop))
            best[own - at, own - block.start] = -2
            few = min(NEAREST, best.shape[1])
            top = np.argpartition(-best, few - 1, axis=1)[:, :few]
            every = slice(at, at + len(those))
            values = np.hstack([value[every], np.take_along_axis(best, top, 1)])
            order = np.argsort(-values, axis=1, kind="stable")[:, :NEAREST]
            value[every] = np.take_along_axis(values, order, 1)
            index[every] = np.take_along_axis(
                np.hstack([index[every], top + block.start]), order, 1
            )
    return {
        (min(one, other), max(one, other))
        for one, others in enumerate(index.tolist())
        for other in others
        if other not in (-1, one)
    }


def _likely(small: Array, pairs: Array) -> list[_Guess]:
    """The best guess for each pair, both ways round; none where that isn't likely."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    blocks = _blocks(len(small))
    whole = np.concatenate([_coefficients(_flat(small[each]), PARTS[0]) for each in blocks])
    best = np.full(len(both), -1, np.float32)
    part, view = np.zeros(len(both), int), np.zeros(len(both), int)
    sums = _PARITY.astype(np.float32) @ _SIGNS.astype(np.float32)  # (coefficients, flips)
    for block in blocks:
        at = np.flatnonzero((both[:, 1] >= block.start) & (both[:, 1] < block.stop))
        flat = _flat(small[block])
        mine = whole[both[at, 0]]
        views = (mine, np.ascontiguousarray(mine.transpose(0, 2, 1)))
        for number, each in enumerate(PARTS):
            theirs = _coefficients(flat, each)[both[at, 1] - block.start]
            for turned, ours in enumerate(views):
                scores = (ours * theirs).reshape(len(at), -1) @ sums
                flip = scores.argmax(axis=1)
                score = scores[np.arange(len(at)), flip]
                better = score > best[at]
                best[at[better]] = score[better]
                part[at[better]] = number
                view[at[better]] = turned * len(FLIPS) + flip[better]
    half = len(pairs)
    chosen = np.where(best[:half] >= best[half:], np.arange(half), half + np.arange(half))
    return [
        _Guess(int(both[at, 0]), int(both[at, 1]), int(part[at]), int(view[at]), float(best[at]))
        for at in chosen
        if best[at] >= LIKELY
    ]


def _blocks(count: int) -> list[slice]:
    return [slice(at, min(at + BLOCK, count)) for at in range(0, count, BLOCK)]


def _flat(small: Array, side: int = SIDE) -> Array:
    """Without coarse light and shade, and nothing sticking out, (pictures, side, side) float32."""
    pixels = small.astype(np.float32)
    if side != SIDE:
        step = SIDE // side
        pixels = pixels.reshape(len(small), side, step, side, step).mean(axis=(2, 4))
    pixels -= ndimage.gaussian_filter(pixels, (0, side / 8, side / 8))
    pixels /= pixels.std(axis=(1, 2), keepdims=True) + 1
    return np.clip(pixels, -2, 2)


def _coefficients(flat: Array, part: _Part) -> Array:
    """The lowest cosine coefficients of a part, of norm 1, (pictures, rows, columns)."""
    if part.turn:
        flat = ndimage.rotate(flat, part.turn, (1, 2), reshape=False, order=1, mode="nearest")
    down, across = (_waves(start, part.side) for start in (part.top, part.left))
    found = down @ flat @ across.T * _WEIGHTS
    return _unit(found.reshape(len(found), -1)).reshape(found.shape)


def _waves(start: float, side: float) -> Array:
    at = ((np.arange(SIDE) + 0.5) / SIDE - start) / side
    waves = np.cos(np.pi * np.arange(COEFFICIENTS)[:, None] * at) * ((at > 0) & (at < 1))
    return _unit(waves).astype(np.float32)


def _invariants(found: Array) -> Array:
    """What no mirroring and no quarter turn changes of coefficients, (pictures, numbers)."""
    swapped = found.transpose(0, 2, 1)
    even = (_rows % 2 == 0) & (_columns % 2 == 0)
    odd = (_rows % 2 == 1) & (_columns % 2 == 1)
    mixed = (_rows % 2 == 0) & (_columns % 2 == 1)
    above = _rows < _columns
    both, differ = (found + swapped) / math.sqrt(2), (found - swapped) / math.sqrt(2)
    sizes, others = np.abs(found), np.abs(swapped)
    return np.concatenate(
        [
            found[:, even & (_rows == _columns)],
            both[:, even & above],
            np.abs(differ[:, even & above]),
            sizes[:, odd & (_rows == _columns)],
            np.abs(both[:, odd & above]),
            np.abs(differ[:, odd & above]),
            (sizes + others)[:, mixed] / math.sqrt(2),
            np.abs(sizes - others)[:, mixed] / math.sqrt(2),
        ],
        axis=1,
    )


def _unit(rows: Array) -> Array:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6))


def _lay(small: Array, guess: _Guess) -> tuple[float, str]:
    """Lay one picture on a part of the other: the correlation of what they share, and how."""
    part = PARTS[guess.part]
    turned, flip = divmod(guess.view, len(FLIPS))
    # Coordinates run from -1 to 1, down and across; a point of `whole` lies at linear @ it + shift.
    flips = np.diag([(-1.0) ** each for each in FLIPS[flip]])
    angle = math.radians(part.turn)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn @ flips * part.side
    if turned:
        linear = linear @ np.array([[0.0, 1.0], [1.0, 0.0]])
    shift = np.array([2 * part.top + part.side - 1, 2 * part.left + part.side - 1])
    correlation = 0.0
    for side, steps in STEPS.items():
        mine, theirs = (_flat(small[each : each + 1], side)[0] for each in (guess.whole, guess.of))
        correlation, linear, shift = _follow(mine, theirs, linear, shift, steps)
        if correlation < HOPELESS:
            break
    share = math.sqrt(abs(np.linalg.det(linear)))
    if not SIDES[0] <= share <= SIDES[1]:
        return 0.0, ""
    return correlation, _told(linear, share)


def _follow(
    mine: Array, theirs: Array, linear: Array, shift: Array, steps: int
) -> tuple[float, Array, Array]:
    """Move one picture over the other until they fit: Gauss and Newton's method."""
    count = len(mine)
    down, across = (np.indices(mine.shape).reshape(2, -1) + 0.5) * 2 / count - 1
    values = mine.ravel()
    slopes = [each * count / 2 for each in np.gradient(theirs)]
    best = (0.0, linear, shift)
    for step in range(steps + 1):
        places = linear @ np.stack([down, across]) + shift[:, None]
        inside = (np.abs(places) <= 1).all(axis=0)
        if inside.mean() < SHARED:
            break
        at = (places[:, inside] + 1) * count / 2 - 0.5
        seen = ndimage.map_coordinates(theirs, at, order=1, mode="nearest")
        wanted = values[inside]
        correlation = _correlation(seen, wanted)
        if correlation > best[0]:
            best = (correlation, linear, shift)
        if step == steps:
            break
        y, x = down[inside], across[inside]
        dy, dx = (ndimage.map_coordinates(each, at, order=1, mode="nearest") for each in slopes)
        columns = np.stack([dy * y, dy * x, dy, dx * y, dx * x, dx, seen, np.ones_like(seen)])
        found = np.linalg.lstsq(columns @ columns.T, columns @ wanted, rcond=1e-6)[0]
        if found[6] <= 0.05:  # they don't fit here
            break
        change = (found[:6] / found[6]).reshape(2, 3)
        change *= min(1.0, 0.2 / (np.abs(change).max() + 1e-9))
        linear, shift = linear + change[:, :2], shift + change[:, 2]
    return best


def _correlation(one: Array, other: Array) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-6))


def _told(linear: Array, share: float) -> str:
    mirrored = np.linalg.det(linear) < 0
    angle = math.degrees(math.atan2(linear[1, 0], linear[0, 0]))
    turned = round(angle) % 360
    words = [
        "mirrored" if mirrored else "",
        f"turned by {min(turned, 360 - turned)}" if turned else "",
        f"{share:.2f} of the side" if abs(share - 1) > 0.02 else "",
    ]
    return ", ".join(word for word in words if word) or "the same view"

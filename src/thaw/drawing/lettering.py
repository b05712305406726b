"""Names that Matplotlib's own font can't draw, in letters that it can.

A font of the machine would draw them, and give other bytes on another machine.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache

from anyascii import anyascii
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

FONT = "DejaVu Sans"
INVISIBLE = ("Cf", "Mn")  # categories: joiners, marks of form, accents


def legible(names: Sequence[str]) -> dict[str, str]:
    """How to draw each name: as it is, or its number, from 1 on, and a transliteration.

    The number tells 猫 from 貓, which both become Mao.
    """
    return {
        name: name if (drawn := transliterated(name)) == name else f"{number} {drawn}".strip()
        for number, name in enumerate(names, start=1)
    }


def transliterated(text: str) -> str:
    """Replace characters that the font lacks by what they sound like or are called."""
    glyphs = _glyphs()
    drawn = "".join(
        character if ord(character) in glyphs or character.isspace() else _spelt(character)
        for character in text
    )
    return drawn if drawn == text else " ".join(drawn.split())


def _spelt(character: str) -> str:
    if unicodedata.category(character) in INVISIBLE:
        return ""
    return anyascii(character).replace("_", " ").strip(":") or "?"


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(FT2Font(findfont(FONT)).get_charmap())

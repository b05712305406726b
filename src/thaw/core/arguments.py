"""A command's arguments: in any order, and a wrong one is a sentence."""

import argparse
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from thaw.core.errors import ThawError


class Parser(argparse.ArgumentParser):
    """Takes options between other arguments; raises `ThawError` for what it doesn't know."""

    def __init__(self, about: str | None) -> None:
        """`about` is what `--help` shows: the command's docstring."""
        super().__init__(
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def read(self) -> argparse.Namespace:
        """The arguments given on the command line."""
        if "--" in sys.argv:  # which older Pythons lose among intermixed ones
            return self.parse_args()
        return self.parse_intermixed_args()

    def error(self, message: str) -> NoReturn:
        """Argparse's sentence, with where to see what would be right."""
        text = message.removeprefix("argument ")
        text = re.sub(r"^unrecognized arguments: (.*)", r"\1: there is no such option", text)
        text = re.sub(r"^the following arguments are required: (.*)", r"\1 is missing", text)
        raise ThawError(f"{text}; `{self.prog} --help` shows what it takes")


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A type for an option that is a whole number between two, both included."""
    limits = f"from {low}" if high is None else f"from {low} to {high}"

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if number < low or (high is not None and number > high):
            raise argparse.ArgumentTypeError(f"{text}: give a whole number {limits}")
        return number

    return read

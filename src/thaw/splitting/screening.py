"""Look at every picture once before any work: which can't be read, which are identical."""

from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from thaw.core import engines
from thaw.core.errors import ThawError, shortlist
from thaw.core.progress import track
from thaw.files.serialize import write_csv
from thaw.pictures.decoding import (
    BadImageError,
    DarkImageError,
    Examined,
    NoFileError,
    Pixels,
    examine,
)
from thaw.pictures.depths import BitDepth, too_dark


@dataclass(frozen=True)
class Examination:
    """Looks at pictures; one that can't be read gives the error."""

    folder: Path
    bit_depth: BitDepth

    def start(self) -> Callable[[str], Examined | BadImageError]:
        """From a picture's path to what was seen."""

        def work(path: str) -> Examined | BadImageError:
            engines.works_on(str(self.folder / path))
            try:
                return examine(self.folder / path, self.bit_depth)
            except BadImageError as error:
                return error

        return work


def screen(
    pictures: pd.DataFrame,
    folder: Path,
    on_bad_image: str,
    report: Path,
    bit_depth: BitDepth = "file",
    dropped: Container[str] = (),
) -> tuple[dict[str, str], dict[str, str], dict[str, Pixels]]:
    """Decode every picture, and write those that couldn't be read, and why, to `report`.

    Args:
        pictures: with columns path and label.
        folder: what paths are relative to.
        on_bad_image: "fail" or "skip".
        report: the path of a CSV file.
        bit_depth: as for `decoding.read`.
        dropped: paths that may be bad, since they are left out anyway.

    Returns:
        The content hash of each path that could be read, the reason for each that couldn't, and
        the picture of each that could, small and grey, as `decoding.Examined` has it.

    Raises:
        ThawError: listing all bad pictures, unless `on_bad_image` is "skip" or there are none; when
            skipping them would leave nothing of a class; when one can't be opened.
        OSError: when the disk fails, or too many files are open: no picture is bad by that.
        MemoryError: likewise.
    """
    content: dict[str, str] = {}
    bad: dict[str, str] = {}
    small: dict[str, Pixels] = {}
    unreached: list[str] = []
    dark: list[int] = []

    deep: list[int] = []  # the largest values of those of 16 bits
    paths = pictures["path"].tolist()
    examined = engines.spread(Examination(folder, bit_depth), paths)
    progress = track(examined, "checking", len(paths))
    for path, result in zip(paths, progress, strict=True):
        if path in dropped and isinstance(result, BadImageError):
            continue
        if isinstance(result, DarkImageError):
            dark.append(result.largest)
        elif isinstance(result, BadImageError):
            bad[path] = result.reason
            unreached += [path] if isinstance(result, NoFileError) else []
        else:
            content[path] = result.content
            small[path] = result.small
            deep += [] if result.largest is None else [result.largest]
    write_csv(report, ("path", "reason"), bad.items())
    if unreached and on_bad_image == "skip":
        listed = shortlist([f"{path} ({bad[path]})" for path in unreached])
        raise ThawError(
            f"{len(unreached)} of {len(pictures)} pictures in {folder} can't be opened: {listed}; "
            "that says nothing of what they hold, so none is skipped: bring them back with "
            "`dvc repro`, or change their rights"
        )
    if dark:
        _tell_depth(deep, dark, folder, bit_depth)
    if bad:
        listed = shortlist([f"{path} ({reason})" for path, reason in bad.items()], 100)
        sentence = (
            f"{len(bad)} of {len(pictures)} pictures in {folder} can't be read: {listed} "
            f"(all in {report})"
        )
        if on_bad_image == "fail":
            raise ThawError(f"{sentence}; mend or remove them, or set on_bad_image: skip")
        left = pictures["label"][pictures["path"].isin(content)]
        if gone := {*pictures["label"]} - {*left}:
            raise ThawError(
                f"{sentence}; no picture is left of the class {shortlist(sorted(gone))}: "
                "mend some, or remove the class"
            )
        print(f"left out: {sentence}")
    if deep:
        _tell_depth(deep, dark, folder, bit_depth)
    return content, bad, small


def _tell_depth(deep: list[int], dark: list[int], folder: Path, bit_depth: BitDepth) -> None:
    """Say once how pictures of 16 bits are scaled; refuse where that can't be meant.

    Args:
        deep: the largest value of each.
        dark: likewise, of those that would be all but black.
        folder: where they lie.
        bit_depth: as for `decoding.read`.
    """
    count, most = len(deep) + len(dark), max(deep + dark)
    if bit_depth == "file" and 0 < most < 2**14:
        raise ThawError(f"{count} pictures in {folder} have {too_dark(most)}")
    if dark:
        raise ThawError(
            f"{count} pictures in {folder} have 16 bits; {len(dark)} of them have no value above "
            f"{max(dark):,}, others reach {most:,}: set bit_depth in params.yaml to 16 if all are "
            "of one camera, or to data if each is to be scaled by itself"
        )
    how = {
        "file": "all 16 bits count, as the files say nothing else",
        "data": "of each as many bits count as its largest value needs",
    }.get(str(bit_depth), f"{bit_depth} bits count")
    print(f"{count} pictures have 16 bits a channel, up to {most:,}: {how} (bit_depth)")

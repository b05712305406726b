"""Look at every picture once before any work: which can't be read, which are identical."""

from collections.abc import Sequence
from pathlib import Path

from thaw.core.errors import ThawError, shortlist
from thaw.core.progress import track
from thaw.datasets.labels import Labelled
from thaw.files.serialize import write_csv
from thaw.pictures.decoding import BadImageError, content_hash
from thaw.pictures.threads import in_threads


def screen(
    pictures: Sequence[Labelled], folder: Path, on_bad_image: str, report: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Decode every picture, and write those that couldn't be read, and why, to `report`.

    Returns:
        The content hash of each path that could be read, and the reason for each that couldn't.

    Raises:
        ThawError: listing all bad pictures, unless `on_bad_image` is "skip" or there are none; and
            when skipping them would leave nothing of a class.
    """
    content: dict[str, str] = {}
    bad: dict[str, str] = {}

    def work(picture: Labelled) -> str | BadImageError:
        try:
            return content_hash(folder / picture.path)
        except BadImageError as error:
            return error

    found = in_threads(work, pictures)
    progress = track(found, "checking", len(pictures))
    for picture, result in zip(pictures, progress, strict=True):
        if isinstance(result, BadImageError):
            bad[picture.path] = result.reason
        else:
            content[picture.path] = result
    write_csv(report, ("path", "reason"), bad.items())
    if bad:
        listed = shortlist([f"{path} ({reason})" for path, reason in bad.items()], 100)
        sentence = (
            f"{len(bad)} of {len(pictures)} pictures in {folder} can't be read: {listed} "
            f"(all in {report})"
        )
        if on_bad_image == "fail":
            raise ThawError(f"{sentence}; mend or remove them, or set on_bad_image: skip")
        left = {picture.label for picture in pictures if picture.path in content}
        if gone := {picture.label for picture in pictures} - left:
            raise ThawError(
                f"{sentence}; no picture is left of the class {shortlist(sorted(gone))}: "
                "mend some, or remove the class"
            )
        print(f"left out: {sentence}")
    return content, bad

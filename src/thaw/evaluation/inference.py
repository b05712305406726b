"""Classify pictures with an exported model, on ONNX Runtime: TensorFlow isn't imported."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.core import engines
from thaw.core.errors import ThawError, of_the_machine, reason
from thaw.evaluation.deciding import Decision, probabilities
from thaw.pictures import augmentation, decoding, sessions
from thaw.pictures.depths import BitDepth

Array = NDArray[np.float64]
NOWHERE = Path()
UNLIKE = "unlike"  # the output that has the score


@dataclass(frozen=True)
class Result:
    """What was found for one picture, or why it can't be read."""

    path: Path
    probabilities: Array | None  # (classes,)
    reason: str = ""
    decided: int = -1  # the number of the class that the model decides for
    unlike: float | None = None  # how unlike the training pictures it is; about 1 is usual
    doubt: str = ""  # why the model doesn't know; empty where it does
    logits: NDArray[np.float32] | None = None  # (views, 1 or classes)


class Classifier:
    """A model as stage `fine_tune` exports it, with the names of its classes."""

    def __init__(self, path: Path) -> None:
        """Load the model.

        Raises:
            ThawError: when the file is missing or isn't such a model.
        """
        self._path = path
        if not path.is_file():
            raise ThawError(f"{path} is missing; run `dvc repro` (or `dvc pull`), which makes it")
        try:
            self._session = sessions.session(str(path))
            facts = self._session.get_modelmeta().custom_metadata_map
            self.classes: list[str] = json.loads(facts["classes"])
            self.image_size: int = json.loads(facts["image_size"])
            self.resize: str = json.loads(facts["resize"])
            self.bit_depth: BitDepth = json.loads(facts.get("bit_depth", '"file"'))
            self.symmetries: list[tuple[int, bool, bool]] = json.loads(facts["symmetries"])
            self.decision = Decision.of(facts)
            self._outputs = [each.name for each in self._session.get_outputs()]
            self._check()
        except Exception as error:  # ONNX Runtime's errors have no common class
            if of_the_machine(error):
                raise
            raise ThawError(
                f"{path} is no model that Thaw exported ({reason(error)}); give models/model.onnx"
            ) from None

    def __reduce__(self) -> tuple[Any, ...]:  # to a process of a cluster, which opens the file
        return Classifier, (self._path,)

    def _check(self) -> None:
        """Compare what the model says of itself with what it takes and gives."""
        (takes,), (gives, *_) = self._session.get_inputs(), self._session.get_outputs()
        size = self.image_size
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"image_size is {size!r}")
        if takes.type != "tensor(float)" or takes.shape[1:] != [size, size, 3]:
            raise ValueError(f"it takes {takes.shape[1:]}, not pictures of image_size {size}")
        if self.resize not in ("stretch", "crop"):
            raise ValueError(f"resize is {self.resize!r}")
        if self.bit_depth not in ("file", "data", *range(8, 17)):
            raise ValueError(f"bit_depth is {self.bit_depth!r}")
        if not isinstance(self.classes, list) or not all(isinstance(c, str) for c in self.classes):
            raise ValueError("classes is no list of names")
        count = len(set(self.classes))
        if count != len(self.classes) or gives.shape[1:] != [1 if count == 2 else count]:
            raise ValueError(f"it gives {gives.shape[1:]} logits for {self.classes}")
        if not self.symmetries or not all(
            turns in range(4) and isinstance(mirrored, bool) and isinstance(inverted, bool)
            for turns, mirrored, inverted in self.symmetries
        ):
            raise ValueError("symmetries is no list of turns and mirrorings")

    def outputs(self, pixels: NDArray[np.generic]) -> tuple[NDArray[np.float32], ...]:
        """(N, S, S, 3) pixels from 0 to 255 to (N, 1 or classes) logits, and what else it gives."""
        return tuple(sessions.run(self._session, pixels))

    def logits(self, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
        """(N, S, S, 3) pixels from 0 to 255 to (N, 1 or classes) logits."""
        return self.outputs(pixels)[0]

    def views(self, pixels: decoding.Pixels) -> decoding.Pixels:
        """(V, S, S, 3) symmetric views of a picture, over which the model asks for the mean."""
        return np.stack([augmentation.symmetric(pixels, *each) for each in self.symmetries])

    def look(self, path: Path) -> decoding.Pixels:
        """(S, S, 3) of a picture file, as the model takes it.

        Raises:
            BadImageError: when it can't be read.
        """
        return decoding.load(path, self.image_size, self.resize, self.bit_depth)

    def judge(self, pixels: decoding.Pixels, path: Path = NOWHERE) -> Result:
        """What the model says of a picture, (S, S, 3): the mean over its views."""
        logits, *others = self.outputs(self.views(pixels))
        shares = probabilities(logits).mean(axis=0, keepdims=True)
        named = dict(zip(self._outputs[1:], others, strict=True))
        unlike = float(named[UNLIKE].mean()) if UNLIKE in named else None
        decided = int(self.decision.decide(shares)[0])
        doubt = self.decision.doubt(float(shares[0, decided]), unlike)
        return Result(path, shares[0], "", decided, unlike, doubt, logits)

    def classify(self, paths: Iterable[Path]) -> Iterator[Result]:
        """Classify picture files in order; one that can't be read doesn't stop the others."""
        yield from engines.spread(Classification(self), paths)


@dataclass(frozen=True)
class Classification:
    """Classifies picture files; one that can't be read is a result too."""

    model: Classifier

    def start(self) -> Callable[[Path], Result]:
        """From a file's path to what the model says of it."""

        def work(path: Path) -> Result:
            engines.works_on(str(path))
            try:
                pixels = self.model.look(path)
            except decoding.BadImageError as error:
                return Result(path, None, error.reason)
            return self.model.judge(pixels, path)

        return work

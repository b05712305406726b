"""What a training leaves: the model, its learning curves, and what is to be noted of it."""

import thaw.networks.quiet  # noqa: F401

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from thaw.core import gpus
from thaw.core.errors import ThawError
from thaw.features import cache
from thaw.files.serialize import write_bytes, write_csv, write_json
from thaw.networks import extractors
from thaw.networks.onnx_export import to_onnx
from thaw.training import classifiers, devices, loop, saving

IDENTITY = (0, False, False)


@dataclass(frozen=True)
class Results:
    """Where a training's results lie."""

    model: Path  # for Keras
    exported: Path  # for ONNX Runtime, with the features that the head reads
    history: Path  # learning curves, a row an epoch: `loop.HISTORY`, and whether it was taken
    facts: Path  # figures of the epoch that was taken, and numbers of the model
    group: str  # of params.yaml, which holds its learning rate

    def show(self, fitted: loop.Fitted, **more: float | str) -> None:
        """Write `history` and `facts` as far as a training is, for who watches.

        Args:
            fitted: as far as it is.
            more: what to note after the figures of the epoch that is taken.

        Raises:
            ThawError: when a loss is no number any more, from which no training comes back.
        """
        rows, taken = fitted.rows, fitted.taken
        if rows and not all(map(math.isfinite, rows[-1])):
            raise ThawError(
                f"the loss of epoch {len(rows)} is no number; set a smaller "
                f"{self.group}.learning_rate in params.yaml"
            )
        figures = {f"validation_{name}": value for name, value in (fitted.start or {}).items()}
        if taken:
            figures = dict(zip(loop.HISTORY[1:], rows[taken - 1][1:], strict=True))
        marked = [(*row, int(number == taken)) for number, row in enumerate(rows, start=1)]
        write_csv(self.history, (*loop.HISTORY, "taken"), marked)
        noted = more or {"epochs": len(rows)}
        write_json(self.facts, figures | noted | {"taken": taken})

    def write(
        self,
        classifier: keras.Model,
        facts: cache.Facts,
        average_views: bool,
        fitted: loop.Fitted,
        extractor: bytes | None = None,
        **more: float,
    ) -> None:
        """Write everything, when the training has ended.

        Args:
            classifier: the whole model; or its head, on what `extractor` gives.
            facts: what is cached.
            average_views: whether the exported model predicts with the mean over symmetric views.
            fitted: what the training gave.
            extractor: an ONNX file's network, to be exported with its head; None: all is Keras's.
            more: what to note beside the figures of the epoch that was taken.
        """
        saving.save(classifier, self.model)
        averaged: Sequence[tuple[int, bool, bool]] = [IDENTITY]
        if average_views:
            averaged = facts.augmentation.symmetries
        about = {
            "classes": facts.classes,
            "image_size": facts.image_size,
            "resize": facts.resize,
            "bit_depth": facts.bit_depth,
            "symmetries": averaged,
        }
        parameters = classifier.count_params()
        both = classifiers.with_features(classifier)
        if extractor is None:
            write_bytes(self.exported, to_onnx(both, about))
        else:
            write_bytes(self.exported, extractors.join(extractor, both, about))
            parameters += extractors.parameters(extractor)
        trainable = sum(weight.shape.num_elements() for weight in classifier.trainable_weights)
        variables = len(classifier.trainable_weights)
        trained_on = {"gpus": gpus.described()} if devices.those() else {}
        self.show(
            fitted,
            **more,
            epochs=len(fitted.rows),
            parameters=parameters,
            trainable_parameters=trainable,
            trainable_variables=variables,
            **trained_on,
        )
        print(f"{trainable:,} of {parameters:,} parameters trainable, in {variables} variables")

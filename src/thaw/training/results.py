"""What a training leaves: the model, its learning curves, and what is to be noted of it."""

import thaw.networks.quiet  # noqa: F401

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from thaw.core.errors import ThawError
from thaw.features import cache
from thaw.files.serialize import write_bytes, write_csv, write_json
from thaw.networks.onnx_export import to_onnx
from thaw.training import loop, saving

IDENTITY = (0, False, False)


@dataclass(frozen=True)
class Results:
    """Where a training's results lie."""

    model: Path  # for Keras
    exported: Path  # for ONNX Runtime
    history: Path  # learning curves, a row an epoch, the columns of `loop.HISTORY`
    facts: Path  # figures of the last epoch, and numbers of the model
    group: str  # of params.yaml, which holds its learning rate

    def show(self, history: loop.Rows, **more: float) -> None:
        """Write `history` and `facts` as far as a training is, for who watches.

        Args:
            history: a row an epoch so far.
            more: what to note after the figures of the last epoch.

        Raises:
            ThawError: when a loss is no number any more, from which no training comes back.
        """
        last = dict(zip(loop.HISTORY, history[-1], strict=True)) if history else {}
        if not all(map(math.isfinite, last.values())):
            raise ThawError(
                f"the loss of epoch {len(history)} is no number; set a smaller "
                f"{self.group}.learning_rate in params.yaml"
            )
        figures = {column: value for column, value in last.items() if column != "epoch"}
        write_csv(self.history, loop.HISTORY, history)
        write_json(self.facts, figures | (more or {"epochs": len(history)}))

    def write(
        self,
        classifier: keras.Model,
        facts: cache.Facts,
        average_views: bool,
        history: loop.Rows,
        **more: float,
    ) -> None:
        """Write everything, when the training has ended.

        Args:
            classifier: the whole model.
            facts: what is cached.
            average_views: whether the exported model predicts with the mean over symmetric views.
            history: a row an epoch, the columns of `loop.HISTORY`.
            more: what to note beside the figures of the last epoch.
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
        write_bytes(self.exported, to_onnx(classifier, about))
        parameters = classifier.count_params()
        trainable = sum(weight.shape.num_elements() for weight in classifier.trainable_weights)
        variables = len(classifier.trainable_weights)
        self.show(
            history,
            **more,
            epochs=len(history),
            parameters=parameters,
            trainable_parameters=trainable,
            trainable_variables=variables,
        )
        print(f"{trainable:,} of {parameters:,} parameters trainable, in {variables} variables")

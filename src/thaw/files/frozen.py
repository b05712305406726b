"""What `data/frozen.onnx` says of the network in it, as the file's metadata."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class Frozen:
    """What stage `freeze` exported. Each field is an entry of the metadata, a JSON text."""

    base_model: str  # graphs.FOREIGN for an ONNX file
    image_size: int
    boundary: int  # index of the layer to cache; 0, the input, for pixels
    boundary_name: str
    bottleneck: str  # pooled, blocks or full
    feature_layer: str | None  # where the network is cut; None: nowhere

    def metadata(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Self:
        """As `metadata` wrote it.

        Raises:
            KeyError, ValueError: when an entry is missing, or no JSON text.
        """
        return cls(**{field.name: json.loads(metadata[field.name]) for field in fields(cls)})

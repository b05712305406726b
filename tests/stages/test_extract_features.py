"""Stage `extract_features`: the frozen layers that stage `freeze` left."""

from pathlib import Path

import pytest

from helpers import onnx_model
from stages import extract_features
from thaw.core.errors import ThawError


@pytest.mark.parametrize("content", ["missing", "damaged", "another model"])
def test_what_stage_freeze_did_not_write_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "frozen.onnx"
    if content == "damaged":
        path.write_bytes(b"half")
    elif content == "another model":
        onnx_model(path, [[1.0]], image_size=8)
    with pytest.raises(ThawError, match=r"frozen.onnx is not as stage freeze wrote it \(.+\); run"):
        extract_features.load(path)

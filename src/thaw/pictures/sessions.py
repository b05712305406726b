"""ONNX Runtime sessions."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

AT_ONCE = 2  # pictures: more are no faster (docs/build/speed.md), and memory grows with them


def session(model: bytes | str) -> onnxruntime.InferenceSession:
    """A session on the CPU that runs in the thread which calls it.

    Several threads may share it. Each running its own pictures keeps every core busier than all
    of them sharing one batch, and the outputs don't depend on the number of threads.

    Args:
        model: the ONNX model, or its path.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # ONNX Runtime raises errors; don't print them too
    # Without it, ONNX Runtime tries twice to load a bad model, and prints a note.
    return onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], enable_fallback=0
    )


def run(
    session: onnxruntime.InferenceSession, pixels: NDArray[np.generic]
) -> list[NDArray[np.float32]]:
    """What a network gives for (N, S, S, 3) pixels from 0 to 255: each output, (N, ...).

    A network that was exported for one picture at a time gets one at a time.
    """
    source = session.get_inputs()[0]
    step = 1 if isinstance(source.shape[0], int) else AT_ONCE
    parts = [
        session.run(None, {source.name: pixels[start : start + step].astype(np.float32)})
        for start in range(0, len(pixels), step)
    ]
    return (
        parts[0] if len(parts) == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]
    )

"""ONNX Runtime sessions."""

import contextlib
import re
import sys
import threading

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from thaw.core import gpus
from thaw.core.errors import MachineError, of_the_machine

AT_ONCE = 2  # pictures: more are no faster (docs/build/speed.md), and memory grows with them
ON_GPU_AT_ONCE = 32  # where one picture leaves most of it idle
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# An algorithm chosen by rule, where by default cuDNN times all of them and two runs may differ; and
# products in float32, as on the CPU, where by default they are rounded to TensorFloat-32.
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
_one_at_a_time = threading.Lock()  # on a GPU, so that its memory doesn't grow with the threads


def session(model: bytes | str) -> onnxruntime.InferenceSession:
    """A session that runs in the thread which calls it, or on the first GPU.

    On the CPU several threads may share it. Each running its own pictures keeps every core busier
    than all of them sharing one batch, and the outputs don't depend on the number of threads.

    A GPU is used where ONNX Runtime is built for CUDA and CUDA's driver shows one.

    Args:
        model: the ONNX model, or its path.

    Raises:
        MachineError: when there is a GPU and ONNX Runtime can't use it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # ONNX Runtime raises errors; don't print them too
    if CUDA in onnxruntime.get_available_providers() and gpus.names():
        return _on_gpu(model, options)
    # Without it, ONNX Runtime tries twice to load a bad model, and prints a note.
    return onnxruntime.InferenceSession(model, options, providers=[CPU], enable_fallback=0)


def _on_gpu(
    model: bytes | str, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    """A session on the first GPU; operators that CUDA lacks run on the CPU.

    ONNX Runtime itself would go on without the GPU, and say nothing.
    """
    options.use_deterministic_compute = True
    with contextlib.redirect_stdout(sys.stderr):  # where it says which library isn't there
        onnxruntime.preload_dlls()  # those that pip installed
    why, remedy = "CUDA's libraries don't load", "run `make clean venv`"
    try:
        made = onnxruntime.InferenceSession(
            model, options, providers=[(CUDA, CUDA_OPTIONS), CPU], enable_fallback=0
        )
        if CUDA in made.get_providers():
            return made
    except Exception as error:  # ONNX Runtime's errors have no common class
        found = re.search(r"CU[A-Z]+ failure \d+: [^;\n]*[^;\s]", str(error))
        if found is None or of_the_machine(error):  # of the model, or of memory
            raise
        why, remedy = found[0], "NVIDIA's driver must be of version 525 or later"
    raise MachineError(
        f"ONNX Runtime can't use the GPU, {gpus.described()} ({why}); {remedy}, or set "
        "CUDA_VISIBLE_DEVICES=-1 to compute on the CPU"
    )


def on_gpu(session: onnxruntime.InferenceSession) -> bool:
    """Whether a session computes on a GPU."""
    return CUDA in session.get_providers()


def run(
    session: onnxruntime.InferenceSession, pixels: NDArray[np.generic]
) -> list[NDArray[np.float32]]:
    """What a network gives for (N, S, S, 3) pixels from 0 to 255: each output, (N, ...).

    A network that was exported for one picture at a time gets one at a time.
    """
    source = session.get_inputs()[0]
    gpu = on_gpu(session)
    step = 1 if isinstance(source.shape[0], int) else ON_GPU_AT_ONCE if gpu else AT_ONCE
    with _one_at_a_time if gpu else contextlib.nullcontext():
        parts = [
            session.run(None, {source.name: pixels[start : start + step].astype(np.float32)})
            for start in range(0, len(pixels), step)
        ]
    return (
        parts[0] if len(parts) == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]
    )

"""ONNX Runtime sessions."""

import onnxruntime


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

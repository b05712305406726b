"""ONNX Runtime sessions with a fixed, explicit number of threads."""

import onnxruntime

from thaw.cores import available


def session(model: bytes | str, threads: int | None = None) -> onnxruntime.InferenceSession:
    """A session on the CPU; its outputs don't depend on the number of threads.

    Args:
        model: the ONNX model, or its path.
        threads: None for as many as there are cores.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

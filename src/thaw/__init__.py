"""Thaw: freeze a pretrained network, cache what it computes, train a head, thaw, compare."""

import importlib.util
import os
import sys

if importlib.util.find_spec("pydantic") is None:
    sys.exit(
        f"error: {sys.executable} has none of Thaw's packages; run `make venv` once, then "
        "`source .venv/bin/activate`, and try again"
    )

# Before anything imports them: TensorFlow's start-up notes are no news to a person who waits.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What would change results from outside params.yaml doesn't hold here.
os.environ |= {"KERAS_BACKEND": "tensorflow", "MPLBACKEND": "agg", "TF_ENABLE_ONEDNN_OPTS": "1"}
for _name in (
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "TF_SET_ONEDNN_FPMATH_MODE",
    "TF_USE_DEEP_CONV2D",
    "TF_XLA_FLAGS",
):
    os.environ.pop(_name, None)

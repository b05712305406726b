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
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

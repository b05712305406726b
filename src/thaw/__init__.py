"""Thaw: freeze a pretrained network, cache what it computes, train a head, thaw, compare."""

import os

# ONNX Runtime would tell its maker, from its import on, what it runs and where.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

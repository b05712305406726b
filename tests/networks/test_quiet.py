"""`thaw.networks.quiet`: what importing Keras brings along."""

import subprocess
import sys

import pytest

from places import SRC

LATER = """
import os, sys
assert "TF_FORCE_GPU_ALLOW_GROWTH" not in os.environ
import thaw.networks.quiet
assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
heavy = {"matplotlib", "pandas", "scipy", "sklearn"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
import matplotlib, scipy.stats, sklearn.linear_model
from thaw.files import tables
assert scipy.stats.norm.cdf(0) == 0.5
"""
BEFORE = """
from thaw.files import tables
import thaw.networks.quiet, sys
assert not {"matplotlib", "sklearn"} & sys.modules.keys()
import pandas
assert sys.modules["pandas"] is tables.pd is pandas
"""
USED = """
import io
assert tables.read(io.StringIO("a\\n007\\n")).groupby("a").size().to_dict() == {"007": 1}
"""


@pytest.mark.parametrize("script", [LATER, BEFORE], ids=["later", "before"])
def test_what_thaw_does_not_call_is_imported_only_when_asked_for(script: str) -> None:
    subprocess.run(
        [sys.executable, "-c", script + USED],
        env={"PYTHONPATH": str(SRC)},
        check=True,
        timeout=120,
    )

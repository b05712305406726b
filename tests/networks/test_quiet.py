"""`thaw.networks.quiet`: what importing Keras brings along."""

import subprocess
import sys

from places import SRC

SOURCES = SRC


def test_what_thaw_does_not_call_is_imported_only_when_asked_for() -> None:
    script = """
import thaw.networks.quiet, sys
heavy = {"matplotlib", "pandas", "scipy", "sklearn"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
import matplotlib, scipy.stats, sklearn.linear_model
assert scipy.stats.norm.cdf(0) == 0.5
"""
    subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(SOURCES)}, check=True, timeout=120
    )

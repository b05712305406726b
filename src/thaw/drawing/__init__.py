"""Plots and texts of a run.

A notebook's environment may name Matplotlib a backend that isn't there; that is undone first.
"""

import os

os.environ["MPLBACKEND"] = "agg"

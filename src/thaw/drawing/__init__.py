"""Plots and texts of a run. Matplotlib is set first: a notebook's environment names it a backend."""

import os

os.environ["MPLBACKEND"] = "agg"

"""The figures of a run, drawn from its tables alone.

Each function takes one `Trajectory` or several, draws every run and seed apart, never an average, and returns the
`Axes`. With `ax=None` it makes its own figure, which belongs to no window and leaves `rcParams` and the backend
alone; save it with `ax.figure.savefig(...)`.
"""

from __future__ import annotations

from infossl.report._curves import accuracy, curves, loss_terms, method_comparison
from infossl.report._plane import information_plane
from infossl.report._summaries import bounds_figure, overhead
from infossl.report._table import NothingToDraw

__all__ = [
    "NothingToDraw",
    "accuracy",
    "bounds_figure",
    "curves",
    "information_plane",
    "loss_terms",
    "method_comparison",
    "overhead",
]

"""Figures and the report page of a run, from its tables alone.

Importing this package imports no plotting library; the functions that draw do.
"""

from __future__ import annotations

from infossl.report.figures import (
    NothingToDraw,
    accuracy,
    bounds_figure,
    curves,
    information_plane,
    loss_terms,
    method_comparison,
    overhead,
)
from infossl.report.html import write_report

__all__ = [
    "NothingToDraw",
    "accuracy",
    "bounds_figure",
    "curves",
    "information_plane",
    "loss_terms",
    "method_comparison",
    "overhead",
    "write_report",
]

"""Readouts: how much of the labels a simple classifier reads off a representation."""

from __future__ import annotations

from infossl.readouts.knn import knn_accuracy
from infossl.readouts.online import OnlineProbe
from infossl.readouts.ridge import leave_one_out, ridge_accuracy, ridge_weights

__all__ = ["OnlineProbe", "knn_accuracy", "leave_one_out", "ridge_accuracy", "ridge_weights"]

"""Losses on embeddings: pure terms, and one small file per objective."""

from __future__ import annotations

from infossl.objectives.loss import Loss
from infossl.objectives.simclr import SimCLR
from infossl.objectives.terms import check_finite
from infossl.objectives.vicreg import VICReg

__all__ = ["OBJECTIVES", "Loss", "SimCLR", "VICReg", "check_finite"]

OBJECTIVES = {"VICReg": VICReg, "SimCLR": SimCLR}
"""Names for `estimators.parse(text, OBJECTIVES)`."""

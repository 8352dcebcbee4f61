"""Backbones and heads: plain modules that know of no loss and no monitor."""

from __future__ import annotations

from infossl.models.conv import ConvEncoder, conv_block
from infossl.models.projector import projector

__all__ = ["ConvEncoder", "conv_block", "projector"]

"""Backbones and heads: plain modules that know of no loss and no monitor.

An encoder is any module from images to h `(N, d)`. Where it has `dim` (the d) and `blocks` (a sequence of modules), builders and
recorders find them.
"""

from __future__ import annotations

from infossl.models.conv import ConvEncoder, conv_block
from infossl.models.jepa_predictor import TokenPredictor
from infossl.models.positions import sincos_positions
from infossl.models.predictor import predictor
from infossl.models.projector import projector
from infossl.models.prototypes import Prototypes
from infossl.models.resnet import ResNet, resnet18, resnet50
from infossl.models.seeded import seeded
from infossl.models.transformer import Attention, Block
from infossl.models.vit import VIT_SIZES, VisionTransformer, gather_tokens, vit

__all__ = [
    "VIT_SIZES",
    "Attention",
    "Block",
    "ConvEncoder",
    "Prototypes",
    "ResNet",
    "TokenPredictor",
    "VisionTransformer",
    "conv_block",
    "gather_tokens",
    "predictor",
    "projector",
    "resnet18",
    "resnet50",
    "seeded",
    "sincos_positions",
    "vit",
]

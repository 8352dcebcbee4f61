"""What is trained.

A method is a module with `training_step(v1, v2) -> Outputs`. Where it has `after_step(step, steps)`, a training loop calls that
after each optimizer step: `step` of `steps` are done then. A method keeps what it needs to go on in parameters and buffers.
"""

from __future__ import annotations

from infossl.methods.build import build
from infossl.methods.clustering import CentredDistillation, Clustering
from infossl.methods.ema import ema_update, target_of
from infossl.methods.ijepa import IJEPA, BlockL2, SmoothL1, ijepa
from infossl.methods.joint_embedding import JointEmbedding, joint_embedding
from infossl.methods.outputs import Outputs
from infossl.methods.ramps import RAMPS, CosineRamp, LinearRamp, Ramp
from infossl.methods.self_distillation import SelfDistillation, self_distillation
from infossl.methods.sketched import SketchedEmbedding

__all__ = [
    "IJEPA",
    "RAMPS",
    "BlockL2",
    "CentredDistillation",
    "Clustering",
    "CosineRamp",
    "JointEmbedding",
    "LinearRamp",
    "Outputs",
    "Ramp",
    "SelfDistillation",
    "SketchedEmbedding",
    "SmoothL1",
    "build",
    "ema_update",
    "ijepa",
    "joint_embedding",
    "self_distillation",
    "target_of",
]

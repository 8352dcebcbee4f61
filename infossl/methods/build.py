"""The method that an objective asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from infossl.methods.clustering import CentredDistillation, Clustering
from infossl.methods.joint_embedding import JointEmbedding
from infossl.methods.outputs import dim_of
from infossl.methods.ramps import CosineRamp
from infossl.methods.self_distillation import SelfDistillation
from infossl.methods.sketched import SketchedEmbedding
from infossl.models import ConvEncoder, Prototypes, predictor, projector, seeded
from infossl.objectives import Objective, SimSiam
from infossl.objectives.inputs import (
    EMBEDDINGS_AND_DIRECTIONS,
    PREDICTION_AND_TARGET,
    STUDENT_TEACHER_CENTRE,
    TWO_EMBEDDINGS,
    TWO_SCORES,
)

__all__ = ["build"]


def build(
    objective: Objective,
    *,
    encoder: nn.Module | None = None,
    channels: Sequence[int] = (32, 64, 128),
    strides: Sequence[int] | None = None,
    in_channels: int = 1,
    hidden: Sequence[int] = (256, 256),
    predictor_hidden: int = 128,
    prototypes: int = 128,
    seed: int = 0,
    **settings: Any,
) -> nn.Module:
    """The method for an objective, initialised from the seed alone.

    =============================== =====================================================================
    `objective.inputs`              method
    =============================== =====================================================================
    "two embeddings", or none       `JointEmbedding`
    "two embeddings and directions" `SketchedEmbedding`
    "prediction and target"         `SelfDistillation`, for `SimSiam` without momentum, else with BYOL's
    "two prototype scores"          `Clustering`
    "student, teacher and centre"   `CentredDistillation`, with a projector without batch normalisation
    =============================== =====================================================================

    Arguments:
        objective: such as `VICReg()` or `BYOL()`.
        encoder: a module with `dim`; by default a `ConvEncoder` of `channels`, `strides` and `in_channels`.
        hidden: dimensions of the projector after h; the last is the dimension of z.
        predictor_hidden: hidden dimension of the predictor, where there is one; `prototypes`: their number, likewise.
        seed: of the initial weights.
        settings: further arguments of the method, such as `momentum`.

    Raises:
        ValueError: for an objective with other inputs.
        TypeError: for a setting that the method does not have.

    Example:
        >>> from infossl.objectives import BYOL, VICReg
        >>> [type(build(o, channels=(4, 8), hidden=(8, 8))).__name__ for o in (VICReg(), BYOL())]
        ['JointEmbedding', 'SelfDistillation']
    """
    inputs = getattr(objective, "inputs", TWO_EMBEDDINGS)
    with seeded(seed):
        encoder = ConvEncoder(channels, in_channels, strides) if encoder is None else encoder
        dims = (dim_of(encoder), *hidden)
        if inputs == TWO_EMBEDDINGS:
            return JointEmbedding(encoder, projector(dims), objective, **settings)
        if inputs == EMBEDDINGS_AND_DIRECTIONS:
            return SketchedEmbedding(encoder, projector(dims), objective, **{"seed": seed, **settings})
        if inputs == PREDICTION_AND_TARGET:
            momentum = None if isinstance(objective, SimSiam) else CosineRamp(0.996, 1.0)
            heads = projector(dims), predictor(dims[-1], predictor_hidden)
            return SelfDistillation(encoder, *heads, objective, **{"momentum": momentum, **settings})
        if inputs == TWO_SCORES:
            return Clustering(
                encoder, projector(dims), Prototypes(dims[-1], prototypes), objective, **settings
            )
        if inputs == STUDENT_TEACHER_CENTRE:
            head = projector(dims, norm=False)
            return CentredDistillation(encoder, head, Prototypes(dims[-1], prototypes), objective, **settings)
    raise ValueError(
        f"{objective!r} takes {inputs}, for which there is no method here; call its method's class"
    )

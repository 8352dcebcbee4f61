"""Settings of each method as typed data, by the name of the method: what `--method` takes and a recipe holds.

`parse("SelfDistillation(predictor_hidden=None, momentum=None)", METHODS)` gives the settings; `choose` finds those that an
objective asks for, and refuses what does not fit before any work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import nn

from estimators import parse
from infossl import methods
from infossl.methods import RAMPS, BlockL2, CosineRamp, LinearRamp, Ramp, SmoothL1
from infossl.models import ConvEncoder, Prototypes, predictor, projector, seeded
from infossl.objectives import BYOL, DINO, OBJECTIVES, SIGReg, SimSiam, SwAV, VICReg
from infossl.objectives.inputs import (
    CALLS,
    EMBEDDINGS_AND_DIRECTIONS,
    PREDICTION_AND_TARGET,
    STUDENT_TEACHER_CENTRE,
    TWO_EMBEDDINGS,
    TWO_SCORES,
)

__all__ = [
    "ALL_OBJECTIVES",
    "IJEPA",
    "METHODS",
    "Backbone",
    "CentredDistillation",
    "Clustering",
    "JointEmbedding",
    "SelfDistillation",
    "Settings",
    "SketchedEmbedding",
    "choose",
]

_TOKENS = "predicted and target tokens"


class Backbone(NamedTuple):
    """What the data and a recipe say of the networks: shape of a view, the convolutional encoder, the projector."""

    shape: tuple[int, int, int]
    channels: Sequence[int]
    strides: Sequence[int] | None
    hidden: Sequence[int]

    def encoder(self) -> ConvEncoder:
        return ConvEncoder(self.channels, self.shape[0], self.strides)


class Settings(Protocol):
    """Settings of a method: what its objectives are called with, its default objective, and how it is built."""

    inputs: ClassVar[str]
    default: ClassVar[Callable[[], Any]]

    def build(self, objective: Any, backbone: Backbone, seed: int) -> nn.Module: ...


@dataclass(frozen=True, kw_only=True)
class JointEmbedding:
    """One encoder and projector see both views; the objective compares their embeddings (VICReg, SimCLR, ...)."""

    inputs: ClassVar[str] = TWO_EMBEDDINGS
    default: ClassVar[Callable[[], Any]] = VICReg

    def build(self, objective: Any, backbone: Backbone, seed: int) -> nn.Module:
        with seeded(seed):
            encoder = backbone.encoder()
            return methods.JointEmbedding(encoder, projector((encoder.dim, *backbone.hidden)), objective)


@dataclass(frozen=True, kw_only=True)
class SketchedEmbedding:
    """Joint embedding whose objective also gets random directions, drawn anew for every step (SIGReg)."""

    inputs: ClassVar[str] = EMBEDDINGS_AND_DIRECTIONS
    default: ClassVar[Callable[[], Any]] = SIGReg

    directions: int = 256

    def build(self, objective: Any, backbone: Backbone, seed: int) -> nn.Module:
        with seeded(seed):
            encoder = backbone.encoder()
            head = projector((encoder.dim, *backbone.hidden))
        return methods.SketchedEmbedding(encoder, head, objective, directions=self.directions, seed=seed)


@dataclass(frozen=True, kw_only=True)
class SelfDistillation:
    """A student with a predictor follows a target: its running average (BYOL), or itself without gradient (SimSiam).

    Arguments:
        predictor_hidden: hidden dimension of the predictor; `None` leaves it out, and the method collapses.
        momentum: of the target, such as `CosineRamp(0.99, 1.0)`; `None` for SimSiam; `"auto"` as the objective has it.
        stop_gradient: targets are constants; `False` needs an objective of two embeddings, such as `Invariance()`.
        last_norm: normalise the projector's output, as SimSiam does.
    """

    inputs: ClassVar[str] = PREDICTION_AND_TARGET
    default: ClassVar[Callable[[], Any]] = BYOL

    predictor_hidden: int | None = 128
    momentum: Ramp | str | None = "auto"
    stop_gradient: bool = True
    last_norm: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.momentum, str) and self.momentum != "auto":
            raise ValueError(
                f"momentum = {self.momentum!r} must be None, 'auto' or a ramp such as CosineRamp(0.99, 1.0)"
            )

    def build(self, objective: Any, backbone: Backbone, seed: int) -> nn.Module:
        momentum = self.momentum
        if isinstance(momentum, str):
            own = isinstance(objective, SimSiam) or not self.stop_gradient
            momentum = None if own else CosineRamp(0.996, 1.0)
        with seeded(seed):
            encoder = backbone.encoder()
            head = projector((encoder.dim, *backbone.hidden), last_norm=self.last_norm)
            width = self.predictor_hidden
            guess = None if width is None else predictor(backbone.hidden[-1], width)
        return methods.SelfDistillation(
            encoder, head, guess, objective, momentum=momentum, stop_gradient=self.stop_gradient
        )


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Each view predicts the prototype assignment of the other, balanced over the batch (SwAV).

    Arguments:
        prototypes: their number.
        freeze: steps before they learn.
    """

    inputs: ClassVar[str] = TWO_SCORES
    default: ClassVar[Callable[[], Any]] = SwAV

    prototypes: int = 128
    freeze: int = 0

    def build(self, objective: Any, backbone: Backbone, seed: int) -> nn.Module:
        with seeded(seed):
            encoder = backbone.encoder()
            head = projector((encoder.dim, *backbone.hidden))
            heads = head, Prototypes(backbone.hidden[-1], self.prototypes)
        return methods.Clustering(encoder, *heads, objective, freeze=self.freeze)


@dataclass(frozen=True, kw_only=True)
class CentredDistillation:
    """A student predicts the centred, sharpened prototype distribution of its running average (DINO).

    Arguments:
        prototypes: their number; `freeze`: steps before they learn.
        momentum: of the teacher; `centre_momentum`: of the centre.
    """

    inputs: ClassVar[str] = STUDENT_TEACHER_CENTRE
    default: ClassVar[Callable[[], Any]] = DINO

    prototypes: int = 128
    momentum: Ramp = CosineRamp(0.996, 1.0)  # noqa: RUF009 - frozen
    centre_momentum: float = 0.9
    freeze: int = 0

    def build(self, objective: Any, backbone: Backbone, seed: int) -> nn.Module:
        with seeded(seed):
            encoder = backbone.encoder()
            head = projector((encoder.dim, *backbone.hidden), norm=False)
            heads = head, Prototypes(backbone.hidden[-1], self.prototypes)
        return methods.CentredDistillation(
            encoder,
            *heads,
            objective,
            momentum=self.momentum,
            centre_momentum=self.centre_momentum,
            freeze=self.freeze,
        )


@dataclass(frozen=True, kw_only=True)
class IJEPA:
    """A vision transformer predicts its running average's tokens of masked blocks (I-JEPA); no channels or projector.

    Arguments:
        patch: side of a patch in pixels; `width`, `depth` and `heads` of the encoder, and of the predictor.
        momentum: of the target encoder; `None` makes the encoder its own target.
        normalise: normalise targets over features.
        stop_gradient: targets are constants; `False` needs `momentum=None`, and the method collapses.
    """

    inputs: ClassVar[str] = _TOKENS
    default: ClassVar[Callable[[], Any]] = SmoothL1

    patch: int = 2
    width: int = 64
    depth: int = 3
    heads: int = 4
    predictor_width: int = 48
    predictor_depth: int = 2
    momentum: Ramp | None = LinearRamp(0.996, 1.0)  # noqa: RUF009 - frozen
    normalise: bool = True
    stop_gradient: bool = True

    def build(self, objective: Any, backbone: Backbone, seed: int) -> nn.Module:
        channels, *size = backbone.shape
        if any(side % self.patch for side in size):
            fitting = [p for p in range(1, min(size) // 2 + 1) if not any(side % p for side in size)]
            raise ValueError(
                f"patch = {self.patch} does not divide views of {size[0]}x{size[1]}; use {' or '.join(map(str, fitting))}"
            )
        settings = {f.name: getattr(self, f.name) for f in fields(self)}
        return methods.ijepa(
            (size[0], size[1]), in_channels=channels, objective=objective, seed=seed, **settings
        )


METHODS: dict[str, Callable[..., Any]] = {
    "JointEmbedding": JointEmbedding,
    "SketchedEmbedding": SketchedEmbedding,
    "SelfDistillation": SelfDistillation,
    "Clustering": Clustering,
    "CentredDistillation": CentredDistillation,
    "IJEPA": IJEPA,
}
"""Settings by the name of the method; with `RAMPS`, names for `estimators.parse`."""

ALL_OBJECTIVES: dict[str, Callable[..., Any]] = {**OBJECTIVES, "SmoothL1": SmoothL1, "BlockL2": BlockL2}
"""The objectives of embeddings and those of tokens, by name."""


def choose(objective: str | None = None, method: str | None = None) -> tuple[Any, Settings]:
    """The objective and the method's settings that two texts name; either fills in the other.

    Raises:
        ValueError: for unknown names, and for an objective that the method cannot call; says what fits.

    Example:
        >>> choose("SimSiam()")[1]
        SelfDistillation(predictor_hidden=128, momentum='auto', stop_gradient=True, last_norm=False)
        >>> choose(method="Clustering(prototypes=64)")[0]
        SwAV(temperature=0.1, eps=0.05, iterations=3)
        >>> choose("VICReg()", "IJEPA()")
        Traceback (most recent call last):
        ...
        ValueError: VICReg takes two embeddings, but IJEPA gives it predicted and target tokens; use one of SmoothL1, BlockL2 as
        the objective, or the method JointEmbedding
    """
    names = {**METHODS, **RAMPS}
    settings = None if method is None else parse(method, names)
    if settings is not None and type(settings) not in METHODS.values():
        raise ValueError(f"method = {method!r} is no method; known: {', '.join(METHODS)}")
    if objective is None:
        return (VICReg() if settings is None else settings.default()), settings or JointEmbedding()
    chosen = parse(objective, ALL_OBJECTIVES)
    if not callable(chosen):
        raise ValueError(f"objective = {objective!r} is no objective; known: {', '.join(ALL_OBJECTIVES)}")
    fitting = next((m for m in METHODS.values() if m.inputs == inputs_of(chosen)), None)  # type: ignore[attr-defined]
    if fitting is None:
        raise ValueError(f"{chosen!r} takes {inputs_of(chosen)}, for which there is no method here")
    if settings is None:
        return chosen, fitting()
    accepted = [settings.inputs]
    if isinstance(settings, SelfDistillation):
        # The same rule as the method's: those of a prediction and a target stop the gradient themselves.
        accepted = [PREDICTION_AND_TARGET, TWO_EMBEDDINGS] if settings.stop_gradient else [TWO_EMBEDDINGS]
    if inputs_of(chosen) not in accepted:
        fits = [name for name, o in ALL_OBJECTIVES.items() if inputs_of(o()) in accepted]
        raise ValueError(
            f"{type(chosen).__name__} takes {inputs_of(chosen)}, but {type(settings).__name__} gives it "
            f"{' or '.join(accepted)}; use one of {', '.join(fits)} as the objective, or the method {fitting.__name__}"
        )
    return chosen, settings


def inputs_of(objective: Any) -> str:
    """What an objective is called with: a key of `CALLS`, or tokens for those of I-JEPA."""
    inputs = (
        _TOKENS
        if isinstance(objective, (SmoothL1, BlockL2))
        else getattr(objective, "inputs", TWO_EMBEDDINGS)
    )
    return inputs if inputs in CALLS or inputs == _TOKENS else str(inputs)

"""From samples to an `Estimate` by anything that trains on a three-way split: settings, guards and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from estimators._result import Bound, Estimate
from estimators._samples import diagnostics, paired, repeated_rows
from estimators.protocols import Array

if TYPE_CHECKING:
    from torch import Tensor

    from estimators._training import Parts

__all__ = [
    "DensitySettings",
    "Scores",
    "TrainingSettings",
    "check_training",
    "estimate",
    "report",
    "training_options",
]

_EVERY = 20  # steps between validations
_DECAY = 0.98  # of the running mean of the weights
_REPEATS = 0.02  # share of repeated pairs above which test scores are partly scores on training pairs
_EFFECTIVE = 100  # effective weights of unmatched pairs below which a few pairs make the value


class TrainingSettings(Protocol):
    """Settings of everything that trains."""

    @property
    def hidden(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def lr(self) -> float: ...
    @property
    def patience(self) -> int: ...
    @property
    def penalty(self) -> float: ...
    @property
    def seeds(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def validation(self) -> float: ...
    @property
    def test(self) -> float: ...
    @property
    def progress(self) -> bool: ...


class DensitySettings(TrainingSettings, Protocol):
    """Settings of an estimator with a conditional density."""

    @property
    def covariance(self) -> str: ...
    @property
    def components(self) -> int: ...


def check_training(settings: TrainingSettings) -> None:
    """Raises `ValueError` for settings that no training can have."""
    for name in ("hidden", "layers", "steps", "patience", "seeds"):
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} = {getattr(settings, name)} must be at least 1")
    if settings.batch < 2:
        raise ValueError(f"batch = {settings.batch} must be at least 2: the other samples are the negatives")
    if not settings.lr > 0 or not settings.penalty >= 0:
        raise ValueError(f"lr = {settings.lr} must be positive and penalty = {settings.penalty} not negative")
    if not (settings.validation > 0 and settings.test > 0 and settings.validation + settings.test < 1):
        raise ValueError(
            f"validation = {settings.validation} and test = {settings.test} must be positive shares that leave "
            "a part for training: validation + test < 1"
        )


def training_options(settings: TrainingSettings, n_train: int, dimension: float) -> dict[str, Any]:
    """Keywords of `_training.train`; `dimension` is what `penalty` is measured in."""
    from estimators._training import seeds_of

    return {
        "seeds": seeds_of(settings.seed, settings.seeds),
        "batch": settings.batch,
        "steps": settings.steps,
        "every": _EVERY,
        "patience": settings.patience,
        "lr": settings.lr,
        # A step that shrinks by more than a half would be no training.
        "shrink": min(settings.penalty * dimension / n_train, 0.5 / settings.lr),
        "decay": _DECAY,
        "progress": settings.progress,
    }


@dataclass(frozen=True)
class Scores:
    """What one fit leaves behind, one entry for each training."""

    validation: np.ndarray
    train: np.ndarray
    test: np.ndarray
    influence: np.ndarray  # (S, n_test)
    effective: np.ndarray | None
    ceiling: float | None
    margin: float
    steps: int
    converged: bool
    flags: tuple[str, ...] = ()
    extra: Mapping[str, np.ndarray] = field(
        default_factory=dict
    )  # more numbers for the diagnostics, `(S,)` each


def estimate(
    settings: TrainingSettings,
    fit: Callable[[Tensor, Tensor, Parts], Scores],
    x: Array,
    y: Array,
    direction: Bound,
) -> Estimate:
    """Splits the samples, fits and reports.

    Arguments:
        settings: shares of the split, seed.
        fit: of float64 columns `(n, dx)` and `(n, dy)`, labels one-hot, and the parts.
        x: first variable.
        y: second variable.
        direction: of the value in expectation.
    """
    import torch

    from estimators import _training as T

    with T.isolated(T.device_type(x, y)):
        (x, dropped_x), (y, dropped_y) = T.variable(x, "x"), T.variable(y, "y")
        paired(x, y)
        parts = T.split(x.shape[0], validation=settings.validation, test=settings.test, seed=settings.seed)
        repeats = repeated_rows(torch.cat([x, y], 1).cpu().numpy())
        scores = fit(x, y, parts)
    found = report(settings, x.shape[0], dropped_x + dropped_y, parts, scores, direction)
    return found if repeats <= _REPEATS * x.shape[0] else replace(found, flags=(*found.flags, "duplicates"))


def report(
    settings: TrainingSettings,
    n: int,
    dropped: int,
    parts: tuple[np.ndarray, ...],
    scores: Scores,
    direction: Bound,
) -> Estimate:
    """The estimate over the trainings that count, with its flags."""
    from estimators._training import kept, pooled

    keep = kept(scores.validation) & np.isfinite(scores.test)
    if not keep.any():
        raise ValueError(f"all {len(keep)} trainings diverged with lr = {settings.lr}; use a smaller lr")
    train = float(scores.train[keep].mean())
    value, stderr, spread = pooled(scores.test[keep], scores.influence[keep])
    effective = None if scores.effective is None else float(scores.effective[keep].min())
    raised = {
        "constant-columns": dropped > 0,
        "saturated": scores.ceiling is not None and value > scores.ceiling - scores.margin,
        "overfit": train - value > 0.1 + 4 * stderr,
        "failed-seeds": not keep.all(),
        "low-effective-sample": effective is not None and effective < _EFFECTIVE,
        "not-converged": not scores.converged,
    }
    return Estimate(
        value=value,
        quantity="I(X;Y)",
        n=n,
        method=repr(settings),
        bound=direction,
        stderr=stderr,
        ceiling=scores.ceiling,
        flags=(*(flag for flag, on in raised.items() if on), *scores.flags),
        diagnostics=diagnostics(
            train=train,
            validation=scores.validation[keep].mean(),
            test=value,
            spread=spread,
            effective_sample=effective,
            failed=int((~keep).sum()),
            steps=scores.steps,
            dropped=dropped,
            n_train=len(parts[0]),
            n_validation=len(parts[1]),
            n_test=len(parts[2]),
            **{key: values[keep].mean() for key, values in scores.extra.items()},
        ),
    )

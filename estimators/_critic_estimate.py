"""Trains a critic and values it with any of the bounds."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from estimators._result import Bound, Estimate
from estimators._trained import Scores, TrainingSettings, check_training, estimate, training_options
from estimators.protocols import Array

if TYPE_CHECKING:
    from torch import Tensor

    from estimators._training import Parts

__all__ = ["check_critic", "critic_estimate"]

_JOINT_TRAIN_ROWS = 500  # a joint critic is scored on this many training samples, as the cost is quadratic


class CriticSettings(TrainingSettings, Protocol):
    """Settings of an estimator with a critic."""

    @property
    def critic(self) -> str: ...
    @property
    def embed(self) -> int: ...


def check_critic(settings: CriticSettings) -> None:
    """Raises `ValueError` for settings that no critic can have."""
    if settings.critic not in ("separable", "joint", "bilinear"):
        raise ValueError(f"critic must be 'separable', 'joint' or 'bilinear', got {settings.critic!r}")
    if settings.embed < 1:
        raise ValueError(f"embed = {settings.embed} must be at least 1")
    check_training(settings)


def critic_estimate(
    settings: CriticSettings,
    name: str,
    x: Array,
    y: Array,
    *,
    direction: Bound = "lower",
    tau: float = math.inf,
) -> Estimate:
    """Trains the critic of `settings` and values it.

    Arguments:
        settings: architecture and training.
        name: a key of `_critic_bounds.BOUNDS`.
        x: first variable.
        y: second variable.
        direction: of the value in expectation.
        tau: at which SMILE clips.
    """
    return estimate(settings, partial(_fit, settings, name, tau), x, y, direction)


def _fit(settings: CriticSettings, name: str, tau: float, x: Tensor, y: Tensor, parts: Parts) -> Scores:
    import torch

    from estimators import _critic_bounds as B
    from estimators import _training as T
    from estimators._critics import Critic

    x, y = T.scaled(x, parts.train), T.scaled(y, parts.train)
    train, validation, test = (torch.as_tensor(part, device=x.device) for part in parts)
    critic = Critic(settings.critic, x.shape[1], y.shape[1], settings.hidden, settings.layers, settings.embed)
    bound = B.BOUNDS[name](
        critic,
        B.Samples(x[validation], y[validation]),
        n_test=len(test),
        batch=settings.batch,
        seed=settings.seed,
        tau=tau,
    )
    fit = T.train(
        bound.initial,
        bound.objective,
        bound.validate,
        (x[train], y[train]),
        **training_options(settings, len(train), (x.shape[1] + y.shape[1]) / 2),
    )
    costly = settings.critic == "joint" and bound.quadratic
    rows = train[: min(len(test), _JOINT_TRAIN_ROWS) if costly else len(test)]
    with torch.no_grad():
        on_test = bound.score(fit.flat, B.Samples(x[test], y[test]))
        on_train = bound.score(fit.flat, B.Samples(x[rows], y[rows]))
    return Scores(
        validation=np.asarray(fit.validation),
        train=on_train.value.cpu().numpy(),
        test=on_test.value.cpu().numpy(),
        influence=on_test.influence.cpu().numpy(),
        effective=None if on_test.effective is None else on_test.effective.cpu().numpy(),
        ceiling=bound.ceiling,
        margin=bound.margin,
        steps=fit.steps,
        converged=fit.converged,
    )

"""Linear readout in closed form: ridge regression on one-hot labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from infossl.readouts.accuracy import Accuracy
from infossl.readouts.protocols import scored

__all__ = ["GRID", "RidgeReadout", "leave_one_out", "ridge_accuracy", "ridge_weights"]

GRID = tuple(10.0**e for e in range(-5, 3))
"""Penalties that leave-one-out chooses from, relative to the mean variance of the features."""


def ridge_weights(z: Tensor, targets: Tensor, l2: float) -> tuple[Tensor, Tensor]:
    r"""Weights and offset of \(\min_{W, b} \frac{1}{n} \|z W + b - t\|^2 + \lambda \|W\|^2\).

    \(\lambda = l2 \cdot \frac{1}{d} \sum_j \mathrm{Var}(z_j)\), so that predictions do not change
    when all features are multiplied by one number. Solved in the smaller of the two dimensions.

    Shapes:
        `z`: `(n, d)`; `targets`: `(n, c)`; returns `(d, c)` and `(c,)`.
    """
    n, d = z.shape
    mean, target_mean = z.mean(0), targets.mean(0)
    zc, tc = z - mean, targets - target_mean
    penalty = n * l2 * zc.square().mean()
    if penalty == 0:  # no feature varies: the best prediction is the mean
        weights = z.new_zeros(d, targets.shape[1])
    elif d <= n:
        weights = torch.linalg.solve(
            zc.T @ zc + penalty * torch.eye(d, dtype=z.dtype, device=z.device), zc.T @ tc
        )
    else:
        gram = zc @ zc.T + penalty * torch.eye(n, dtype=z.dtype, device=z.device)
        weights = zc.T @ torch.linalg.solve(gram, tc)
    return weights, target_mean - mean @ weights


def leave_one_out(z: Tensor, targets: Tensor, l2: float | tuple[float, ...] = GRID) -> Tensor:
    r"""Mean squared error on each sample of the ridge fit without it, for every penalty.

    .. math:: \frac{1}{n} \sum_i \left\| \frac{t_i - \hat t_i}{1 - H_{ii}} \right\|^2, \qquad
       H = \frac{1}{n} 1 1^T + U \, \mathrm{diag}\left( \frac{s^2}{s^2 + n \lambda} \right) U^T

    Exact for a penalty that is held fixed when the sample leaves.

    References:
        Allen, 1974, *The relationship between variable selection and data augmentation and a method for
        prediction*.
    """
    n, d = z.shape
    zc, tc = z - z.mean(0), targets - targets.mean(0)
    # The left factor from the smaller Gram matrix: directions at rounding level carry no prediction.
    gram = zc.T @ zc if d <= n else zc @ zc.T
    square, vectors = torch.linalg.eigh(gram)
    kept = square > square[-1] * 1e-12
    square, vectors = square[kept], vectors[:, kept]
    u = zc @ vectors / square.sqrt() if d <= n else vectors
    errors = []
    for value in l2 if isinstance(l2, tuple) else (l2,):
        shrink = square / (square + n * value * zc.square().mean())
        own = 1 / n + (u.square() * shrink).sum(1)
        residual = (tc - (u * shrink) @ (u.T @ tc)) / (1 - own)[:, None]
        errors.append(residual.square().sum(1).mean())
    return torch.stack(errors)


def ridge_accuracy(train_z: Any, train_y: Any, test_z: Any, test_y: Any, *, l2: float | None = None) -> float:
    """Share of test samples whose class a one-vs-all ridge regression predicts; the largest score wins.

    Deterministic, in float64, and no test sample decides anything. Invariant to rotations, shifts and a
    common scale of the features.

    Arguments:
        train_z: features to fit on `(n, d)`; `train_y`: their integer labels `(n,)`.
        test_z: features to score `(m, d)`; `test_y`: their labels `(m,)`.
        l2: penalty relative to the mean variance of the features, see `ridge_weights`. By default the one of
            `GRID` with the least leave-one-out error on the training samples, so that features of any
            dimension compare fairly.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for shapes that do not belong together, NaN or inf, or `l2` not positive.

    References:
        Hastie, Tibshirani & Friedman, 2009, *The Elements of Statistical Learning*, sections 3.4.1, 4.2 and
        7.10.

    Example:
        >>> z = [[0.0], [0.1], [1.0], [1.1]]
        >>> ridge_accuracy(z, [0, 0, 1, 1], z, [0, 0, 1, 1])
        1.0
    """
    return RidgeReadout(l2)(train_z, train_y, test_z, test_y).value


@dataclass(frozen=True)
class RidgeReadout:
    """One-vs-all ridge regression in closed form; the largest score wins. See `ridge_accuracy`.

    Arguments:
        l2: penalty relative to the mean variance of the features; `None` for the one of `GRID` with the least
            leave-one-out error on the training samples.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for shapes that do not belong together, NaN or inf, or `l2` not positive.

    References:
        Hastie, Tibshirani & Friedman, 2009, *The Elements of Statistical Learning*, sections 3.4.1, 4.2 and
        7.10.

    Example:
        >>> z, y = [[0.0], [0.1], [1.0], [1.1]], [0, 0, 1, 1]
        >>> RidgeReadout(l2=0.1)(z, y, z, y).protocol
        'ridge on one-hot labels, penalty 0.1 of the feature variance, fitted on train (n=4), scored once on test (n=4)'
    """

    l2: float | None = None

    def __post_init__(self) -> None:
        if self.l2 is not None and not self.l2 > 0:
            raise ValueError(
                f"l2 = {self.l2} must be positive: without a penalty the solution need not be unique"
            )

    @property
    def rule(self) -> str:
        """The classifier in words."""
        if self.l2 is None:
            return "ridge on one-hot labels, penalty chosen by leave-one-out on train"
        return f"ridge on one-hot labels, penalty {self.l2:g} of the feature variance"

    def predict(self, train_z: Tensor, train_y: Tensor, test_z: Tensor) -> tuple[Tensor, str]:
        """Labels of `test_z`, and the penalty where it was chosen."""
        classes, codes = torch.unique(train_y, return_inverse=True)
        targets = torch.nn.functional.one_hot(codes).to(train_z.dtype)
        l2, chosen = self.l2, ""
        if l2 is None:
            l2 = GRID[int(leave_one_out(train_z, targets).nan_to_num(torch.inf).argmin())]
            chosen = f"{l2:g} of the feature variance"
        weights, offset = ridge_weights(train_z, targets, l2)
        return classes[(test_z @ weights + offset).argmax(1)], chosen

    def __call__(self, train_z: Any, train_y: Any, test_z: Any, test_y: Any) -> Accuracy:
        return scored(self, train_z, train_y, test_z, test_y)

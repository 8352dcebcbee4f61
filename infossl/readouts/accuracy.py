"""`Accuracy`: a share of right answers that says how it was obtained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Accuracy", "accuracy_of"]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share of test samples that are classified as labelled, with the protocol that gave it.

    Arguments:
        value: the share.
        n: test samples.
        stderr: standard error of the value, see `accuracy_of`.
        null: the share of the commonest class among the test samples, which needs no features.
        protocol: what was fitted on what, what chose its settings, and what it was scored on.
        sd: standard deviation over draws of the training samples, where there are several; `None` is not measured.

    Example:
        >>> print(Accuracy(value=0.9, n=100, stderr=0.03, null=0.1, protocol="ridge, scored once on test (n=100)"))
        0.900 ± 0.030, commonest class 0.100 [ridge, scored once on test (n=100)]
    """

    value: float
    n: int
    stderr: float
    null: float
    protocol: str
    sd: float | None = None

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.stderr:.3f}, commonest class {self.null:.3f} [{self.protocol}]"

    def __float__(self) -> float:
        return self.value


def accuracy_of(predicted: Tensor, y: Tensor, protocol: str) -> Accuracy:
    r"""The share of predictions that are right, with the spread of its posterior under Jeffreys' prior as standard error.

    .. math:: \mathrm{se}^2 = \frac{p (1 - p)}{m + 2}, \qquad p = \frac{k + 1/2}{m + 1}

    for k right of m. It is the binomial error for large m, and not 0 where all or none are right. It covers the choice of the
    test samples; the choice of the training samples is held fixed.

    Shapes:
        `predicted`, `y`: `(m,)`.

    References:
        Brown, Cai & DasGupta, 2001, *Interval Estimation for a Binomial Proportion*, Statistical Science 16, 101-133.

    Example:
        >>> import torch
        >>> accuracy_of(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 1, 1]), "by hand").value
        0.75
    """
    n, right = len(y), int((predicted == y).sum())
    share = (right + 0.5) / (n + 1)
    return Accuracy(
        value=right / n,
        n=n,
        stderr=math.sqrt(share * (1 - share) / (n + 2)),
        null=float(y.unique(return_counts=True)[1].max()) / n,
        protocol=protocol,
    )

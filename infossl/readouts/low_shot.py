"""Low-shot readout: any classifier on a few labels of each class, over several draws of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from estimators._samples import stream
from infossl.readouts._inputs import checked
from infossl.readouts.accuracy import Accuracy, accuracy_of
from infossl.readouts.protocols import Readout
from infossl.readouts.ridge import RidgeReadout

__all__ = ["LowShot", "few_of_each"]


def few_of_each(y: Tensor, shots: int, draws: int, seed: int) -> Tensor:
    """Indices `(draws, classes * shots)` of samples drawn without replacement from each class, a function of the seed.

    Raises:
        ValueError: if a class has fewer than `shots` samples.
    """
    random = stream(seed, "LowShot")
    members = [torch.nonzero(y == label)[:, 0].cpu() for label in y.unique()]
    fewest = min(len(rows) for rows in members)
    if fewest < shots:
        raise ValueError(f"shots = {shots}: the rarest class of train_y has {fewest} samples")
    rows = [
        torch.cat([own[torch.from_numpy(random.permutation(len(own))[:shots])] for own in members])
        for _ in range(draws)
    ]
    return torch.stack(rows).to(y.device)


@dataclass(frozen=True)
class LowShot:
    r"""Mean accuracy of a readout that is fitted on `shots` labels of each class, over seeded draws of them.

    `sd` is the standard deviation over draws: what one draw of labels may be off by. `stderr` is that of the mean,

    .. math:: \mathrm{se}^2 = \frac{\mathrm{sd}^2}{R} + \frac{1}{m (m - 1)} \sum_j (\bar c_j - \bar c)^2

    for R draws and m test samples, with \(\bar c_j\) the share of draws that get sample j right: draws and test samples are both
    random, and each is met by every one of the other.

    Arguments:
        inner: the readout. A `KNNReadout` needs a k of at most `shots` times the number of classes.
        shots: labelled samples of each class.
        draws: R, at least 2.
        seed: of the draws.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for shapes that do not belong together, NaN or inf, a class with fewer samples than `shots`, or fewer than
            two classes or two draws.

    Example:
        >>> z, y = [[0.0], [0.1], [1.0], [1.1]], [0, 0, 1, 1]
        >>> accuracy = LowShot(shots=1, draws=3)(z, y, z, y)
        >>> accuracy.value, accuracy.sd
        (1.0, 0.0)
    """

    inner: Readout = field(default_factory=RidgeReadout)
    shots: int = 5
    draws: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shots < 1:
            raise ValueError(f"shots = {self.shots} must be at least 1")
        if self.draws < 2:
            raise ValueError(
                f"draws = {self.draws} must be at least 2: one draw says nothing about the spread"
            )

    def __call__(self, train_z: Any, train_y: Any, test_z: Any, test_y: Any) -> Accuracy:
        train_z, train_y, test_z, test_y = checked(train_z, train_y, test_z, test_y)
        chosen = few_of_each(train_y, self.shots, self.draws, self.seed)
        if chosen.shape[1] == self.shots:
            raise ValueError("train_y holds one class only: a low-shot readout needs at least two")
        right = torch.stack(
            [self.inner.predict(train_z[rows], train_y[rows], test_z)[0] == test_y for rows in chosen]
        ).double()
        sd = float(right.mean(1).std())
        protocol = (
            f"{self.inner.rule}, fitted on {self.shots} labels of each class (n={chosen.shape[1]}), mean of {self.draws} "
            f"draws from train (n={len(train_y)}), sd over draws {sd:.3f}, scored on test (n={len(test_y)})"
        )
        of_test = float(right.mean(0).var()) / len(test_y)
        base = accuracy_of(test_y, test_y, protocol)  # n and null
        return replace(base, value=float(right.mean()), sd=sd, stderr=math.sqrt(sd**2 / self.draws + of_test))

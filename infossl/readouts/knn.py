"""Nearest-neighbour readout: the weighted vote of Wu et al."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infossl.readouts.accuracy import Accuracy
from infossl.readouts.protocols import scored

__all__ = ["KNNReadout", "knn_accuracy"]


def knn_accuracy(
    train_z: Any,
    train_y: Any,
    test_z: Any,
    test_y: Any,
    *,
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 2048,
) -> float:
    r"""Share of test samples whose class their k nearest training samples predict.

    Features are scaled to unit length; neighbour i votes for its class with weight
    \(\exp(\cos(z, z_i) / T)\).

    Arguments:
        train_z: features `(n, d)`, n >= k; `train_y`: their integer labels `(n,)`.
        test_z: features to score `(m, d)`; `test_y`: their labels `(m,)`.
        k: neighbours that vote.
        temperature: T.
        chunk: test samples compared at once.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for shapes that do not belong together, NaN or inf, or k not between 1 and n.

    References:
        Wu, Xiong, Yu & Lin, 2018, *Unsupervised Feature Learning via Non-Parametric Instance Discrimination*.

    Example:
        >>> z = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]
        >>> knn_accuracy(z, [0, 0, 1, 1], z, [0, 0, 1, 1], k=2)
        1.0
    """
    return KNNReadout(k, temperature, chunk)(train_z, train_y, test_z, test_y).value


@dataclass(frozen=True)
class KNNReadout:
    """Cosine-weighted vote of the k nearest training samples. See `knn_accuracy`.

    Arguments:
        k: neighbours that vote.
        temperature: T of the weights exp(cos / T).
        chunk: test samples compared at once.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for shapes that do not belong together, NaN or inf, k not between 1 and n, or T not positive.

    References:
        Wu, Xiong, Yu & Lin, 2018, *Unsupervised Feature Learning via Non-Parametric Instance Discrimination*.

    Example:
        >>> z, y = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]], [0, 0, 1, 1]
        >>> KNNReadout(k=2)(z, y, z, y).protocol
        'cosine kNN, k = 2, votes exp(cos / 0.07), fitted on train (n=4), scored once on test (n=4)'
    """

    k: int = 20
    temperature: float = 0.07
    chunk: int = 2048

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature = {self.temperature} must be positive")

    @property
    def rule(self) -> str:
        """The classifier in words."""
        return f"cosine kNN, k = {self.k}, votes exp(cos / {self.temperature:g})"

    def predict(self, train_z: Tensor, train_y: Tensor, test_z: Tensor) -> tuple[Tensor, str]:
        """Labels of `test_z`; nothing is chosen."""
        k = self.k
        if not 1 <= k <= len(train_z):
            raise ValueError(f"k = {k} must be between 1 and the number of training samples, {len(train_z)}")
        classes, codes = torch.unique(train_y, return_inverse=True)
        train_z = F.normalize(train_z, dim=1)
        predicted = []
        for z in F.normalize(test_z, dim=1).split(self.chunk):
            similarity, neighbour = _largest(z @ train_z.T, k)
            # The largest similarity is subtracted so that no weight overflows; the winner stays the same.
            weight = ((similarity - similarity.amax(dim=1, keepdim=True)) / self.temperature).exp()
            votes = weight.new_zeros(len(z), len(classes)).scatter_add_(1, codes[neighbour], weight)
            predicted.append(classes[votes.argmax(1)])
        return torch.cat(predicted), ""

    def __call__(self, train_z: Any, train_y: Any, test_z: Any, test_y: Any) -> Accuracy:
        return scored(self, train_z, train_y, test_z, test_y)


def _largest(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row and their columns, in no order: on the CPU a partition is faster than `topk`."""
    if similarity.device.type != "cpu":
        values, columns = similarity.topk(k, dim=1, sorted=False)
        return values, columns
    columns = torch.from_numpy(np.argpartition(similarity.numpy(), -k, axis=1)[:, -k:].copy())
    return similarity.gather(1, columns), columns

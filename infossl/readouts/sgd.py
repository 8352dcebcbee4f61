"""Linear readout by stochastic gradient descent: softmax regression with a stated schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from estimators._samples import stream
from infossl.readouts.accuracy import Accuracy
from infossl.readouts.protocols import scored

__all__ = ["SGDReadout", "softmax_weights"]


def softmax_weights(
    z: Tensor,
    codes: Tensor,
    classes: int,
    *,
    lr: float,
    weight_decay: float,
    epochs: int,
    batch_size: int,
    momentum: float = 0.9,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    r"""Weights and offset of softmax regression after stochastic gradient descent from 0.

    .. math:: \min_{W, b} \frac{1}{n} \sum_i -\log \mathrm{softmax}(z_i W + b)_{y_i} + \frac{\lambda}{2} \|W\|^2, \qquad
       \eta_s = \frac{\eta}{2} \left( 1 + \cos \frac{\pi s}{S} \right)

    with heavy-ball momentum and step s of S; the weights of the last step count. Each epoch is a new permutation, cut into
    batches of which the last may be smaller.

    Arguments:
        z: features `(n, d)`; `codes`: classes 0, ..., `classes` - 1 `(n,)`.
        lr: \(\eta\); `weight_decay`: \(\lambda\).

    Shapes:
        Returns `(d, classes)` and `(classes,)`.
    """
    n, d = z.shape
    weights, offset = z.new_zeros(d, classes), z.new_zeros(classes)
    speed_w, speed_b = torch.zeros_like(weights), torch.zeros_like(offset)
    targets = F.one_hot(codes, classes).to(z.dtype)
    random = stream(seed, "SGDReadout batches")
    batches = math.ceil(n / batch_size)
    for epoch in range(epochs):
        order = torch.from_numpy(random.permutation(n)).to(z.device)
        for j, rows in enumerate(order.split(batch_size)):
            x = z[rows]
            error = ((x @ weights + offset).softmax(1) - targets[rows]) / len(rows)
            speed_w = momentum * speed_w + x.T @ error + weight_decay * weights
            speed_b = momentum * speed_b + error.sum(0)
            step = lr * (1 + math.cos(math.pi * (epoch * batches + j) / (epochs * batches))) / 2
            weights, offset = weights - step * speed_w, offset - step * speed_b
    return weights, offset


@dataclass(frozen=True)
class SGDReadout:
    """Softmax regression on standardised features, by stochastic gradient descent with momentum and a cosine schedule.

    Features are standardised with mean and standard deviation of the samples that are fitted, so that the answer does not
    depend on the scale of any feature. Learning rate and weight decay are the pair with the least cross-entropy on a random
    part of the training samples that is kept out of the fit; all training samples are fitted again with them. The weights of
    the last step are scored, not the best of any epoch.

    Arguments:
        epochs: passes over the samples.
        batch_size: samples of a step.
        lrs: learning rates, and `weight_decays`, to choose from; with one of each nothing is chosen.
        momentum: of the gradient.
        validation: share of the training samples that chooses.
        seed: of batches and of that share.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for shapes that do not belong together, NaN or inf, settings out of range, or a diverged fit.

    References:
        Kornblith, Shlens & Le, 2019, *Do Better ImageNet Models Transfer Better?*

    Example:
        >>> z, y = [[0.0], [0.1], [1.0], [1.1]], [0, 0, 1, 1]
        >>> SGDReadout(epochs=20, lrs=(0.1,), weight_decays=(0.0,))(z, y, z, y).value
        1.0
    """

    epochs: int = 100
    batch_size: int = 256
    lrs: tuple[float, ...] = (0.01, 0.1, 1.0)
    weight_decays: tuple[float, ...] = (0.0, 1e-4, 1e-2)
    momentum: float = 0.9
    validation: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        if not self.lrs or min(self.lrs) <= 0:
            raise ValueError(f"lrs = {self.lrs} must be positive numbers, at least one")
        if not self.weight_decays or min(self.weight_decays) < 0:
            raise ValueError(f"weight_decays = {self.weight_decays} must be numbers from 0 up, at least one")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum = {self.momentum} must be in [0, 1)")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation = {self.validation} must be a share between 0 and 1")

    @property
    def rule(self) -> str:
        """The classifier in words."""
        return (
            f"softmax regression on standardised features, SGD of {self.epochs} epochs in batches of {self.batch_size}, "
            f"momentum {self.momentum:g}, cosine to 0, last step counts"
        )

    def predict(self, train_z: Tensor, train_y: Tensor, test_z: Tensor) -> tuple[Tensor, str]:
        """Labels of `test_z`, and the learning rate and weight decay with what chose them."""
        classes, codes = torch.unique(train_y, return_inverse=True)
        (lr, decay), how = self._choose(train_z, codes, len(classes)), ""
        if len(self.lrs) * len(self.weight_decays) > 1:
            how = f" chosen on {self._held(len(train_z))} of the training samples"
        scores = self._scores(train_z, codes, len(classes), test_z, lr, decay)
        if not bool(torch.isfinite(scores).all()):
            raise ValueError(f"the fit diverged with lr = {lr}; add smaller values to lrs = {self.lrs}")
        return classes[scores.argmax(1)], f"lr {lr:g} and weight decay {decay:g}{how}"

    def __call__(self, train_z: Any, train_y: Any, test_z: Any, test_y: Any) -> Accuracy:
        return scored(self, train_z, train_y, test_z, test_y)

    def _held(self, n: int) -> int:
        return min(max(round(self.validation * n), 1), n - 1)

    def _choose(self, z: Tensor, codes: Tensor, classes: int) -> tuple[float, float]:
        pairs = [(lr, decay) for lr in self.lrs for decay in self.weight_decays]
        if len(pairs) == 1:
            return pairs[0]
        order = torch.from_numpy(stream(self.seed, "SGDReadout validation").permutation(len(z))).to(z.device)
        held, rest = order[: self._held(len(z))], order[self._held(len(z)) :]
        losses = []
        for lr, decay in pairs:
            scores = self._scores(z[rest], codes[rest], classes, z[held], lr, decay)
            losses.append(float(F.cross_entropy(scores, codes[held]).nan_to_num(math.inf)))
        return pairs[losses.index(min(losses))]

    def _scores(
        self, z: Tensor, codes: Tensor, classes: int, test_z: Tensor, lr: float, decay: float
    ) -> Tensor:
        mean, sd = z.mean(0), z.std(0, correction=0)
        sd = torch.where(sd > 1e-12 * z.abs().amax(0), sd, torch.inf)  # a constant feature says nothing
        weights, offset = softmax_weights(
            (z - mean) / sd,
            codes,
            classes,
            lr=lr,
            weight_decay=decay,
            epochs=self.epochs,
            batch_size=self.batch_size,
            momentum=self.momentum,
            seed=self.seed,
        )
        return ((test_z - mean) / sd) @ weights + offset

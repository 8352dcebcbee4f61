"""Conditional densities q(y | x) in torch with network parameters, for several independent trainings at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from estimators._networks import initial, layer_shapes, skip, unpack

__all__ = ["LOG_VARIANCE", "Categories", "GaussianMixture"]

LOG_VARIANCE = (
    10.0  # largest modulus of a log-variance: a variance of 5e-5 of the marginal one, 5 nats a column
)
_APART = 0.5  # standard deviation of the first means of the components, which would stay equal otherwise


@dataclass(frozen=True)
class GaussianMixture:
    r"""\(q(y | x) = \sum_c \pi_c(x) N(T_c y; m_c(x), \mathrm{diag}\, e^{s_c(x)})\) with T_c unit lower triangular.

    Weights, means and log-variances are outputs of one network of x; T_c, the same for every x, is the identity if
    not `full`.
    """

    dx: int
    dy: int
    hidden: int
    layers: int
    components: int
    full: bool

    def _net(self) -> list[tuple[int, ...]]:
        outputs = self.components * (2 * self.dy + 1)
        return [(self.dx, outputs), *layer_shapes([self.dx, *[self.hidden] * self.layers, outputs])]

    def _below(self) -> int:
        return self.components * self.dy * (self.dy - 1) // 2 if self.full else 0

    def initial(self, seeds: list[int]) -> Tensor:
        """First weights `(S, P)`: near the standard normal law, the components a little apart."""
        shapes = self._net()
        flat = initial(shapes, seeds, [0, len(shapes) - 2])
        if self.components > 1:
            means = self.components * self.dy
            start = flat.shape[1] - shapes[-1][0]
            for row, seed in zip(flat, seeds, strict=True):
                generator = torch.Generator("cpu").manual_seed(seed + 2)
                row[start : start + means] = _APART * torch.randn(
                    means, generator=generator, dtype=torch.float32, device="cpu"
                )
        triangle = torch.zeros(len(seeds), self._below(), dtype=torch.float32, device="cpu")
        return torch.cat([flat, triangle], dim=1)

    def _parameters(self, flat: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Means and log-variances `(S, C, n, d)`, log-weights `(S, C, n)` and the factors `(S, C, d, d)`."""
        shapes, c, d = self._net(), self.components, self.dy
        size = sum(math.prod(shape) for shape in shapes)
        out = skip(x, unpack(flat[:, :size], shapes))
        mean, raw = (
            out[..., k * c * d : (k + 1) * c * d].unflatten(-1, (c, d)).transpose(1, 2) for k in (0, 1)
        )
        log_variance = LOG_VARIANCE * torch.tanh(raw / LOG_VARIANCE)
        log_weight = out[..., 2 * c * d :].log_softmax(-1).transpose(1, 2)
        if not self.full or d == 1:
            return mean, log_variance, log_weight, None
        row, column = torch.tril_indices(d, d, -1, device=flat.device)
        factor = torch.eye(d, dtype=flat.dtype, device=flat.device).repeat(len(flat), c, 1, 1)
        factor[:, :, row, column] = flat[:, size:].unflatten(1, (c, -1))
        return mean, log_variance, log_weight, factor

    def log_density(self, flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """log q(y_i | x_i), `(S, n)`, from `(S, n, dx)` and `(S, n, d)`."""
        mean, log_variance, log_weight, factor = self._parameters(flat, x)
        z = y[:, None] if factor is None else y[:, None] @ factor.mT
        squares = ((z - mean).square() * (-log_variance).exp() + log_variance).sum(-1)
        return (log_weight - 0.5 * squares).logsumexp(1) - 0.5 * self.dy * math.log(2 * math.pi)

    def matrix(self, flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """log q(y_j | x_i) of all pairs, `(S, m, n)`. The squares are expanded: use float64."""
        mean, log_variance, log_weight, factor = self._parameters(flat, x)
        z = y[:, None].expand(-1, self.components, -1, -1) if factor is None else y[:, None] @ factor.mT
        precision = (-log_variance).exp()
        own = (mean.square() * precision + log_variance).sum(-1, keepdim=True)
        squares = own - 2 * (mean * precision) @ z.mT + precision @ z.square().mT
        return (log_weight[..., None] - 0.5 * squares).logsumexp(1) - 0.5 * self.dy * math.log(2 * math.pi)

    def at_limit(self, flat: Tensor, x: Tensor) -> Tensor:
        """Share of log-variances beyond 0.9 of the limit, by the weight of their component, `(S,)`."""
        _, log_variance, log_weight, _ = self._parameters(flat, x)
        beyond = (log_variance.abs() > 0.9 * LOG_VARIANCE).to(flat.dtype).mean(-1)
        return (log_weight.exp() * beyond).sum(1).mean(-1)


@dataclass(frozen=True)
class Categories:
    """q(y | x) of labels 0..C-1: a softmax of network outputs. Labels come as `(S, n)` integers."""

    dx: int
    classes: int
    hidden: int
    layers: int

    def _net(self) -> list[tuple[int, ...]]:
        inner = layer_shapes([self.dx, *[self.hidden] * self.layers, self.classes])
        return [(self.dx, self.classes), *inner]

    def initial(self, seeds: list[int]) -> Tensor:
        """First weights `(S, P)`: near equal probabilities."""
        shapes = self._net()
        return initial(shapes, seeds, [0, len(shapes) - 2])

    def log_density(self, flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """log q(y_i | x_i), `(S, n)`."""
        return self._log_probabilities(flat, x).gather(-1, y[..., None])[..., 0]

    def matrix(self, flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """log q(y_j | x_i) of all pairs, `(S, m, n)`."""
        index = y[:, None].expand(-1, x.shape[1], -1)
        return self._log_probabilities(flat, x).gather(-1, index)

    def at_limit(self, flat: Tensor, x: Tensor) -> Tensor:
        """Probabilities have no limit."""
        return torch.zeros(len(flat), dtype=flat.dtype, device=flat.device)

    def _log_probabilities(self, flat: Tensor, x: Tensor) -> Tensor:
        return skip(x, unpack(flat, self._net())).log_softmax(-1)

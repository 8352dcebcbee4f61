r"""Denoisers in torch for `MMG`: a jointly normal law solved exactly, and a network for what it leaves over.

With \(\gamma\) the signal-to-noise ratio, \(\alpha = \log \gamma\), \(a^2 = \gamma / (1 + \gamma)\), \(b^2 = 1 - a^2\), samples
are seen through z = a x + b e with standard normal noise e, and denoisers predict e.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Base", "Denoiser", "Levels", "Scored", "base", "falling", "objective", "score", "validation"]

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # variances added to columns of variance 1
_NULL = 1e-10  # share of the largest variance below which a direction is empty
_UNEXPLAINED = 1e-12  # least 1 - r^2: 13.8 nats a direction, above which float32 columns resolve nothing
_ROWS = 1 << 13  # rows that pass the network at once


class Base(NamedTuple):
    """A normal law of (x, y) in canonical coordinates: x_i has variance t_i and regression r_i sqrt(t_i) on y_i."""

    x: Tensor  # (dx, p), maps samples to coordinates
    y: Tensor  # (dy, q)
    variance: Tensor  # (p,)
    r: Tensor  # (p,), 0 where x has no partner

    def coordinates(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Samples in the coordinates, `(n, p)` and `(n, q)`."""
        return x @ self.x, y @ self.y

    def log_ratio(self, u: Tensor, v: Tensor) -> Tensor:
        """log p(u | v) / p(u) under the law, `(n,)`: the whole integral over the signal-to-noise ratio, in closed form."""
        rest = 1 - self.r**2
        unit = u / self.variance.sqrt()
        squares = (unit - self.r * self.partner(v)) ** 2 / rest - unit**2
        return -0.5 * (squares + rest.log()).sum(-1)

    def partner(self, v: Tensor) -> Tensor:
        """The coordinate of y that belongs to each one of x, `(..., p)`."""
        p, q = len(self.r), v.shape[-1]
        return v[..., :p] if q >= p else torch.nn.functional.pad(v, (0, p - q))

    @property
    def at_limit(self) -> bool:
        """Whether a direction of x is a function of y to working precision."""
        return bool((1 - self.r**2 <= 2 * _UNEXPLAINED).any())

    @property
    def information(self) -> float:
        """Mutual information under the law."""
        return float(-0.5 * (1 - self.r**2).log().sum())

    def to(self, dtype: torch.dtype) -> Base:
        """The same law at another precision."""
        return Base(*(t.to(dtype) for t in self))


def base(train: Sequence[Tensor], validation: Sequence[Tensor], dims: tuple[int | None, int | None]) -> Base:
    """Ridge canonical directions of the training part, with the variances and correlations of the validation part.

    The ridge has the largest information there. Correlations are made to fall in the order of the training part, and
    negative ones are 0: noise in many weak directions is averaged out and not added up. The first `dims` directions of
    x and of y are kept.
    """
    laws = [_canonical(train, validation, dims, ridge) for ridge in _RIDGES]
    return max(laws, key=lambda law: law.information)


def _canonical(
    train: Sequence[Tensor],
    validation: Sequence[Tensor],
    dims: tuple[int | None, int | None],
    ridge: float,
) -> Base:
    wx, wy = (_whitening(z, ridge) for z in train)
    u, v = train[0] @ wx, train[1] @ wy
    left, _, right = torch.linalg.svd(u.T @ v / len(u), full_matrices=True)
    k = min(left.shape[1], right.shape[0])
    ax = (wx @ _ordered(left, u, k))[:, : dims[0]]
    ay = (wy @ _ordered(right.T, v, k))[:, : dims[1]]
    u, v = validation[0] @ ax, validation[1] @ ay
    variance, spread = _mean_square(u), _mean_square(v).sqrt()
    k = min(k, u.shape[1], v.shape[1])
    found = (u[:, :k] * v[:, :k]).mean(0) / (variance[:k].sqrt() * spread[:k])
    r = falling(found).clamp(0, math.sqrt(1 - _UNEXPLAINED))
    return Base(ax, ay / spread, variance, torch.nn.functional.pad(r, (0, len(variance) - k)))


def _ordered(directions: Tensor, z: Tensor, k: int) -> Tensor:
    """Directions without a partner, from k on, are any basis of their space: turned to the principal ones."""
    rest = directions[:, k:]
    vectors = torch.linalg.eigh(rest.T @ (z.T @ z) @ rest).eigenvectors
    return torch.cat([directions[:, :k], rest @ vectors.flip(1)], 1)


def falling(values: Tensor) -> Tensor:
    """The non-increasing sequence `(k,)` nearest in squares: at i, max over b >= i of min over a <= i of the mean of a..b."""
    k = len(values)
    total = torch.nn.functional.pad(values.cumsum(0), (1, 0))
    row = torch.arange(k, device=values.device)
    mean = (total[1:] - total[:-1, None]) / (row - row[:, None] + 1)  # of a..b at (a, b)
    least = torch.where(row >= row[:, None], mean, math.inf).cummin(0).values
    return torch.where(row >= row[:, None], least, -math.inf).amax(1)


def _whitening(z: Tensor, ridge: float) -> Tensor:
    values, vectors = torch.linalg.eigh(z.T @ z / len(z))
    full = values > _NULL * values[-1]
    return vectors[:, full] / (values[full] + ridge).sqrt()


def _mean_square(z: Tensor) -> Tensor:
    square = z.square().mean(0)
    return square.clamp(min=_NULL * float(square.max()))


@dataclass(frozen=True)
class Levels:
    """Importance sampling of the log signal-to-noise ratio: a logistic law cut off at `low` and `high`."""

    low: float
    high: float

    @staticmethod
    def of(law: Base) -> Levels:
        """From far below the variances of x to far above what y leaves unexplained of them."""
        left = law.variance * (1 - law.r**2)
        used = left[law.r > 0.1] if bool((law.r > 0.1).any()) else law.variance
        low = -float(law.variance.max().log()) - 5
        return Levels(low, min(max(-float(used.min().log()) + 4, low + 10), low + 30))

    def draw(self, quantile: Tensor) -> tuple[Tensor, Tensor]:
        """The log ratio at each quantile and one over its density, which turns means into integrals."""
        scale, edge = (self.high - self.low) / 6, 1 / (1 + math.exp(3))
        p = edge + (1 - 2 * edge) * quantile
        level = (self.low + self.high) / 2 + scale * p.logit()
        return level, scale * (1 - 2 * edge) / (p * (1 - p))


@dataclass(frozen=True)
class Denoiser:
    """What a denoiser of x has over the normal law: one ReLU network with and without y.

    The parameters are not kept here but passed as one flat matrix `(S, P)`.
    """

    law: Base  # float32
    levels: Levels
    hidden: int
    layers: int

    def shapes(self) -> list[tuple[int, ...]]:
        """Weights `(in, out)` and biases `(out,)`, in the order of the flat matrix."""
        p, q = len(self.law.r), self.law.y.shape[1]
        sizes = [p + q + 6, *[self.hidden] * self.layers, p]
        return [shape for a, b in pairwise(sizes) for shape in ((a, b), (b,))]

    def initial(self, seeds: list[int]) -> Tensor:
        """He-normal weights and zero biases `(S, P)`; the last layer is 0, so training starts at the normal law."""
        rows = []
        for seed in seeds:
            generator = torch.Generator("cpu").manual_seed(seed)
            parts = []
            for shape in self.shapes():
                normal = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
                parts.append(normal * (math.sqrt(2 / shape[0]) if len(shape) == 2 else 0.0))
            parts[-2] = torch.zeros_like(parts[-2])
            rows.append(torch.cat([part.reshape(-1) for part in parts]))
        return torch.stack(rows)

    def seen(self, u: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        """The sample through the channel at `level`, `(S, n, 1)`."""
        return level.sigmoid().sqrt() * u + (-level).sigmoid().sqrt() * noise

    def normal(self, z: Tensor, v: Tensor, level: Tensor, known: Tensor) -> Tensor:
        """The noise that the normal law expects; `known` is 1 where y is given and 0 where not."""
        signal, noise = level.sigmoid(), (-level).sigmoid()
        r = self.law.r * known
        mean = r * self.law.variance.sqrt() * self.law.partner(v)
        return (z - signal.sqrt() * mean) * noise.sqrt() / (signal * self.law.variance * (1 - r**2) + noise)

    def correction(self, flat: Tensor, z: Tensor, v: Tensor, level: Tensor, known: Tensor) -> Tensor:
        """What the network adds to the expected noise; nothing as the signal goes to 0."""
        middle, half = (self.levels.low + self.levels.high) / 2, (self.levels.high - self.levels.low) / 2
        t = (level - middle) / half
        out = torch.cat(
            [z, v * known, known, t, *(f(w * t) for w in (1.5, 3.0) for f in (torch.sin, torch.cos))], -1
        )
        shapes = self.shapes()
        parts = flat.split([math.prod(shape) for shape in shapes], dim=1)
        for k in range(0, len(parts), 2):
            weight = parts[k].reshape(len(flat), *shapes[k])
            out = torch.baddbmm(parts[k + 1][:, None], out if k == 0 else out.relu(), weight)
        return out * level.sigmoid().sqrt()


def _excess(net: Denoiser, flat: Tensor, u: Tensor, v: Tensor, level: Tensor, noise: Tensor, known: Tensor):
    """Squared error above that of the normal law, `(S, n)`, the correction, and the normal expectation."""
    z = net.seen(u, level, noise)
    normal = net.normal(z, v, level, known)
    h = net.correction(flat, z, v, level, known)
    return (h * (h - 2 * (noise - normal))).sum(-1), h, normal


def objective(net: Denoiser, seed: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Minus the excess of a batch, integrated over the signal-to-noise ratio, y being dropped for half of it."""
    generator: torch.Generator | None = None

    def maximised(flat: Tensor, u: Tensor, v: Tensor) -> Tensor:
        nonlocal generator
        if generator is None:
            generator = torch.Generator(u.device).manual_seed(seed)
        kind: dict[str, Any] = {"generator": generator, "dtype": u.dtype, "device": u.device}
        shape = (*u.shape[:2], 1)
        strata = torch.arange(u.shape[1], dtype=u.dtype, device=u.device)[:, None]
        level, weight = net.levels.draw((strata + torch.rand(shape, **kind)) / u.shape[1])
        known = (torch.rand(shape, **kind) < 0.5).to(u.dtype)
        excess, _, _ = _excess(net, flat, u, v, level, torch.randn(u.shape, **kind), known)
        return -0.5 * (weight[..., 0] * excess).mean(-1)

    return maximised


class Scored(NamedTuple):
    """What the network changes, for every training and sample `(S, n)`, in nats."""

    gap: Tensor  # of 1/2 int mmse(x) - mmse(x | y)
    orthogonal: Tensor  # of 1/2 int |x^(y) - x^|^2
    excess: Tensor  # of the two errors together, of which training makes the smallest


def score(net: Denoiser, flat: Tensor, u: Tensor, v: Tensor, *, draws: int, seed: int) -> Scored:
    """The integrals for given samples, by `draws` levels of each, one from every stratum of the levels."""
    generator = torch.Generator(u.device).manual_seed(seed)
    kind: dict[str, Any] = {"generator": generator, "dtype": u.dtype, "device": u.device}
    pieces = []
    for a, b in zip(u.split(max(1, _ROWS // draws)), v.split(max(1, _ROWS // draws)), strict=True):
        rows = len(a)
        strata = torch.arange(draws, dtype=u.dtype, device=u.device).repeat(rows, 1)
        level, weight = net.levels.draw((strata + torch.rand(strata.shape, **kind)) / draws)
        noise = torch.randn((rows * draws, u.shape[1]), **kind)
        a, b = (z.repeat_interleave(draws, 0).expand(len(flat), -1, -1) for z in (a, b))
        level = level.reshape(1, -1, 1).expand(len(flat), -1, -1)
        without, h0, n0 = _excess(net, flat, a, b, level, noise, torch.zeros_like(level))
        given, h1, n1 = _excess(net, flat, a, b, level, noise, torch.ones_like(level))
        h, n = h1 - h0, n1 - n0
        orthogonal = (h * (h + 2 * n)).sum(-1)
        weight = 0.5 * weight.reshape(-1)
        pieces.append(
            [
                (weight * q).double().reshape(len(flat), rows, draws).mean(-1)
                for q in (without - given, orthogonal, without + given)
            ]
        )
    return Scored(*(torch.cat(part, 1) for part in zip(*pieces, strict=True)))


def validation(net: Denoiser, u: Tensor, v: Tensor, *, draws: int, seed: int) -> Callable[[Tensor], Tensor]:
    """Minus the excess on held-out samples, always with the same noise; 0 for the normal law."""
    return lambda flat: -score(net, flat, u, v, draws=draws, seed=seed).excess.mean(-1)

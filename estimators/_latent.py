"""Cross-predictive autoencoders in torch: the networks, the loss and the representation behind `LMI`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["Autoencoder", "metric", "objective", "representation", "score", "settled"]


@dataclass(frozen=True)
class Autoencoder:
    """Encoders f, g and the four decoders of x and y from either code; for labels y, one encoder and two decoders.

    Every map is a linear one plus a ReLU network, so that linear dependence, the easiest to learn, is learnt first. The
    parameters are not kept here but passed as one flat matrix `(S, P)`.
    """

    dx: int
    dy: int  # columns of y, or its classes
    dims_x: int
    dims_y: int
    hidden: int
    layers: int
    labels: bool

    def maps(self) -> list[tuple[int, int]]:
        """(in, out) of f, D_x, D_xy and, unless y is a label, of g, D_y, D_yx."""
        of_x = [(self.dx, self.dims_x), (self.dims_x, self.dx), (self.dims_x, self.dy)]
        of_y = [(self.dy, self.dims_y), (self.dims_y, self.dy), (self.dims_y, self.dx)]
        return of_x if self.labels else of_x + of_y

    def shapes(self) -> list[tuple[int, ...]]:
        """Weights `(in, out)` and biases `(out,)`, in the order of the flat matrix."""
        return [shape for a, b in self.maps() for shape in self._map(a, b)]

    def _map(self, a: int, b: int) -> list[tuple[int, ...]]:
        sizes = [a, *[self.hidden] * self.layers, b]
        return [(a, b), *(shape for i, o in pairwise(sizes) for shape in ((i, o), (o,)))]

    def initial(self, seeds: list[int]) -> Tensor:
        """Zero biases and normal weights `(S, P)`; the networks beside the linear maps start small."""
        rows = []
        for seed in seeds:
            generator = torch.Generator("cpu").manual_seed(seed)
            parts = []
            for a, b in self.maps():
                shapes = self._map(a, b)
                for i, shape in enumerate(shapes):
                    if len(shape) == 1:
                        parts.append(torch.zeros(shape, dtype=torch.float32, device="cpu"))
                        continue
                    gain = 1.0 if i == 0 else 0.1 if i == len(shapes) - 2 else 2.0
                    weight = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
                    parts.append(weight * math.sqrt(gain / shape[0]))
            rows.append(torch.cat([part.reshape(-1) for part in parts]))
        return torch.stack(rows)

    def networks(self, flat: Tensor) -> Iterator[Callable[[Tensor], Tensor]]:
        """The maps of `maps`, as functions `(S, n, in) -> (S, n, out)`."""
        shapes = self.shapes()
        parts = [
            part.reshape(len(flat), -1, shape[-1])
            for part, shape in zip(
                flat.split([math.prod(shape) for shape in shapes], dim=1), shapes, strict=True
            )
        ]
        size = 2 * self.layers + 3
        for start in range(0, len(parts), size):
            yield _Network(parts[start : start + size])


@dataclass(frozen=True)
class _Network:
    parts: list[Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        linear, *rest = self.parts
        out = x
        for k in range(0, len(rest), 2):
            out = torch.baddbmm(rest[k + 1], out if k == 0 else out.relu(), rest[k])
        return x @ linear + out


def _losses(net: Autoencoder, flat: Tensor, x: Tensor, y: Tensor, own: float) -> Tensor:
    f, d_x, d_xy, *of_y = net.networks(flat)
    u = f(x)
    if net.labels:
        log_p = d_xy(u).log_softmax(-1)
        cross = -log_p.gather(-1, y[..., None]).squeeze(-1).mean(-1) / math.log(net.dy)
        return own * _mse(d_x(u), x) + cross
    g, d_y, d_yx = of_y
    v = g(y)
    return own * (_mse(d_x(u), x) + _mse(d_y(v), y)) + _mse(d_xy(u), y) + _mse(d_yx(v), x)


def _mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over samples and columns, `(S,)`: a variable does not count more for having more columns."""
    return (prediction - target).square().mean((-2, -1))


def objective(net: Autoencoder, own: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Minus the loss of a batch."""
    return lambda flat, x, y: -_losses(net, flat, x, y, own)


def score(net: Autoencoder, x: Tensor, y: Tensor, *, own: float) -> Callable[[Tensor], Tensor]:
    """Minus the loss of held-out samples, `flat -> (S,)`."""

    def validate(flat: Tensor) -> Tensor:
        return -_losses(net, flat, _shared(flat, x), _shared(flat, y), own).double()

    return validate


def settled(score: Callable[[Tensor], Tensor], tolerance: float) -> Callable[[Tensor], Tensor]:
    """The score in steps of `tolerance` times its first value, so that slow drift is no improvement."""
    step: Tensor | None = None

    def validate(flat: Tensor) -> Tensor:
        nonlocal step
        value = score(flat)
        step = tolerance * value.abs() if step is None else step
        return (value / step).floor() * step

    return validate


def _codes(net: Autoencoder, flat: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) `(n, k)` and g(y) `(n, k)` of the first training, or the labels."""
    f, _, _, *of_y = net.networks(flat[:1])
    return f(x[None])[0].double(), y if net.labels else of_y[0](y[None])[0].double()


def representation(
    net: Autoencoder, flat: Tensor, seen: Sequence[Tensor], new: Sequence[Tensor]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Codes of seen and of new samples, in the metric that the seen ones give."""
    (u, v), (u_new, v_new) = (_codes(net, flat, *part) for part in (seen, new))
    a, b = metric(u, torch.nn.functional.one_hot(v, net.dy).double() if net.labels else v)
    return ((u @ a, v), (u_new @ a, v_new)) if net.labels else ((u @ a, v @ b), (u_new @ a, v_new @ b))


def _shared(flat: Tensor, z: Tensor) -> Tensor:
    return z.expand(len(flat), *z.shape)


_FLOOR = (
    0.1  # least scale of a latent direction: one without linear dependence may still depend in another way
)
_RIDGE = 1e-6  # share of the mean variance: latent directions without spread stay without


def metric(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices that turn codes `(n, k)` to their canonical variates, each scaled by its canonical correlation.

    Distances in the codes then count the directions that depend on each other, and hardly those that do not.
    """
    (wu, wv), n = (_whitening(z) for z in (u, v)), len(u)
    cross = (u - u.mean(0)) @ wu
    left, r, right = torch.linalg.svd(cross.T @ ((v - v.mean(0)) @ wv) / n, full_matrices=True)

    def scale(k: int) -> Tensor:
        return torch.nn.functional.pad(r, (0, k - len(r))).clamp(min=_FLOOR)

    return wu @ left * scale(u.shape[1]), wv @ right.T * scale(v.shape[1])


def _whitening(z: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(torch.cov(z.T, correction=0).reshape(z.shape[1], z.shape[1]))
    return vectors / (values.clamp(min=0) + _RIDGE * values.mean()).sqrt()

"""Injective maps of one view into more dimensions, where the data lie on a curved manifold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from estimators.distributions import _tools as t
from estimators.distributions._tools import View

__all__ = ["Embedding", "SwissRoll"]


@dataclass(frozen=True)
class SwissRoll:
    r"""One coordinate in (0, 1) rolled up in the plane: \(u = \tfrac{3 \pi}{2} (1 + 2 z)\), \((u \cos u, u \sin u) / 21\).

    Raises:
        ValueError: when sampling, if a value is outside [0, 1].

    Example:
        >>> SwissRoll().forward(np.array([[0.5]]), "x").round(4)
        array([[-0.4488,  0.    ]])
    """

    def forward(self, z: np.ndarray, view: View) -> np.ndarray:
        """The image, `(n, 2)`."""
        if not np.all((z >= 0) & (z <= 1)):
            raise ValueError(
                "a Swiss roll takes values in [0, 1]; apply Warp('uniform') to a normal coordinate first"
            )
        u = 1.5 * math.pi * (1 + 2 * z)
        return np.hstack([u * np.cos(u), u * np.sin(u)]) / 21

    def inverse(self, z: np.ndarray, view: View, d: int) -> np.ndarray:
        """The `(n, 1)` points that `forward` sends to z."""
        return (21 * np.hypot(z[:, :1], z[:, 1:]) / (1.5 * math.pi) - 1) / 2

    def dim(self, d: int) -> int:
        """2, from 1."""
        if d != 1:
            raise ValueError(f"a Swiss roll takes 1 column, the view has {d}; use Embedding(dims=...)")
        return 2

    def log_volume(self, d: int) -> float:
        """A curve has no area."""
        return -math.inf


@dataclass(frozen=True)
class Embedding:
    r"""A smooth injective embedding into `dims` columns, which all depend on all latent coordinates.

    .. math:: z \mapsto Q\, [\, z,\; \tanh(b\, (W z + c)) / b \,], \qquad W_{ij} \sim N(0, 1/d),\; c_i \sim N(0, 1)

    with Q a random rotation. The latent itself is among the features, so the map can be undone; the image is a curved
    d-dimensional manifold, flat for b = 0. Differential entropies are minus infinity.

    Arguments:
        dims: columns of the image.
        bend: curvature b >= 0; 0 is linear.
        seed: of Q, W and c, which differ between x and y.

    Raises:
        ValueError: if `dims` is smaller than the number of latent columns.

    Example:
        >>> z = np.array([[1.0, -1.0]])
        >>> image = Embedding(dims=128).forward(z, "x")
        >>> image.shape, np.allclose(Embedding(dims=128).inverse(image, "x", 2), z)
        ((1, 128), True)
    """

    dims: int = 128
    bend: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        bend = t.real(self.bend, "bend")
        if bend < 0:
            raise ValueError(f"bend must not be negative, got {bend}")
        t.set_fields(
            self,
            dims=t.positive_int(self.dims, "dims"),
            bend=bend,
            seed=t.positive_int(self.seed, "seed", low=0),
        )

    def forward(self, z: np.ndarray, view: View) -> np.ndarray:
        """The image, `(n, dims)`."""
        w, shift = _features(z.shape[1], self.dims, self.seed, view)
        features = z @ w + shift
        if self.bend:
            features = np.tanh(self.bend * features) / self.bend
        return np.hstack([z, features]) @ t.rotation(self.dims, self.seed, view, 3).T

    def inverse(self, z: np.ndarray, view: View, d: int) -> np.ndarray:
        """The `(n, d)` points that `forward` sends to z."""
        return z @ t.rotation(self.dims, self.seed, view, 3)[:, :d]

    def dim(self, d: int) -> int:
        """`dims`, at least d."""
        if d > self.dims:
            raise ValueError(f"{d} columns do not fit in dims = {self.dims}; raise dims to at least {d}")
        return self.dims

    def log_volume(self, d: int) -> float:
        """A manifold has no volume; a rotation keeps it."""
        return 0.0 if d == self.dims else -math.inf


@lru_cache(maxsize=64)
def _features(d: int, dims: int, seed: int, view: View) -> tuple[np.ndarray, np.ndarray]:
    rng = t.fixed_generator(seed, view, 4)
    w, shift = rng.standard_normal((d, dims - d)) / math.sqrt(d), rng.standard_normal(dims - d)
    w.setflags(write=False)
    shift.setflags(write=False)
    return w, shift

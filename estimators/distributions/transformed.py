r"""A law seen through an injective map of each view: the mutual information stays.

.. math:: I(f(X); g(Y)) = I(X;Y)

for injective measurable f and g, since each can be undone (Kraskov, Stögbauer & Grassberger, 2004, *Estimating mutual
information*, Phys. Rev. E 69, 066138, appendix).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from estimators.distributions import _tools as t
from estimators.distributions._tools import Distribution
from estimators.distributions.combined import Noisy
from estimators.distributions.embeddings import Embedding
from estimators.distributions.maps import Map, Warp

__all__ = ["Embedded", "Transformed", "Warped"]

On = Literal["x", "y", "both"]


@dataclass(frozen=True)
class Transformed:
    """A law after an injective map of x, of y, or of both.

    Arguments:
        base: the law before.
        map: `Warp`, `Affine`, `Mixing`, `Spiral`, `Coupling`, `SwissRoll` or `Embedding`.
        on: the view that it is applied to.

    Raises:
        TypeError: if `base` is no law or `map` no map.
        ValueError: if the map cannot take a view's columns, or y is a label and not left alone.

    Example:
        >>> from estimators.distributions import MultivariateNormal, Spiral
        >>> law = Transformed(Transformed(MultivariateNormal(0.8, dx=2, dy=2), Warp("cubic")), Spiral(), on="x")
        >>> law.mutual_information() == MultivariateNormal(0.8, dx=2, dy=2).mutual_information()
        True
    """

    base: Distribution
    map: Map
    on: On = "both"

    def __post_init__(self) -> None:
        t.law(self.base)
        if isinstance(self.map, type) or not isinstance(self.map, Map):
            raise TypeError(f"map must be a map such as Warp('cubic'), got {self.map!r}")
        if self.on not in ("x", "y", "both"):
            raise ValueError(f"on must be 'x', 'y' or 'both', got {self.on!r}")
        if self.base.discrete_y and self.on != "x":
            raise ValueError(f"y is a label and on = {self.on!r} would map it; use on='x'")
        for d, on in ((self.base.dx, "y"), (self.base.dy, "x")):
            if self.on != on:
                self.map.dim(d)

    @property
    def dx(self) -> int:
        """Columns of x."""
        return self.base.dx if self.on == "y" else self.map.dim(self.base.dx)

    @property
    def dy(self) -> int:
        """Columns of y."""
        return self.base.dy if self.on == "x" else self.map.dim(self.base.dy)

    @property
    def exact(self) -> bool:
        """That of the base."""
        return self.base.exact

    @property
    def discrete_y(self) -> bool:
        """That of the base."""
        return self.base.discrete_y

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The base's n pairs of this seed, mapped; see `Distribution`."""
        x, y = self.base.sample(n, seed)
        if self.on != "y":
            x = self.map.forward(x, "x")
        if self.on != "x":
            y = self.map.forward(y, "y")
        return x, y

    def mutual_information(self) -> float:
        """I(X;Y) in nats, that of the base."""
        return self.base.mutual_information()

    def _volume(self, view: t.View, what: str) -> float:
        if self.on not in (view, "both"):
            return 0.0
        volume = self.map.log_volume(self.base.dx if view == "x" else self.base.dy)
        if volume is None:
            raise t.not_closed(self, what)
        return volume

    def entropy_x(self) -> float:
        """h(X) in nats."""
        return self.base.entropy_x() + self._volume("x", "the entropy of x")

    def entropy_y(self) -> float:
        """H(Y) in nats."""
        return self.base.entropy_y() + self._volume("y", "the entropy of y")

    def entropy(self) -> float:
        """H(X,Y) in nats."""
        what = "the joint entropy"
        return self.base.entropy() + self._volume("x", what) + self._volume("y", what)

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x,y) / p(x) p(y), `(n,)`: that of the base, at the points before the map."""
        x, y = t.checked(self, x, y)
        if self.on != "y":
            x = self.map.inverse(x, "x", self.base.dx)
        if self.on != "x":
            y = self.map.inverse(y, "y", self.base.dy)
        return self.base.log_ratio(x, y)


def Warped(base: Distribution, kind: str, on: On = "both") -> Transformed:
    """Short for `Transformed(base, Warp(kind), on)`.

    Example:
        >>> from estimators.distributions import MultivariateNormal
        >>> Warped(MultivariateNormal(0.8), "cubic", on="y").map
        Warp(kind='cubic')
    """
    return Transformed(base, Warp(kind), on)


def Embedded(
    base: Distribution,
    dims: int = 128,
    seed: int = 0,
    bend: float = 1.0,
    noise: float = 0.0,
    on: On = "both",
) -> Transformed | Noisy:
    """Short for `Transformed(base, Embedding(dims, bend, seed), on)`, inside `Noisy(..., noise)` for `noise` > 0.

    With noise the stated information is an upper bound, and `exact` is False.

    Example:
        >>> from estimators.distributions import MultivariateNormal
        >>> law = Embedded(MultivariateNormal.with_information(2.0, dx=4, dy=4), dims=128)
        >>> law.dx, law.exact, round(law.mutual_information(), 6)
        (128, True, 2.0)
    """
    law = Transformed(base, Embedding(dims, bend, seed), on)
    return Noisy(law, noise) if noise else law

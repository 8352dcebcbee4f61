"""Invertible maps of one view: what bends the data and leaves the information.

A map is a frozen object with `forward`, `inverse`, `dim` and `log_volume`. A map with random settings treats the two
views differently, from one seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from scipy.special import ndtr, ndtri

from estimators.distributions import _tools as t
from estimators.distributions._tools import View

__all__ = ["WARPS", "Affine", "Coupling", "Map", "Mixing", "Spiral", "Warp"]


@runtime_checkable
class Map(Protocol):
    """An injective map of the columns of one view, `(n, d)` to `(n, dim(d))`."""

    def forward(self, z: np.ndarray, view: View) -> np.ndarray:
        """The image, `(n, dim(d))`."""

    def inverse(self, z: np.ndarray, view: View, d: int) -> np.ndarray:
        """The `(n, d)` points that `forward` sends to z."""

    def dim(self, d: int) -> int:
        """Columns after the map; `ValueError` when it cannot take d columns."""

    def log_volume(self, d: int) -> float | None:
        """The log-determinant of the Jacobian where constant, -inf where the image has no volume, else `None`."""


# -- one coordinate at a time --------------------------------------------------------------------------------


def _power(p: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda z: np.sign(z) * np.abs(z) ** p


def _unwiggle(z: np.ndarray) -> np.ndarray:
    u = z
    for _ in range(45):  # a contraction by 0.4 each time
        u = z - 0.4 * np.sin(u)
    return u


WARPS: Mapping[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "cubic": (_power(3), np.cbrt),
    "power9": (_power(9), _power(1 / 9)),
    "half-cube": (_power(1.5), _power(1 / 1.5)),
    "asinh": (np.arcsinh, np.sinh),
    "uniform": (ndtr, ndtri),
    "exp": (np.exp, np.log),
    "wiggle": (lambda z: z + 0.4 * np.sin(z), _unwiggle),
}
"""Monotone maps of the line by name, each with its inverse."""


@dataclass(frozen=True)
class Warp:
    r"""A monotone map of every coordinate.

    `cubic` \(z^3\), `power9` \(z^9\), `half-cube` \(z \sqrt{|z|}\), `asinh`, `uniform` (the normal distribution
    function), `exp`, `wiggle` \(z + 0.4 \sin z\).

    Arguments:
        kind: a name in `WARPS`.

    Raises:
        ValueError: if the name is unknown, or (when sampling) values overflow or reach the ends of (0, 1), where the
            map no longer tells points apart.

    Example:
        >>> Warp("cubic").forward(np.array([[2.0]]), "x")
        array([[8.]])
    """

    kind: str

    def __post_init__(self) -> None:
        if self.kind not in WARPS:
            raise ValueError(f"unknown warp {self.kind!r}; known: {', '.join(WARPS)}")

    def forward(self, z: np.ndarray, view: View) -> np.ndarray:
        """The image, `(n, d)`."""
        with np.errstate(over="ignore"):
            image = WARPS[self.kind][0](z)
        if not np.all(np.isfinite(image)):
            raise ValueError(f"{self.kind!r} overflows at |z| = {np.max(np.abs(z)):.3g}; use Warp('asinh')")
        ends = {"uniform": (0.0, 1.0), "exp": (0.0, math.inf)}.get(self.kind)
        if ends and not np.all((image > ends[0]) & (image < ends[1])):
            raise ValueError(
                f"{self.kind!r} rounds to the end of its range at |z| = {np.max(np.abs(z)):.3g} and would lose information; "
                "use Warp('asinh') for heavy tails"
            )
        return image

    def inverse(self, z: np.ndarray, view: View, d: int) -> np.ndarray:
        """The `(n, d)` points that `forward` sends to z."""
        return WARPS[self.kind][1](z)

    def dim(self, d: int) -> int:
        """d."""
        return d

    def log_volume(self, d: int) -> None:
        """Not constant."""
        return


@dataclass(frozen=True)
class Affine:
    """`scale * z + offset` for every coordinate.

    Arguments:
        scale: not 0.
        offset: any finite number.

    Example:
        >>> Affine(scale=1000.0, offset=1.0).forward(np.array([[2.0]]), "x")
        array([[2001.]])
    """

    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        scale = t.real(self.scale, "scale")
        if scale == 0:
            raise ValueError("scale = 0 sends every point to one; use any other number")
        t.set_fields(self, scale=scale, offset=t.real(self.offset, "offset"))

    def forward(self, z: np.ndarray, view: View) -> np.ndarray:
        """The image, `(n, d)`."""
        return self.scale * z + self.offset

    def inverse(self, z: np.ndarray, view: View, d: int) -> np.ndarray:
        """The `(n, d)` points that `forward` sends to z."""
        return (z - self.offset) / self.scale

    def dim(self, d: int) -> int:
        """d."""
        return d

    def log_volume(self, d: int) -> float:
        """d log |scale|."""
        return d * math.log(abs(self.scale))


# -- all coordinates of a view -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mixing:
    """A fixed random linear map between two random rotations, with singular values from 1 down to 1 / `condition`.

    Arguments:
        condition: condition number >= 1; 1 is a rotation.
        seed: of the rotations, which differ between x and y.

    Example:
        >>> Mixing(condition=100.0).log_volume(2)  # -log 100
        -4.605170185988092
    """

    condition: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        condition = t.real(self.condition, "condition")
        if not 1 <= condition <= 1e8:
            raise ValueError(f"condition must lie in [1, 1e8], got {condition}")
        t.set_fields(self, condition=condition, seed=t.positive_int(self.seed, "seed", low=0))

    def _parts(self, d: int, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        stretch = self.condition ** -np.linspace(0, 1, d)
        return t.rotation(d, self.seed, view, 1), stretch, t.rotation(d, self.seed, view, 2)

    def forward(self, z: np.ndarray, view: View) -> np.ndarray:
        """The image, `(n, d)`."""
        first, stretch, second = self._parts(z.shape[1], view)
        return (z @ first.T * stretch) @ second.T

    def inverse(self, z: np.ndarray, view: View, d: int) -> np.ndarray:
        """The `(n, d)` points that `forward` sends to z."""
        first, stretch, second = self._parts(d, view)
        return (z @ second / stretch) @ first

    def dim(self, d: int) -> int:
        """d."""
        return d

    def log_volume(self, d: int) -> float:
        """Sum of the log singular values."""
        return -math.log(self.condition) * float(np.sum(np.linspace(0, 1, d)))


@dataclass(frozen=True)
class Spiral:
    r"""A rotation in one plane by an angle that grows with the distance: \(z \mapsto R(s\,|z|^2)\, z\).

    It keeps lengths and volume.

    Arguments:
        speed: angle s per squared length.
        plane: the two coordinates that turn.

    References:
        Czyz et al., 2023, *Beyond normal: on the evaluation of mutual information estimators*, NeurIPS.

    Example:
        >>> Spiral(speed=math.pi / 2).forward(np.array([[1.0, 0.0]]), "x").round(12)
        array([[0., 1.]])
    """

    speed: float = 1 / 3
    plane: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        a, b = (t.positive_int(i, "plane", low=0) for i in self.plane)
        if a == b:
            raise ValueError(f"plane must name two different coordinates, got {self.plane}")
        t.set_fields(self, speed=t.real(self.speed, "speed"), plane=(a, b))

    def _turn(self, z: np.ndarray, speed: float) -> np.ndarray:
        (a, b), angle, out = self.plane, speed * np.sum(z * z, axis=1), z.copy()
        out[:, a] = np.cos(angle) * z[:, a] - np.sin(angle) * z[:, b]
        out[:, b] = np.sin(angle) * z[:, a] + np.cos(angle) * z[:, b]
        return out

    def forward(self, z: np.ndarray, view: View) -> np.ndarray:
        """The image, `(n, d)`."""
        return self._turn(z, self.speed)

    def inverse(self, z: np.ndarray, view: View, d: int) -> np.ndarray:
        """The `(n, d)` points that `forward` sends to z."""
        return self._turn(z, -self.speed)

    def dim(self, d: int) -> int:
        """d, which must hold the plane."""
        if max(self.plane) >= d:
            raise ValueError(
                f"a spiral in the plane {self.plane} needs {max(self.plane) + 1} columns, the view has {d}; use on='x' or "
                "on='y' for the view that has them"
            )
        return d

    def log_volume(self, d: int) -> float:
        """0: the Jacobian is R (I + 2 s A z z'), and z' A z = 0 for the skew A."""
        return 0.0


@dataclass(frozen=True)
class Coupling:
    r"""Additive coupling layers: a rotation, then \(z_b \mathrel{+}= s\, W_2 \tanh(W_1 z_a + c)\), several times.

    Smooth, invertible in closed form, and it keeps volume.

    Arguments:
        layers: how often.
        strength: size s of the bend.
        seed: of the fixed random weights, which differ between x and y.

    References:
        Dinh, Krueger & Bengio, 2015, *NICE: non-linear independent components estimation*, arXiv:1410.8516.

    Example:
        >>> z = np.array([[1.0, -1.0]])
        >>> bend = Coupling(layers=4)
        >>> np.allclose(bend.inverse(bend.forward(z, "x"), "x", 2), z)
        True
    """

    layers: int = 3
    strength: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        t.set_fields(
            self,
            layers=t.positive_int(self.layers, "layers"),
            strength=t.real(self.strength, "strength"),
            seed=t.positive_int(self.seed, "seed", low=0),
        )

    def _shift(self, a: np.ndarray, out: int, view: View, layer: int) -> np.ndarray:
        rng, width = t.fixed_generator(self.seed, view, 100 + layer), 16
        w1 = rng.standard_normal((a.shape[1], width)) * 1.5 / math.sqrt(a.shape[1])
        shift, w2 = rng.standard_normal(width), rng.standard_normal((width, out)) / math.sqrt(width)
        return self.strength * np.tanh(a @ w1 + shift) @ w2

    def forward(self, z: np.ndarray, view: View) -> np.ndarray:
        """The image, `(n, d)`."""
        d = z.shape[1]
        half = d // 2
        for layer in range(self.layers):
            z = z @ t.rotation(d, self.seed, view, 200 + layer).T
            z[:, half:] += self._shift(z[:, :half], d - half, view, layer)
        return z

    def inverse(self, z: np.ndarray, view: View, d: int) -> np.ndarray:
        """The `(n, d)` points that `forward` sends to z."""
        half = d // 2
        for layer in reversed(range(self.layers)):
            z = z.copy()
            z[:, half:] -= self._shift(z[:, :half], d - half, view, layer)
            z = z @ t.rotation(d, self.seed, view, 200 + layer)
        return z

    def dim(self, d: int) -> int:
        """d >= 2."""
        if d < 2:
            raise ValueError("coupling layers need 2 columns, the view has 1; use Warp, or on='x' or on='y'")
        return d

    def log_volume(self, d: int) -> float:
        """0: every layer is triangular with a unit diagonal."""
        return 0.0

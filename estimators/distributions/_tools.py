"""What all known truths share: the protocol, argument checks, independent random streams, quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

__all__ = ["Distribution", "View"]

View = Literal["x", "y"]
LOG_2PI_E = math.log(2 * math.pi * math.e)
_NODES = 20  # Gauss-Legendre points per panel: exact to degree 39
_FIXED = 0x1F0  # keeps what belongs to a law (a rotation) apart from its samples when both have seed 0


@runtime_checkable
class Distribution(Protocol):
    """A joint law of (X, Y) whose mutual information is known.

    A law is a frozen object. `repr` names it in full and `estimators.parse(text, names=DISTRIBUTIONS)` rebuilds it.
    Entropies are differential for continuous variables and Shannon for labels, in nats; a law without a closed
    or one-dimensional form raises `ValueError`.
    """

    @property
    def dx(self) -> int:
        """Columns of x."""

    @property
    def dy(self) -> int:
        """Columns of y; 1 for a label."""

    @property
    def exact(self) -> bool:
        """False when `mutual_information()` is an upper bound of the truth and not the truth."""

    @property
    def discrete_y(self) -> bool:
        """True when y is a label, sampled as int64 `(n,)`."""

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """n independent pairs: x `(n, dx)` and y `(n, dy)` in float64, or labels y `(n,)` in int64."""

    def mutual_information(self) -> float:
        """I(X;Y) in nats."""

    def entropy(self) -> float:
        """H(X,Y) in nats."""

    def entropy_x(self) -> float:
        """H(X) in nats."""

    def entropy_y(self) -> float:
        """H(Y) in nats."""

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x,y) / p(x) p(y) of each pair, `(n,)`; its mean under the law is the mutual information."""


# -- checks --------------------------------------------------------------------------------------------------


def positive_int(value: Any, name: str, low: int = 1) -> int:
    """The value as a plain int of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {value!r} of type {type(value).__name__}")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")
    return int(value)


def real(value: Any, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """The value as a plain finite float strictly between `low` and `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    if not (math.isfinite(value) and low < value < high):
        raise ValueError(f"{name} must be finite and lie in ({low}, {high}), got {value}")
    return float(value)


def law(value: Any, name: str = "base") -> Any:
    """The value, if it is a law."""
    if not isinstance(value, Distribution):
        raise TypeError(f"{name} must be a distribution such as MultivariateNormal(0.5), got {value!r}")
    return value


def set_fields(law: Any, **values: Any) -> None:
    """Stores normalised settings of a frozen law during its construction."""
    for name, value in values.items():
        object.__setattr__(law, name, value)


def checked(law: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs as `log_ratio` of this law takes them."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y)
    n = x.shape[0] if x.ndim else 0
    wanted = (n,) if law.discrete_y else (n, law.dy)
    if x.shape != (n, law.dx) or y.shape != wanted:
        raise ValueError(
            f"x and y have shapes {x.shape} and {y.shape}; this law needs ({n}, {law.dx}) and {wanted}, as `sample` gives them"
        )
    return x, y if law.discrete_y else y.astype(np.float64)


def not_closed(law: Any, what: str) -> ValueError:
    """The error of a law that has no closed form for an entropy."""
    return ValueError(f"{what} of {type(law).__name__} has no closed form; use mutual_information()")


# -- randomness ----------------------------------------------------------------------------------------------


def draw(n: int, seed: int) -> np.random.Generator:
    """The generator of a sample, after a check of both arguments."""
    positive_int(n, "n")
    return np.random.default_rng(positive_int(seed, "seed", low=0))


def split(n: int, seed: int, parts: int) -> list[int]:
    """Seeds of independent streams, for a law that is made of several."""
    positive_int(n, "n")
    state = np.random.SeedSequence(positive_int(seed, "seed", low=0)).generate_state(parts, np.uint64)
    return [int(value) for value in state]


def fixed_generator(seed: int, view: View, part: int = 0) -> np.random.Generator:
    """Randomness that belongs to the law and is the same in every sample."""
    return np.random.default_rng([_FIXED, seed, 0 if view == "x" else 1, part])


@lru_cache(maxsize=32)
def rotation(d: int, seed: int, view: View, part: int = 0) -> np.ndarray:
    """A fixed orthogonal matrix `(d, d)`, uniform over the group; read-only."""
    q, r = np.linalg.qr(fixed_generator(seed, view, part).standard_normal((d, d)))
    q = q * np.sign(np.diagonal(r))
    q.setflags(write=False)
    return q


# -- quadrature ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _rule() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(_NODES)


def integral(f: Callable[[np.ndarray], np.ndarray], low: float, high: float, panels: int = 100) -> float:
    """Gauss-Legendre quadrature of a vectorised function on equal panels."""
    nodes, weights = _rule()
    edges = np.linspace(low, high, panels + 1)
    half = np.diff(edges)[:, None] / 2
    points = edges[:-1, None] + half * (1 + nodes)
    return float(np.sum(half * weights * f(points.ravel()).reshape(points.shape)))


def minus_p_log_p(p: np.ndarray) -> np.ndarray:
    """-p log p, zero where p is."""
    return -p * np.log(np.where(p > 0, p, 1.0))

"""What an estimator is: three callables, nothing else.

An estimator is a frozen dataclass whose fields are its settings and whose call takes samples and
returns an `Estimate`. An integer vector `(n,)` is a discrete variable; anything else is continuous,
and a float vector `(n,)` is one column.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from estimators._result import Estimate

__all__ = ["Array", "ConditionalMutualInformation", "Entropy", "MutualInformation"]

Array = Any
"""A numpy array or a torch tensor."""


@runtime_checkable
class Entropy(Protocol):
    """H(X) in nats from samples `x: (n, d)`."""

    def __call__(self, x: Array, /) -> Estimate: ...


@runtime_checkable
class MutualInformation(Protocol):
    """I(X;Y) in nats from paired samples `x: (n, dx)` and `y: (n, dy)` or integers `(n,)`."""

    def __call__(self, x: Array, y: Array, /) -> Estimate: ...


@runtime_checkable
class ConditionalMutualInformation(Protocol):
    """I(X;Y|Z) in nats from paired samples `x: (n, dx)`, `y: (n, dy)` and `z: (n, dz)`."""

    def __call__(self, x: Array, y: Array, z: Array, /) -> Estimate: ...

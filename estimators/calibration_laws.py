"""Known truths at a size of one's own: `laws_at(dx, dy)` bends, stretches and embeds the same few signals."""

from __future__ import annotations

import math
from collections.abc import Callable

from estimators.distributions import (
    Coupling,
    Distribution,
    Embedding,
    Independent,
    LabelledClusters,
    Map,
    Mixing,
    MultivariateNormal,
    MultivariateStudent,
    Noisy,
    Setting,
    Spiral,
    Transformed,
    Warped,
)
from estimators.distributions._tools import positive_int

__all__ = ["laws_at"]

_NOISE = 0.01  # of a linear embedding: data that fill a subspace exactly are met nowhere


def laws_at(dx: int, dy: int | None) -> list[Setting]:
    """About a dozen laws of (X, Y) with exactly these columns, from independent to 6 nats, each with its truth.

    Sparse, dense, ill-conditioned and weak Gaussian dependence; heavy tails; warped margins; bent and embedded
    signals. Laws that a size cannot hold (a bend of one column) are left out.

    Arguments:
        dx: columns of x.
        dy: columns of y, or `None` for labels.

    Raises:
        TypeError: if a size is no int.
        ValueError: if a size is below 1.

    Example:
        >>> laws = laws_at(16, 8)
        >>> len(laws), {(s.law.dx, s.law.dy) for s in laws}
        (13, {(16, 8)})
        >>> {s.law.discrete_y for s in laws_at(16, None)}
        {True}
    """
    dx = positive_int(dx, "dx")
    laws = _labelled(dx) if dy is None else _continuous(dx, positive_int(dy, "dy"))
    return [Setting(name, kind, name, law) for kind, named in laws.items() for name, law in named.items()]


def _continuous(dx: int, dy: int) -> dict[str, dict[str, Distribution]]:
    normal, least = MultivariateNormal.with_information, min(dx, dy)
    few, some = min(2, least), min(4, least)
    sparse, dense = normal(1.0, dx, dy, pairs=few), normal(3.0, dx, dy, pairs=some, rotation=0)
    laws: dict[str, dict[str, Distribution]] = {
        "independent": {"independent normal": normal(0.0, dx, dy)},
        "light": {
            "sparse normal, 1 nat": sparse,
            "dense normal, 3 nats": dense,
            "ill-conditioned normal, 1 nat": Transformed(sparse, Mixing(100.0)),
        },
        "weak": {"every pair weak, 1 nat": normal(1.0, dx, dy, rotation=0)},
        "high": {"dense normal, 6 nats": normal(6.0, dx, dy, pairs=some, rotation=0)},
        "heavy": {
            "Student, 3 degrees of freedom": MultivariateStudent(3, 0.7, dx, dy, pairs=few, rotation=0),
            "cubed margins, 1 nat": Warped(sparse, "cubic"),
            "ninth powers, 1 nat": Warped(sparse, "power9"),
        },
    }
    bent = _mapped(sparse, lambda d: Spiral(1 / math.sqrt(2 * d)))
    if bent is not None:
        laws["bent"] = {"spiral, 1 nat": bent}
    latent = min(4, least // 2)
    if latent:  # as many latent columns leave each view room for features of them
        hidden = normal(2.0, latent, latent)
        linear = _embedded(hidden, dx, dy, 0.0)
        curved = _embedded(hidden, dx, dy, 1.0)
        laws["embedded"] = {
            f"linear embedding of {latent}, 2 nats": Noisy(linear, _NOISE),
            f"curved embedding of {latent}, 2 nats": curved,
        }
        laws["independent"][f"independent curved embeddings of {latent}"] = Independent(curved)
    return laws


def _labelled(dx: int) -> dict[str, dict[str, Distribution]]:
    line, axes = LabelledClusters(10, 1, 3.0, dx, rotation=0), min(3, dx)
    corners = LabelledClusters(2, axes, 2.0, dx)
    laws: dict[str, dict[str, Distribution]] = {
        "independent": {"independent labels": Independent(line)},
        "light": {
            "10 clusters on a line": line,
            f"{2**axes} overlapping corners": LabelledClusters(2, axes, 2.0, dx, rotation=0),
            "ill-conditioned corners": Transformed(corners, Mixing(100.0), on="x"),
        },
        "weak": {"two near clusters": LabelledClusters(2, 1, 1.0, dx, rotation=0)},
        "heavy": {
            "cubed corners": Warped(corners, "cubic", on="x"),
            "ninth powers of corners": Warped(corners, "power9", on="x"),
        },
    }
    if dx >= 2:
        latent = min(4, dx // 2)
        hidden = LabelledClusters(2, latent, 2.0, latent)
        laws["bent"] = {
            "bent corners": Transformed(corners, Coupling(3, 2.0), on="x"),
            "spiral corners": Transformed(corners, Spiral(1 / math.sqrt(2 * dx)), on="x"),
        }
        laws["embedded"] = {
            f"curved embedding of {latent}": Transformed(hidden, Embedding(dx), on="x"),
        }
    return laws


def _mapped(law: Distribution, make: Callable[[int], Map]) -> Distribution | None:
    """The law after a map of each view that has 2 columns; `None` where none has."""
    if law.dx < 2 and law.dy < 2:
        return None
    if law.dx >= 2:
        law = Transformed(law, make(law.dx), on="x")
    return Transformed(law, make(law.dy), on="y") if law.dy >= 2 else law


def _embedded(law: Distribution, dx: int, dy: int, bend: float) -> Distribution:
    return Transformed(Transformed(law, Embedding(dx, bend), on="x"), Embedding(dy, bend), on="y")

"""Named settings with known truth, and the rule that keeps some of them back.

Which settings may be looked at while an automatic choice is designed, and which only judge it afterwards, is decided
once by family, never by result: a family is held out when the first byte of the SHA-256 of `"<family>/0"` is odd. Members
of one family stay together, so that a held-out law differs from the design in more than its size, and a new family moves
no other. (The 0 is the smallest number for which every kind has families on both sides and the plain normal is in the
design.)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from estimators.distributions._tools import Distribution
from estimators.distributions.channels import LaplaceChannel, SineChannel, UniformChannel
from estimators.distributions.combined import Independent, Product, ZeroInflated
from estimators.distributions.elliptical import ContaminatedLength, Elliptical, MultivariateStudent
from estimators.distributions.embeddings import Embedding, SwissRoll
from estimators.distributions.labelled import LabelledClusters, Staircase, ZeroInflatedPoisson
from estimators.distributions.maps import Coupling, Mixing, Spiral
from estimators.distributions.mixtures import GaussianMixture
from estimators.distributions.normal import MultivariateNormal
from estimators.distributions.transformed import Embedded, Transformed, Warped

__all__ = ["Setting", "catalogue"]

Split = Literal["design", "held-out"]


@dataclass(frozen=True)
class Setting:
    """A named law.

    Arguments:
        id: unique name.
        kind: what makes it hard: "light", "heavy", "bent", "embedded", "weak", "high", "labels", "atoms", "independent".
        family: laws that differ in size or strength only; the unit of the split.
        law: the distribution.

    Example:
        >>> catalogue()["normal-sparse-25x25-2pairs"].split
        'held-out'
    """

    id: str
    kind: str
    family: str
    law: Distribution

    @property
    def split(self) -> Split:
        """`"held-out"` when the first byte of SHA-256(family + "/0") is odd, else `"design"`."""
        odd = hashlib.sha256(f"{self.family}/0".encode()).digest()[0] % 2
        return "held-out" if odd else "design"


def catalogue(split: Split | None = None) -> dict[str, Setting]:
    """All named settings, or those of one split, by id.

    Example:
        >>> catalogue()["normal-1x1-0.8"].law
        MultivariateNormal(correlations=0.8, dx=1, dy=1, pairs=1, rotation=None)
        >>> len(catalogue()) == len(catalogue("design")) + len(catalogue("held-out"))
        True
    """
    if split not in (None, "design", "held-out"):
        raise ValueError(f"split must be 'design', 'held-out' or None, got {split!r}")
    settings = [
        Setting(name, kind, family, law)
        for kind, families in _settings().items()
        for family, members in families.items()
        for name, law in members.items()
    ]
    return {s.id: s for s in settings if split is None or s.split == split}


def _settings() -> dict[str, dict[str, dict[str, Distribution]]]:
    """kind -> family -> id -> law."""
    normal, nats = MultivariateNormal, MultivariateNormal.with_information
    modes = GaussianMixture(((-2.0, -2.0), (2.0, 2.0), (-2.0, 2.0)), scales=0.8)
    cross = GaussianMixture(((0.0, 0.0), (0.0, 0.0)), correlations=(0.95, -0.95))
    return {
        "light": {
            "normal": {
                "normal-1x1-0.8": normal(0.8),
                "normal-1x1-0.3": normal(0.3),
            },
            "normal-sparse": {
                "normal-sparse-5x5-2pairs": normal(0.8, 5, 5, pairs=2),
                "normal-sparse-25x25-2pairs": normal(0.8, 25, 25, pairs=2),
                "normal-sparse-50x50-4pairs": nats(2.0, 50, 50, pairs=4),
            },
            "normal-dense": {
                "normal-dense-5x5-1nat": nats(1.0, 5, 5, rotation=0),
                "normal-dense-10x10-2nats": nats(2.0, 10, 10, rotation=0),
                "normal-dense-50x50-3nats": nats(3.0, 50, 50, rotation=0),
            },
            "normal-mixed": {
                "normal-mixed-5x5-1nat": Transformed(nats(1.0, 5, 5, pairs=2), Mixing(30.0)),
                "normal-mixed-25x25-2nats": Transformed(nats(2.0, 25, 25, pairs=5), Mixing(100.0)),
            },
            "uniform-channel": {
                "uniform-channel-0.1": UniformChannel(0.1),
                "uniform-channel-0.75": UniformChannel(0.75),
                "uniform-channel-5x5": Transformed(Product((UniformChannel(0.5),), times=5), Mixing()),
            },
            "uniform-marginals": {
                "uniform-marginals-1x1": Warped(normal(0.75), "uniform"),
                "uniform-marginals-5x5": Warped(normal(0.8, 5, 5, pairs=2), "uniform"),
            },
            "mixture-modes": {"mixture-modes-1x1": modes},
            "mixture-cross": {
                "mixture-cross-1x1": cross,
                "mixture-cross-3x3": Transformed(Product((cross, normal(0.0, 2, 2))), Mixing()),
            },
        },
        "heavy": {
            "student": {
                "student-1x1-df1": MultivariateStudent(1, 0.0),
                "student-2x2-df2": MultivariateStudent(2, 0.5, 2, 2),
                "student-5x5-df3": MultivariateStudent(3, 0.5, 5, 5, pairs=2),
                "student-25x25-df3": MultivariateStudent(3, 0.7, 25, 25, pairs=2, rotation=0),
            },
            "student-asinh": {
                "student-asinh-2x2-df1": Warped(MultivariateStudent(1, 0.5, 2, 2), "asinh"),
                "student-asinh-5x5-df2": Warped(MultivariateStudent(2, 0.5, 5, 5, pairs=2), "asinh"),
            },
            "contaminated": {
                "contaminated-1x1": Elliptical(normal(0.6), ContaminatedLength(0.1, 5.0)),
                "contaminated-5x5": Elliptical(normal(0.6, 5, 5, pairs=2), ContaminatedLength(0.1, 5.0)),
            },
            "power9": {
                "power9-1x1": Warped(normal(0.8), "power9"),
                "power9-5x5": Warped(normal(0.8, 5, 5, pairs=2), "power9"),
            },
            "cubic": {
                "cubic-3x3": Warped(normal(0.8, 3, 3, pairs=2), "cubic"),
                "cubic-25x25": Warped(normal(0.8, 25, 25, pairs=2), "cubic"),
            },
            "lognormal": {"lognormal-3x3": Warped(nats(1.0, 3, 3), "exp")},
            "laplace-channel": {
                "laplace-channel-0.5": LaplaceChannel(0.5),
                "laplace-channel-5x5": Product((LaplaceChannel(1.0),), times=5),
            },
        },
        "bent": {
            "spiral": {
                "spiral-3x3": Transformed(normal(0.8, 3, 3, pairs=2), Spiral(1 / 3)),
                "spiral-5x5": Transformed(normal(0.8, 5, 5, pairs=2), Spiral(1 / 3)),
                "spiral-25x25": Transformed(normal(0.8, 25, 25, pairs=2), Spiral(1 / 3)),
            },
            "spiral-uniform": {
                "spiral-uniform-3x3": Transformed(
                    Warped(normal(0.8, 3, 3, pairs=2), "uniform"), Spiral(1 / 3)
                ),
            },
            "coupling": {
                "coupling-2x2": Transformed(nats(1.0, 2, 2), Coupling(3, 2.0)),
                "coupling-10x10": Transformed(nats(2.0, 10, 10, pairs=4), Coupling(3, 2.0)),
            },
            "half-cube": {
                "half-cube-1x1": Warped(normal(0.75), "half-cube"),
                "half-cube-25x25": Warped(normal(0.8, 25, 25, pairs=2), "half-cube"),
            },
            "wiggle": {"wiggle-1x1": Warped(normal(0.75), "wiggle")},
            "sine": {
                "sine-1period": SineChannel(1, 0.3),
                "sine-3periods": SineChannel(3, 0.3),
                "sine-4x4": Product((SineChannel(1, 0.3), normal(0.0, 3, 3))),
            },
        },
        "embedded": {
            "swiss-roll": {
                "swiss-roll-2x1": Transformed(Warped(normal(0.75), "uniform"), SwissRoll(), on="x"),
            },
            "embedding-linear": {
                "embedding-linear-128": Embedded(nats(2.0, 4, 4), 128, bend=0.0, noise=0.01),
            },
            "embedding-curved": {
                "embedding-curved-128": Embedded(nats(2.0, 4, 4), 128),
                "embedding-curved-128-noisy": Embedded(nats(2.0, 4, 4), 128, noise=0.01),
                "embedding-curved-512": Embedded(nats(3.0, 6, 6), 512),
            },
            "embedding-sharp": {
                "embedding-sharp-128": Embedded(nats(1.5, 3, 3), 128, bend=3.0, noise=0.01),
            },
            "embedding-heavy": {
                "embedding-heavy-128": Embedded(MultivariateStudent(3, 0.7, 3, 3), 128),
            },
            "embedding-spiral": {
                "embedding-spiral-128": Embedded(
                    Transformed(normal(0.8, 3, 3, pairs=2), Spiral(1 / 3)), 128, noise=0.01
                ),
            },
        },
        "weak": {
            "weak-normal": {
                "weak-normal-128-2nats": nats(2.0, 128, 128),
                "weak-normal-32-1nat": nats(1.0, 32, 32),
            },
            "weak-dense": {"weak-dense-64-2nats": nats(2.0, 64, 64, rotation=0)},
            "weak-uniform": {"weak-uniform-32-2nats": Product((UniformChannel(4.0),), times=32)},
            "weak-cubic": {"weak-cubic-32-1nat": Warped(nats(1.0, 32, 32), "cubic")},
        },
        "high": {
            "high-one-pair": {
                "high-1x1-5nats": nats(5.0),
                "high-1x1-10nats": nats(10.0),
            },
            "high-spread": {
                "high-5x5-6nats": nats(6.0, 5, 5),
                "high-20x20-10nats": nats(10.0, 20, 20, rotation=0),
                "high-512x512-10nats": nats(10.0, 512, 512, pairs=16, rotation=0),
            },
            "high-bent": {
                "high-bent-5x5-5nats": Transformed(nats(5.0, 5, 5), Coupling(2, 1.0)),
            },
        },
        "labels": {
            "clusters": {
                "clusters-2": LabelledClusters(2, 1, 2.0),
                "clusters-10x10": LabelledClusters(10, 1, 3.0, dx=10, rotation=0),
            },
            "clusters-corners": {
                "clusters-corners-8x50": LabelledClusters(2, 3, 4.0, dx=50, rotation=0),
            },
            "clusters-embedded": {
                "clusters-embedded-128": Transformed(
                    LabelledClusters(2, 3, 4.0, dx=4), Embedding(128), on="x"
                ),
            },
            "staircase": {"staircase-5": Staircase(5)},
            "zero-inflated-poisson": {"zero-inflated-poisson-0.15": ZeroInflatedPoisson(0.15)},
        },
        "atoms": {
            "zero-inflated": {
                "zero-inflated-1x1": ZeroInflated(normal(0.8), 0.3),
                "zero-inflated-3x3": ZeroInflated(normal(0.6, 3, 3), 0.5),
            },
            "zero-columns": {
                "zero-columns-5x5": Product((ZeroInflated(normal(0.6), 0.5),), times=5),
            },
        },
        "independent": {
            "independent-normal": {
                "independent-normal-5x5": normal(0.0, 5, 5),
                "independent-normal-128x128": normal(0.0, 128, 128),
            },
            "independent-student": {
                "independent-student-5x5": Independent(MultivariateStudent(2, 0.0, 5, 5))
            },
            "independent-embedded": {
                "independent-embedded-128": Independent(Embedded(nats(2.0, 4, 4), 128)),
            },
            "independent-labels": {
                "independent-labels-10": Independent(LabelledClusters(10, 1, 3.0, dx=5)),
            },
        },
    }

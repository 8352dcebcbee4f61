"""Known truths: joint laws of (X, Y) as objects that sample, know their mutual information, and compose.

Base laws (`MultivariateNormal`, `Elliptical`, the channels, `GaussianMixture`, the labelled ones), laws made of laws
(`Product`, `Independent`, `ZeroInflated`, `Noisy`), and `Transformed(law, map)`, which bends the data and keeps the
truth. `catalogue()` has named settings. `estimators.parse(repr(law), names=DISTRIBUTIONS) == law` for every one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from estimators.distributions._tools import Distribution
from estimators.distributions.catalogue import Setting, catalogue
from estimators.distributions.channels import LaplaceChannel, SineChannel, UniformChannel
from estimators.distributions.combined import Independent, Noisy, Product, ZeroInflated
from estimators.distributions.elliptical import (
    ContaminatedLength,
    Elliptical,
    MultivariateStudent,
    StudentLength,
)
from estimators.distributions.embeddings import Embedding, SwissRoll
from estimators.distributions.labelled import LabelledClusters, Staircase, ZeroInflatedPoisson
from estimators.distributions.maps import WARPS, Affine, Coupling, Map, Mixing, Spiral, Warp
from estimators.distributions.mixtures import GaussianMixture
from estimators.distributions.normal import MultivariateNormal
from estimators.distributions.transformed import Embedded, Transformed, Warped

__all__ = [
    "DISTRIBUTIONS",
    "WARPS",
    "Affine",
    "ContaminatedLength",
    "Coupling",
    "Distribution",
    "Elliptical",
    "Embedded",
    "Embedding",
    "GaussianMixture",
    "Independent",
    "LabelledClusters",
    "LaplaceChannel",
    "Map",
    "Mixing",
    "MultivariateNormal",
    "MultivariateStudent",
    "Noisy",
    "Product",
    "Setting",
    "SineChannel",
    "Spiral",
    "Staircase",
    "StudentLength",
    "SwissRoll",
    "Transformed",
    "UniformChannel",
    "Warp",
    "Warped",
    "ZeroInflated",
    "ZeroInflatedPoisson",
    "catalogue",
]

_BUILDERS: tuple[Callable[..., Any], ...] = (
    *(Affine, ContaminatedLength, Coupling, Elliptical, Embedded, Embedding, GaussianMixture, Independent),
    *(LabelledClusters, LaplaceChannel, Mixing, MultivariateNormal, MultivariateStudent, Noisy, Product),
    *(SineChannel, Spiral, Staircase, StudentLength, SwissRoll, Transformed, UniformChannel, Warp, Warped),
    *(ZeroInflated, ZeroInflatedPoisson),
)
DISTRIBUTIONS: Mapping[str, Callable[..., Any]] = {build.__name__: build for build in _BUILDERS}
"""Every name that the text of a law may use, for `estimators.parse(text, names=DISTRIBUTIONS)`."""

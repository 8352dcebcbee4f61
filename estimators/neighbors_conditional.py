r"""Conditional mutual information from the distances between neighbours, on the CPU."""

from __future__ import annotations

from dataclasses import field

import numpy as np
from scipy.special import psi

from estimators._neighbor_inputs import check_settings, stacked, warnings_of
from estimators._result import Estimate
from estimators._search_blocks import count, kth
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["FrenzelPompe"]


@settings
class FrenzelPompe:
    r"""Conditional mutual information I(X;Y|Z) in nats from nearest neighbours (Frenzel & Pompe).

    .. math:: \hat I = \psi(k)
       + \langle \psi(n_z + 1) - \psi(n_{xz} + 1) - \psi(n_{yz} + 1) \rangle

    with \(n_z\), \(n_{xz}\), \(n_{yz}\) the other points that are strictly closer, in those coordinates, than
    the k-th neighbour in the joint space. The distance of several variables is the largest of theirs, whatever
    the norm within each. No bound: the estimate is drawn towards zero as the dimension of Z grows.

    Both \(n_{xz}\) and \(n_{yz}\) hold the k - 1 nearer neighbours, so on the data at hand the estimate cannot
    exceed the `ceiling` \(\langle \psi(n_z + 1) \rangle - \psi(k)\). It is low where Z alone already sets the
    neighbours apart: then nothing can be seen, whatever X and Y do. Within one nat of it the flag `saturated`
    is raised.

    Arguments:
        k: number of neighbours. Small k has less bias, large k less variance.
        standardise: scale the columns to unit standard deviation first. With `False` the units decide.
        norm: norm within each variable, `"max"` or `"euclidean"`.
        workers: threads that share the search. The estimate is the same for every number, so it is no part
            of the estimator's name.

    Shapes:
        `x`: `(n, dx)`; `y`: `(n, dy)`; `z`: `(n, dz)`; n > k. Numpy or torch on the CPU; measured in float64.

    Raises:
        TypeError: for a discrete variable, an array without real numbers, or a tensor on another device.
        ValueError: for NaN, wrong shapes, unequal n, n <= k, or a variable whose columns are all constant (a
            constant Z conditions on nothing: that is the mutual information).

    References:
        Frenzel & Pompe, 2007, *Partial mutual information for coupling analysis of multivariate time series*,
        Phys. Rev. Lett. 99, 204101. Vejmelka & Paluš, 2008, *Inferring the directionality of coupling with
        conditional mutual information*, Phys. Rev. E 77, 026214.

    Example:
        >>> import numpy as np
        >>> z, u, v = np.random.default_rng(0).standard_normal((3, 2000, 1))
        >>> e = FrenzelPompe()(z + u, z + u + v, z)  # truth: log(2) / 2 = 0.3466
        >>> round(e.value, 4), round(e.ceiling, 4), e.flags
        (0.3658, 4.1459, ())
    """

    k: int = 3
    standardise: bool = True
    norm: str = "max"
    workers: int = field(default=1, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, x: Array, y: Array, z: Array, /) -> Estimate:
        # Z in the middle: then (X, Z) and (Z, Y) are ranges of columns.
        s = stacked({"x": x, "z": z, "y": y}, self.k, standardise=self.standardise)
        euclidean = self.norm == "euclidean"
        radius = kth(s.z, s.widths, self.k, euclidean, self.workers)
        near_xz, near_z, near_zy = (
            count(s.columns(*pair), s.widths[slice(*pair)], radius, euclidean, self.workers)
            for pair in ((0, 2), (1, 2), (1, 3))
        )
        seen = psi(near_z + 1)
        ceiling = float(np.mean(seen) - psi(self.k))
        value = float(psi(self.k) + np.mean(seen - psi(near_xz + 1) - psi(near_zy + 1)))
        flags, numbers = warnings_of(s, self.k, np.sqrt(radius) if euclidean else radius, euclidean=euclidean)
        if value > ceiling - 1:
            flags = ("saturated", *flags)
        dx, dz, dy = s.widths
        return Estimate(
            value=value,
            quantity="I(X;Y|Z)",
            n=s.n,
            method=repr(self),
            ceiling=ceiling,
            flags=flags,
            diagnostics={"dx": dx, "dy": dy, "dz": dz, **numbers},
        )

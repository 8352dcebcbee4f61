"""SIGReg: embeddings made isotropic Gaussian, tested along random directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import EMBEDDINGS_AND_DIRECTIONS
from infossl.objectives.loss import Loss

__all__ = ["SIGReg", "unit_directions"]


@dataclass(frozen=True)
class SIGReg:
    r"""LeJEPA: invariance, and a test of N(0, I) along directions, the sketched isotropic Gaussian regulariser.

    .. math:: L = (1 - \lambda) \, \frac{1}{4NK} \sum_{nk} (z_{nk} - z'_{nk})^2
       + \lambda \, \frac{1}{2M} \sum_{m=1}^M T(Z a_m) + T(Z' a_m)

    .. math:: T(x) = N \int_{-r}^{r} \left| \tfrac{1}{N} \sum_n e^{i t x_n} - e^{-t^2 / 2} \right|^2
       e^{-t^2 / 2} \, dt

    The first is the mean squared distance of the views from their mean; T is the statistic of Epps and
    Pulley, by the trapezoid rule. The directions a are given by the caller, who draws new ones at every step
    (`unit_directions`): they must be the same on all ranks. In full precision whatever the autocast.

    Values of the Gaussian term, as r grows: \(\sqrt{2 \pi} (1 - 1 / \sqrt 3)\) = 1.059 in expectation for
    standard normal rows, whatever N, which is not its minimum; N \(\sqrt{2 \pi} (1 - \sqrt 2 + 1 / \sqrt 3)\) =
    0.409 N at the collapse to 0. At r = 3 they are 1.053 and 0.402 N. Invariance is 0.5 for independent
    standard normal views.

    Arguments:
        gaussian: weight \(\lambda\) in [0, 1].
        knots: points of the trapezoid rule on [0, r], at least 2.
        reach: r, positive.

    Shapes:
        `z1`, `z2`: `(N, K)`, N >= 2; row i of both from one image. `directions`: `(K, M)`, columns of any
        length but 0.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for directions of another dimension or settings out of range.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Balestriero & LeCun, 2025, *LeJEPA: Provable and Scalable Self-Supervised Learning Without the
        Heuristics*, arXiv:2511.08544. Epps & Pulley, 1983, *A test for normality based on the empirical
        characteristic function*, Biometrika 70, 723-726.

    Example:
        >>> import torch
        >>> z = torch.zeros(100, 4)
        >>> loss = SIGReg(reach=8.0, knots=65)(z, z, unit_directions(4, 16, seed=0))
        >>> round(float(loss.terms["gaussian"]), 2)
        40.89
    """

    inputs: ClassVar[str] = EMBEDDINGS_AND_DIRECTIONS
    scale_free: ClassVar[bool] = False

    gaussian: float = 0.05
    knots: int = 17
    reach: float = 3.0

    def __post_init__(self) -> None:
        check_settings(self, positive=("reach",), nonnegative=("gaussian",), counts=("knots",))
        if self.gaussian > 1 or self.knots < 2:
            raise ValueError(
                f"gaussian = {self.gaussian} must be in [0, 1] and knots = {self.knots} at least 2"
            )

    def __call__(self, z1: Tensor, z2: Tensor, directions: Tensor) -> Loss:
        check_pair(z1, z2)
        if not isinstance(directions, Tensor) or not directions.is_floating_point():
            raise TypeError(
                "directions must be a floating point tensor (K, M): draw them with unit_directions"
            )
        if directions.ndim != 2 or directions.shape[0] != z1.shape[1] or directions.shape[1] < 1:
            raise ValueError(
                f"directions has shape {tuple(directions.shape)}: expected ({z1.shape[1]}, M) for z1 of shape "
                f"{tuple(z1.shape)}"
            )
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = in_full_precision(z1), in_full_precision(z2)
            a = directions.to(z1.dtype)
            a = a / a.norm(dim=0)
            invariance = terms.invariance(z1, z2) / 4
            sides = [terms.epps_pulley(z @ a, self.knots, self.reach) for z in (z1, z2)]
            gaussian = (sides[0] + sides[1]) / 2
            total = (1 - self.gaussian) * invariance + self.gaussian * gaussian
        return check_finite(Loss(total, {"invariance": invariance, "gaussian": gaussian}))


def unit_directions(k: int, m: int, seed: int) -> Tensor:
    """M directions drawn uniformly on the sphere in K dimensions, as columns `(K, M)`, from the seed alone.

    Arguments:
        k: dimensions.
        m: number of directions.
        seed: such as the step, equal on all ranks.

    Raises:
        ValueError: if `k` or `m` is below 1.

    Example:
        >>> unit_directions(3, 5, seed=0).norm(dim=0).allclose(torch.ones(5))
        True
    """
    if k < 1 or m < 1:
        raise ValueError(f"k = {k} and m = {m} must be at least 1")
    a = torch.randn(k, m, generator=torch.Generator().manual_seed(seed))
    return a / a.norm(dim=0)

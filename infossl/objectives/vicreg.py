"""VICReg: variance, invariance and covariance regularisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import TWO_EMBEDDINGS
from infossl.objectives.loss import Loss

__all__ = ["VICReg"]


class _Preset(NamedTuple):
    weights: tuple[float, float, float]  # of invariance, variance and covariance
    mean_variance: bool  # over the two views; else their sum
    mean_covariance: bool
    per_pair: bool  # covariances divided by K (K - 1); else by K


_PRESETS = {
    "official": _Preset((25.0, 25.0, 1.0), mean_variance=True, mean_covariance=False, per_pair=False),
    "solo": _Preset((25.0, 25.0, 1.0), mean_variance=False, mean_covariance=False, per_pair=False),
    "vicregl": _Preset((25.0, 25.0, 1.0), mean_variance=True, mean_covariance=True, per_pair=False),
    "eb_jepa": _Preset((1.0, 1.0, 80.0), mean_variance=False, mean_covariance=False, per_pair=True),
}


@dataclass(frozen=True)
class VICReg:
    r"""VICReg, by default with the normalisation of the authors' code.

    .. math:: L = \lambda \, \frac{1}{NK} \sum_{nk} (z_{nk} - z'_{nk})^2
       + \mu \, \frac{v(Z) + v(Z')}{2} + \nu \, (c(Z) + c(Z'))

    .. math:: v(Z) = \frac{1}{K} \sum_k \max(0, \gamma - \sqrt{\mathrm{Var}_k(Z) + \epsilon}) \qquad
       c(Z) = \frac{1}{K} \sum_{i \ne j} C(Z)_{ij}^2

    with variance and covariance unbiased (1 / (N - 1)). The paper prints \(v(Z) + v(Z')\), twice as much; the
    authors' code halves it, and the weights 25, 25, 1 belong to that. In full precision whatever the
    autocast. Four libraries mean four losses by this name; each is a preset, and the terms are in its
    normalisation:

    ========== ========== ============================ ======================================= =======
    preset     weights    variance term                covariance term                         collapse
    ========== ========== ============================ ======================================= =======
    official   25, 25, 1  \((v(Z) + v(Z')) / 2\)       \(c(Z) + c(Z')\)                        24.75
    solo       25, 25, 1  \(v(Z) + v(Z')\)             \(c(Z) + c(Z')\)                        49.50
    vicregl    25, 25, 1  \((v(Z) + v(Z')) / 2\)       \((c(Z) + c(Z')) / 2\)                  24.75
    eb_jepa    1, 1, 80   \(v(Z) + v(Z')\)             \((c(Z) + c(Z')) / (K - 1)\)            1.98
    ========== ========== ============================ ======================================= =======

    So `eb_jepa` at K = 2001 is `solo` divided by 25, and its weights mean another loss in every K.

    Values: \(\mu (\gamma - \sqrt{\epsilon})\) = 24.75 at collapse (all embeddings equal). For independent
    standard normal views the expected terms are: invariance 2, covariance 2 (K - 1) / (N - 1), and a
    variance term that falls with N; at N = 256, K = 64 the loss is about 50.8.

    Arguments:
        invariance: weight \(\lambda\); by default that of the preset, as are the next two.
        variance: weight \(\mu\).
        covariance: weight \(\nu\).
        gamma: target standard deviation of every dimension.
        eps: added to the variance under the root.
        preset: `"official"`, `"solo"` (solo-learn), `"vicregl"` or `"eb_jepa"`: whose normalisation.

    Shapes:
        `z1`, `z2`: `(N, K)`, N >= 2; row i of both from one image.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ or N < 2, and for negative weights or an unknown preset.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Bardes, Ponce & LeCun, 2022, *VICReg: Variance-Invariance-Covariance Regularization for
        Self-Supervised Learning*. Bardes, Ponce & LeCun, 2022, *VICRegL: Self-Supervised Learning of Local
        Visual Features*.

    Example:
        >>> import torch
        >>> loss = VICReg()(torch.ones(8, 4), torch.ones(8, 4))
        >>> round(float(loss.total), 4), sorted(loss.terms)
        (24.75, ['covariance', 'invariance', 'variance'])
        >>> VICReg(covariance=40.0, preset="eb_jepa")
        VICReg(invariance=1.0, variance=1.0, covariance=40.0, gamma=1.0, eps=0.0001, preset='eb_jepa')
    """

    inputs: ClassVar[str] = TWO_EMBEDDINGS
    scale_free: ClassVar[bool] = False

    invariance: float | None = None
    variance: float | None = None
    covariance: float | None = None
    gamma: float = 1.0
    eps: float = 1e-4
    preset: str = "official"

    def __post_init__(self) -> None:
        if self.preset not in _PRESETS:
            raise ValueError(f"preset = {self.preset!r} must be one of {', '.join(map(repr, _PRESETS))}")
        names = ("invariance", "variance", "covariance")
        # Filled in here, so that the repr says the numbers, also after a default changed.
        for name, default in zip(names, _PRESETS[self.preset].weights, strict=True):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        check_settings(self, positive=("gamma",), nonnegative=(*names, "eps"))

    def __call__(self, z1: Tensor, z2: Tensor) -> Loss:
        check_pair(z1, z2)
        preset = _PRESETS[self.preset]
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = in_full_precision(z1), in_full_precision(z2)
            found = {
                "invariance": terms.invariance(z1, z2),
                "variance": terms.variance_hinge(z1, self.gamma, self.eps)
                + terms.variance_hinge(z2, self.gamma, self.eps),
                "covariance": terms.covariance(z1) + terms.covariance(z2),
            }
            if preset.mean_variance:
                found["variance"] = found["variance"] / 2
            if preset.mean_covariance:
                found["covariance"] = found["covariance"] / 2
            if preset.per_pair:
                found["covariance"] = found["covariance"] / max(1, z1.shape[1] - 1)
            weight = {name: getattr(self, name) for name in found}
            total = (
                weight["invariance"] * found["invariance"]
                + weight["variance"] * found["variance"]
                + weight["covariance"] * found["covariance"]
            )
        return check_finite(Loss(total, found))

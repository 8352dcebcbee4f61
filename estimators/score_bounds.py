r"""Variational bounds as functions of a matrix of critic scores, `scores[i, j]` = f(x_i, y_j).

.. math:: f^* = \log \frac{p(x, y)}{p(x) p(y)}

is an optimal critic of every function here. Numpy or torch, differentiable for torch tensors; pairs (i, i) are
matched, all others stand for independent ones.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace, is_torch_array

from estimators._pairs import log_sum_exp
from estimators.protocols import Array

__all__ = ["dv_bound", "flo_bound", "infonce_bound", "jsd_bound", "nwj_bound", "smile_bound"]


def dv_bound(scores: Array) -> Array:
    r"""Donsker-Varadhan bound in nats from critic scores of all pairs.

    .. math:: \frac{1}{K} \sum_i f_{ii} - \log \frac{1}{K (K - 1)} \sum_{i \ne j} e^{f_{ij}}

    Adding a constant to the critic changes nothing. The logarithm of a sample mean over-states the bound in small
    batches.

    Arguments:
        scores: `(K, K)` with K >= 2; numpy or torch.

    Raises:
        ValueError: if `scores` is not square.

    References:
        Donsker & Varadhan, 1983. Belghazi et al., 2018, *Mutual information neural estimation*.

    Example:
        >>> import numpy as np
        >>> float(dv_bound(np.full((4, 4), 7.0)))
        0.0
    """
    return _mean_matched(scores) - _log_mean_others(scores)


def infonce_bound(scores: Array) -> Array:
    r"""InfoNCE bound in nats from critic scores of all pairs; at most log K.

    .. math:: \frac{1}{K} \sum_i \left( f_{ii} - \log \sum_j e^{f_{ij}} \right) + \log K

    Adding a function of x to the critic changes nothing.

    Arguments:
        scores: `(K, K)` with K >= 2; numpy or torch.

    Raises:
        ValueError: if `scores` is not square.

    References:
        van den Oord, Li & Vinyals, 2018, *Representation learning with contrastive predictive coding*.

    Example:
        >>> import numpy as np
        >>> round(float(infonce_bound(100 * np.eye(8))), 4)  # log 8
        2.0794
    """
    k = _square(scores)
    xp = array_namespace(scores)
    return xp.mean(xp.linalg.diagonal(scores) - log_sum_exp(scores)) + math.log(k)


def nwj_bound(scores: Array) -> Array:
    r"""Nguyen-Wainwright-Jordan bound in nats from critic scores of all pairs.

    .. math:: \frac{1}{K} \sum_i f_{ii} + 1 - \frac{1}{K (K - 1)} \sum_{i \ne j} e^{f_{ij}}

    The critic of the paper is f + 1. A lower bound in expectation at every K, never above `dv_bound` of the same
    scores, and far below it for a critic whose additive constant is off.

    Arguments:
        scores: `(K, K)` with K >= 2; numpy or torch.

    Raises:
        ValueError: if `scores` is not square.

    References:
        Nguyen, Wainwright & Jordan, 2010, *Estimating divergence functionals and the likelihood ratio by convex
        risk minimization*.

    Example:
        >>> import numpy as np
        >>> float(nwj_bound(np.zeros((4, 4))))
        0.0
    """
    return _mean_matched(scores) + 1 - array_namespace(scores).exp(_log_mean_others(scores))


def jsd_bound(scores: Array) -> Array:
    r"""Lower bound of the Jensen-Shannon divergence of p(x, y) and p(x) p(y), in nats; at most log 2.

    .. math:: \log 2 - \frac{1}{2 K} \sum_i \log(1 + e^{-f_{ii}})
       - \frac{1}{2 K (K - 1)} \sum_{i \ne j} \log(1 + e^{f_{ij}})

    No bound of I(X;Y), but its optimal critic is the log-ratio, and its gradient is bounded: a critic is trained with
    it and valued with another bound.

    Arguments:
        scores: `(K, K)` with K >= 2; numpy or torch.

    Raises:
        ValueError: if `scores` is not square.

    References:
        Nowozin, Cseke & Tomioka, 2016, *f-GAN*. Hjelm et al., 2019, *Learning deep representations by mutual
        information estimation and maximization*.

    Example:
        >>> import numpy as np
        >>> round(float(jsd_bound(200 * np.eye(4) - 100)), 4)  # log 2
        0.6931
    """
    k = _square(scores)
    xp = array_namespace(scores)
    matched = xp.linalg.diagonal(scores)
    zeros = xp.zeros_like(scores)
    losses = xp.where(_diagonal_mask(scores, k), zeros, xp.logaddexp(scores, zeros))
    mean_matched = xp.mean(xp.logaddexp(-matched, xp.zeros_like(matched)))
    return math.log(2) - 0.5 * mean_matched - 0.5 * xp.sum(losses) / (k * (k - 1))


def smile_bound(scores: Array, tau: float) -> Array:
    r"""SMILE in nats from critic scores of all pairs: Donsker-Varadhan with clipped weights, no bound.

    .. math:: \frac{1}{K} \sum_i f_{ii} - \log \frac{1}{K (K - 1)} \sum_{i \ne j} e^{\min(\max(f_{ij}, -\tau), \tau)}

    Clipping limits the variance. The value exceeds I(X;Y) where the weights cut above e^tau matter (much information),
    and falls short of it where those raised to e^-tau do (little information).

    Arguments:
        scores: `(K, K)` with K >= 2; numpy or torch.
        tau: positive; infinity gives `dv_bound`.

    Raises:
        ValueError: if `scores` is not square or `tau` is not positive.

    References:
        Song & Ermon, 2020, *Understanding the limitations of variational mutual information estimators*.

    Example:
        >>> import numpy as np
        >>> float(smile_bound(np.full((4, 4), 7.0), tau=5.0))
        2.0
    """
    if not tau > 0:
        raise ValueError(f"tau = {tau} must be positive")
    return _mean_matched(scores) - _log_mean_others(array_namespace(scores).clip(scores, -tau, tau))


def flo_bound(scores: Array, u: Array) -> Array:
    r"""Fenchel-Legendre bound (FLO) in nats from critic scores of all pairs and a second function of the matched ones.

    .. math:: 1 - \frac{1}{K} \sum_i \left( u_i + e^{-u_i} \frac{1}{K - 1} \sum_{j \ne i} e^{f_{ij} - f_{ii}} \right)

    A lower bound in expectation for every f and u, not capped at log K. For given f it is largest at
    \(u = \log E_{y'} e^{f(x, y')} - f(x, y)\), so adding a function of x to the critic changes nothing.

    Arguments:
        scores: `(K, K)` with K >= 2; numpy or torch.
        u: `(K,)`, u(x_i, y_i).

    Raises:
        ValueError: if `scores` is not square or `u` has another length.

    References:
        Guo et al., 2022, *Tight mutual information estimation with contrastive Fenchel-Legendre optimization*.

    Example:
        >>> import numpy as np
        >>> float(flo_bound(np.zeros((4, 4)), np.zeros(4)))
        0.0
    """
    k = _square(scores)
    if tuple(u.shape) != (k,):
        raise ValueError(f"u must have shape ({k},), one value for each row of scores, got {tuple(u.shape)}")
    xp = array_namespace(scores)
    contrast = log_sum_exp(_others(scores, k)) - math.log(k - 1) - xp.linalg.diagonal(scores)
    return 1 - xp.mean(u + xp.exp(contrast - u))


def _square(scores: Array) -> int:
    shape = tuple(getattr(scores, "shape", ()))
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2:
        raise ValueError(
            f"scores must have shape (K, K) with K >= 2, one row for each x and one column for each y, got {shape}"
        )
    return shape[0]


def _mean_matched(scores: Array) -> Array:
    _square(scores)
    xp = array_namespace(scores)
    return xp.mean(xp.linalg.diagonal(scores))


def _diagonal_mask(scores: Array, k: int) -> Any:
    xp = array_namespace(scores)
    return xp.eye(k, dtype=xp.bool, device=scores.device if is_torch_array(scores) else None)


def _others(scores: Array, k: int) -> Array:
    return array_namespace(scores).where(_diagonal_mask(scores, k), -math.inf, scores)


def _log_mean_others(scores: Array) -> Array:
    k = _square(scores)
    others = array_namespace(scores).reshape(_others(scores, k), (-1,))
    return log_sum_exp(others) - math.log(k * (k - 1))

r"""Entropy of a Gaussian mixture whose components differ in covariance, bracketed by pairwise distances.

For equally likely components \(p_i = N(\mu_i, \Sigma_i)\), i = 1..n,

.. math:: H_D = \frac{1}{n} \sum_i H(p_i) - \frac{1}{n} \sum_i \log \frac{1}{n} \sum_j e^{-D(p_i \| p_j)}

is an upper bound of the mixture's entropy for D the Kullback-Leibler divergence, and a lower bound for the Chernoff
divergence \(C_\alpha(p \| q) = -\log \int p^\alpha q^{1 - \alpha}\), at \(\alpha = 1/2\) the Bhattacharyya distance
(Kolchinsky & Tracey, 2017, *Estimating mixture entropy with pairwise distances*, Entropy 19, 361). With \(X\) the
component, \(I(X;Z) = H(Z) - \frac{1}{n} \sum_i H(p_i)\). For one common variance `estimators.mixture` is faster.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace, is_torch_array

from estimators import mixture
from estimators._components import LowRank, Mixture, identity, log_density_rows, normal_form
from estimators._pairs import beyond_reach, tiles
from estimators.protocols import Array

__all__ = ["LowRank", "entropy_bounds", "gaussian_information", "information_bounds", "log_densities"]


def entropy_bounds(means: Array, covariances: Any, alpha: float = 0.5) -> tuple[Array, Array]:
    r"""Lower and upper bound of the entropy of \(\frac{1}{n} \sum_i N(\mu_i, \Sigma_i)\), in nats.

    .. math:: KL_{ij} = \tfrac{1}{2} \left( \Delta^\top \Sigma_j^{-1} \Delta + \mathrm{tr}\, \Sigma_j^{-1} \Sigma_i - d
       + \log \frac{|\Sigma_j|}{|\Sigma_i|} \right) \qquad C_{ij} = \tfrac{\alpha (1 - \alpha)}{2} \Delta^\top M^{-1} \Delta
       + \tfrac{1}{2} \log \frac{|M|}{|\Sigma_i|^{1 - \alpha} |\Sigma_j|^\alpha}

    with \(\Delta = \mu_i - \mu_j\) and \(M = (1 - \alpha) \Sigma_i + \alpha \Sigma_j\). Differentiable for torch tensors,
    in means and covariances. Works on blocks of pairs, also in a backward pass, so memory is that of the input plus
    n numbers for each row of a block. Time is n^2 d for variances, n^2 d^3 for matrices, n^2 (d r^2 + r^3) for
    `LowRank`, and n^2 d in one matrix product where all components share one covariance.

    Arguments:
        means: component means `(n, d)`, numpy or torch; measured in float64.
        covariances: one variance (a number), variances `(n, d)`, matrices `(n, d, d)`, or
            `LowRank(factors (n, d, r), variance)`. A leading 1 in place of n gives all components the same.
        alpha: order of the Chernoff divergence, in (0, 1). For equal covariances 1/2 is best.

    Returns:
        `(lower, upper)`, scalars of the array library of `means`.

    Raises:
        TypeError: if means and covariances belong to different libraries or devices.
        ValueError: if shapes do not fit, values are not finite, `alpha` is not in (0, 1), or a covariance is not
            symmetric, not positive definite, or singular to working precision: its entropy is -inf.

    References:
        Kolchinsky & Tracey, 2017, equations 10 and 11.

    Example:
        >>> import numpy as np
        >>> low, high = entropy_bounds(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]]))
        >>> print(f"{low:.4f} {high:.4f}")
        1.6380 1.9852
    """
    components = normal_form(means, covariances)
    low, high = _information(components, alpha)
    return low + components.noise_entropy, high + components.noise_entropy


def information_bounds(means: Array, covariances: Any, alpha: float = 0.5) -> tuple[Array, Array]:
    r"""Bounds of I(X;Z) for \(Z \mid X = i \sim N(\mu_i, \Sigma_i)\) and X uniform on the n rows, in nats.

    This is `entropy_bounds` less the mean entropy of a component; arguments, cost and errors are the same. Both sides
    lie in [0, log n]. Differentiable.

    Example:
        >>> import numpy as np
        >>> wide_and_narrow = np.array([[1.0], [9.0]])  # the same mean: the width alone tells them apart
        >>> low, high = information_bounds(np.zeros((2, 1)), wide_and_narrow)
        >>> print(f"{low:.4f} {high:.4f}")
        0.1196 0.4571
    """
    return _information(normal_form(means, covariances), alpha)


def _information(components: Mixture, alpha: float) -> tuple[Array, Array]:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha = {alpha} must lie in (0, 1); at its ends the Chernoff divergence is zero")
    means, form = components.means, components.form
    if form is None:
        low, high = mixture.information_bounds(means, 1.0)
        if alpha != 0.5:
            low, _ = mixture.information_bounds(means * (4 * alpha * (1 - alpha)) ** 0.5, 1.0)
        return low, high
    xp, n = array_namespace(means), means.shape[0]
    log_dets = form.log_dets()

    def divergences(i: slice, j: slice) -> tuple[Array, Array]:
        delta = means[i, None, :] - means[None, j, :]
        length, log_det = form.blend(i, j, delta, alpha)
        own = (1 - alpha) * log_dets[i, None] + alpha * log_dets[None, j]
        chernoff = 0.5 * (alpha * (1 - alpha) * length + log_det - own)
        return chernoff, 0.5 * form.quadratic(delta, j) + form.divergence(i, j)

    low, high = 0.0, 0.0
    for _, (chernoff, kl) in tiles(divergences, n, form.per_pair, _tracked(components)):
        # A component is at distance 0 of itself, so row sums lie in [1, n]: no shift is needed before the log.
        low = low - xp.sum(xp.log(xp.mean(xp.exp(-chernoff), axis=1)))
        high = high - xp.sum(xp.log(xp.mean(xp.exp(-kl), axis=1)))
    return low / n, high / n


def gaussian_information(means: Array, covariances: Any) -> Array:
    r"""\(\frac{1}{2} \log |C + \bar\Sigma| - \frac{1}{2n} \sum_i \log |\Sigma_i|\): an upper bound of I(X;Z) in nats.

    C is the covariance of the means (divisor n) and \(\bar\Sigma\) the mean of the \(\Sigma_i\): of all laws with
    this covariance the Gaussian has the largest entropy. Where components are many and near it is tighter than the
    pairwise bound. Differentiable; arguments and errors as for `entropy_bounds`.

    References:
        Cover & Thomas, *Elements of Information Theory*, theorem 8.6.5.

    Example:
        >>> import numpy as np
        >>> print(round(float(gaussian_information(np.array([[-1.0], [1.0]]), 1.0)), 4))  # 0.5 log 2
        0.3466
    """
    components = normal_form(means, covariances)
    means, form = components.means, components.form
    xp = array_namespace(means)
    spread = means.T @ means / means.shape[0]
    total = spread + (identity(means, means.shape[1]) if form is None else form.average())
    noise = 0.0 if form is None else xp.mean(form.log_dets())
    return xp.sum(xp.log(xp.linalg.diagonal(xp.linalg.cholesky(total)))) - 0.5 * noise


def log_densities(z: Array, means: Array, covariances: Any) -> Array:
    r"""\(\log N(z_i; \mu_j, \Sigma_j)\) of all pairs, `(m, n)`: the exact critic of a Gaussian channel.

    Differentiable. `leave_one_out_bound` and `infonce_bound` turn it into bounds of I(X;Z) for \(z_i\) drawn from
    component i.

    Arguments:
        z: points `(m, d)`, of the library of `means`.
        means, covariances: as for `entropy_bounds`.

    Raises:
        TypeError, ValueError: as `entropy_bounds`, and if `z` is not `(m, d)`.

    References:
        Poole et al., 2019, *On variational bounds of mutual information*.

    Example:
        >>> import numpy as np
        >>> print(log_densities(np.zeros((1, 1)), np.array([[0.0], [2.0]]), 1.0).round(4))
        [[-0.9189 -2.9189]]
    """
    if getattr(z, "ndim", None) != 2 or z.shape[1:] != means.shape[1:]:
        raise ValueError(
            f"z of shape {tuple(getattr(z, 'shape', ()))} must be (m, {means.shape[-1]}), as means {tuple(means.shape)}"
        )
    components = normal_form(means, covariances)
    points = components.place(z)
    exact = beyond_reach(points) or beyond_reach(components.means)
    constant = 0.5 * means.shape[1] * math.log(2 * math.pi) + components.log_scale
    return log_density_rows(components, points, exact) - constant


def _tracked(components: Mixture) -> bool:
    if not is_torch_array(components.means):
        return False
    import torch

    own = (components.means, components.noise_entropy)
    return torch.is_grad_enabled() and any(getattr(v, "requires_grad", False) for v in own)

"""Pure terms of the objectives: functions of embeddings that return differentiable numbers.

They compute in the precision of their input; objectives call them in float32 outside autocast (float64 stays
float64), because a covariance in half precision loses the small eigenvalues that the regularisers act on.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = [
    "cosine_distance",
    "covariance",
    "cross_correlation",
    "cross_entropy",
    "epps_pulley",
    "invariance",
    "nt_xent_logits",
    "off_diagonal_squares",
    "same_image",
    "second_moment",
    "sinkhorn",
    "uniformity",
    "variance_hinge",
    "whitened",
]


# -- of embeddings as they are ----------------------------------------------------------------------------------


def invariance(z1: Float[Tensor, "n k"], z2: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    r"""Mean squared distance of the views: \(\frac{1}{NK} \sum_{nk} (z_{nk} - z'_{nk})^2\).

    0 for equal views, 2 for independent standard normal ones.
    """
    return (z1 - z2).square().mean()


def variance_hinge(z: Float[Tensor, "n k"], gamma: float = 1.0, eps: float = 1e-4) -> Float[Tensor, ""]:
    r"""Spread that is missing: \(\frac{1}{K} \sum_k \max(0, \gamma - \sqrt{\mathrm{Var}_k + \epsilon})\).

    The variance is unbiased (1 / (N - 1)). \(\gamma - \sqrt{\epsilon}\) at collapse.
    """
    return F.relu(gamma - torch.sqrt(z.var(dim=0) + eps)).mean()


def off_diagonal_squares(c: Float[Tensor, "k k"]) -> Float[Tensor, ""]:
    r"""\(\sum_{i \ne j} C_{ij}^2\). The diagonal is taken out first: subtracting its squares would cost digits."""
    return (c - torch.diag(c.diagonal())).square().sum()


def covariance(z: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    r"""Squared covariances off the diagonal: \(\frac{1}{K} \sum_{i \ne j} C_{ij}^2\), with C unbiased.

    0 at collapse; (K - 1) / (N - 1) in expectation for N independent standard normal rows.
    """
    n, k = z.shape
    z = z - z.mean(dim=0)
    return off_diagonal_squares(z.T @ z / (n - 1)) / k


def cross_correlation(
    z1: Float[Tensor, "n k"], z2: Float[Tensor, "n k"], eps: float = 1e-5
) -> Float[Tensor, "k k"]:
    r"""Correlations of the dimensions of two views, with variances \(\mathrm{Var}_k + \epsilon\) (1 / N).

    0 at collapse. Off the diagonal, and for independent views, the squares are 1 / (N - 1) in expectation.
    """
    z1, z2 = ((z - z.mean(dim=0)) * torch.rsqrt(z.var(dim=0, unbiased=False) + eps) for z in (z1, z2))
    return z1.T @ z2 / z1.shape[0]


def second_moment(z1: Float[Tensor, "n k"], z2: Float[Tensor, "n k"]) -> Float[Tensor, "k k"]:
    r"""\(\frac{1}{2N} \sum_n (z_n z_n^\top + z'_n z_n'^\top)\), without centring."""
    return (z1.T @ z1 + z2.T @ z2) / (2 * z1.shape[0])


def whitened(z: Float[Tensor, "*b n k"], eps: float = 0.0) -> Float[Tensor, "*b n k"]:
    r"""\((z - \bar z) L^{-\top}\) with \(L L^\top = (1 - \epsilon) C + \epsilon I\), C unbiased, within each batch.

    Not finite where that covariance is not positive definite.
    """
    n, k = z.shape[-2:]
    z = z - z.mean(dim=-2, keepdim=True)
    c = (1 - eps) * (z.mT @ z) / (n - 1) + eps * torch.eye(k, dtype=z.dtype, device=z.device)
    factor, failed = torch.linalg.cholesky_ex(c)
    factor = factor.masked_fill((failed != 0)[..., None, None], torch.nan)
    return torch.linalg.solve_triangular(factor, z.mT, upper=False).mT


# -- of directions ----------------------------------------------------------------------------------------------


def cosine_distance(a: Float[Tensor, "n k"], b: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    r"""\(\frac{1}{N} \sum_n 2 - 2 \cos(a_n, b_n)\), the squared distance of the directions, in [0, 4]."""
    return 2 - 2 * (F.normalize(a, dim=1) * F.normalize(b, dim=1)).sum(dim=1).mean()


def uniformity(z: Float[Tensor, "n k"], t: float = 2.0) -> Float[Tensor, ""]:
    r"""\(\log \frac{2}{N (N - 1)} \sum_{i < j} e^{-t \|\hat z_i - \hat z_j\|^2}\) of the directions.

    0 at collapse; for independent normal rows it tends to -1.58, -3.08 and -3.94 at t = 2 in K = 2, 8 and 128.
    """
    n = z.shape[0]
    z = F.normalize(z, dim=1)
    own = torch.eye(n, dtype=torch.bool, device=z.device)
    exponents = (2 * t * (z @ z.T - 1)).masked_fill(own, -torch.inf)  # of ordered pairs: each counts twice
    return exponents.flatten().logsumexp(dim=0) - math.log(n * (n - 1))


def nt_xent_logits(
    z1: Float[Tensor, "n k"], z2: Float[Tensor, "n k"], temperature: float
) -> tuple[Float[Tensor, "2*n 2*n"], Int[Tensor, " 2*n"]]:
    r"""Cosine similarities over the temperature for 2N anchors, and the index of each anchor's positive.

    Row i compares anchor i of `[z1, z2]` with all 2N embeddings. Its own entry is -inf, so the softmax runs
    over the 2N - 1 others, the positive among them.

    Shapes:
        `z1`, `z2`: `(N, K)`; returns logits `(2N, 2N)` and positives `(2N,)`.
    """
    n = z1.shape[0]
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    own = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(own, -torch.inf)
    return logits, torch.arange(2 * n, device=z.device).roll(n)


def same_image(n: int, device: torch.device) -> Bool[Tensor, "m m"]:
    """Which of the 2N views show the same image, each with itself included."""
    return torch.eye(n, dtype=torch.bool, device=device).repeat(2, 2)


# -- of scores and of projections -------------------------------------------------------------------------------


def cross_entropy(target: Float[Tensor, "n k"], logits: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    r"""\(-\frac{1}{N} \sum_{nk} q_{nk} \log \mathrm{softmax}(s_n)_k\)."""
    return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()


def sinkhorn(scores: Float[Tensor, "n k"], eps: float = 0.05, iterations: int = 3) -> Float[Tensor, "n k"]:
    r"""Soft assignments of N samples to K prototypes, about N / K to each; every row sums to 1.

    Alternate normalisation of columns and rows of \(e^{s / \epsilon}\), in the logarithm, where nothing
    overflows.
    """
    log_q = scores / eps
    for _ in range(iterations):
        log_q = log_q - log_q.logsumexp(dim=0)
        log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)
    return log_q.exp()


def epps_pulley(x: Float[Tensor, "n m"], knots: int = 17, reach: float = 3.0) -> Float[Tensor, ""]:
    r"""Mean over the M columns of the Epps-Pulley distance from N(0, 1).

    .. math:: T = N \int_{-r}^{r} \left| \tfrac{1}{N} \sum_n e^{i t x_n} - e^{-t^2 / 2} \right|^2 e^{-t^2 / 2} \, dt

    by the trapezoid rule on `knots` points of [0, r], twice. As r grows it is
    \(\sqrt{2 \pi} (1 - 1 / \sqrt 3)\) = 1.059 in expectation for standard normal columns, whatever N, and
    \(N \sqrt{2 \pi} (1 - \sqrt 2 + 1 / \sqrt 3)\) = 0.409 N for x = 0.
    """
    t = torch.linspace(0, reach, knots, dtype=x.dtype, device=x.device)
    normal = torch.exp(-t.square() / 2)
    waves = x[..., None] * t
    error = (waves.cos().mean(dim=0) - normal).square() + waves.sin().mean(dim=0).square()
    return 2 * x.shape[0] * torch.trapezoid(error * normal, t, dim=-1).mean()

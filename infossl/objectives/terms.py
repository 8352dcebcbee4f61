"""Pure terms of the objectives: functions of embeddings that return one differentiable number.

Statistics are computed in float32 outside autocast (float64 stays float64): a covariance in half precision
loses the small eigenvalues that the regularisers act on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from infossl.objectives.loss import Loss

__all__ = [
    "check_finite",
    "check_pair",
    "covariance",
    "in_full_precision",
    "invariance",
    "nt_xent_logits",
    "variance_hinge",
]


def check_pair(z1: Tensor, z2: Tensor) -> None:
    """Checks two batches of embeddings `(N, K)` in which row i of both comes from one image.

    Raises:
        TypeError: if either is not a floating point tensor.
        ValueError: if shapes differ, are not `(N, K)`, or N < 2.
    """
    for name, z in (("z1", z1), ("z2", z2)):
        if not isinstance(z, Tensor) or not z.is_floating_point():
            raise TypeError(
                f"{name} must be a floating point tensor (N, K), got {getattr(z, 'dtype', type(z).__name__)}"
            )
        if z.ndim != 2:
            raise ValueError(
                f"{name} has shape {tuple(z.shape)}: expected (N, K); flatten or pool each sample to one row"
            )
    if z1.shape != z2.shape:
        raise ValueError(
            f"z1 has shape {tuple(z1.shape)} and z2 has shape {tuple(z2.shape)}: "
            "row i of both must come from the same image, so the shapes must be equal"
        )
    if z1.shape[0] < 2:
        raise ValueError(
            f"z1 has shape {tuple(z1.shape)}: batch statistics and negatives need N >= 2; "
            "use a larger batch_size, or drop the last incomplete batch"
        )


def in_full_precision(z: Tensor) -> Tensor:
    """float64 as it is, everything else as float32."""
    return z if z.dtype == torch.float64 else z.float()


def check_finite(loss: Loss) -> Loss:
    """Returns the loss, or says which of its terms is not finite.

    Reads one number back from the device; skipped inside `torch.compile` and CUDA graph capture.

    Raises:
        FloatingPointError: names every term that is NaN or infinite, its value and the usual causes.
    """
    if torch.compiler.is_compiling() or (loss.total.is_cuda and torch.cuda.is_current_stream_capturing()):
        return loss
    if bool(torch.isfinite(loss.total)):
        return loss
    bad = {name: float(term.detach()) for name, term in loss.terms.items() if not bool(torch.isfinite(term))}
    named = (
        ", ".join(f"{name} = {value}" for name, value in bad.items())
        or f"total = {float(loss.total.detach())}"
    )
    raise FloatingPointError(
        f"loss term not finite: {named}; usual causes: NaN or inf in the inputs, a learning rate too large "
        "or without warm-up, or embeddings that overflowed in half precision"
    )


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


def covariance(z: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    r"""Squared covariances off the diagonal: \(\frac{1}{K} \sum_{i \ne j} C_{ij}^2\), with C unbiased.

    0 at collapse; (K - 1) / (N - 1) in expectation for N independent standard normal rows.
    """
    n, k = z.shape
    z = z - z.mean(dim=0)
    c = z.T @ z / (n - 1)
    # The diagonal is taken out before squaring: subtracting its large squares would cost digits.
    return (c - torch.diag(c.diagonal())).square().sum() / k


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

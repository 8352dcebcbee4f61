"""The minimum-norm least-squares head, by a thin singular value decomposition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["RANK_TOLERANCE", "LeastSquares", "least_squares"]

RANK_TOLERANCE = 1e-6
"""Singular values below this share of the largest count as zero: just above the noise of float32 features."""


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """A linear head without intercept, `prediction = z @ weights`.

    Arguments:
        weights: `(d, r)`, of least Frobenius norm among the minimisers.
        residual: `||P_Z Y||_F`, the norm of what the head leaves unexplained on its own sample.
        singular_values: of the features, those that count, decreasing; their number is the rank.
    """

    weights: np.ndarray
    residual: float
    singular_values: np.ndarray

    @property
    def rank(self) -> int:
        """Rank of the features at the tolerance of the fit."""
        return len(self.singular_values)


def least_squares(z: np.ndarray, y: np.ndarray, rank_tolerance: float = RANK_TOLERANCE) -> LeastSquares:
    r"""Fits \(W = Z^+ Y\) for rows `z`, with the residual \(\|P_Z Y\|_F = \|Y - U U^T Y\|_F\).

    U holds the left singular vectors that count, so nothing of size n x n is built; subtracting first keeps
    the digits that \(\|Y\|^2 - \|U^T Y\|^2\) loses when the fit is nearly perfect. Truncating small
    singular values gives the least-squares head on the directions kept, and the residual is that head's own.

    Arguments:
        z: features, one row per sample.
        y: targets, one row per sample.
        rank_tolerance: singular values below this share of the largest count as zero.

    Shapes:
        `z`: `(n, d)`; `y`: `(n, r)`; both float64 and finite.

    Raises:
        ValueError: if `rank_tolerance` is outside [0, 1).

    Example:
        >>> import numpy as np
        >>> fit = least_squares(np.array([[1.0], [1.0]]), np.array([[0.0], [2.0]]))
        >>> fit.weights.round(6).tolist(), round(fit.residual, 6), fit.rank
        ([[1.0]], 1.414214, 1)
    """
    if not 0 <= rank_tolerance < 1:
        raise ValueError(
            f"rank_tolerance = {rank_tolerance} must lie in [0, 1): it is a share of the largest"
        )
    u, s, vt = np.linalg.svd(z, full_matrices=False)
    keep = s > rank_tolerance * s[0]
    u, s, vt = u[:, keep], s[keep], vt[keep]
    scores = u.T @ y
    return LeastSquares(vt.T @ (scores / s[:, None]), float(np.linalg.norm(y - u @ scores)), s)

"""Invariance with a pairwise-distance entropy in place of variance and covariance."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from estimators.mixture import entropy_bounds
from infossl.objectives.checks import check_settings
from infossl.objectives.entropic import check_inner, less_entropy
from infossl.objectives.invariance import Invariance
from infossl.objectives.loss import Loss, Objective

__all__ = ["PairDist"]


@dataclass(frozen=True)
class PairDist:
    r"""An objective less a pairwise-distance bound of the entropy of its embeddings in Gaussian noise.

    .. math:: L = L_{inner} - w\, \frac{H_c(Z) + H_c(Z')}{2} \qquad
       H_c(Z) = \tfrac{K}{2} \log(2 \pi e s^2) - \frac{1}{N} \sum_i \log \frac{1}{N} \sum_j
       e^{-\|z_i - z_j\|^2 / c s^2}, \qquad s^2 = K v

    in nats. It bounds the entropy of the mixture of the N(z_i, s^2 I): from below for c = 8 (Bhattacharyya), from
    above for c = 2 (Kullback-Leibler). A lower bound is what can be maximised in good faith. With s^2
    proportional to K the exponents of normal rows do not depend on K: they are about 2 / (c v). Inside is
    invariance alone by default; `PairDist(BYOL())` takes the entropy of the prediction only. Where inner does not
    see the scale of its embeddings (`scale_free`), rows are brought to length \(\sqrt K\) first. In float64.

    Values of the entropy: \(\frac{K}{2} \log(2 \pi e s^2)\) at collapse, and at most log N more, where all rows
    are apart; for independent normal rows as K grows, \(-\log(\frac{1}{N} + \frac{N - 1}{N} e^{-2 / c v})\) more.

    Arguments:
        inner: an objective of two embeddings, or of prediction and target.
        variance: v, the variance of the noise over K, positive, in squared units of the embeddings.
        side: `"lower"` or `"upper"`.
        weight: w, per nat.

    Shapes:
        those of `inner`, with N >= 2.

    Raises:
        TypeError: if `inner` is no objective, or as `inner`.
        ValueError: if `inner` has no embeddings, for settings out of range, N < 2, or as `inner`.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Shwartz-Ziv, Balestriero, Kawaguchi, Rudner & LeCun, 2023, *An Information Theory Perspective on
        Variance-Invariance-Covariance Regularization*, arXiv:2303.00633. Kolchinsky & Tracey, 2017, *Estimating
        mixture entropy with pairwise distances*, Entropy 19, 361.

    Example:
        >>> import torch
        >>> z = torch.tensor([[0.0], [2.0]])
        >>> [round(float(PairDist(variance=1.0, side=side)(z, z).terms["pair_dist"]), 4) for side in ("lower", "upper")]
        [1.638, 1.9852]
    """

    inner: Objective = field(default_factory=Invariance)
    variance: float = 0.1
    side: str = "lower"
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_inner(self, self.inner)
        check_settings(self, positive=("variance",), nonnegative=("weight",))
        if self.side not in ("lower", "upper"):
            raise ValueError(f"side = {self.side!r} must be 'lower' or 'upper'")

    @property
    def inputs(self) -> str:
        """As the inner objective's."""
        return self.inner.inputs  # type: ignore[attr-defined]

    @property
    def scale_free(self) -> bool:
        """As the inner objective's."""
        return self.inner.scale_free  # type: ignore[attr-defined]

    def __call__(self, *inputs: Tensor) -> Loss:
        return less_entropy(self.inner, inputs, "pair_dist", self.weight, self._entropy)

    def _entropy(self, z: Tensor) -> Tensor:
        lower, upper = entropy_bounds(z, z.shape[1] * self.variance)
        return lower if self.side == "lower" else upper

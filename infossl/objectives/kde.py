"""Invariance with a kernel density entropy in place of variance and covariance."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from estimators.kde import kde_entropy
from infossl.objectives.align_uniform import AlignUniform
from infossl.objectives.checks import check_settings
from infossl.objectives.entropic import check_inner, less_entropy
from infossl.objectives.loss import Loss, Objective

__all__ = ["KDE"]


def _alignment() -> Objective:
    return AlignUniform(uniformity=0.0)


@dataclass(frozen=True)
class KDE:
    r"""An objective less the entropy of a Gaussian kernel density estimate at its embeddings.

    .. math:: L = L_{inner} - w\, \frac{H(Z) + H(Z')}{2} \qquad
       H(Z) = \tfrac{K}{2} \log(2 \pi h^2) - \frac{1}{N} \sum_i \log \frac{1}{N - 1} \sum_{j \ne i}
       e^{-\|z_i - z_j\|^2 / 2 h^2}, \qquad h^2 = K v

    in nats. Inside is the alignment of directions by default. Where inner does not see the scale of its embeddings
    (`scale_free`), rows are brought to length \(\sqrt K\) first: the kernel is then \(e^{(\cos - 1) / v}\), so that v
    is the temperature of `SimCLR`, whose repulsion is this entropy but for the positive. `KDE(BYOL())` takes
    the entropy of the prediction only. In float64.

    Each point is left out of its own density, as the estimate is an entropy only then. But far from each other,
    points would gain from distance without end, faster than any log, so that this needs a `scale_free` inner
    objective. With `leave_one_out=False` the sum runs over all j, with 1 / N: the gradient is that of the upper
    `PairDist`, whose value is K / 2 more.

    Values of the entropy: \(\frac{K}{2} \log(2 \pi h^2)\) at collapse; 1 / v more for independent normal rows as K
    grows, with points left out.

    Arguments:
        inner: an objective of two embeddings, or of prediction and target.
        variance: v, the variance of the kernel over K, positive.
        leave_one_out: leave each point out of its own density.
        weight: w, per nat.

    Shapes:
        those of `inner`, with N >= 2.

    Raises:
        TypeError: if `inner` is no objective, or as `inner`.
        ValueError: if `inner` has no embeddings or sees their scale while points are left out, for settings out of
            range, N < 2, or as `inner`.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Shwartz-Ziv, Balestriero, Kawaguchi, Rudner & LeCun, 2023, *An Information Theory Perspective on
        Variance-Invariance-Covariance Regularization*, arXiv:2303.00633. Ahmad & Lin, 1976, IEEE Trans. Inf. Theory
        22, 372-375.

    Example:
        >>> import torch
        >>> z = torch.tensor([[1.0], [-1.0]])  # 2 + 0.5 log 2 pi
        >>> round(float(KDE(variance=1.0)(z, z).terms["kde"]), 4)
        2.9189
    """

    inner: Objective = field(default_factory=_alignment)
    variance: float = 0.2
    leave_one_out: bool = True
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_inner(self, self.inner)
        check_settings(self, positive=("variance",), nonnegative=("weight",))
        if not isinstance(self.leave_one_out, bool):
            raise TypeError(f"KDE(leave_one_out={self.leave_one_out!r}): leave_one_out must be True or False")
        if self.leave_one_out and not self.scale_free:
            raise ValueError(
                f"KDE(inner={self.inner!r}) has no minimum: inner sees the scale of the embeddings, and with points "
                "left out the entropy grows with its square; use leave_one_out=False, or an inner objective of "
                "directions such as AlignUniform(uniformity=0.0)"
            )

    @property
    def inputs(self) -> str:
        """As the inner objective's."""
        return self.inner.inputs  # type: ignore[attr-defined]

    @property
    def scale_free(self) -> bool:
        """As the inner objective's."""
        return self.inner.scale_free  # type: ignore[attr-defined]

    def __call__(self, *inputs: Tensor) -> Loss:
        return less_entropy(self.inner, inputs, "kde", self.weight, self._entropy)

    def _entropy(self, z: Tensor) -> Tensor:
        return kde_entropy(z, (z.shape[1] * self.variance) ** 0.5, self.leave_one_out)

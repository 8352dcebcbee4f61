"""Invariance with a log-determinant entropy in place of variance and covariance."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from estimators.log_det import log_det_entropy
from infossl.objectives.checks import check_settings
from infossl.objectives.entropic import check_inner, less_entropy
from infossl.objectives.invariance import Invariance
from infossl.objectives.loss import Loss, Objective

__all__ = ["LogDet"]


@dataclass(frozen=True)
class LogDet:
    r"""An objective less the log-determinant entropy of its embeddings.

    .. math:: L = L_{inner} - w\, \frac{H_\beta(Z) + H_\beta(Z')}{2} \qquad
       H_\beta(Z) = \tfrac{1}{2} \log \left| I + \tfrac{\beta}{N}\, \bar Z^\top \bar Z \right|

    in nats, with \(\bar Z\) the centred embeddings. Inside is invariance alone by default; `LogDet(BYOL())` takes
    the entropy of the prediction only, the other input being without gradient. Where inner does not see the scale
    of its embeddings (`scale_free`), rows are brought to length \(\sqrt K\) first. The determinant is that of the
    smaller of \(\bar Z^\top \bar Z\) and \(\bar Z \bar Z^\top\), in float64.

    Values of the entropy: 0 at collapse; \(\frac{K}{2} \log(1 + \beta)\) for independent normal rows, N much
    larger than K. It is log-concave in the spectrum, so that the first dimensions to grow back are the lost ones.

    Arguments:
        inner: an objective of two embeddings, or of prediction and target.
        beta: inverse variance of the noise that keeps the determinant off 0, positive.
        weight: w, per nat.

    Shapes:
        those of `inner`, with N >= 2.

    Raises:
        TypeError: if `inner` is no objective, or as `inner`.
        ValueError: if `inner` has no embeddings, for settings out of range, N < 2, or as `inner`.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Shwartz-Ziv, Balestriero, Kawaguchi, Rudner & LeCun, 2023, *An Information Theory Perspective on
        Variance-Invariance-Covariance Regularization*, arXiv:2303.00633. Zhouyin & Liu, 2021, arXiv:2105.03705.

    Example:
        >>> import torch
        >>> z = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])  # covariance 2 I
        >>> round(float(LogDet()(z, z).total), 4)  # -log(1 + 2)
        -1.0986
    """

    inner: Objective = field(default_factory=Invariance)
    beta: float = 1.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_inner(self, self.inner)
        check_settings(self, positive=("beta",), nonnegative=("weight",))

    @property
    def inputs(self) -> str:
        """As the inner objective's."""
        return self.inner.inputs  # type: ignore[attr-defined]

    @property
    def scale_free(self) -> bool:
        """As the inner objective's."""
        return self.inner.scale_free  # type: ignore[attr-defined]

    def __call__(self, *inputs: Tensor) -> Loss:
        return less_entropy(self.inner, inputs, "log_det", self.weight, self._entropy)

    def _entropy(self, z: Tensor) -> Tensor:
        z = z - z.mean(dim=0)
        gram = z.T @ z if z.shape[1] <= z.shape[0] else z @ z.T
        return log_det_entropy((gram + gram.T) / (2 * z.shape[0]), self.beta)

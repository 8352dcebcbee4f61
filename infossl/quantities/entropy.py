"""H(Z): the entropy of a representation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from estimators import Entropy, Estimate, Gaussian
from infossl.activations import Activations

__all__ = ["RepresentationEntropy"]


@dataclass(frozen=True)
class RepresentationEntropy:
    """Differential entropy of the outputs over the measured inputs, H(Z), in nats.

    It changes by d log a under z -> a z: read it beside `LogTraceCovariance`. `Gaussian` gives an upper bound
    from second moments; a neighbour estimator after `Projected` gives H(PZ) of the leading components. An
    entropy has no null and no ceiling but the Gaussian one.

    Arguments:
        estimator: an `estimators.Entropy`.
    """

    estimator: Entropy = dataclasses.field(default_factory=Gaussian)

    quantity = "H(Z)"
    needs = ()
    channel = ""
    view = "clean"

    def __call__(self, activations: Activations) -> Estimate:
        estimate = self.estimator(activations.z)
        return dataclasses.replace(estimate, quantity=estimate.quantity.replace("X", "Z"))

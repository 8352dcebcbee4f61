"""I(Z;Z'), I(X;Z) and I(Z;Y): what a representation shares with its other view, its input, its label."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from estimators import Estimate, Gaussian, KolchinskyTracey, MutualInformation
from estimators.probe import ProbeInformation
from infossl.activations import Activations
from infossl.channels import Augmentation, GaussianChannel, Label

__all__ = ["InputInformation", "LabelInformation", "ViewInformation"]


@dataclass(frozen=True)
class ViewInformation:
    """I(Z;Z') in nats between the outputs on two independent augmentations of the same inputs.

    At most I(Z;V'), I(S;Z) and I(V;Z) by data processing, for Z - V - S - V' - Z'. Measure it with estimators of
    opposite bias: `Gaussian` over-states it on bent manifolds, neighbours under-state it in many dimensions,
    `InfoNCE` is a lower bound that stops at the logarithm of its batch, and that on independent views has
    expectation 0 at most; wrap the others in `Permuted` for a null.

    Arguments:
        estimator: an `estimators.MutualInformation` between continuous samples.
    """

    estimator: MutualInformation = dataclasses.field(default_factory=Gaussian)

    quantity = "I(Z;Z')"
    needs = ("views",)
    channel = repr(Augmentation())
    view = "augmented"

    def __call__(self, activations: Activations) -> Estimate:
        return _with_null(self.estimator(*activations.pair()), "I(Z;Z')")


@dataclass(frozen=True)
class InputInformation:
    r"""I(X;Z) in nats through a declared channel, between its Kolchinsky-Tracey bounds.

    X is uniform on the n measured inputs and Z = h + noise, so the ceiling is log n. Independence is a constant
    representation, at which both bounds are exactly 0: that is the null.

    Arguments:
        channel: the noise that makes the number finite; there is no default.

    Raises:
        ValueError: without a channel: I(X;Z) of a deterministic encoder with continuous outputs is infinite.

    References:
        Kolchinsky & Tracey, 2017, *Estimating mixture entropy with pairwise distances*, Entropy 19, 361.
    """

    channel: Any = None

    quantity = "I(X;Z)"
    needs = ()
    view = "clean"

    def __post_init__(self) -> None:
        if not isinstance(self.channel, GaussianChannel):
            raise ValueError(
                f"InputInformation(channel={self.channel!r}): I(X;Z) of a deterministic encoder with continuous outputs is "
                "infinite, so a finite number needs a declared channel, such as GaussianChannel(sigma=0.25)"
            )

    def __call__(self, activations: Activations) -> Estimate:
        sigma = self.channel.noise(activations.z)
        estimate = KolchinskyTracey(sigma=sigma)(activations.z)
        diagnostics = {**estimate.diagnostics, "sigma": sigma, "null_mean": 0.0}
        # The absolute sigma changes with the representation; the declared channel is what identifies the number.
        return dataclasses.replace(estimate, quantity="I(X;Z)", method=repr(self), diagnostics=diagnostics)


@dataclass(frozen=True)
class LabelInformation:
    """I(Z;Y) in nats, bounded from below by a probe: H(Y) minus its cross-entropy on samples it was not fitted on.

    Fitted on the probe set's own fitting samples where it has them, cross-fitted otherwise. On labels that are
    independent of Z the expectation is at most 0, whatever the probe: that is the null.

    Arguments:
        estimator: an `estimators.MutualInformation` between continuous samples and labels.

    References:
        Barber & Agakov, 2003, *The IM algorithm*, NeurIPS 16.
    """

    estimator: Any = dataclasses.field(default_factory=ProbeInformation)

    quantity = "I(Z;Y)"
    needs = ("labels",)
    channel = repr(Label())
    view = "clean"

    def __call__(self, activations: Activations) -> Estimate:
        z, y = activations.z, activations.labels()
        if activations.fit_z is not None and hasattr(self.estimator, "held_out"):
            estimate = self.estimator.held_out(activations.fit_z, activations.fit_y, z, y)
        else:
            estimate = self.estimator(z, y)
        return _with_null(estimate, "I(Z;Y)")


def _with_null(estimate: Estimate, quantity: str) -> Estimate:
    """Names the quantity. A lower bound scored on held-out samples has expectation 0 at most for independent ones."""
    diagnostics = dict(estimate.diagnostics)
    if estimate.bound == "lower":
        diagnostics.setdefault("null_mean", 0.0)
    return dataclasses.replace(estimate, quantity=quantity, diagnostics=diagnostics)

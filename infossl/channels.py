"""Channels: the declaration that makes an information-plane number finite.

For a deterministic encoder with continuous outputs I(X;Z) is infinite for almost every choice of weights
(Goldfeld et al., 2019, *Estimating information flow in deep neural networks*), so a finite number only means
something beside the channel that it was taken through. Every row carries one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["CHANNELS", "Augmentation", "GaussianChannel", "Label"]


@dataclass(frozen=True)
class GaussianChannel:
    r"""Independent noise at the read-out: \(T = h + \sigma \varepsilon,\ \varepsilon \sim N(0, I)\).

    Arguments:
        sigma: noise standard deviation, positive.
        relative: measure `sigma` in units of the representation's spread \(\sqrt{\mathrm{tr}\,\mathrm{Cov}(h)}\).
            Two samples at the typical distance are then \(\sqrt{2} / \sigma\) noise deviations apart in any layer,
            whatever its dimension, and the information does not change when the whole representation grows or
            shrinks; with an absolute sigma, growing weights alone raise it.

    Raises:
        ValueError: if `sigma` is not positive.
    """

    sigma: float
    relative: bool = True

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(
                f"sigma = {self.sigma} must be positive: without noise I(X;Z) of a deterministic encoder is infinite"
            )

    def noise(self, h: np.ndarray) -> float:
        """The absolute noise standard deviation for activations `h: (n, d)`.

        Raises:
            ValueError: if the channel is relative and `h` does not vary.
        """
        if not self.relative:
            return self.sigma
        spread = float(np.sqrt(np.sum(np.var(h, axis=0))))
        if spread <= 1e-12 * float(np.max(np.abs(h))):
            raise ValueError(
                f"h of shape {h.shape} is constant: a noise relative to its spread is zero; "
                "the representation has collapsed, or declare GaussianChannel(sigma=..., relative=False)"
            )
        return self.sigma * spread


@dataclass(frozen=True)
class Augmentation:
    """The law of the random views: Z = f(V), Z' = f(V') for independent augmentations V, V' of one image."""


@dataclass(frozen=True)
class Label:
    """Y is discrete, so that I(Z;Y) <= H(Y) is finite for any encoder: there is nothing to declare."""


CHANNELS = {"GaussianChannel": GaussianChannel, "Augmentation": Augmentation, "Label": Label}

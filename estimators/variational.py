r"""Variational estimates of mutual information with neural critics f(x, y), trained and judged on separate data.

.. math:: I_{DV} = E_{p(x,y)} f - \log E_{p(x) p(y)} e^f \le I(X;Y) \qquad
   I_{NCE} = E \left[ f(x_i, y_i) - \log \frac{1}{K} \sum_{j=1}^{K} e^{f(x_i, y_j)} \right] \le \min(I(X;Y), \log K)

Such bounds hold for any fixed critic (Donsker & Varadhan, 1983; van den Oord et al., 2018; Poole et al., 2019, *On
variational bounds of mutual information*), so a number is only meaningful on samples that the critic was not
fitted to. The samples are split into three parts: the critic is trained on the first, stopped by the second and
scored on the third, which alone gives the estimate.

Critic and bound are independent choices. The bound is the class; all classes share these settings:

    critic: `"joint"`, one network of (x, y), evaluated at every pair; `"separable"`, g(x) . h(y), far cheaper on
        many samples; `"bilinear"`, (x, 1) W (y, 1), without hidden layers, for representations in which the
        dependence is a scalar product already.
    hidden: units of a hidden layer.
    layers: hidden layers.
    embed: dimension of g and h of a separable critic.
    batch: samples of a training step; for `InfoNCE` also of a test batch.
    steps: largest number of training steps.
    lr: learning rate of Adam.
    patience: validations (one in 20 steps) without improvement after which a training stops.
    penalty: decoupled weight decay in units of (mean dimension / training samples).
    seeds: independent trainings.
    seed: fixes the split, the weights and the batches.
    validation: share of the samples that stops the training.
    test: share of the samples that gives the value.
    progress: shows a bar if stderr is a terminal; no part of equality or `repr`.

All take `x`: `(n, dx)` and `y`: `(n, dy)`, numpy or torch; an integer vector `(n,)` is a discrete variable and is
one-hot encoded. The networks run in float32 on the device of the tensors. And all report alike:

- The value is the mean over `seeds` trainings, which differ in initial weights and batches and share one split.
- The diagnostics `train`, `validation` and `test` are values of the bound on the three parts; on the validation part
  that of all classes but `InfoNCE` is the Donsker-Varadhan value.
- `stderr` combines the scatter of the test samples (first-order influence of each sample on the mean over trainings)
  and the scatter between trainings: sqrt(se_test^2 + spread^2 / trainings). It measures the bound that was found,
  not its distance to I(X;Y).
- `failed-seeds`: a training whose weights diverge, or whose best validation score is below a tenth of the best one,
  is left out; test scores take no part in this.
- `overfit`: a training score above the test score by more than 0.1 nats and 4 standard errors.
- `low-effective-sample` (all but `InfoNCE`): the unmatched pairs have fewer than 100 effective weights
  \((\sum w)^2 / \sum w^2\), \(w = e^f\). The variance of these values grows as \(e^I / n\) (McAllester & Stratos,
  2020; Song & Ermon, 2020), and few pairs carry them.
- `ceiling`: for `InfoNCE` log K, and within 1 nat of it the value is `saturated`. The others have no hard ceiling,
  but no sample of n (n - 1) unmatched pairs can support more than the logarithm of their number.
"""

from __future__ import annotations

import math
from dataclasses import field
from typing import Literal

from estimators._critic_estimate import check_critic, critic_estimate
from estimators._result import Bound, Estimate
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["FLO", "JSD", "MINE", "NWJ", "SMILE", "InfoNCE"]


@settings
class InfoNCE:
    r"""InfoNCE lower bound of I(X;Y), in nats, with a neural critic.

    .. math:: \hat I = \frac{1}{K} \sum_i \left( f_{ii} - \log \sum_j e^{f_{ij}} \right) + \log K

    averaged over many random test batches of one size K = min(`batch`, test samples), so it never exceeds log K,
    the `ceiling`; within 1 nat of it the value is flagged `saturated`. A joint critic costs K^2 network passes a step.

    The settings, their shapes and the flags are those of the module.

    Raises:
        TypeError: for arrays that hold no real numbers, or tensors on different devices.
        ValueError: for a setting out of range, NaN, wrong shapes, unequal n, all columns constant, n too small to
            split, or if all trainings diverge.

    References:
        van den Oord, Li & Vinyals, 2018. Poole et al., 2019.
        Song & Ermon, 2020, *Understanding the limitations of variational mutual information estimators*.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((500, 1))
        >>> e = InfoNCE(seeds=1, steps=200)(x, x + rng.standard_normal((500, 1)))
        >>> print(abs(e.value - 0.5 * np.log(2)) < 4 * e.stderr)
        True
    """

    critic: Literal["joint", "separable", "bilinear"] = "separable"
    hidden: int = 64
    layers: int = 1
    embed: int = 32
    batch: int = 256
    steps: int = 2000
    lr: float = 3e-3
    patience: int = 10
    penalty: float = 75.0
    seeds: int = 3
    seed: int = 0
    validation: float = 0.15
    test: float = 0.25
    progress: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_critic(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        return critic_estimate(self, "InfoNCE", x, y)


@settings
class MINE:
    r"""Donsker-Varadhan lower bound of I(X;Y), in nats, with a neural critic (MINE).

    .. math:: \hat I = \frac{1}{n} \sum_i f_{ii} - \log \frac{1}{n (n - 1)} \sum_{i \ne j} e^{f_{ij}}

    over all pairs of the n test samples. Training follows the bias-corrected gradient: the denominator of
    \(\nabla \log E e^f\) is a running mean over batches. The logarithm of a mean over-states the bound when few pairs
    carry it.

    The settings, their shapes and the flags are those of the module.

    Raises:
        TypeError: for arrays that hold no real numbers, or tensors on different devices.
        ValueError: for a setting out of range, NaN, wrong shapes, unequal n, all columns constant, n too small to
            split, or if all trainings diverge.

    References:
        Belghazi et al., 2018, *Mutual information neural estimation*. Donsker & Varadhan, 1983.
        McAllester & Stratos, 2020, *Formal limitations on the measurement of mutual information*.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((500, 1))
        >>> e = MINE(seeds=1, steps=200)(x, x + rng.standard_normal((500, 1)))
        >>> print(abs(e.value - 0.5 * np.log(2)) < 4 * e.stderr)
        True
    """

    critic: Literal["joint", "separable", "bilinear"] = "joint"
    hidden: int = 64
    layers: int = 2
    embed: int = 32
    batch: int = 128
    steps: int = 2000
    lr: float = 3e-3
    patience: int = 10
    penalty: float = 75.0
    seeds: int = 3
    seed: int = 0
    validation: float = 0.15
    test: float = 0.25
    progress: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_critic(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        return critic_estimate(self, "MINE", x, y)


@settings
class NWJ:
    r"""Nguyen-Wainwright-Jordan lower bound of I(X;Y), in nats, with a neural critic.

    .. math:: \hat I = \frac{1}{n} \sum_i f_{ii} + 1 - \frac{1}{n (n - 1)} \sum_{i \ne j} e^{f_{ij}}

    over all pairs of the n test samples; the critic of the paper is f + 1. Unlike `MINE` it holds no logarithm of a
    mean, so its expectation is below I(X;Y) at every n. The additive constant of f is fitted last, on the validation
    part, where \(-\log E e^f\) is best.

    The settings, their shapes and the flags are those of the module.

    Raises:
        TypeError: for arrays that hold no real numbers, or tensors on different devices.
        ValueError: for a setting out of range, NaN, wrong shapes, unequal n, all columns constant, n too small to
            split, or if all trainings diverge.

    References:
        Nguyen, Wainwright & Jordan, 2010, *Estimating divergence functionals and the likelihood ratio by convex risk
        minimization*. Poole et al., 2019.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((500, 1))
        >>> e = NWJ(seeds=1, steps=200)(x, x + rng.standard_normal((500, 1)))
        >>> print(abs(e.value - 0.5 * np.log(2)) < 4 * e.stderr)
        True
    """

    critic: Literal["joint", "separable", "bilinear"] = "joint"
    hidden: int = 64
    layers: int = 2
    embed: int = 32
    batch: int = 128
    steps: int = 2000
    lr: float = 3e-3
    patience: int = 10
    penalty: float = 75.0
    seeds: int = 3
    seed: int = 0
    validation: float = 0.15
    test: float = 0.25
    progress: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_critic(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        return critic_estimate(self, "NWJ", x, y)


@settings
class JSD:
    r"""Lower bound of I(X;Y), in nats, with a critic trained on the Jensen-Shannon divergence.

    .. math:: \max_f \; - E_{p(x,y)} \log(1 + e^{-f}) - E_{p(x) p(y)} \log(1 + e^{f}), \qquad
       \hat I = \frac{1}{n} \sum_i f_{ii} + c + 1 - \frac{e^c}{n (n - 1)} \sum_{i \ne j} e^{f_{ij}}

    The maximum is the log-ratio of p(x, y) and p(x) p(y), reached with bounded gradients. The value is not the
    divergence but the bound of `NWJ` at the trained critic, with the constant \(c = -\log E e^f\) from the validation
    part; the Donsker-Varadhan value of such a critic is `SMILE(tau=inf)`.

    The settings, their shapes and the flags are those of the module.

    Raises:
        TypeError: for arrays that hold no real numbers, or tensors on different devices.
        ValueError: for a setting out of range, NaN, wrong shapes, unequal n, all columns constant, n too small to
            split, or if all trainings diverge.

    References:
        Nowozin, Cseke & Tomioka, 2016, *f-GAN*. Hjelm et al., 2019, *Learning deep representations by mutual
        information estimation and maximization*. Poole et al., 2019.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((500, 1))
        >>> e = JSD(seeds=1, steps=200)(x, x + rng.standard_normal((500, 1)))
        >>> print(abs(e.value - 0.5 * np.log(2)) < 4 * e.stderr)
        True
    """

    critic: Literal["joint", "separable", "bilinear"] = "joint"
    hidden: int = 64
    layers: int = 2
    embed: int = 32
    batch: int = 128
    steps: int = 2000
    lr: float = 3e-3
    patience: int = 10
    penalty: float = 75.0
    seeds: int = 3
    seed: int = 0
    validation: float = 0.15
    test: float = 0.25
    progress: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_critic(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        return critic_estimate(self, "JSD", x, y)


@settings
class SMILE:
    r"""SMILE estimate of I(X;Y), in nats: a critic trained on the Jensen-Shannon divergence, a clipped value.

    .. math:: \hat I = \frac{1}{n} \sum_i f_{ii}
       - \log \frac{1}{n (n - 1)} \sum_{i \ne j} e^{\min(\max(f_{ij}, -\tau), \tau)}

    No bound: clipping limits the variance of the weights to about \(e^{\tau} / n\), and errs in both directions: the
    value may exceed I(X;Y) where weights above e^tau carry the mean, and fall short of it where those below e^-tau
    are many. With `tau` infinite nothing is clipped, and the value is the Donsker-Varadhan lower bound of the same
    critic.

    Arguments:
        tau: where unmatched scores are clipped, positive; 5 as in the paper.

    The settings, their shapes and the flags are those of the module.

    Raises:
        TypeError: for arrays that hold no real numbers, or tensors on different devices.
        ValueError: for a setting out of range, NaN, wrong shapes, unequal n, all columns constant, n too small to
            split, or if all trainings diverge.

    References:
        Song & Ermon, 2020, *Understanding the limitations of variational mutual information estimators*.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((500, 1))
        >>> e = SMILE(seeds=1, steps=200)(x, x + rng.standard_normal((500, 1)))
        >>> print(abs(e.value - 0.5 * np.log(2)) < 4 * e.stderr)
        True
    """

    tau: float = 5.0
    critic: Literal["joint", "separable", "bilinear"] = "joint"
    hidden: int = 64
    layers: int = 2
    embed: int = 32
    batch: int = 128
    steps: int = 2000
    lr: float = 3e-3
    patience: int = 10
    penalty: float = 75.0
    seeds: int = 3
    seed: int = 0
    validation: float = 0.15
    test: float = 0.25
    progress: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise ValueError(f"tau = {self.tau} must be positive")
        check_critic(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        direction: Bound = "none" if math.isfinite(self.tau) else "lower"
        return critic_estimate(self, "SMILE", x, y, direction=direction, tau=self.tau)


@settings
class FLO:
    r"""Fenchel-Legendre lower bound of I(X;Y), in nats, with a neural critic and a second network (FLO).

    .. math:: \hat I = 1 - \frac{1}{n} \sum_i \left( u(x_i, y_i)
       + e^{-u(x_i, y_i)} \frac{1}{n - 1} \sum_{j \ne i} e^{f_{ij} - f_{ii}} \right)

    over all pairs of the n test samples. It is a lower bound in expectation for every f and u, contrastive as
    `InfoNCE`, but not capped at log K. The best u is \(\log E_{y'} e^{f(x, y')} - f(x, y)\); it is
    parametrised as v(x, y) - f(x, y) with a network v of the same size, whose constant is fitted last, on the
    validation part.

    The settings, their shapes and the flags are those of the module.

    Raises:
        TypeError: for arrays that hold no real numbers, or tensors on different devices.
        ValueError: for a setting out of range, NaN, wrong shapes, unequal n, all columns constant, n too small to
            split, or if all trainings diverge.

    References:
        Guo et al., 2022, *Tight mutual information estimation with contrastive Fenchel-Legendre optimization*.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((500, 1))
        >>> e = FLO(seeds=1, steps=200)(x, x + rng.standard_normal((500, 1)))
        >>> print(abs(e.value - 0.5 * np.log(2)) < 4 * e.stderr)
        True
    """

    critic: Literal["joint", "separable", "bilinear"] = "joint"
    hidden: int = 64
    layers: int = 2
    embed: int = 32
    batch: int = 128
    steps: int = 2000
    lr: float = 3e-3
    patience: int = 10
    penalty: float = 75.0
    seeds: int = 3
    seed: int = 0
    validation: float = 0.15
    test: float = 0.25
    progress: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_critic(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        return critic_estimate(self, "FLO", x, y)

r"""Variational lower bounds of mutual information with neural critics f(x, y), trained and judged on separate data.

.. math:: I_{DV} = E_{p(x,y)} f - \log E_{p(x) p(y)} e^f \le I(X;Y) \qquad
   I_{NCE} = E \left[ f(x_i, y_i) - \log \frac{1}{K} \sum_{j=1}^{K} e^{f(x_i, y_j)} \right] \le \min(I(X;Y), \log K)

Both hold for any fixed critic (Donsker & Varadhan, 1983; van den Oord et al., 2018; Poole et al., 2019, *On
variational bounds of mutual information*), so a number is only meaningful on samples that the critic was not
fitted to. The samples are split into three parts: the critic is trained on the first, stopped by the second and
scored on the third, which alone gives the estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace, is_torch_array

from estimators._result import Estimate
from estimators._samples import (
    as_labels,
    as_samples,
    diagnostics,
    drop_constant_columns,
    is_discrete,
    paired,
    repeated_rows,
    stream,
)
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["MINE", "InfoNCE", "dv_bound", "infonce_bound"]

_REPEATS = 0.02  # share of repeated pairs above which test scores are partly scores on training pairs
_MIN_PART = 16  # samples that every part of the split must have
_PASSES = 8  # random partitions of the test part into InfoNCE batches
_SHIFTS = 4  # negatives per positive when a joint critic is trained by MINE
_VALIDATION_SHIFTS = 32  # and when it is validated
_MOMENTUM = 0.9  # of the running mean in the denominator of MINE's gradient
_EVERY = 20  # steps between validations
_DECAY = 0.98  # of the running mean of the weights
_JOINT_TRAIN_ROWS = 500  # a joint critic is scored on this many training samples, as the cost is quadratic
_EFFECTIVE = 100  # effective Donsker-Varadhan weights below which a few pairs make the value


def dv_bound(scores: Array) -> Array:
    r"""Donsker-Varadhan bound in nats from critic scores of all pairs.

    .. math:: \frac{1}{K} \sum_i f_{ii} - \log \frac{1}{K (K - 1)} \sum_{i \ne j} e^{f_{ij}}

    Differentiable for torch tensors. The logarithm of a sample mean over-states the bound in small batches.

    Arguments:
        scores: `(K, K)` with K >= 2, `scores[i, j]` = f(x_i, y_j); numpy or torch.

    Raises:
        ValueError: if `scores` is not square.

    References:
        Donsker & Varadhan, 1983. Belghazi et al., 2018, *Mutual information neural estimation*.

    Example:
        >>> import numpy as np
        >>> float(dv_bound(np.full((4, 4), 7.0)))
        0.0
    """
    k = _square(scores)
    xp = array_namespace(scores)
    matched = xp.linalg.diagonal(scores)
    others = xp.where(xp.eye(k, dtype=xp.bool, device=_device(scores)), -math.inf, scores)
    return xp.mean(matched) - (_log_sum_exp(xp.reshape(others, (-1,)), 0) - math.log(k * (k - 1)))


def infonce_bound(scores: Array) -> Array:
    r"""InfoNCE bound in nats from critic scores of all pairs; at most log K.

    .. math:: \frac{1}{K} \sum_i \left( f_{ii} - \log \sum_j e^{f_{ij}} \right) + \log K

    Differentiable for torch tensors. Adding a function of x to the critic changes nothing.

    Arguments:
        scores: `(K, K)` with K >= 2, `scores[i, j]` = f(x_i, y_j); numpy or torch.

    Raises:
        ValueError: if `scores` is not square.

    References:
        van den Oord, Li & Vinyals, 2018, *Representation learning with contrastive predictive coding*.

    Example:
        >>> import numpy as np
        >>> round(float(infonce_bound(100 * np.eye(8))), 4)  # log 8
        2.0794
    """
    k = _square(scores)
    xp = array_namespace(scores)
    return xp.mean(xp.linalg.diagonal(scores) - _log_sum_exp(scores, 1)) + math.log(k)


def _square(scores: Array) -> int:
    shape = tuple(getattr(scores, "shape", ()))
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2:
        raise ValueError(
            f"scores must have shape (K, K) with K >= 2, one row for each x and one column for each y, got {shape}"
        )
    return shape[0]


def _device(x: Array) -> Any:
    return x.device if is_torch_array(x) else None


def _log_sum_exp(x: Array, axis: int) -> Array:
    if is_torch_array(x):
        return x.logsumexp(axis)
    from scipy.special import logsumexp

    return logsumexp(x, axis=axis)


@settings
class InfoNCE:
    r"""InfoNCE lower bound of I(X;Y), in nats, with a neural critic.

    .. math:: \hat I = \frac{1}{K} \sum_i \left( f_{ii} - \log \sum_j e^{f_{ij}} \right) + \log K

    averaged over many random test batches of one size K = min(`batch`, test samples), so it never exceeds log K,
    the `ceiling`; within 1 nat of it the value is flagged `saturated`.

    The value is the mean over `seeds` trainings, which differ in initial weights and batches and share one split.
    `stderr` combines the scatter of the test samples (first-order influence of each sample on the mean over
    trainings) and the scatter between trainings: sqrt(se_test^2 + spread^2 / trainings). It measures the bound
    that was found, not its distance to I(X;Y).

    A training whose weights diverge, or whose best validation score is below a tenth of the best one, is left out
    and flagged `failed-seeds`; test scores take no part in this. `overfit` means a training score above the test
    score by more than 0.1 nats and 4 standard errors.

    Arguments:
        critic: `"separable"`, g(x) . h(y), or `"joint"`, one network of (x, y), which costs K^2 network passes.
        hidden: units of a hidden layer.
        layers: hidden layers.
        embed: dimension of g and h.
        batch: samples of a training step and of a test batch.
        steps: largest number of training steps.
        lr: learning rate of Adam.
        patience: validations (one in 20 steps) without improvement after which a training stops.
        penalty: decoupled weight decay in units of (mean dimension / training samples).
        seeds: independent trainings.
        seed: fixes the split, the weights and the batches.
        validation: share of the samples that stops the training.
        test: share of the samples that gives the value.
        progress: shows a bar if stderr is a terminal; no part of equality or `repr`.

    Shapes:
        `x`: `(n, dx)`; `y`: `(n, dy)`; an integer vector `(n,)` is a discrete variable and is one-hot encoded.
        Numpy or torch; the networks run in float32 on the device of the tensors.

    Raises:
        TypeError: for arrays that hold no real numbers, or tensors on different devices.
        ValueError: for NaN, wrong shapes, unequal n, all columns constant, n too small to split, or if all
            trainings diverge.

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

    critic: Literal["separable", "joint"] = "separable"
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
        _check(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        return _estimate(self, x, y)


@settings
class MINE:
    r"""Donsker-Varadhan lower bound of I(X;Y), in nats, with a neural critic (MINE).

    .. math:: \hat I = \frac{1}{n} \sum_i f_{ii} - \log \frac{1}{n (n - 1)} \sum_{i \ne j} e^{f_{ij}}

    over all pairs of the n test samples. Training follows the bias-corrected gradient: the denominator of
    \(\nabla \log E e^f\) is a running mean over batches.

    The value has no hard ceiling, but no sample of n (n - 1) unmatched pairs can support more than the logarithm of
    their number, which is the `ceiling`; above it the value is flagged `saturated`. Its variance grows as
    \(e^I / n\), and the logarithm of a mean over-states the bound when few pairs carry it: below 100 effective
    weights \((\sum w)^2 / \sum w^2\), \(w = e^f\), it is flagged `low-effective-sample`.

    The value is the mean over `seeds` trainings, which differ in initial weights and batches and share one split.
    `stderr` combines the scatter of the test samples (delta method) and the scatter between trainings:
    sqrt(se_test^2 + spread^2 / trainings). It measures the bound that was found, not its distance to I(X;Y).

    A training whose weights diverge, or whose best validation score is below a tenth of the best one, is left out
    and flagged `failed-seeds`; test scores take no part in this. `overfit` means a training score above the test
    score by more than 0.1 nats and 4 standard errors.

    Arguments:
        critic: `"joint"`, one network of (x, y), or `"separable"`, g(x) . h(y), far cheaper on many samples.
        hidden: units of a hidden layer.
        layers: hidden layers.
        embed: dimension of g and h; unused by a joint critic.
        batch: samples of a training step.
        steps: largest number of training steps.
        lr: learning rate of Adam.
        patience: validations (one in 20 steps) without improvement after which a training stops.
        penalty: decoupled weight decay in units of (mean dimension / training samples).
        seeds: independent trainings.
        seed: fixes the split, the weights and the batches.
        validation: share of the samples that stops the training.
        test: share of the samples that gives the value.
        progress: shows a bar if stderr is a terminal; no part of equality or `repr`.

    Shapes:
        `x`: `(n, dx)`; `y`: `(n, dy)`; an integer vector `(n,)` is a discrete variable and is one-hot encoded.
        Numpy or torch; the networks run in float32 on the device of the tensors.

    Raises:
        TypeError: for arrays that hold no real numbers, or tensors on different devices.
        ValueError: for NaN, wrong shapes, unequal n, all columns constant, n too small to split, or if all
            trainings diverge.

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

    critic: Literal["joint", "separable"] = "joint"
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
        _check(self)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        return _estimate(self, x, y)


def _check(settings: InfoNCE | MINE) -> None:
    if settings.critic not in ("separable", "joint"):
        raise ValueError(f"critic must be 'separable' or 'joint', got {settings.critic!r}")
    for name in ("hidden", "layers", "embed", "steps", "patience", "seeds"):
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} = {getattr(settings, name)} must be at least 1")
    if settings.batch < 2:
        raise ValueError(f"batch = {settings.batch} must be at least 2: the other samples are the negatives")
    if not settings.lr > 0 or not settings.penalty >= 0:
        raise ValueError(f"lr = {settings.lr} must be positive and penalty = {settings.penalty} not negative")
    if not (settings.validation > 0 and settings.test > 0 and settings.validation + settings.test < 1):
        raise ValueError(
            f"validation = {settings.validation} and test = {settings.test} must be positive shares that leave "
            "a part for training: validation + test < 1"
        )


def _estimate(settings: InfoNCE | MINE, x: Array, y: Array) -> Estimate:
    import torch

    from estimators import _critics

    with _critics.isolated(_device_type(x, y)):
        (x, dropped_x), (y, dropped_y) = _variable(x, "x"), _variable(y, "y")
        paired(x, y)
        parts = _split(x.shape[0], settings)
        repeats = repeated_rows(torch.cat([x, y], 1).cpu().numpy())
        scores = _fit_and_score(settings, _scaled(x, parts[0]), _scaled(y, parts[0]), parts)
    estimate = _report(settings, x.shape[0], dropped_x + dropped_y, parts, scores)
    if repeats <= _REPEATS * x.shape[0]:
        return estimate
    return replace(estimate, flags=(*estimate.flags, "duplicates"))


def _device_type(x: Array, y: Array) -> str:
    devices = {str(z.device) if is_torch_array(z) else "cpu" for z in (x, y)}
    if len(devices) > 1:
        raise TypeError(f"x and y are on different devices {sorted(devices)}; move one of them with .to(...)")
    return devices.pop().split(":")[0]


def _variable(x: Array, name: str) -> tuple[Any, int]:
    """A float64 tensor without constant columns, and how many were dropped; labels are one-hot encoded."""
    import torch

    if not is_discrete(x):
        x, dropped = drop_constant_columns(as_samples(x, name), name)
        # Not as_tensor, which would move an array to the caller's default device.
        return x if is_torch_array(x) else torch.from_numpy(x), dropped
    if is_torch_array(x) and x.device.type != "cpu":
        values, codes = torch.unique(x, return_inverse=True)
        if len(values) < 2:
            raise ValueError(f"{name} of shape {tuple(x.shape)} has 1 distinct value; at least 2 are needed")
    else:
        codes = torch.from_numpy(as_labels(x, name))
    return torch.nn.functional.one_hot(codes).to(torch.float64), 0


def _split(n: int, settings: InfoNCE | MINE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes = int(n * settings.validation), int(n * settings.test)
    train = n - sum(sizes)
    if min(train, *sizes) < _MIN_PART:
        shares = settings.validation, settings.test, 1 - settings.validation - settings.test
        raise ValueError(
            f"n = {n} samples split into {train} for training, {sizes[0]} for validation and {sizes[1]} for the test, "
            f"but each part needs at least {_MIN_PART}: use n >= {math.ceil((_MIN_PART + 1) / min(shares))} samples "
            "or other shares"
        )
    order = stream(settings.seed, "split").permutation(n)
    return order[:train], order[train : train + sizes[0]], order[train + sizes[0] :]


def _scaled(x: Any, rows: np.ndarray) -> Any:
    """Float32 columns with mean 0 and standard deviation 1 on `rows`, so that nothing leaks from the other parts."""
    import torch

    train = x[torch.as_tensor(rows, device=x.device)]
    centre, reach = train.mean(0), x.abs().amax(0)
    # The range is divided out first, so that squares neither overflow nor vanish; a column may be constant on `rows`.
    reach = torch.where(reach > 0, reach, torch.ones_like(reach))
    spread = ((train - centre) / reach).square().mean(0).sqrt() * reach
    return ((x - centre) / torch.where(spread > reach * 2.0**-44, spread, reach)).to(torch.float32)


@dataclass(frozen=True)
class _Scores:
    """What one fit leaves behind, one entry for each training."""

    validation: np.ndarray
    train: np.ndarray
    test: np.ndarray
    influence: np.ndarray  # (S, n_test)
    effective: np.ndarray | None
    ceiling: float
    steps: int
    converged: bool


def _fit_and_score(settings: InfoNCE | MINE, x: Any, y: Any, parts: tuple[np.ndarray, ...]) -> _Scores:
    import torch

    from estimators import _critics

    train, validation, test = (torch.as_tensor(part, device=x.device) for part in parts)
    joint = settings.critic == "joint"
    critic = _critics.Critic(
        settings.critic, x.shape[1], y.shape[1], settings.hidden, settings.layers, settings.embed
    )
    if isinstance(settings, InfoNCE):
        batch = min(settings.batch, len(test))
        objective = _critics.infonce_objective(critic)
        validate = _critics.validate_infonce(
            critic, x[validation], y[validation], min(batch, len(validation))
        )
        ceiling, rows = math.log(batch), len(test)

        def score(flat: Any, part: Any) -> Any:
            return _critics.score_infonce(critic, flat, x[part], y[part], batch, _PASSES, settings.seed)
    else:
        objective = _critics.mine_objective(critic, _SHIFTS, _MOMENTUM)
        validate = _critics.validate_dv(critic, x[validation], y[validation], _VALIDATION_SHIFTS)
        ceiling, rows = (
            math.log(len(test) * (len(test) - 1)),
            min(len(test), _JOINT_TRAIN_ROWS if joint else len(test)),
        )

        def score(flat: Any, part: Any) -> Any:
            return _critics.score_dv(critic, flat, x[part], y[part])

    dimension = (x.shape[1] + y.shape[1]) / 2
    fit = _critics.train(
        critic,
        objective,
        validate,
        x[train],
        y[train],
        seeds=[int(s) for s in np.random.SeedSequence(settings.seed).generate_state(settings.seeds)],
        batch=min(settings.batch, len(train)),
        steps=settings.steps,
        every=_EVERY,
        patience=settings.patience,
        lr=settings.lr,
        # A step that shrinks by more than a half would be no training.
        shrink=min(settings.penalty * dimension / len(train), 0.5 / settings.lr),
        decay=_DECAY,
        progress=settings.progress,
    )
    with torch.no_grad():
        on_test, on_train = score(fit.flat, test), score(fit.flat, train[:rows])
    return _Scores(
        validation=np.asarray(fit.validation),
        train=on_train.value.cpu().numpy(),
        test=on_test.value.cpu().numpy(),
        influence=on_test.influence.cpu().numpy(),
        effective=None if on_test.effective is None else on_test.effective.cpu().numpy(),
        ceiling=ceiling,
        steps=fit.steps,
        converged=fit.converged,
    )


def _kept(validation: np.ndarray) -> np.ndarray:
    """Trainings that count: validation scores that are finite and not below a tenth of a best one above 0.1 nats."""
    finite = np.isfinite(validation)
    best = np.max(validation, where=finite, initial=-math.inf)
    return finite & ((validation >= 0.1 * best) | (best <= 0.1))


def _report(
    settings: InfoNCE | MINE, n: int, dropped: int, parts: tuple[np.ndarray, ...], scores: _Scores
) -> Estimate:
    keep = _kept(scores.validation) & np.isfinite(scores.test)
    if not keep.any():
        raise ValueError(f"all {len(keep)} trainings diverged with lr = {settings.lr}; use a smaller lr")
    test, train = scores.test[keep], float(scores.train[keep].mean())
    value = float(test.mean())
    spread = float(test.std(ddof=1)) if len(test) > 1 else None
    scatter = float(scores.influence[keep].mean(axis=0).std()) / math.sqrt(len(parts[2]))
    stderr = math.hypot(scatter, (spread or 0.0) / math.sqrt(len(test)))
    effective = None if scores.effective is None else float(scores.effective[keep].min())
    margin = 1.0 if isinstance(settings, InfoNCE) else 0.0
    raised = {
        "constant-columns": dropped > 0,
        "saturated": value > scores.ceiling - margin,
        "overfit": train - value > 0.1 + 4 * stderr,
        "failed-seeds": not keep.all(),
        "low-effective-sample": effective is not None and effective < _EFFECTIVE,
        "not-converged": not scores.converged,
    }
    return Estimate(
        value=value,
        quantity="I(X;Y)",
        n=n,
        method=repr(settings),
        bound="lower",
        stderr=stderr,
        ceiling=scores.ceiling,
        flags=tuple(flag for flag, on in raised.items() if on),
        diagnostics=diagnostics(
            train=train,
            validation=scores.validation[keep].mean(),
            test=value,
            spread=spread,
            effective_sample=effective,
            failed=int((~keep).sum()),
            steps=scores.steps,
            dropped=dropped,
            n_train=len(parts[0]),
            n_validation=len(parts[1]),
            n_test=len(parts[2]),
        ),
    )

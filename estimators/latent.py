"""Latent mutual information: neighbours counted between learnt codes of x and y, on samples the codes were not learnt from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from estimators._covariance import merged
from estimators._folds import folds
from estimators._result import Estimate
from estimators._samples import diagnostics, is_discrete, paired, repeated_rows, stream
from estimators._settings import settings
from estimators.neighbors import KSG
from estimators.neighbors_mixed import Ross
from estimators.protocols import Array

__all__ = ["LMI"]

_EVERY = 20  # steps between validations
_DECAY = 0.98  # of the running mean of the weights
_TOLERANCE = 3e-4  # share of the first validation loss below which an improvement is none
_MIN_PART = 16  # samples that every part of the split must have
_PARTS = 5  # of the held-out samples of a fold, for the standard error
_OVERFIT = 2.0  # training value above this multiple of the held-out one
_REPEATS = 0.02  # share of repeated pairs above which held-out samples are partly training samples


@settings
class LMI:
    r"""Mutual information I(f(X);g(Y)) in nats of learnt low-dimensional codes (latent mutual information).

    .. math:: \min_{f, g, D} \; \|X - D_{yx} g(Y)\|^2 + \|Y - D_{xy} f(X)\|^2
       + \lambda \left( \|X - D_x f(X)\|^2 + \|Y - D_y g(Y)\|^2 \right), \qquad \hat I = \hat I_{\rm inner}(f(X); g(Y))

    with standardised columns and every term a mean over them. The cross terms keep in the codes what one variable says
    about the other, where plain reconstruction keeps what varies most; the paper has \(\lambda = 1\). For labels y there
    is no g: the cross term is the cross-entropy of predicted labels over log C, and the inner estimator sees the labels.

    The codes are turned to their canonical directions and scaled by the canonical correlations, but by no less than 0.1, as
    measured on the samples they were learnt from. That changes no mutual information, and lets neighbours be near in
    what X and Y share; so the default inner estimator does not standardise again.

    Cross-fitting: codes are learnt and stopped on all folds but one and measured on that one, each fold in turn, and
    the value is the mean. By data processing I(f(X);g(Y)) <= I(X;Y) for any codes, so **the expectation is at most I(X;Y)
    up to the bias of the inner estimator**; `bound` is that of the inner estimator if it is a lower one. `KSG` has
    none, and errs low on strong dependence. What needs more than `dims` directions, or is too weak to be learnt from
    n samples, is missed: 128 weak channels of 2.0 nats together read about 0 at n = 2000.

    The standard error is that of the inner estimator if it has one, else from the scatter over 5 disjoint parts of each fold. It
    covers the held-out samples, not the learning. Cost: `folds` trainings, together 3 to 6 s on one core at n = 2000 and
    128 + 128 dimensions, and hardly more at n = 10,000.

    Arguments:
        inner: estimator of mutual information between the codes. For labels a `KSG` is replaced by the `Ross` of its settings.
        dims: columns of a code, at most the columns of its variable.
        reconstruction: \(\lambda\), the weight of each variable's own reconstruction.
        folds: parts of the sample, each held out once, at least 2.
        hidden: units of a hidden layer, of encoders and decoders.
        layers: hidden layers; each map also has a linear path.
        batch: samples of a training step.
        steps: largest number of training steps.
        lr: learning rate of Adam.
        patience: validations (one in 20 steps) without improvement after which a training stops.
        penalty: decoupled weight decay in units of (mean dimension / training samples).
        seed: fixes the folds, the weights and the batches.
        validation: share of the samples outside a fold that stops the training and fixes the best weights.
        progress: shows a bar if stderr is a terminal; no part of equality or `repr`.

    Shapes:
        `x`: `(n, dx)`; `y`: `(n, dy)`; one of them may be an integer vector `(n,)` of labels. Numpy or torch; the networks
        run in float32 on the device of the tensors.

    Raises:
        TypeError: for arrays that hold no real numbers, two label vectors, or tensors on different devices.
        ValueError: for settings out of range, NaN, wrong shapes, unequal n, n too small to split, all columns constant, or if
            a training diverges.

    References:
        Gowri, Lunt, Klein & Yin, 2024, *Approximating mutual information of high-dimensional variables using learned
        representations*, NeurIPS. Cover & Thomas, *Elements of Information Theory*, theorem 2.8.1.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> z, (a, b) = rng.standard_normal((600, 1)), rng.standard_normal((2, 1, 50))
        >>> x, y = z @ a + 0.1 * rng.standard_normal((600, 50)), z @ b + 3 * rng.standard_normal((600, 1)) @ b
        >>> e = LMI(steps=300)(x, y)  # one shared direction, 0.5 log(1 + 1/9) = 0.05 nats
        >>> abs(e.value - 0.05) < 4 * e.stderr
        True
    """

    inner: Callable[..., Estimate] = KSG(k=3, standardise=False)
    dims: int = 8
    reconstruction: float = 0.3
    folds: int = 2
    hidden: int = 128
    layers: int = 1
    batch: int = 128
    steps: int = 2000
    lr: float = 3e-3
    patience: int = 10
    penalty: float = 50.0
    seed: int = 0
    validation: float = 0.15
    progress: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, least in {"dims": 1, "folds": 2, "hidden": 1, "layers": 1, "batch": 2}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least {least}")
        for name in ("steps", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr = {self.lr} must be positive")
        for name in ("penalty", "reconstruction"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} must be a finite number >= 0")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation = {self.validation} must be a share between 0 and 1")

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        import torch

        from estimators._training import codes_of, device_type, isolated, variable

        if is_discrete(x) and is_discrete(y):
            raise TypeError(
                f"x and y of shapes {tuple(x.shape)} and {tuple(y.shape)} are both labels and have no codes to learn; "
                "use Discrete()"
            )
        with isolated(device_type(x, y)):
            (x, dropped_x), (y, dropped_y) = (
                (codes_of(z, name), 0) if is_discrete(z) else variable(z, name)
                for z, name in ((x, "x"), (y, "y"))
            )
            paired(x, y)
            n, swapped = len(x), x.ndim == 1
            repeats = repeated_rows(torch.cat([z.reshape(n, -1) for z in (x, y)], 1).cpu().numpy())
            first, second = (y, x) if swapped else (x, y)  # labels come second
            found = [self._fold(first, second, *rows) for rows in self._splits(n)]
        value = float(np.mean([f.held_out.value for f in found]))
        errors = [f.stderr for f in found if f.stderr is not None]
        stderr = math.sqrt(sum(e**2 for e in errors)) / len(found) if len(errors) == len(found) else None
        training = float(np.mean([f.training for f in found]))
        raised = {
            "constant-columns": dropped_x + dropped_y > 0,
            "duplicates": repeats > _REPEATS * n,
            "not-converged": any(not f.converged for f in found),
            "overfit": stderr is not None
            and training > _OVERFIT * max(value, 0.0)
            and training - value > max(4 * stderr, 0.1),
        }
        return Estimate(
            value=value,
            quantity="I(X;Y)",
            n=n,
            method=repr(self),
            bound="lower" if all(f.held_out.bound == "lower" for f in found) else "none",
            stderr=stderr,
            ceiling=min((f.held_out.ceiling for f in found if f.held_out.ceiling is not None), default=None),
            flags=merged(tuple(k for k, on in raised.items() if on), *(f.held_out.flags for f in found)),
            diagnostics=diagnostics(
                training=training,
                spread=np.std([f.held_out.value for f in found], ddof=1),
                unexplained=np.mean([f.loss for f in found]),
                unexplained_training=np.mean([f.training_loss for f in found]),
                steps=max(f.steps for f in found),
                dropped=dropped_x + dropped_y,
                dims=min(self.dims, *(z.shape[1] for z in (x, y) if z.ndim > 1)),
                n_test=n // self.folds,
            ),
        )

    def _splits(self, n: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(training, validation, held-out) row numbers of every fold."""
        held_out = n // self.folds
        valid = int(self.validation * (n - held_out - 1))
        sizes = held_out, valid, n - held_out - 1 - valid
        if min(sizes) < _MIN_PART:
            share = (1 - 1 / self.folds) * min(self.validation, 1 - self.validation)
            least = math.ceil((_MIN_PART + 1) / min(1 / self.folds, share)) + 2
            raise ValueError(
                f"n = {n} samples leave {sizes[0]} held out, {sizes[1]} for validation and {sizes[2]} for training, but each "
                f"part needs at least {_MIN_PART}: use n >= {least} samples or other shares"
            )
        order = stream(self.seed, "validation")
        # The held-out rows too: their parts give the standard error, and rows may come sorted.
        again = stream(self.seed, "held-out")
        shuffled = (
            (order.permutation(rest), again.permutation(test))
            for rest, test in folds(n, self.folds, self.seed)
        )
        return [(rest[valid:], rest[:valid], test) for rest, test in shuffled]

    def _fold(self, x: Any, y: Any, train: np.ndarray, valid: np.ndarray, test: np.ndarray) -> _Fold:
        """The inner estimate on samples that neither the networks nor the metric have seen."""
        import torch

        from estimators import _latent, _training

        labels = y.ndim == 1
        x, y = _training.scaled(x, train), y if labels else _training.scaled(y, train)
        dy = int(y.max()) + 1 if labels else y.shape[1]
        net = _latent.Autoencoder(
            x.shape[1], dy, min(self.dims, x.shape[1]), min(self.dims, dy), self.hidden, self.layers, labels
        )
        fitting, stopping, held_out = (
            [z[torch.as_tensor(part, device=z.device)] for z in (x, y)] for part in (train, valid, test)
        )
        fit = _training.train(
            net.initial,
            _latent.objective(net, self.reconstruction),
            _latent.settled(_latent.score(net, *stopping, own=self.reconstruction), _TOLERANCE),
            (fitting[0], fitting[1]),
            seeds=_training.seeds_of(self.seed, 1),
            batch=self.batch,
            steps=self.steps,
            every=_EVERY,
            patience=self.patience,
            lr=self.lr,
            # A step that shrinks by more than a half would be no training.
            shrink=min(self.penalty * (x.shape[1] + dy) / 2 / len(train), 0.5 / self.lr),
            decay=_DECAY,
            progress=self.progress,
            label="latent",
        )
        if not math.isfinite(fit.validation[0]):
            raise ValueError(f"the training diverged with lr = {self.lr}; use a smaller lr")
        with torch.no_grad():
            codes: Any = _latent.representation(net, fit.flat, fitting, held_out)
            losses = [
                float(-_latent.score(net, *part, own=self.reconstruction)(fit.flat))
                for part in (fitting, held_out)
            ]
        inner = _inner_for(self.inner, labels)
        if x.device.type == "cpu" or labels:
            codes = [[z.cpu().numpy() for z in part] for part in codes]
        seen, new = codes
        estimate = inner(*new)
        stderr = _scatter(inner, *new) if estimate.stderr is None else estimate.stderr
        return _Fold(estimate, stderr, inner(*seen).value, losses[1], losses[0], fit.steps, fit.converged)


@dataclass(frozen=True)
class _Fold:
    """What one fold leaves behind."""

    held_out: Estimate
    stderr: float | None
    training: float  # the inner estimate on the training samples
    loss: float
    training_loss: float
    steps: int
    converged: bool


def _inner_for(inner: Callable[..., Estimate], labels: bool) -> Callable[..., Estimate]:
    """KSG takes no labels; Ross is the same count with them."""
    if labels and isinstance(inner, KSG):
        return Ross(inner.k, inner.standardise, inner.norm, inner.workers)
    return inner


def _scatter(inner: Callable[..., Estimate], u: Array, v: Array) -> float | None:
    """Standard error by the 1/n law of the variance; the rows of a fold are in random order."""
    bounds = np.linspace(0, len(u), _PARTS + 1).astype(int)
    try:
        values = [inner(u[a:b], v[a:b]).value for a, b in pairwise(bounds)]
    except ValueError:  # too few samples in a part
        return None
    return float(np.std(values, ddof=1)) / math.sqrt(_PARTS)

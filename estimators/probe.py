r"""Information about a label that a logistic probe reads from a representation: a lower bound of I(X;Y).

.. math:: I(X;Y) = H(Y) - H(Y|X) \ge H(Y) + E \log q(y|x)

for every conditional law q fitted to other samples (Barber & Agakov, 2003, *The IM algorithm*). With H(Y) the
plug-in entropy, whose bias is negative, the estimate is conservative.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from estimators._result import Estimate
from estimators._samples import (
    as_labels,
    as_numpy,
    diagnostics,
    drop_constant_columns,
    paired,
    repeated_rows,
    stream,
)
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["ProbeInformation"]

_GRID = (1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5)  # penalties that are tried, strong to weak
_INNER = 0.25  # share of the training part that chooses the penalty
_REPEATS = (
    0.02  # share of repeated rows above which scores on held-out folds are partly scores on fitted samples
)
_RANK = 1e-12  # eigenvalues below this share of the largest are null directions
_ITERATIONS = 100
_GRADIENT = (
    5e-4  # size of the preconditioned gradient at which the fit is settled: log loss to about 1e-5 nats
)


@settings
class ProbeInformation:
    r"""Barber-Agakov lower bound of I(X;Y) from a cross-fitted logistic probe, in nats.

    .. math:: \hat I = \hat H(Y) + \frac{1}{n} \sum_i \log q_{-k(i)}(y_i | x_i)

    where \(q_{-k}\) is a multinomial logistic regression fitted without fold k, and \(\hat H\) the plug-in
    entropy of the labels. It measures what a linear probe reads, never more than `ceiling` =
    \(\hat H(Y) \le \log C\); a nonlinear dependence may lie above it. No information gives values at or slightly
    below zero.

    The probe minimises the mean log loss plus `l2` / 2 times the squared weights of standardised columns, the
    intercepts free. `l2=None` chooses the penalty from 1, 0.1, ... 1e-5 by the log loss on an inner split of each
    training part, so that over-confidence is paid for inside it. The law is then mixed with the uniform one at
    weight 1 / (n + C), which keeps the loss finite for classes that a training part lacks.

    `stderr` is the scatter of the per-sample terms; it leaves out that fits of different folds share samples.

    Arguments:
        folds: parts of the cross-fit, stratified by class.
        l2: penalty, or `None` to choose it.
        seed: fixes the folds and the inner splits.

    Shapes:
        `x`: `(n, d)`; `y`: integers `(n,)`. Numpy or torch on the CPU, measured in float64.

    Raises:
        TypeError: if `y` holds no integers, `x` no real numbers, or a tensor is on another device.
        ValueError: for NaN, wrong shapes, unequal n, fewer than 2 `folds` samples, all columns constant, or a
            single class.

    References:
        Barber & Agakov, 2003. Alain & Bengio, 2016, *Understanding intermediate layers using linear classifier
        probes*. Xu et al., 2020, *A theory of usable information under computational constraints*.

    Example:
        >>> import numpy as np
        >>> y = np.arange(1000) % 2
        >>> x = 2.0 * y + np.random.default_rng(0).standard_normal(1000)
        >>> e = ProbeInformation()(x, y)
        >>> print(f"{e.value:.2f} of at most {e.ceiling:.2f}")
        0.37 of at most 0.69
    """

    folds: int = 5
    l2: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(
                f"folds = {self.folds} must be at least 2: a probe is scored on samples it has not seen"
            )
        _check_l2(self.l2)

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        x = as_numpy(x, "x", min_n=2 * self.folds)
        codes = as_labels(y)
        paired(x, codes)
        x, dropped = drop_constant_columns(x, "x")
        n, classes = len(x), int(codes.max()) + 1
        fold = _stratified(codes, self.folds, self.seed)
        log_q = np.empty((n, classes))
        fits = []
        for k in range(self.folds):
            held_out = fold == k
            log_q[held_out], fit = _log_predictive(
                x[~held_out], codes[~held_out], x[held_out], classes, self.l2, self.seed
            )
            fits.append(fit)
        flags = ("constant-columns",) if dropped else ()
        if np.bincount(codes).min() < self.folds:
            flags = (*flags, "small-sample")
        repeats = repeated_rows(x)
        if repeats > _REPEATS * n:
            flags = (*flags, "duplicates")
        return self._estimate(
            log_q,
            codes,
            fits,
            flags,
            d=x.shape[1],
            dropped=dropped,
            fitted=n - n // self.folds,
            repeats=repeats,
        )

    def held_out(self, train_x: Array, train_y: Array, x: Array, y: Array, /) -> Estimate:
        """The same bound on samples of one's own choice: fitted to `train_x`, `train_y` and scored on `x`, `y`.

        Arguments:
            train_x: `(m, d)` that the probe is fitted to; `train_y`: their labels, integers `(m,)`.
            x: `(n, d)` that it is scored on; `y`: their labels. A label that is not in `train_y` costs a large
                but finite loss.

        Raises:
            TypeError, ValueError: as the call does, and where the numbers of columns differ.
        """
        train_x, x = as_numpy(train_x, "train_x"), as_numpy(x, "x")
        codes, train_codes, classes = _one_coding(train_x, train_y, x, y)
        _, dropped = drop_constant_columns(train_x, "train_x")
        log_q, fit = _log_predictive(train_x, train_codes, x, classes, self.l2, self.seed)
        flags = ("constant-columns",) if dropped else ()
        return self._estimate(log_q, codes, [fit], flags, d=x.shape[1], dropped=dropped, fitted=len(train_x))

    def _estimate(
        self,
        log_q: np.ndarray,
        codes: np.ndarray,
        fits: list[tuple[float, bool]],
        flags: tuple[str, ...],
        **details: float,
    ) -> Estimate:
        n = len(codes)
        loss, surprise = -log_q[np.arange(n), codes], _surprise(codes)
        gain = surprise - loss
        if not all(settled for _, settled in fits):
            flags = (*flags, "not-converged")
        return Estimate(
            value=float(gain.mean()),
            quantity="I(X;Y)",
            n=n,
            method=repr(self),
            bound="lower",
            stderr=float(gain.std(ddof=1) / math.sqrt(n)),
            ceiling=float(surprise.mean()),
            flags=flags,
            diagnostics=diagnostics(
                accuracy=np.mean(log_q.argmax(axis=1) == codes),
                cross_entropy=loss.mean(),
                label_entropy=surprise.mean(),
                l2=math.exp(np.mean([math.log(l2) for l2, _ in fits])) if self.l2 != 0 else 0.0,
                classes=log_q.shape[1],
                **details,
            ),
        )


def _one_coding(
    train_z: np.ndarray, train_y: Array, z: np.ndarray, y: Array
) -> tuple[np.ndarray, np.ndarray, int]:
    """Labels of both parts as codes of one list of classes, after checks: scored, fitted, number of classes."""
    train_codes, codes = as_labels(train_y, "train_y"), as_labels(y, "y", min_classes=1)
    paired(train_z, train_codes, ("train_x", "train_y"))
    paired(z, codes, ("x", "y"))
    if train_z.shape[1] != z.shape[1]:
        raise ValueError(
            f"train_x has shape {train_z.shape} and x {z.shape}: both need the same number of columns"
        )
    merged = np.unique(np.concatenate([_plain(train_y), _plain(y)]), return_inverse=True)[1].reshape(-1)
    return merged[len(train_z) :], merged[: len(train_z)], int(merged.max()) + 1


def _check_l2(l2: float | None) -> None:
    if l2 is not None and not 0 <= l2 < math.inf:
        raise ValueError(f"l2 = {l2} must be a finite number >= 0, or None to choose it on held-out samples")


def _plain(y: Array) -> np.ndarray:
    return y.detach().numpy() if hasattr(y, "detach") else np.asarray(y)


def _surprise(codes: np.ndarray) -> np.ndarray:
    """-log of each sample's own class frequency; its mean is the plug-in entropy."""
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    return -np.log(counts / len(codes))[inverse.reshape(-1)]


def _stratified(codes: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold of each sample: every class is dealt out in random order, going on where the last one stopped."""
    rng = stream(seed, "folds")
    shuffled = rng.permutation(len(codes))
    by_class = shuffled[np.argsort(codes[shuffled], kind="stable")]
    fold = np.empty(len(codes), dtype=np.int64)
    fold[by_class] = np.arange(len(codes)) % folds
    return fold


def _log_predictive(
    z: np.ndarray, codes: np.ndarray, test: np.ndarray, classes: int, l2: float | None, seed: int
) -> tuple[np.ndarray, tuple[float, bool]]:
    """log q(y|x) of the test rows `(m, classes)`, with the penalty that was used and whether the fit settled."""
    z, test = _standardised_by(z, z), _standardised_by(test, z)
    basis, scale = _principal(z)
    z, test = z @ basis, test @ basis
    present, local = np.unique(codes, return_inverse=True)
    local = local.reshape(-1)
    start = None
    if l2 is None:
        l2, start = _chosen(z, local, len(present), scale, seed)
    weights, settled = _fit(z, local, len(present), l2, scale, start)
    # Mixing with the uniform law bounds the loss, also for classes that no training sample has.
    uniform = 1 / (len(z) + classes)
    log_q = np.full((len(test), classes), -np.inf)
    log_q[:, present] = _log_softmax(test, weights) + math.log1p(-uniform)
    return np.logaddexp(log_q, math.log(uniform / classes)), (l2, settled)


def _standardised_by(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    centre = reference.mean(axis=0)
    reach = np.abs(reference - centre).max(axis=0)
    constant = reach <= np.abs(centre) * 2.0**-44
    reach[constant] = 1.0
    spread = reach * np.sqrt(np.mean(((reference - centre) / reach) ** 2, axis=0))
    spread[constant] = np.inf  # a column that is constant in this training part is not used
    return (x - centre) / spread


def _principal(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal directions `(d, r)` and variances `(r,)`: the penalty does not see a rotation, the solver does."""
    n, d = z.shape
    if d <= n:
        values, vectors = np.linalg.eigh(z.T @ z / n)
        keep = values > _RANK * values[-1]
        return vectors[:, keep], values[keep]
    values, vectors = np.linalg.eigh(z @ z.T / n)
    keep = values > _RANK * values[-1]
    return z.T @ (vectors[:, keep] / np.sqrt(n * values[keep])), values[keep]


def _chosen(
    z: np.ndarray, codes: np.ndarray, classes: int, scale: np.ndarray, seed: int
) -> tuple[float, np.ndarray]:
    """The penalty with the least held-out loss, and its weights; stops at the first rise on the way down."""
    part = _stratified(codes, round(1 / _INNER), seed + 1)
    train, held_out = part != 0, part == 0
    target = np.arange(classes) == codes[held_out][:, None]
    best = math.inf
    weights = chosen = None
    for l2 in _GRID:
        weights, _ = _fit(z[train], codes[train], classes, l2, scale, weights, loosened=4.0)
        loss = -np.mean(_log_softmax(z[held_out], weights)[target])
        if loss > best:
            break
        best, chosen = loss, (l2, weights)
    assert chosen is not None  # the first loss is finite
    return chosen


def _fit(
    z: np.ndarray,
    codes: np.ndarray,
    classes: int,
    l2: float,
    scale: np.ndarray,
    start: np.ndarray | None,
    loosened: float = 1.0,
) -> tuple[np.ndarray, bool]:
    """Weights `(classes, r + 1)`, the intercepts last, of penalised multinomial logistic regression by L-BFGS.

    The variables are scaled by the bound of the Hessian, z'z / 2n + l2 (Böhning, 1992), which takes the
    condition number of z out of the problem.
    """
    n, r = z.shape
    precondition = 1 / np.sqrt(np.append(scale / 2 + l2, 0.5))
    design = np.empty((r + 1, n))
    design[:r], design[r] = z.T, 1.0
    design *= precondition[:, None]
    penalty = l2 * precondition**2
    penalty[r] = 0.0
    own = codes * n + np.arange(n)  # of every sample, in a flat (classes, n)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        v = flat.reshape(classes, r + 1)
        logits = v @ design
        logits -= logits.max(axis=0)
        fitted = logits.ravel()[own].mean()
        p = np.exp(logits, out=logits)
        total = p.sum(axis=0)
        p /= total
        p.ravel()[own] -= 1
        shrunk = penalty * v
        value = np.log(total).mean() - fitted + 0.5 * np.vdot(shrunk, v)
        return float(value), (p @ design.T / n + shrunk).ravel()

    first = np.zeros((classes, r + 1)) if start is None else start / precondition
    flat, settled = _lbfgs(loss, first.ravel(), loosened * _GRADIENT)
    return flat.reshape(classes, r + 1) * precondition, settled


def _lbfgs(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]], x: np.ndarray, tolerance: float, memory: int = 6
) -> tuple[np.ndarray, bool]:
    """Minimum of a convex function whose Hessian is at most the identity, so that plain steps of 1 descend.

    Written out because compiled solvers spend more time in threaded dot products of small vectors than in the loss.
    """
    value, gradient = loss(x)
    pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=memory)
    for _ in range(_ITERATIONS):
        # A small loss has a small gradient long before it is settled, so the tolerance follows it down.
        if np.abs(gradient).max() <= tolerance * min(1.0, max(value, 0.05)):
            return x, True
        step = -gradient
        shares = []
        for s, y, curvature in reversed(pairs):
            share = (s @ step) / curvature
            step -= share * y
            shares.append(share)
        if pairs:
            s, y, curvature = pairs[-1]
            step *= curvature / (y @ y)
        for (s, y, curvature), share in zip(pairs, reversed(shares), strict=True):
            step += (share - (y @ step) / curvature) * s
        slope, length = gradient @ step, 1.0
        while True:
            new_value, new_gradient = loss(x + length * step)
            if new_value <= value + 1e-4 * length * slope:
                break
            length /= 2
            if length < 1e-8:  # rounding level
                return x, False
        s, y = length * step, new_gradient - gradient
        x, value, gradient = x + s, new_value, new_gradient
        curvature = s @ y
        if curvature > 1e-12 * (y @ y):
            pairs.append((s, y, curvature))
    return x, False


def _log_softmax(z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    logits = z @ weights[:, :-1].T + weights[:, -1]
    return logits - logsumexp(logits, axis=1, keepdims=True)

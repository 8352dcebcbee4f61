"""Mutual information from denoising: how much better x is recovered from noise when y is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estimators._result import Estimate
from estimators._samples import diagnostics, is_discrete, paired, repeated_rows
from estimators._settings import settings
from estimators.protocols import Array

__all__ = ["MMG"]

_EVERY = 40  # steps between validations
_DECAY = 0.98  # of the running mean of the weights
_VALIDATION_DRAWS = 8  # noise levels for each validation sample
_REPEATS = 0.02  # share of repeated pairs above which test scores are partly scores on training pairs


@settings
class MMG:
    r"""Mutual information in nats from the gap between two denoising errors of a diffusion model (MMSE gap).

    .. math:: I(X;Y) = \tfrac{1}{2} \int_0^\infty \left[ \mathrm{mmse}(X \mid X_\gamma)
       - \mathrm{mmse}(X \mid X_\gamma, Y) \right] d\gamma, \qquad X_\gamma = \sqrt{\gamma}\, X + \varepsilon

    One network estimates both errors, as y is hidden from it half of the time. It only learns what a jointly normal law
    leaves over: the denoisers of that law are exact, and so is its integral, \(\log q(x|y) / q(x)\) at each test sample. So
    **on jointly normal data the value is exact up to the scatter of the test samples and the fitted correlations**, and the
    range of the signal-to-noise ratio cuts off the correction only. The correction is an average over logistic, stratified
    log ratios (`draws` for each test sample).

    The samples are split: directions and network are fitted on a training part; correlations, ridge and stopping are taken
    from a validation part; the test part alone gives the value and its error. **It is no bound**: an error of the
    unconditional denoiser raises the value, one of the conditional denoiser lowers it. The diagnostics have the
    `orthogonal` form, which tends to err high; when the two differ by more than 0.1 nats and 4 standard errors, the flag
    is `disagreement`.

    .. math:: I(X;Y) = \tfrac{1}{2} \int_0^\infty E \| \hat x(\gamma) - \hat x(y, \gamma) \|^2 d\gamma

    Of each variable the first `dims` canonical directions are used, which can only lose information. On data that fill
    fewer dimensions than `dims` (embeddings on a curved manifold) denoising is hard at every noise level: the correction is then
    many nats large and the value unreliable, which `disagreement` or `not-converged` says. Lower `dims` there. Many weak
    directions need `dims=None`.

    Cost: about 4 s on one core at n = 2000 and 128 + 128 dimensions where there is something to learn, under 2 s on normal data.

    Arguments:
        dims: directions kept of x and of y (not of labels); `None` keeps all.
        draws: noise levels for each test sample.
        hidden: units of a hidden layer.
        layers: hidden layers.
        batch: samples of a training step.
        steps: largest number of training steps.
        lr: learning rate of Adam.
        patience: validations (one in 40 steps) without improvement after which a training stops.
        penalty: decoupled weight decay in units of (mean dimension / training samples).
        seeds: independent trainings.
        seed: fixes the split, the weights, the batches and the noise.
        validation: share of the samples that stops the training.
        test: share of the samples that gives the value.
        progress: shows a bar if stderr is a terminal; no part of equality or `repr`.

    Shapes:
        `x`: `(n, dx)`; `y`: `(n, dy)`; one of them may be an integer vector `(n,)` of labels, and then the other is denoised.
        Numpy or torch; the networks run in float32 on the device of the tensors.

    Raises:
        TypeError: for arrays that hold no real numbers, two label vectors, or tensors on different devices.
        ValueError: for settings out of range, NaN, wrong shapes, unequal n, all columns constant, n too small to split, or
            if all trainings diverge.

    References:
        Guo, Shamai & Verdu, 2005, *Mutual information and minimum mean-square error in Gaussian channels*, IEEE Trans. Inf.
        Theory 51, 1261-1282. Kong, Brekelmans & Ver Steeg, 2023, *Information-theoretic diffusion*, ICLR.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((800, 2))
        >>> e = MMG(seeds=1)(x, x + rng.standard_normal((800, 2)))
        >>> abs(e.value - 0.693) < 4 * e.stderr  # log 2
        True
    """

    dims: int | None = 8
    draws: int = 32
    hidden: int = 128
    layers: int = 2
    batch: int = 256
    steps: int = 2000
    lr: float = 2e-3
    patience: int = 8
    penalty: float = 10.0
    seeds: int = 2
    seed: int = 0
    validation: float = 0.15
    test: float = 0.25
    progress: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("dims", "draws", "hidden", "layers", "batch", "steps", "patience", "seeds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")
        if not 0 < self.lr < math.inf or not 0 <= self.penalty < math.inf:
            raise ValueError(f"lr = {self.lr} must be positive and penalty = {self.penalty} not negative")
        if not (self.validation > 0 and self.test > 0 and self.validation + self.test < 1):
            raise ValueError(
                f"validation = {self.validation} and test = {self.test} must be positive shares that leave a part for "
                "training: validation + test < 1"
            )

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        import torch

        from estimators._training import device_type, isolated, kept, pooled, split, variable

        if is_discrete(x) and is_discrete(y):
            raise TypeError(
                f"x and y of shapes {tuple(x.shape)} and {tuple(y.shape)} are both labels and cannot be denoised; use "
                "Discrete()"
            )
        swapped, labels = is_discrete(x), is_discrete(x) or is_discrete(y)
        with isolated(device_type(x, y)):
            (x, dropped_x), (y, dropped_y) = variable(x, "x"), variable(y, "y")
            paired(x, y)
            n = x.shape[0]
            parts = split(n, validation=self.validation, test=self.test, seed=self.seed)
            repeats = repeated_rows(torch.cat([x, y], 1).cpu().numpy())
            scores = self._fit_and_score(*((y, x) if swapped else (x, y)), labels, parts)
        keep = kept(scores.validation) & np.isfinite(scores.values).all(1)
        if not keep.any():
            raise ValueError(f"all {len(keep)} trainings diverged with lr = {self.lr}; use a smaller lr")
        samples = scores.values[keep]
        found = pooled(samples.mean(1), samples - samples.mean(1, keepdims=True))
        orthogonal = float(scores.orthogonal[keep].mean())
        raised = {
            "constant-columns": dropped_x + dropped_y > 0,
            "duplicates": repeats > _REPEATS * n,
            "saturated": scores.saturated,
            "failed-seeds": not keep.all(),
            "not-converged": not scores.converged,
            "disagreement": abs(orthogonal - found.value) > max(0.1, 4 * found.stderr),
        }
        return Estimate(
            value=found.value,
            quantity="I(X;Y)",
            n=n,
            method=repr(self),
            stderr=found.stderr or None,
            flags=tuple(flag for flag, on in raised.items() if on),
            diagnostics=diagnostics(
                orthogonal=orthogonal,
                normal=scores.normal,
                learnt=scores.validation[keep].mean(),
                spread=found.spread,
                low=scores.low,
                high=scores.high,
                failed=int((~keep).sum()),
                steps=scores.steps,
                dropped=dropped_x + dropped_y,
                n_train=len(parts.train),
                n_validation=len(parts.validation),
                n_test=len(parts.test),
            ),
        )

    def _fit_and_score(self, x: Any, y: Any, labels: bool, parts: Any) -> _Scores:
        """Denoisers of x with and without y, fitted to two parts and scored on the third."""
        import torch

        from estimators import _diffusion, _training

        scaled = [_training.scaled(z, parts.train).double() for z in (x, y)]
        rows = [torch.as_tensor(part, device=x.device) for part in parts]
        fitting, stopping, test = ([z[part] for z in scaled] for part in rows)
        law = _diffusion.base(fitting, stopping, (self.dims, None if labels else self.dims))
        normal = law.log_ratio(*law.coordinates(*test))
        train, validation, held_out = (
            [z.to(torch.float32) for z in law.coordinates(*part)] for part in (fitting, stopping, test)
        )
        levels = _diffusion.Levels.of(law)
        net = _diffusion.Denoiser(law.to(torch.float32), levels, self.hidden, self.layers)
        noise = _training.seeds_of(self.seed, 3)
        fit = _training.train(
            net.initial,
            _diffusion.objective(net, noise[0]),
            _diffusion.validation(net, *validation, draws=_VALIDATION_DRAWS, seed=noise[1]),
            (train[0], train[1]),
            seeds=_training.seeds_of(self.seed, self.seeds),
            batch=self.batch,
            steps=self.steps,
            every=_EVERY,
            patience=self.patience,
            lr=self.lr,
            # A step that shrinks by more than a half would be no training.
            shrink=min(self.penalty * (x.shape[1] + y.shape[1]) / 2 / len(parts.train), 0.5 / self.lr),
            decay=_DECAY,
            progress=self.progress,
            label="denoiser",
        )
        with torch.no_grad():
            scored = _diffusion.score(net, fit.flat, *held_out, draws=self.draws, seed=noise[2])
        return _Scores(
            values=(normal + scored.gap).cpu().numpy(),
            # The normal part of both forms is a function of second moments only, and so the same.
            orthogonal=(normal + scored.orthogonal).mean(1).cpu().numpy(),
            validation=np.asarray(fit.validation),
            normal=float(normal.mean()),
            low=levels.low,
            high=levels.high,
            saturated=law.at_limit,
            steps=fit.steps,
            converged=fit.converged,
        )


@dataclass(frozen=True)
class _Scores:
    """What one fit leaves behind, one entry for each training."""

    values: np.ndarray  # (S, n_test)
    orthogonal: np.ndarray
    validation: np.ndarray  # nats by which the two squared errors together fell below those of the normal law
    normal: float  # the value without the network
    low: float  # range of the log signal-to-noise ratio
    high: float
    saturated: bool
    steps: int
    converged: bool

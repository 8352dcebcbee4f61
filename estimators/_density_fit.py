"""Trains conditional densities and values them: difference of entropies, and the contrastive log-ratio."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from estimators._densities import Categories, GaussianMixture
from estimators._trained import DensitySettings, Scores, training_options
from estimators._training import Parts, Training, scaled, seeds_of, shared, train

__all__ = ["Marginal", "categorical_marginal", "contrast", "fit_club", "fit_doe", "gaussian_marginal"]

_AT_LIMIT = 0.01  # share of log-variances at their limit above which the density is narrower than it can be
_RANK = 1e-10  # eigenvalues of a correlation matrix below this share of the largest are null directions
_PAIRS = 1 << 20  # entries held at once

Density = GaussianMixture | Categories


class Marginal(NamedTuple):
    """y as the densities take it, with log q(y) of the simplest density of y, fitted to the training part."""

    y: Tensor  # (n, d) whitened, or (n,) labels
    log_density: Tensor  # (n,)
    volume: float  # what the entropy of `y` lacks to that of the original columns
    flags: tuple[str, ...]


def gaussian_marginal(y: Tensor, rows: np.ndarray) -> Marginal:
    """Columns whitened on `rows`, where a full Gaussian becomes the standard normal law.

    Raises:
        ValueError: if `rows` are too few for a covariance.
    """
    part = torch.as_tensor(rows, device=y.device)
    if len(rows) <= y.shape[1]:
        raise ValueError(
            f"y has {y.shape[1]} columns and {len(rows)} training samples: a covariance needs more samples than columns; "
            "project y first, or let x and y change places"
        )
    z = scaled(y, rows, torch.float64)
    reach = y.abs().amax(0)
    spread = (y[part] / reach).std(0, correction=0).log() + reach.log()
    z = z - z[part].mean(0)
    values, vectors = torch.linalg.eigh(z[part].mT @ z[part] / len(rows))
    keep = values > _RANK * values[-1]
    whole = bool(keep.all())
    root = vectors[:, keep] / values[keep].sqrt()
    # The symmetric root turns no axis, so columns that are independent given x stay so.
    z = z @ (root @ vectors.mT if whole else root)
    log_density = -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
    volume = float(spread.sum() + 0.5 * values.log().sum()) if whole else math.nan
    return Marginal(z, log_density, volume, () if whole else ("rank-deficient",))


def categorical_marginal(one_hot: Tensor, rows: np.ndarray) -> Marginal:
    """Labels with their frequencies in `rows`, one sample added to each so that none is impossible."""
    counts = one_hot[torch.as_tensor(rows, device=one_hot.device)].sum(0) + 1
    y = one_hot.argmax(1)
    return Marginal(y, (counts / counts.sum()).log()[y], 0.0, ())


def fit_doe(settings: DensitySettings, labels: bool, x: Tensor, y: Tensor, parts: Parts) -> Scores:
    """E log q(y | x) - E log q(y), each density fitted on its own."""
    marginal, density, fit = _conditional(settings, labels, x, y, parts)
    x, y = scaled(x, parts.train), marginal.y
    found, seen = (_log_density(density, fit.flat, x, y, part) for part in (parts.test, parts.train))
    base, settled = marginal.log_density, True
    if not labels and settings.components > 1:
        base, settled = _mixture(settings, marginal.y, parts.train)
    test_base, train_base = (base[_rows(part, x)] for part in (parts.test, parts.train))
    entropy = marginal.volume - float(test_base.mean())
    conditional = (marginal.volume - found.mean(-1)).cpu().numpy()
    return _scores(
        found - test_base, seen - train_base, np.asarray(fit.validation), fit.steps, fit.converged and settled,
        entropy if labels else None,
        _flags(density, fit, x, parts, marginal),
        {}
        if math.isnan(entropy)
        else {"entropy": np.full_like(conditional, entropy), "conditional_entropy": conditional},
    )  # fmt: skip


def fit_club(settings: DensitySettings, labels: bool, x: Tensor, y: Tensor, parts: Parts) -> Scores:
    """E log q(y | x) over matched pairs minus the same over unmatched ones."""
    marginal, density, fit = _conditional(settings, labels, x, y, parts)
    x = scaled(x, parts.train)
    with torch.no_grad():
        test, seen = (
            contrast(density, fit.flat.double(), x[_rows(part, x)].double(), marginal.y[_rows(part, x)])
            for part in (parts.test, parts.train[: len(parts.test)])
        )
    return _scores(
        test, seen, np.asarray(fit.validation), fit.steps, fit.converged, None,
        _flags(density, fit, x, parts, marginal), {},
    )  # fmt: skip


def contrast(density: Density, flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Terms `(S, n)` whose mean is that of log q(y_i | x_i) minus that of log q(y_j | x_i), j != i.

    A term takes the mean over both the other y and the other x, so its scatter is that of the mean over samples.
    """
    n = len(x)
    x, y = shared(flat, x, y)
    matched = density.log_density(flat, x, y)
    rows, columns = [], torch.zeros_like(matched)
    width = density.components if isinstance(density, GaussianMixture) else 1
    for part in x.split(max(1, _PAIRS // (n * width)), dim=1):
        block = density.matrix(flat, part, y)
        rows.append(block.sum(-1))
        columns += block.sum(-2)
    # Mean of rows + columns - unmatched mean is the unmatched mean again, with the influence of a sample in each term.
    row, column = ((sums - matched) / (n - 1) for sums in (torch.cat(rows, 1), columns))
    return matched - row - column + row.mean(-1, keepdim=True)


def _conditional(
    settings: DensitySettings, labels: bool, x: Tensor, y: Tensor, parts: Parts
) -> tuple[Marginal, Density, Training]:
    marginal = (categorical_marginal if labels else gaussian_marginal)(y, parts.train)
    density: Density
    if labels:
        density = Categories(x.shape[1], y.shape[1], settings.hidden, settings.layers)
    else:
        density = GaussianMixture(
            x.shape[1],
            marginal.y.shape[1],
            settings.hidden,
            settings.layers,
            settings.components,
            settings.covariance == "full",
        )
    dimension = (x.shape[1] + y.shape[1]) / 2
    return marginal, density, _train(settings, density, scaled(x, parts.train), marginal, parts, dimension)


def _mixture(settings: DensitySettings, y: Tensor, rows: np.ndarray) -> tuple[Tensor, bool]:
    """log q(y) of a mixture of Gaussians fitted to `rows` by EM, and whether that settled."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as EM

    values = y.cpu().numpy()
    model = EM(
        settings.components,
        covariance_type="full" if settings.covariance == "full" else "diag",
        n_init=3,
        random_state=seeds_of(settings.seed, 1)[0],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(values[rows])
    return torch.from_numpy(model.score_samples(values)).to(y.device), bool(model.converged_)


def _train(
    settings: DensitySettings, density: Density, x: Tensor, marginal: Marginal, parts: Parts, dimension: float
) -> Training:
    y = marginal.y if isinstance(density, Categories) else marginal.y.to(torch.float32)
    train_rows, rows = _rows(parts.train, x), _rows(parts.validation, x)
    base = marginal.log_density[rows].mean()

    def validate(flat: Tensor) -> Tensor:
        # Against the simplest density: 0 is what a density without any use of x has.
        return density.log_density(flat, *shared(flat, x[rows], y[rows])).double().mean(-1) - base

    return train(
        density.initial,
        lambda flat, a, b: density.log_density(flat, a, b).mean(-1),
        validate,
        (x[train_rows], y[train_rows]),
        **training_options(settings, len(train_rows), dimension),
        label="density",
    )


def _rows(part: np.ndarray, x: Tensor) -> Tensor:
    return torch.as_tensor(part, device=x.device)


def _log_density(density: Density, flat: Tensor, x: Tensor, y: Tensor, part: np.ndarray) -> Tensor:
    rows = _rows(part, x)
    with torch.no_grad():
        flat = flat.double()
        return density.log_density(flat, *shared(flat, x[rows].double(), y[rows]))


def _flags(density: Density, fit: Training, x: Tensor, parts: Parts, marginal: Marginal) -> tuple[str, ...]:
    with torch.no_grad():
        share = density.at_limit(fit.flat, *shared(fit.flat, x[_rows(parts.test, x)]))
    narrow = ("saturated",) if float(share.max()) > _AT_LIMIT else ()
    return (*marginal.flags, *narrow)


def _scores(
    test: Tensor,
    seen: Tensor,
    validation: np.ndarray,
    steps: int,
    converged: bool,
    ceiling: float | None,
    flags: tuple[str, ...],
    extra: dict[str, np.ndarray],
) -> Scores:
    terms = test.cpu().numpy()
    return Scores(
        validation=validation,
        train=seen.mean(-1).cpu().numpy(),
        test=terms.mean(-1),
        influence=terms - terms.mean(-1, keepdims=True),
        effective=None,
        ceiling=ceiling,
        margin=0.0,
        steps=steps,
        converged=converged,
        flags=flags,
        extra=extra,
    )

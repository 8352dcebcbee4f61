"""What `Auto` chooses from: laws and bounds, each with its evidence on held-out samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from estimators._covariance import range_basis
from estimators._evidence import Evidence, elliptical_evidence, evidence, infonce_terms
from estimators._result import Estimate
from estimators._samples import standardised, stream
from estimators.canonical import CrossFittedCCA, canonical_directions
from estimators.copula import GaussianCopula, normal_scores
from estimators.gaussian import Gaussian
from estimators.protocols import MutualInformation
from estimators.student import EllipticalFit, Student, StudentCopula, copula_fit, elliptical_fit
from estimators.variational import InfoNCE
from estimators.views import Copula

__all__ = ["Bound", "Data", "Law", "critic", "directions", "laws", "lower_bound", "prepare"]

_TEST, _VALIDATION = 0.25, 0.15  # shares of the samples
_MOST_TEST = 1000  # held-out samples: all their pairs are scored
_COMPONENTS = 8  # canonical directions that are measured apart
_FOR_TAILS = 2  # samples that the fit of a law needs for each of its columns ...
_FOR_MOMENTS = 1.3  # ... and if it is normal
_STEPS = 40  # of a fit that is only scored
_HEAVY = 1.5  # excess kurtosis of a column from which neighbours and critic see ranks


class Data(NamedTuple):
    """Standardised columns, the same with normal scores, and which rows serve for what."""

    x: np.ndarray
    y: np.ndarray
    scores_x: np.ndarray
    scores_y: np.ndarray
    heavy: bool
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def fit(self) -> np.ndarray:
        """Rows that a model without early stopping is fitted to."""
        return np.concatenate([self.train, self.validation])

    @property
    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """What neighbours and critic see: ranks where tails are heavy."""
        return (self.scores_x, self.scores_y) if self.heavy else (self.x, self.y)


def prepare(x: np.ndarray, y: np.ndarray, seed: int) -> Data:
    """Splits the rows and scales the columns; x and y have no constant columns."""
    x, y = (_independent(standardised(z)) for z in (x, y))
    n = len(x)
    order = stream(seed, "split").permutation(n)
    test = min(int(_TEST * n), _MOST_TEST)
    validation = test + int(_VALIDATION * n)
    kurtosis = max(float(np.max(np.mean(z**4, axis=0))) for z in (x, y))
    return Data(
        x,
        y,
        normal_scores(x)[0],
        normal_scores(y)[0],
        heavy=kurtosis - 3 > _HEAVY,
        train=order[validation:],
        validation=order[test:validation],
        test=order[:test],
    )


def _independent(z: np.ndarray) -> np.ndarray:
    """The columns, or coordinates in the space that they span where some are linear functions of others."""
    basis, rank = range_basis(z) if z.shape[1] > 1 else (z, 1)
    return z if rank == z.shape[1] or rank >= len(z) - 1 else standardised(basis)


class Law(NamedTuple):
    """An elliptical law fitted on the fit rows, its evidence on the test rows, and the estimator that it stands for."""

    estimator: MutualInformation
    fit: EllipticalFit
    evidence: Evidence
    measure: Callable[[], Estimate]


def laws(data: Data) -> Iterator[Law]:
    """Elliptical laws of the columns and of their ranks, normal ones where samples are too few for tails."""
    d, n = data.x.shape[1] + data.y.shape[1], len(data.fit)
    tails, moments = n >= _FOR_TAILS * d + 10, n >= _FOR_MOMENTS * d + 10
    if not moments:
        return
    df = None if tails else math.inf
    for fitted, estimator in (
        (_law, Student() if tails else Gaussian()),
        (_copula, StudentCopula() if tails else GaussianCopula()),
    ):
        try:
            law = fitted(estimator, df, data)
        except ValueError:  # these samples have no fit, as where columns have atoms
            continue
        yield law


def _law(estimator: MutualInformation, df: float | None, data: Data) -> Law:
    fit = elliptical_fit(data.x[data.fit], data.y[data.fit], df, steps=_STEPS)
    seen = elliptical_evidence(fit, data.x[data.test], data.y[data.test])
    return Law(estimator, fit, seen, lambda: estimator(data.x, data.y))


def _copula(estimator: MutualInformation, df: float | None, data: Data) -> Law:
    fit, a, b = copula_fit(data.x, data.y, df, rows=data.fit, steps=_STEPS)
    seen = elliptical_evidence(fit, a[data.test], b[data.test])
    return Law(estimator, fit, seen, lambda: estimator(data.x, data.y))


class Bound(NamedTuple):
    """A lower bound from a ratio that was fitted on other rows: what it reads, and its evidence."""

    estimator: MutualInformation
    estimate: Estimate
    evidence: Evidence


def directions(data: Data, seed: int) -> Iterator[Bound]:
    """A normal law along canonical directions, of the columns and of their ranks: directions from one half of the fit rows,
    the law from the other. Its corrected information may over-state on a manifold, so the score itself is the value."""
    if min(data.x.shape[1], data.y.shape[1]) <= _COMPONENTS:
        return
    cca = CrossFittedCCA(components=_COMPONENTS, seed=seed)
    half = len(data.fit) // 2
    first, second = data.fit[:half], data.fit[half:]
    for estimator, x, y in (
        (cca, data.x, data.y),
        (Copula(cca), data.scores_x, data.scores_y),
    ):
        a, b = canonical_directions(x[first], y[first], _COMPONENTS, cca.chosen_ridge(x[first], y[first]))
        fit = elliptical_fit(x[second] @ a, y[second] @ b, math.inf)
        seen = elliptical_evidence(fit, x[data.test] @ a, y[data.test] @ b)
        yield Bound(estimator, lower_bound(seen, estimator, len(x)), seen)


def lower_bound(terms: Evidence, estimator: MutualInformation, n: int) -> Estimate:
    """The InfoNCE bound with these terms, by the ratio of `estimator`."""
    ceiling = math.log(len(terms.terms))
    return Estimate(
        value=terms.value,
        quantity="I(X;Y)",
        n=n,
        method=repr(estimator),
        bound="lower",
        stderr=terms.stderr,
        ceiling=ceiling,
        flags=("saturated",) if terms.value > ceiling - 1 else (),
    )


def critic(settings: InfoNCE, data: Data) -> Bound:
    """`InfoNCE` on the rows of `data`, all pairs of the test rows in one batch, with its evidence."""
    import torch

    from estimators import _training as T
    from estimators._critic_bounds import BOUNDS, Samples
    from estimators._critics import Critic
    from estimators._trained import training_options

    x, y = data.seen
    with T.isolated("cpu"):
        a, b = (T.scaled(torch.from_numpy(z), data.train) for z in (x, y))
        train, validation, test = (
            torch.from_numpy(rows) for rows in (data.train, data.validation, data.test)
        )
        network = Critic(
            settings.critic, a.shape[1], b.shape[1], settings.hidden, settings.layers, settings.embed
        )
        bound = BOUNDS["InfoNCE"](
            network,
            Samples(a[validation], b[validation]),
            n_test=len(test),
            batch=settings.batch,
            seed=settings.seed,
            tau=math.inf,
        )
        fit = T.train(
            bound.initial,
            bound.objective,
            bound.validate,
            (a[train], b[train]),
            **training_options(settings, len(train), (a.shape[1] + b.shape[1]) / 2),
        )
        with torch.no_grad():
            embedded = network.embeddings(fit.flat, *T.shared(fit.flat, a[test], b[test]))
            kept = torch.from_numpy(T.kept(np.asarray(fit.validation)))
            # The mean over trainings is a critic itself, and better than each of them.
            ratios = network.matrix(fit.flat, *embedded)[kept].mean(0).double().numpy()
    return Bound(settings, lower_bound(Evidence(infonce_terms(ratios)), settings, len(x)), evidence(ratios))

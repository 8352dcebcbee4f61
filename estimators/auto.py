"""The recommended default: mutual information by the estimator that the samples themselves give most evidence for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field

import numpy as np

from estimators import _candidates as candidates
from estimators._covariance import merged
from estimators._evidence import supported
from estimators._result import Estimate
from estimators._samples import (
    as_labels,
    as_numpy,
    diagnostics,
    drop_constant_columns,
    is_discrete,
    paired,
    standardised,
    stream,
)
from estimators._settings import settings
from estimators.copula import normal_scores
from estimators.discrete import Discrete
from estimators.neighbors import KSG
from estimators.neighbors_mixed import Gao, Ross
from estimators.probe import ProbeInformation
from estimators.protocols import Array, MutualInformation
from estimators.variational import InfoNCE
from estimators.views import Copula, Projected
from estimators.wrappers import Subsampled

__all__ = ["Auto", "mutual_information"]

_LEAST = 120  # samples below which nothing can be held out
_TIED = 0.01  # share of repeated values in a column from which the law may have atoms
_WIDE = 16  # columns of x and y together from which neighbours also see principal components
_PRINCIPAL = 4
_BEHIND = 2.0  # standard errors by which the evidence of a model may fall short of the best
_HEAVY = 1.5  # excess kurtosis from which critic and neighbours see ranks
_PARTS = 10  # for the error of a neighbour estimate


@settings
class Auto:
    r"""Mutual information I(X;Y) in nats, by the estimator that the samples give most evidence for.

    No estimator is right for all data, and which one is cannot be seen from its own number. So every candidate is
    asked for a log density ratio, fitted on 75 % of the samples, and scored on the rest by the InfoNCE bound

    .. math:: S(r) = \frac{1}{m} \sum_i \left( r_{ii} - \log \frac{1}{m} \sum_j e^{r_{ij}} \right)
       \qquad E\, S \le I(X;Y)

    which is largest for the true ratio. The candidates with a ratio are elliptical laws of any tail (`Student`; `Gaussian`
    where samples are few), the same for ranks (`StudentCopula`, `GaussianCopula`), normal laws along canonical directions
    (`CrossFittedCCA`, from 9 columns on), and a neural critic (`InfoNCE`). Then:

    1. A law whose score is within 2 standard errors of the best is taken, and its corrected value on all samples
       returned, **provided that it can score what it promises**: either the value is within 0.1 nats and 2 errors of
       the score, or the score is ahead of all that are no laws, and samples drawn from the law would have scored as these
       did. This is what a normal law on a curved manifold fails: it promises 6 nats and scores 1.
    2. Otherwise the value is the largest of estimates that err downwards: the scores themselves, which are lower bounds
       (of the critic with its ratio as it is), and neighbours (`KSG`, from 17 columns on also behind a projection, on ranks
       if tails are heavy, `Gao` if values repeat).

    For labels, the largest of a cross-fitted probe (`ProbeInformation`), a critic and neighbours (`Ross`); for two
    label vectors, `Discrete`. The candidates were chosen on the families of `distributions.catalogue("design")` and judged on
    those of `catalogue("held-out")`, which took no part.

    The diagnostics hold `value_*` and `evidence_*` of every candidate that was looked at, `refused_*` = 1 for a law that
    failed its check, and `chosen_*` = 1. The flags are those of the chosen estimate.

    Arguments:
        seed: of the split, the critic and the draws.
        limit: rows that critic and neighbours see at most; the laws see all.
        progress: shows a bar for the critic if stderr is a terminal; no part of equality or `repr`.

    Shapes:
        `x`: `(n, dx)`, `y`: `(n, dy)` with n >= 120, or integers `(n,)`. Numpy or torch, on the CPU.

    Raises:
        TypeError: for an array that holds no real numbers, or a tensor on another device.
        ValueError: for NaN, wrong shapes, unequal n, n < 120, or all columns constant.

    References:
        Poole et al., 2019, *On variational bounds of mutual information* (the score). van der Laan, Polley & Hubbard,
        2007, *Super learner*, Stat. Appl. Genet. Mol. Biol. 6 (choice by held-out evidence).

    Example:
        >>> from estimators import distributions
        >>> law = distributions.MultivariateNormal.with_information(1.0, 3, 3)
        >>> e = Auto()(*law.sample(1000, seed=0))
        >>> [name for name in e.diagnostics if name.startswith("chosen")], abs(e.value - 1.0) < 4 * e.stderr
        (['chosen_Student'], True)
    """

    seed: int = 0
    limit: int = 20_000
    progress: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.limit < _LEAST:
            raise ValueError(f"limit = {self.limit} must be at least {_LEAST}: some rows are held out")

    def __call__(self, x: Array, y: Array, /) -> Estimate:
        if is_discrete(x) and is_discrete(y):
            found = Discrete()(x, y)
            return self._reported(found, Discrete(), {}, found.n, 0)
        if is_discrete(x):
            x, y = y, x
        x, dropped = drop_constant_columns(as_numpy(x, "x"), "x")
        if is_discrete(y):
            y = as_labels(y)
            paired(x, y)
            _require(len(x))
            return self._labelled(x, y, dropped)
        y, more = drop_constant_columns(as_numpy(y, "y"), "y")
        paired(x, y)
        _require(len(x))
        return self._continuous(x, y, dropped + more)

    def _continuous(self, x: np.ndarray, y: np.ndarray, dropped: int) -> Estimate:
        data = candidates.prepare(x, y, self.seed)
        laws = {_name(law.estimator): law for law in candidates.laws(data)}
        bounds = {_name(bound.estimator): bound for bound in candidates.directions(data, self.seed)}
        few = self._limited(len(x))
        inside = data if few is None else candidates.prepare(x[few], y[few], self.seed)
        critic = bounds["InfoNCE"] = candidates.critic(self._critic(), inside)
        numbers = {f"evidence_{name}": law.evidence.value for name, law in laws.items()}
        for name, bound in bounds.items():
            numbers |= {f"evidence_{name}": bound.evidence.value, f"value_{name}": bound.estimate.value}
        rng = stream(self.seed, "draws")
        for name, law in sorted(laws.items(), key=lambda item: -item[1].evidence.value):
            # Another split is another test sample, whose scores are not paired.
            behind = [
                law.evidence.behind(b.evidence, paired=b is not critic or few is None)
                for b in bounds.values()
            ]
            by_laws = [law.evidence.behind(other.evidence) for other in laws.values()]
            if max(behind + by_laws) > _BEHIND:
                continue
            found = law.measure()
            numbers[f"value_{name}"] = found.value
            if supported(law.fit, found, law.evidence, rng, ahead=max(behind) < -_BEHIND):
                return self._reported(found, law.estimator, numbers, len(x), dropped)
            numbers[f"refused_{name}"] = 1.0
        near = _neighbours(inside)
        numbers |= {f"value_{_name(e)}": found.value for e, found in near.items()}
        scores = {
            law.estimator: candidates.lower_bound(law.evidence, law.estimator, len(x))
            for law in laws.values()
        }
        choices = scores | {bound.estimator: bound.estimate for bound in bounds.values()} | near
        best = max(choices, key=lambda e: choices[e].value)
        return self._reported(choices[best], best, numbers, len(x), dropped)

    def _labelled(self, x: np.ndarray, y: np.ndarray, dropped: int) -> Estimate:
        few = self._limited(len(x))
        x, y = (x, y) if few is None else (x[few], y[few])
        seen = standardised(x)
        seen = normal_scores(seen)[0] if np.max(np.mean(seen**4, axis=0)) - 3 > _HEAVY else seen
        choices: dict[MutualInformation, Estimate] = {
            e: e(seen, y) for e in (ProbeInformation(), self._critic())
        }
        for e in (
            Ross(),
            *((Projected(Ross(standardise=False), dims=_PRINCIPAL),) if x.shape[1] > _WIDE else ()),
        ):
            choices[e] = _with_error(e, seen, y)
        numbers = {f"value_{_name(e)}": found.value for e, found in choices.items()}
        best = max(choices, key=lambda e: choices[e].value)
        return self._reported(choices[best], best, numbers, len(x), dropped)

    def _critic(self) -> InfoNCE:
        return InfoNCE(seeds=2, seed=self.seed, progress=self.progress)

    def _limited(self, n: int) -> np.ndarray | None:
        return None if n <= self.limit else np.sort(stream(self.seed, "limit").permutation(n)[: self.limit])

    def _reported(
        self, found: Estimate, chosen: MutualInformation, numbers: Mapping[str, float], n: int, dropped: int
    ) -> Estimate:
        own = {key: value for key, value in found.diagnostics.items() if key not in numbers}
        return dataclasses.replace(
            found,
            n=n,
            method=repr(self),
            flags=merged(found.flags, ("constant-columns",) if dropped else ()),
            diagnostics=diagnostics(**own, **numbers, **{f"chosen_{_name(chosen)}": 1.0}),
        )


def mutual_information(x: Array, y: Array) -> Estimate:
    """I(X;Y) in nats by the recommended estimator: `Auto()(x, y)`.

    Arguments:
        x: samples `(n, dx)`, or integers `(n,)` for a discrete variable; numpy or torch.
        y: likewise.

    Raises:
        TypeError, ValueError: as `Auto`.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((500, 2))
        >>> mutual_information(x, x + np.random.default_rng(1).standard_normal((500, 2))).quantity
        'I(X;Y)'
    """
    return Auto()(x, y)


def _require(n: int) -> None:
    if n < _LEAST:
        raise ValueError(
            f"x has n = {n} rows: Auto holds some out and needs n >= {_LEAST}; "
            "name an estimator instead, such as KSG() in few dimensions or Gaussian()"
        )


def _name(estimator: object) -> str:
    inner = getattr(estimator, "inner", None)
    own = type(estimator).__name__
    return own if inner is None else f"{own}({_name(inner)})"


def _neighbours(data: candidates.Data) -> dict[MutualInformation, Estimate]:
    """Estimates from neighbour counts, with the scatter of disjoint parts."""
    tied = max(1 - len(np.unique(column)) / len(column) for z in (data.x, data.y) for column in z.T)
    first: KSG | Gao = Gao() if tied > _TIED else KSG()
    chosen: list[MutualInformation] = [Copula(first) if data.heavy else first]
    if data.x.shape[1] + data.y.shape[1] > _WIDE:
        # Principal components keep their scale: where fewer carry the data, the others are noise.
        projected = Projected(type(first)(standardise=False), dims=_PRINCIPAL)
        chosen.append(Copula(projected) if data.heavy else projected)
    return {e: _with_error(e, data.x, data.y) for e in chosen}


def _with_error(estimator: MutualInformation, x: np.ndarray, y: np.ndarray) -> Estimate:
    return Subsampled(estimator, parts=_PARTS)(x, y)

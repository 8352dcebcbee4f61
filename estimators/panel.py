"""Several families on the same samples, side by side: no single number is safe, their disagreement is a warning."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from estimators._covariance import merged, participation_ratio
from estimators._result import Estimate
from estimators._samples import (
    as_samples,
    diagnostics,
    drop_constant_columns,
    is_discrete,
    paired,
    standardised,
)
from estimators._settings import settings
from estimators.canonical import CrossFittedCCA
from estimators.gaussian import Gaussian
from estimators.neighbors import KSG
from estimators.neighbors_mixed import Ross
from estimators.probe import ProbeInformation
from estimators.protocols import Array, MutualInformation
from estimators.variational import InfoNCE
from estimators.views import Projected
from estimators.wrappers import Permuted, Subsampled

__all__ = ["Panel", "PanelResult"]

_SHARE = 0.25  # of the largest value: what families of opposite bias part by on healthy data
_LEAST = 0.1  # nats
_ERRORS = 4.0  # joint standard errors


@dataclass(frozen=True)
class PanelResult:
    """What the members of a panel said of one pair of samples.

    Arguments:
        estimates: one for each member that could measure, in the order of the panel. Where values part by more than their
            errors allow, each carries the flag `disagreement`.
        errors: the message of each member that could not.
        n: samples.
        diagnostics: `effective_rank_x`, `effective_rank_y` (participation ratios of the correlation spectra), `dx`, `dy`,
            and `gap`, the largest difference of two values.
    """

    estimates: tuple[Estimate, ...]
    errors: Mapping[str, str]
    n: int
    diagnostics: Mapping[str, float] = field(default_factory=dict)

    @property
    def disagreement(self) -> bool:
        """Whether members contradict each other."""
        # On all of them: one alone may say it of itself, as ShrunkGaussian does.
        return all("disagreement" in e.flags for e in self.estimates)

    @property
    def reliable(self) -> bool:
        """True when every member measured and none raised a flag."""
        return not self.errors and all(e.reliable for e in self.estimates)

    def __getitem__(self, name: str) -> Estimate:
        for e in self.estimates:
            if e.method == name or e.method.startswith(f"{name}("):
                return e
        raise KeyError(f"no member {name!r}; there are {', '.join(e.method for e in self.estimates)}")

    def to_pandas(self) -> Any:
        """One row for each member."""
        import pandas as pd

        return pd.DataFrame(list(self._rows()))

    def _rows(self) -> Iterator[dict[str, Any]]:
        for e in self.estimates:
            null = (
                ""
                if "null_mean" not in e.diagnostics
                else (f"{e.diagnostics['null_mean']:.3f} ± {e.diagnostics['null_sd']:.3f}")
            )
            yield {
                "estimator": _short(e.method),
                "nats": f"{e.value:.3f}",
                "± se": "" if e.stderr is None else f"{e.stderr:.3f}",
                "bound": {"none": "neither", "lower": "lower bound", "upper": "upper bound"}[e.bound],
                "null": null,
                "p": "" if "p_value" not in e.diagnostics else f"{e.diagnostics['p_value']:.3f}",
                "ceiling": "" if e.ceiling is None else f"{e.ceiling:.2f}",
                "flags": ", ".join(e.flags),
            }
        for name, message in self.errors.items():
            yield {"estimator": _short(name), "nats": "-", "flags": f"could not measure: {message}"}

    def _headline(self) -> str:
        d = self.diagnostics
        text = f"n = {self.n}, {d['dx']:.0f} + {d['dy']:.0f} columns"
        if "effective_rank_x" in d:
            text += f", effective ranks {d['effective_rank_x']:.1f} and {d['effective_rank_y']:.1f}"
        if self.disagreement:
            text += f"; the members disagree by {d['gap']:.2f} nats: quote none of them alone"
        return text

    def __str__(self) -> str:
        rows = list(self._rows())
        columns = list(rows[0])
        table = [columns, *([row.get(c, "") for c in columns] for row in rows)]
        widths = [max(len(line[k]) for line in table) for k in range(len(columns))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in table
        ]
        return "\n".join([f"I(X;Y): {self._headline()}", *lines])

    def _repr_html_(self) -> str:
        rows = list(self._rows())
        head = "".join(f"<th style='text-align:left'>{html.escape(c)}</th>" for c in rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(row.get(c, ''))}</td>" for c in rows[0]) + "</tr>"
            for row in rows
        )
        caption = html.escape(f"I(X;Y): {self._headline()}")
        return f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table>"


@settings
class Panel:
    r"""Complementary estimators of I(X;Y) on the same samples: `Panel()(x, y)` is a table, not a number.

    By default a normal law (finds what is spread over many weak directions, over-states on curved manifolds),
    neighbours behind principal components (the opposite), canonical directions learned on other samples, and a critic's
    lower bound. With labels: neighbours, a probe and a critic. Each stands with its error, the direction of its bound,
    and the null of `times` permutations; a lower bound that was scored on other samples than it was trained on needs no
    null. The flag `disagreement` is raised on all when the largest and the smallest value differ by more than

    .. math:: \max\left(4 \sqrt{\mathrm{SE}_i^2 + \mathrm{SE}_j^2}, \; 0.1 + \tfrac{1}{4} \max_i |\hat I_i| \right)

    In 128 + 128 dimensions at n = 2000 it is silent for independent data and for a linear embedding of 4 dimensions, and
    raised for a nonlinear one (5.8 against 1.6 for 2 nats) and for 128 weak channels (2.0 against 0.0).

    Arguments:
        members: estimators of mutual information; `None` takes the default for the kind of y.
        times: permutations of each null; 0 leaves nulls out.
        seed: of the permutations.

    Shapes:
        `x`: `(n, dx)`; `y`: `(n, dy)` or integers `(n,)`. Numpy or torch, on the CPU.

    Raises:
        TypeError: for an array that holds no real numbers.
        ValueError: for NaN, wrong shapes, unequal n, or if no member can measure these samples.

    Example:
        >>> from estimators import Gaussian, KSG, distributions
        >>> x, y = distributions.MultivariateNormal(0.8).sample(500, seed=0)
        >>> panel = Panel((Gaussian(), KSG()), times=9)(x, y)
        >>> panel.disagreement, round(panel["Gaussian"].diagnostics["p_value"], 3)
        (False, 0.1)
    """

    members: tuple[MutualInformation, ...] | None = None
    times: int = 9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.members is not None and not (
            isinstance(self.members, tuple) and self.members and all(callable(e) for e in self.members)
        ):
            raise ValueError(
                f"members = {self.members!r} must be a tuple of estimators, such as (Gaussian(), KSG())"
            )
        if self.times < 0:
            raise ValueError(f"times = {self.times} must not be negative")

    def __call__(self, x: Array, y: Array, /) -> PanelResult:
        if is_discrete(x) and not is_discrete(y):
            x, y = y, x
        ranks: dict[str, float] = {}
        for name, z in (("x", x), ("y", y)):
            columns, rank = _columns(z, name)
            ranks |= {f"d{name}": columns} | ({} if rank is None else {f"effective_rank_{name}": rank})
        paired(x, y)
        estimates, errors = [], {}
        for member in self.members or _default(is_discrete(y)):
            try:
                estimates.append(self._measured(member, x, y))
            except ValueError as error:
                errors[repr(member)] = str(error)
        if not estimates:
            raise ValueError(
                "no member of the panel can measure these samples: " + "; ".join(errors.values())
            )
        values = [e.value for e in estimates]
        if _contradict(estimates):
            estimates = [replace(e, flags=merged(e.flags, ("disagreement",))) for e in estimates]
        gap = 0.0 if max(values) == min(values) else max(values) - min(values)  # all may be infinite
        numbers = diagnostics(**ranks, gap=gap)
        return PanelResult(tuple(estimates), errors, x.shape[0], numbers)

    def _measured(self, member: MutualInformation, x: Array, y: Array) -> Estimate:
        found = member(x, y)
        if self.times == 0 or found.bound == "lower" or "p_value" in found.diagnostics:
            return found
        return replace(Permuted(member, times=self.times, seed=self.seed)(x, y), method=repr(member))


def _default(labels: bool) -> tuple[MutualInformation, ...]:
    # Principal components keep their scale: where fewer carry the data, the others are noise.
    if labels:
        return Subsampled(Projected(Ross(standardise=False), dims=8)), ProbeInformation(), InfoNCE()
    return Gaussian(), Subsampled(Projected(KSG(standardise=False), dims=8)), CrossFittedCCA(), InfoNCE()


def _columns(z: Array, name: str) -> tuple[int, float | None]:
    if is_discrete(z):
        return 1, None
    z, _ = drop_constant_columns(as_samples(z, name), name)
    return z.shape[1], participation_ratio(standardised(z))


def _contradict(estimates: list[Estimate]) -> bool:
    most = max((abs(e.value) for e in estimates if math.isfinite(e.value)), default=0.0)
    for a, b in combinations(estimates, 2):
        errors = _ERRORS * math.hypot(a.stderr or 0.0, b.stderr or 0.0)
        if a.value == b.value:
            continue
        if abs(a.value - b.value) > max(errors, _LEAST + _SHARE * most):
            return True
    return False


def _short(method: str) -> str:
    """The names of an estimator and what it wraps, without settings."""
    from estimators.registry import parse

    def name(estimator: Any) -> str:
        inner = getattr(estimator, "inner", None)
        own = type(estimator).__name__
        return own if inner is None else f"{own}({name(inner)})"

    return name(parse(method))

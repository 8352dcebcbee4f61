"""`Estimate`: the one thing that every estimator returns."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["FLAGS", "Estimate"]

FLAGS: Mapping[str, str] = {
    "saturated": "within reach of the ceiling: the true value may be any larger number",
    "ties": "repeated coordinates: a continuous law has none, neighbour distances are unreliable",
    "duplicates": "repeated rows: neighbour distances collapse, and held-out samples repeat fitted ones; biased upwards",
    "constant-columns": "constant columns were dropped",
    "heavy-tails": "extreme values: second moments and neighbour distances converge slowly",
    "non-gaussian": "the data are not jointly normal, as this estimator takes them to be: the value may err either way",
    "small-sample": "fewer samples than the estimator needs to be trusted at this dimension",
    "large-correction": "the bias correction is large against the value",
    "rank-deficient": "the covariance is singular to working precision",
    "overfit": "training score far above the held-out score",
    "failed-seeds": "some training seeds failed and were left out",
    "low-effective-sample": "few samples carry the importance weights",
    "not-converged": "training or optimisation stopped before it settled",
    "not-linear": "the bias does not fall as 1/n over these sample sizes: the extrapolation is not to be trusted",
    "disagreement": "estimators of opposite bias disagree by more than their errors",
    "left-out": "the components that were left out carry dependence as well: the value is that of the others alone",
    "high-dimension": "the dimension is beyond what this estimator can resolve at this n",
    "violated-bound": "the number contradicts a bound that it must obey",
    "dead-rows": "rows that are all zero have no direction and were left out",
    "collapsed": "the representation is constant to working precision",
}
"""The fixed vocabulary of `Estimate.flags`, with what each one says."""

Bound = Literal["none", "lower", "upper"]
Unit = Literal["nats", "1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with everything a reader needs in order to believe or doubt it.

    Arguments:
        value: the estimate. Never clipped: a mutual information may come out negative.
        quantity: what the number is, such as `"I(X;Y)"`.
        unit: `"nats"`, or `"1"` for a pure number (an accuracy, a rank).
        n: samples used.
        method: `repr` of the estimator with every field; `estimators.parse(method)` rebuilds it.
        bound: direction in expectation; `"none"` when there is none.
        stderr: standard error from sampling scatter; `None` means not estimated, never zero.
        interval: an interval, with its `level`; without one, two certain sides.
        level: nominal coverage of `interval`.
        ceiling: the largest value that this estimator can return here.
        flags: warnings from `FLAGS`.
        diagnostics: numbers only.

    Raises:
        ValueError: if a flag is not in the vocabulary or the interval is reversed.

    Example:
        >>> e = Estimate(value=0.5, quantity="I(X;Y)", n=100, method="KSG(k=3)", stderr=0.02)
        >>> print(e)
        I(X;Y) = 0.5000 ± 0.0200 nats  [KSG(k=3), n=100]
        >>> round(e.bits, 4)
        0.7213
    """

    value: float
    quantity: str
    unit: Unit = "nats"
    n: int
    method: str
    bound: Bound = "none"
    stderr: float | None = None
    interval: tuple[float, float] | None = None
    level: float | None = None
    ceiling: float | None = None
    flags: tuple[str, ...] = ()
    diagnostics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "diagnostics", {k: float(v) for k, v in self.diagnostics.items()})
        unknown = sorted(set(self.flags) - set(FLAGS))
        if unknown:
            raise ValueError(f"flags {unknown} are not in the vocabulary {sorted(FLAGS)}")
        if self.interval is not None and not self.interval[0] <= self.interval[1]:
            raise ValueError(f"interval {self.interval} must be (low, high) with low <= high")

    @property
    def bits(self) -> float:
        """The value in bits; raises `ValueError` for a pure number."""
        if self.unit != "nats":
            raise ValueError(f"{self.quantity} is a pure number and has no bits")
        return self.value / math.log(2)

    @property
    def reliable(self) -> bool:
        """True when no flag was raised."""
        return not self.flags

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain Python values."""
        return asdict(self)

    def __str__(self) -> str:
        sign = {"none": "=", "lower": ">=", "upper": "<="}[self.bound]
        parts = [f"{self.quantity} {sign} {self.value:.4f}"]
        if self.stderr is not None:
            parts.append(f"± {self.stderr:.4f}")
        if self.unit == "nats":
            parts.append("nats")
        if self.interval is not None:
            low, high = self.interval
            certain = "" if self.level is None else f"{self.level:.0%} "
            parts.append(f"in {certain}[{low:.4f}, {high:.4f}]")
        about = [self.method, f"n={self.n}"]
        if self.ceiling is not None:
            about.append(f"ceiling {self.ceiling:.3f}")
        text = " ".join(parts) + f"  [{', '.join(about)}]"
        return text + (f"  flags: {', '.join(self.flags)}" if self.flags else "")

    def _repr_html_(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        sign = {"none": "=", "lower": "≥", "upper": "≤"}[self.bound]
        error = "" if self.stderr is None else f" ± {self.stderr:.4f}"
        rows = [(self.quantity, f"{sign} {self.value:.4f}{error}{unit}")]
        if self.interval is not None:
            certain = "interval" if self.level is None else f"{self.level:.0%} interval"
            rows.append((certain, f"[{self.interval[0]:.4f}, {self.interval[1]:.4f}]{unit}"))
        if self.ceiling is not None:
            rows.append(("ceiling", f"{self.ceiling:.4f}{unit}"))
        rows += [("n", f"{self.n}"), ("method", self.method)]
        rows += [(flag, FLAGS[flag]) for flag in self.flags]
        numbers = "".join(_row(key, f"{value:.4g}") for key, value in self.diagnostics.items())
        more = f"<details><summary>diagnostics</summary><table>{numbers}</table></details>" if numbers else ""
        return f"<table>{''.join(_row(*row) for row in rows)}</table>{more}"


def _row(name: str, text: str) -> str:
    style = "style='text-align:left'"
    return f"<tr><th {style}>{html.escape(name)}</th><td {style}>{html.escape(text)}</td></tr>"

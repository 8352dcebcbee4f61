"""What the rows of a calibration say about each estimator: means over the laws, the worst of them, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from estimators.calibration import Calibration

__all__ = ["Summary", "allowed", "right", "side", "silent", "summarise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One estimator over all laws; numbers are means over the laws on which it gave a value, `None` where none is.

    `right` counts the laws that are estimated right (see `summarise`), `silent` those that are wrong although most of
    their estimates carry no flag: nothing in such a number says so. A bound far on its own side is neither.
    """

    label: str
    verdict: str
    laws: int
    failed: int
    right: int
    silent: int
    bias: float | None
    sd: float | None
    rmse: float | None
    covers_expectation: float | None
    covers_truth: float | None
    coverage_error: float | None
    flagged: float | None
    seconds: float | None
    worst: str
    worst_bias: float | None


def summarise(rows: Sequence[Calibration], *, tolerance: float = 0.1) -> list[Summary]:
    """One line per estimator, in the order of the rows, with a verdict.

    A law is estimated right when the bias is within `tolerance` nats, or that share of the truth where this is more,
    give or take 3 of its standard errors. The verdict is `believe` when all are right, `believe unless flagged` when
    at least half are, most estimates of every wrong law carry a flag, and those of most right ones do not. Otherwise it
    names the direction and, unless it is that of more than half of the laws, their kinds. A lower bound may be low.

    Raises:
        ValueError: if there are no rows, or `tolerance` is not positive.
    """
    if not rows:
        raise ValueError("rows is empty: there is nothing to summarise")
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    return [
        _summary([row for row in rows if row.estimator == estimator], tolerance)
        for estimator in dict.fromkeys(row.estimator for row in rows)
    ]


def _summary(rows: list[Calibration], tolerance: float) -> Summary:
    usable = [row for row in rows if row.bias is not None]
    worst = max(usable, key=lambda row: abs(row.bias or 0.0) / allowed(row, tolerance), default=None)

    def mean(name: str) -> float | None:
        values = [getattr(row, name) for row in usable if getattr(row, name) is not None]
        return float(np.mean(values)) if values else None

    intervals = sum(row.intervals for row in usable)
    level = next((row.level for row in usable if row.level is not None), None)
    return Summary(
        label=rows[0].label,
        verdict=_verdict(rows, usable, tolerance),
        laws=len(usable),
        failed=len(rows) - len(usable),
        right=sum(right(row, tolerance) for row in usable),
        silent=sum(silent(row, tolerance) for row in usable),
        bias=mean("bias"),
        sd=mean("sd"),
        rmse=mean("rmse"),
        covers_expectation=mean("covers_expectation"),
        covers_truth=mean("covers_truth"),
        coverage_error=None if level is None else math.sqrt(level * (1 - level) / intervals),
        flagged=mean("flagged"),
        seconds=mean("seconds"),
        worst="" if worst is None else worst.law,
        worst_bias=None if worst is None else worst.bias,
    )


def allowed(row: Calibration, tolerance: float = 0.1) -> float:
    """The largest bias in nats that counts as right: `tolerance`, or that share of the truth where this is more."""
    return tolerance * max(1.0, abs(row.truth))


def right(row: Calibration, tolerance: float = 0.1) -> bool:
    """Whether the bias is what is allowed, give or take 3 of its standard errors."""
    if row.bias is None:
        return False
    return abs(row.bias) <= allowed(row, tolerance) + 3 * (row.sd or 0.0) / math.sqrt(row.repetitions)


def side(row: Calibration, tolerance: float = 0.1) -> int:
    """-1 where the estimator is wrong and low, 1 where it is wrong and high, else 0: a lower bound may be low."""
    if row.bias is None or right(row, tolerance):
        return 0
    if (row.bound, row.bias < 0) in {("lower", True), ("upper", False)}:
        return 0
    return 1 if row.bias > 0 else -1


def silent(row: Calibration, tolerance: float = 0.1) -> bool:
    """Whether the estimator is wrong here and most of its estimates carry no flag."""
    return side(row, tolerance) != 0 and (row.flagged or 0.0) < 0.5


def _verdict(rows: list[Calibration], usable: list[Calibration], tolerance: float) -> str:
    if not usable:
        return "fails: " + rows[0].failure
    where = f", fails on {len(rows) - len(usable)}" if len(usable) < len(rows) else ""
    wrong = [row for row in usable if side(row, tolerance)]
    fine = [row for row in usable if not side(row, tolerance)]
    if not wrong:
        return _praise(usable) + where
    warned = [(row.flagged or 0.0) >= 0.5 for row in fine]
    if not any(silent(row, tolerance) for row in wrong) and sum(warned) < len(fine) / 2 >= len(wrong) / 2:
        return "believe unless flagged" + where
    words = []
    for direction, name in ((-1, "low"), (1, "high")):
        off = [row for row in wrong if side(row, tolerance) == direction]
        kinds = list(dict.fromkeys(row.kind for row in off))
        if len(off) > len(usable) / 2:
            words.append(f"biased {name}")
        elif off:
            words.append(f"biased {name} on {', '.join(kinds)}")
    return "; ".join(words) + where


def _praise(usable: list[Calibration]) -> str:
    """Of what is right everywhere; bounds that hold may still be far from the truth."""
    bounds = {row.bound for row in usable}
    if bounds == {"none"}:
        return "believe"
    if len(bounds) == 1:
        return f"a {bounds.pop()} bound that holds"
    return f"right, or a {' or '.join(sorted(bounds - {'none'}))} bound that holds"

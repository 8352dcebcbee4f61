"""`BoundReport`: what every bound returns, and the class that it may claim."""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from infossl.trajectory import atomic_write, plain_json

__all__ = ["Assumption", "BoundReport", "Status", "Verdict", "read_bounds", "write_bounds"]

Verdict = Literal["certified", "estimated-consistent", "estimated-violated", "vacuous", "not-applicable"]
Status = Literal["holds by construction", "tested", "assumed", "violated"]
Kind = Literal["in-expectation", "high-probability", "deterministic"]


@dataclass(frozen=True, slots=True)
class Assumption:
    """One thing that the statement needs, and how far it is known to hold.

    Raises:
        ValueError: if `status` is not one of the four.
    """

    text: str
    status: Status

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise ValueError(f"status {self.status!r} of {self.text!r} must be one of {get_args(Status)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundReport:
    """Both sides of a bound with everything that decides how far to trust it.

    Arguments:
        name: short name of the bound.
        statement: the inequality, in words and symbols.
        source: paper, and whether the constants are derived here.
        kind: `"in-expectation"`, `"high-probability"` or `"deterministic"`.
        object: what is bounded, with its loss and range.
        lhs: the measured value of what is bounded; `lhs_how` says how it was measured.
        rhs: the right-hand side, infinite where it promises nothing; `terms` its parts.
        trivial: the value that needs no theorem; a right-hand side at or above it is vacuous.
        delta: failure probability, for high-probability statements.
        assumptions: each with its status.
        roles: which sample did what.
        rhs_exact: whether every term is exact or a one-sided confidence bound union-bounded to `delta`.
        left_out: the terms of the statement that are not in `rhs`; empty when it is complete.
        plain: one sentence in plain words, for readers who do not read formulas.
        step: optimizer steps done when it was computed, if it belongs to a training run.

    Raises:
        ValueError: if a side is NaN, or `delta` is outside (0, 1).

    Example:
        >>> report = BoundReport(
        ...     name="toy", statement="R <= B", source="none", kind="deterministic", object="R",
        ...     lhs=0.1, lhs_how="counted", rhs=0.3, trivial=1.0, rhs_exact=True,
        ... )
        >>> print(report)
        toy: 0.1000 <= 0.3000 (certified; trivial 1.0000)
    """

    name: str
    statement: str
    source: str
    kind: Kind
    object: str
    lhs: float
    lhs_how: str
    rhs: float
    terms: Mapping[str, float] = field(default_factory=dict)
    trivial: float
    delta: float | None = None
    assumptions: tuple[Assumption, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    rhs_exact: bool = False
    left_out: tuple[str, ...] = ()
    plain: str = ""
    step: int | None = None

    def __post_init__(self) -> None:
        for name in ("lhs", "rhs", "trivial"):
            if math.isnan(getattr(self, name)):
                raise ValueError(
                    f"{name} of the bound {self.name!r} is NaN: a bound needs numbers on both sides"
                )
        if self.delta is not None and not 0 < self.delta < 1:
            raise ValueError(
                f"delta = {self.delta} of the bound {self.name!r} must lie strictly between 0 and 1"
            )

    @property
    def slack(self) -> float:
        """Right side minus left side."""
        return self.rhs - self.lhs

    @property
    def vacuous(self) -> bool:
        """True when the right side promises no more than the trivial value."""
        return not self.rhs < self.trivial

    @property
    def verdict(self) -> Verdict:
        """The class of the result: `certified` only if nothing is estimated, left out, assumed or violated.

        A measurement above the right side comes before everything but a violated assumption: whatever the
        right side promised, the number in hand contradicts it.
        """
        statuses = {a.status for a in self.assumptions}
        if "violated" in statuses:
            return "not-applicable"
        if self.rhs < self.lhs:
            return "estimated-violated"
        if self.vacuous:
            return "vacuous"
        complete = self.rhs_exact and not self.left_out
        has_delta = self.delta is not None or self.kind != "high-probability"
        if complete and has_delta and statuses <= {"holds by construction"}:
            return "certified"
        return "estimated-consistent"

    def to_json(self) -> str:
        """One line of JSON with the verdict spelled out; infinities, which JSON lacks, become strings."""
        data = asdict(self) | {"verdict": self.verdict, "slack": self.slack, "vacuous": self.vacuous}
        return json.dumps(plain_json(data), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> BoundReport:
        """The report that `to_json` wrote; fields of other versions are ignored.

        Raises:
            ValueError: if the line is not a report.
        """
        data: Any = json.loads(line)
        if not isinstance(data, dict):
            raise ValueError(
                f"expected a JSON object with the fields of a bound report, got {type(data).__name__}"
            )
        known = {k: v for k, v in data.items() if k in {f.name for f in fields(cls)}}
        try:
            for key in ("lhs", "rhs", "trivial"):
                known[key] = float(known[key])
            known["terms"] = {k: float(v) for k, v in known["terms"].items()}
            known["assumptions"] = tuple(Assumption(**a) for a in known["assumptions"])
            known["left_out"] = tuple(known["left_out"])
            return cls(**known)
        except (KeyError, TypeError) as error:
            raise ValueError(f"a field of a bound report is missing or unreadable: {error}") from None

    def __str__(self) -> str:
        return f"{self.name}: {self.lhs:.4f} <= {self.rhs:.4f} ({self.verdict}; trivial {self.trivial:.4f})"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(str(self))}</code>"


def write_bounds(path: str | os.PathLike[str], reports: Iterable[BoundReport]) -> None:
    """Writes one report a line; the file appears whole or not at all.

    Arguments:
        path: the file, `bounds.jsonl` in a run folder.
        reports: what to write; it replaces what was there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, "".join(report.to_json() + "\n" for report in reports).encode())


def read_bounds(path: str | os.PathLike[str]) -> list[BoundReport]:
    """Reads what `write_bounds` wrote, from the file or from the run folder that holds `bounds.jsonl`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line is not a report; its number is named.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "bounds.jsonl"
    if not path.exists():
        raise FileNotFoundError(f"no bounds at {path}; write_bounds makes bounds.jsonl in a run folder")
    reports = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            reports.append(BoundReport.from_json(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is not a bound report: {error}") from None
    return reports

"""Reading a trajectory for display: which rows belong to one curve, under which name, in which unit.

Nothing here is measured or estimated; rows are selected, ordered and converted from nats to bits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infossl.report._names import LAYERLESS, distinct_names, elided, family, short_layers, short_method
from infossl.trajectory import Row, Trajectory

__all__ = [
    "NothingToDraw",
    "Point",
    "Run",
    "Series",
    "as_runs",
    "choose",
    "families",
    "last_rows",
    "point",
    "preferred",
    "role_order",
    "roles_of",
    "series",
]

UNITS = {"nats": 1.0, "bits": 1.0 / math.log(2)}
_PREFERRED_SPLIT = {"held-out": 0, "all": 1, "": 2}


class NothingToDraw(ValueError):
    """The table holds no finite row of what was asked for; the message says what it holds instead."""


@dataclass(frozen=True, slots=True)
class Run:
    """The rows of one seed of one run, and the name that tells it from the others in a figure."""

    label: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One row as it is drawn: everything in the display unit, `None` where the row says nothing finite."""

    step: int
    value: float
    low: float | None
    high: float | None
    ceiling: float | None
    null: float | None
    saturated: bool
    row: Row


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: one tap of one run, by step."""

    run: str
    index: int
    name: str
    role: str
    points: tuple[Point, ...]

    @property
    def is_input(self) -> bool:
        """Raw inputs: the same at every step, a reference and not a layer."""
        return self.role == "x"


def as_runs(trajectories: Trajectory | Sequence[Trajectory]) -> list[Run]:
    """Every (run, seed) of the given tables, apart and named; several seeds are never merged."""
    tables = [trajectories] if isinstance(trajectories, Trajectory) else list(trajectories)
    groups: dict[tuple[int, str, int | None], list[Row]] = {}
    for i, table in enumerate(tables):
        for row in table:
            groups.setdefault((i, row.run, row.seed), []).append(row)
    keys = list(groups)
    by_seed = len({seed for _, _, seed in keys}) == len(keys) and all(seed is not None for _, _, seed in keys)
    by_name = len({name for _, name, _ in keys}) == len(keys)
    labels = []
    for position, (_, name, seed) in enumerate(keys, 1):
        if by_name and not (by_seed and len({name for _, name, _ in keys}) < 2) and len(keys) > 1:
            labels.append(elided(name) or f"run {position}")
        elif by_seed:
            labels.append(f"seed {seed}")
        else:
            named = elided(name) or "run"
            labels.append(f"{named} #{position}" if len(keys) > 1 else named)
    return [Run(label, tuple(groups[key])) for label, key in zip(labels, keys, strict=True)]


def families(rows: Iterable[Row], quantity: str) -> list[str]:
    """The estimators that measured `quantity`, in the order of the table; those that only failed are left out."""
    return list(dict.fromkeys(family(r.method) for r in rows if r.quantity == quantity and _finite(r.value)))


def choose(rows: Iterable[Row], quantity: str, method: str | None = None) -> str:
    """The family to draw: the one named by `method`, or else a declared bound before a plain estimate.

    Raises:
        NothingToDraw: if the table has no finite row of it.
    """
    rows = [r for r in rows if r.quantity == quantity]
    present = families(rows, quantity)
    if not present:
        why = (
            f"all {len(rows)} rows of {quantity} are errors or not finite"
            if rows
            else f"{quantity} was not measured"
        )
        raise NothingToDraw(why)
    if method is not None:
        wanted = family(method).lower()
        for name in present:
            if name.lower() == wanted:
                return name
        raise NothingToDraw(f"{quantity} was not measured by {method}; the table has {', '.join(present)}")
    declared = [family(r.method) for r in rows if r.bound != "none" and _finite(r.value)]
    return declared[0] if declared else present[0]


def series(
    runs: Sequence[Run],
    quantity: str,
    *,
    method: str | None = None,
    roles: Sequence[str] | None = None,
    unit: str = "nats",
) -> list[Series]:
    """One `Series` per run and tap, in the order of depth.

    Raises:
        NothingToDraw: if the table has no finite row of it.
        ValueError: if `unit` is neither `"nats"` nor `"bits"`.
    """
    if unit not in UNITS:
        raise ValueError(f"unit = {unit!r} must be 'nats' or 'bits'")
    everything = [row for run in runs for row in run.rows]
    chosen = choose(everything, quantity, method)
    wanted = None if roles is None else set(roles)
    found: list[Series] = []
    order = role_order(everything)
    layers = short_layers(everything)
    for index, run in enumerate(runs):
        taps: dict[tuple[str, ...], dict[int, Row]] = {}
        for row in run.rows:
            if row.quantity != quantity or not _finite(row.value) or family(row.method) != chosen:
                continue
            if wanted is None or row.role in wanted or row.layer in wanted:
                taps.setdefault(_tap(row), {})[row.step] = row
        names = distinct_names(list(taps), layers)
        for tap, by_step in taps.items():
            rows = [by_step[step] for step in sorted(by_step)]
            points = tuple(point(row, unit) for row in rows)
            found.append(Series(run.label, index, names[tap], rows[0].role or rows[0].layer, points))
    if not found:
        known = ", ".join(roles_of(everything))
        raise NothingToDraw(
            f"{quantity} was not measured at {', '.join(sorted(wanted or ()))}; the table has {known}"
        )
    return sorted(found, key=lambda s: (order.get(s.role, len(order)), s.name, s.index))


def point(row: Row, unit: str = "nats") -> Point:
    """One row in the display unit. Pure numbers (`unit == "1"`) are never converted."""
    factor = UNITS[unit] if row.unit == "nats" else 1.0

    def scaled(value: float | None) -> float | None:
        return value * factor if value is not None and math.isfinite(value) else None

    value = scaled(row.value)
    if value is None:
        raise ValueError(f"{row.quantity} at step {row.step} has no finite value: {row.error or row.value}")
    low = high = None
    if row.interval is not None:
        low, high = scaled(row.interval[0]), scaled(row.interval[1])
    elif row.stderr is not None and math.isfinite(row.stderr):
        low, high = value - row.stderr * factor, value + row.stderr * factor
    null = row.diagnostics.get("null_q95", row.diagnostics.get("null_mean"))
    return Point(row.step, value, low, high, scaled(row.ceiling), scaled(null), "saturated" in row.flags, row)


def role_order(rows: Iterable[Row]) -> dict[str, int]:
    """Roles in the order of depth: inputs, numbered blocks, what the table lists next, h, z."""
    first: dict[str, int] = {}
    for row in rows:
        if row.layer not in LAYERLESS:
            first.setdefault(row.role or row.layer, len(first))
    ends = {"x": (-1, 0), "h": (2, 0), "z": (3, 0)}

    def key(role: str) -> tuple[int, int, int]:
        block = re.fullmatch(r"block(\d+)", role)
        group, number_ = ends.get(role, (0, int(block[1])) if block else (1, 0))
        return (group, number_, first[role])

    return {role: i for i, role in enumerate(sorted(first, key=key))}


def roles_of(rows: Iterable[Row]) -> list[str]:
    """The roles of a table in the order of depth."""
    return list(role_order(rows))


def last_rows(run: Run) -> list[Row]:
    """The last value of every (tap, quantity, estimator) of a run, in the order of depth and of the table.

    A method whose settings follow the data (a noise level relative to the layer's spread) is named anew at each step;
    only its latest name counts. Two settings measured side by side both stay.
    """
    last: dict[tuple[object, ...], Row] = {}
    for row in run.rows:
        key = (*_tap(row), row.quantity, row.method)
        if row.value is not None and (key not in last or row.step >= last[key].step):
            last[key] = row
    latest: dict[tuple[object, ...], int] = {}
    for row in last.values():
        kind = (*_tap(row), row.quantity, row.channel, short_method(row.method))
        latest[kind] = max(latest.get(kind, row.step), row.step)
    order = role_order(run.rows)
    return sorted(
        (
            row
            for row in last.values()
            if row.step == latest[(*_tap(row), row.quantity, row.channel, short_method(row.method))]
        ),
        key=lambda r: order.get(r.role or r.layer, len(order)),
    )


def _tap(row: Row) -> tuple[str, ...]:
    return (row.layer, row.role, row.branch, row.view, row.split, row.pool)


def preferred(candidates: Sequence[Series]) -> Series:
    """Of several samples of one tap the held-out one."""
    return min(candidates, key=lambda s: _PREFERRED_SPLIT.get(s.points[0].row.split, 3))


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)

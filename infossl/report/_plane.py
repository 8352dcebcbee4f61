"""The information plane: where each layer stands between what it keeps and what it is good for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from infossl.report import _style as style
from infossl.report._ends import below_legend
from infossl.report._labels import place_labels
from infossl.report._limits import null_level, reach, seen
from infossl.report._names import axis_label, ceiling_name, sampled, short_method, unit_name
from infossl.report._numbers import level
from infossl.report._path import Path, draw_path, time_bar
from infossl.report._table import NothingToDraw, Series, as_runs, preferred, series
from infossl.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["information_plane"]


@style.styled
def information_plane(
    trajectories: Trajectory | Sequence[Trajectory],
    x: str = "I(X;Z)",
    y: str = "I(Z;Y)",
    roles: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    x_method: str | None = None,
    y_method: str | None = None,
    unit: str = "nats",
) -> Axes:
    """Draws one path per layer and run through the (x, y) plane, with time as colour.

    Hollow markers are saturated at a ceiling: the truth may lie anywhere beyond it. Bars are standard errors, or
    the two sides of an interval where the estimate has one. Several seeds stay apart, one marker each.

    Arguments:
        trajectories: one table, or several.
        x, y: quantities of the table.
        roles: which layers, by role or layer name; all by default.
        ax: where to draw; a new figure by default.
        x_method, y_method: which estimator, where several measured the same quantity; by default the first with a
            declared direction.
        unit: `"nats"` or `"bits"`; pure numbers are not converted.

    Raises:
        NothingToDraw: (a `ValueError`) if no step has both quantities at one layer.

    Example:
        >>> from infossl.trajectory import Row, Trajectory
        >>> where = {"step": 0, "layer": "encoder", "role": "h", "n": 9}
        >>> rows = [Row(quantity=q, value=1.0, **where) for q in ("I(X;Z)", "I(Z;Y)")]
        >>> information_plane(Trajectory(rows=rows)).get_title(loc="left")
        'Information plane: I(X;Z) and I(Z;Y)'
    """
    runs = as_runs(trajectories)
    paths = _paths(
        series(runs, x, method=x_method, roles=roles, unit=unit),
        series(runs, y, method=y_method, roles=roles, unit=unit),
    )
    if not paths:
        raise NothingToDraw(f"no layer has both {x} and {y} at the same step")
    ax = style.new_axes(ax, (6.6, 5.2))
    last = max(px.step for path in paths for px, _ in path.points)
    colours = style.role_colours(list(dict.fromkeys(path.x.role for path in paths)))
    _set_limits(ax, paths)
    marks: list[tuple[float, float, str, Any]] = []
    for path in paths:
        draw_path(ax, path, last, colours[path.x.role])
        px, py = path.points[-1]
        name = "x (raw inputs)" if path.x.is_input else path.x.name
        if not _named_already(ax, marks, px.value, py.value, name):
            marks.append((px.value, py.value, name, colours[path.x.role]))
    _reference_lines(ax, paths, unit)
    _describe(ax, paths, unit)
    if last > 0:
        time_bar(ax, last)
    _legend(ax, paths, [run.label for run in runs])
    obstacles = [spot for path in paths for spot in _along(path)]
    walls = tuple(
        [p.ceiling for path in paths for p in (pair[axis] for pair in path.points) if p.ceiling is not None]
        for axis in (0, 1)
    )
    place_labels(ax, marks, obstacles, (walls[0], walls[1]))
    return ax


def _paths(xs: Sequence[Series], ys: Sequence[Series]) -> list[Path]:
    def place(s: Series) -> tuple[int, str, str, str]:
        row = s.points[0].row
        return (s.index, row.layer, row.role, row.branch)

    paths = []
    for key in dict.fromkeys(place(s) for s in xs):
        on_y = [s for s in ys if place(s) == key]
        if not on_y:
            continue
        sx, sy = preferred([s for s in xs if place(s) == key]), preferred(on_y)
        by_step = {p.step: p for p in sy.points}
        points = [(p, by_step[p.step]) for p in sx.points if p.step in by_step]
        if points:
            paths.append(Path(sx, sy, points))
    return paths


def _set_limits(ax: Axes, paths: Sequence[Path]) -> None:
    """All points with their bars, and the ceilings. A null farther away than these reach is named in words instead."""
    for axis, setter in ((0, ax.set_xlim), (1, ax.set_ylim)):
        points = [pair[axis] for path in paths for pair in path.points]
        floor = null_level(points)
        low, high = reach(seen(points, ceilings=True), [floor[0]] if floor else [])
        room = (high - low) or max(abs(high), 1.0)
        setter(low - 0.08 * room, high + 0.09 * room)


def _named_already(
    ax: Axes, marks: Sequence[tuple[float, float, str, Any]], x: float, y: float, name: str
) -> bool:
    """Whether another run's path of the same layer ends so close that one name serves both."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    return any(
        text == name and math.hypot((mx - x) / (x1 - x0), (my - y) / (y1 - y0)) < 0.1
        for mx, my, text, _ in marks
    )


def _along(path: Path) -> list[tuple[float, float]]:
    """Points on the drawn line, close enough that a label between two of them would touch it."""
    corners = [(px.value, py.value) for px, py in path.points]
    between = [
        (x0 + f * (x1 - x0), y0 + f * (y1 - y0))
        for (x0, y0), (x1, y1) in pairwise(corners)
        for f in (0.25, 0.5, 0.75)
    ]
    return corners + between


def _reference_lines(ax: Axes, paths: Sequence[Path], unit: str) -> None:
    for axis in (0, 1):
        points = [pair[axis] for path in paths for pair in path.points]
        draw, along = (ax.axvline, "x") if axis == 0 else (ax.axhline, "y")
        ceilings: dict[str, list[float]] = {}
        for p in points:
            if p.ceiling is not None:
                ceilings.setdefault(ceiling_name(p.row), []).append(p.ceiling)
        for i, (name, values) in enumerate(ceilings.items()):
            for value in dict.fromkeys(values):
                draw(value, color=style.GREY, linestyle=(0, (5, 3)), linewidth=1.0, zorder=1.2, gid="ceiling")
            ends = dict.fromkeys(level(v, points[-1].row) for v in (min(values), max(values)))
            text = f"{name} = {' to '.join(ends)} {unit_name(points[-1].row, unit)}".rstrip()
            place = (0.5, 0.0) if along == "x" else (0.0, 1.0)
            style.line_label(ax, text, max(values), axis=along, above=True, end=place[i % 2])
        floor = null_level(points)
        if floor is not None and _inside(ax, axis, floor[0]):
            draw(floor[0], color=style.GREY, linestyle=":", linewidth=1.1, zorder=1.2, gid="null")
            style.line_label(
                ax, floor[1], floor[0], axis=along, above=False, end=0.0 if along == "x" else 1.0
            )


def _inside(ax: Axes, axis: int, value: float) -> bool:
    low, high = ax.get_xlim() if axis == 0 else ax.get_ylim()
    return low <= value <= high


def _describe(ax: Axes, paths: Sequence[Path], unit: str) -> None:
    notes, below = [], []
    for axis, setter in ((0, ax.set_xlabel), (1, ax.set_ylabel)):
        points = [pair[axis] for path in paths for pair in path.points]
        rows = [p.row for p in points]
        setter(style.plain(axis_label(rows, unit)))
        notes.append(
            f"{'xy'[axis]}: {sampled(rows, list(dict.fromkeys(short_method(r.method) for r in rows))[:2])}"
        )
        floor = null_level(points)
        if floor is not None and not _inside(ax, axis, floor[0]):
            below.append(
                f"{rows[-1].quantity} {floor[1]} {level(floor[0], rows[-1])} {unit_name(rows[-1], unit)}"
            )
    x, y = paths[0].x.points[0].row.quantity, paths[0].y.points[0].row.quantity
    off = f"off the axes: {', '.join(below)}" if below else ""
    style.titles(ax, f"Information plane: {x} and {y}", ["; ".join(notes), off])


def _legend(ax: Axes, paths: Sequence[Path], labels: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = []

    def entry(label: str, marker: str, face: str, edge: str, size: float = 5) -> None:
        handles.append(
            Line2D(
                [], [], linestyle="none", marker=marker, markersize=size, markerfacecolor=face, markeredgecolor=edge,
                label=style.plain(label),
            )
        )  # fmt: skip

    used = sorted({path.x.index for path in paths})
    if len(used) > 1:
        for index in used:
            entry(labels[index], style.MARKERS[index % len(style.MARKERS)], style.GREY, style.GREY)
    if any(len(path.points) > 1 for path in paths):
        entry("start", "x", style.INK, style.INK, 6)
        entry("end", style.MARKERS[used[0] % len(style.MARKERS)], style.FAINT, style.INK, 8)
    if any(px.saturated or py.saturated for path in paths for px, py in path.points):
        entry("saturated", style.MARKERS[used[0] % len(style.MARKERS)], "white", style.INK)
    below_legend(ax, handles, ax.get_xlabel().count("\n") + 1)

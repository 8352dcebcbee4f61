"""The information plane: where each layer stands between what it keeps and what it is good for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from infossl.report import _style as style
from infossl.report._labels import place_labels
from infossl.report._names import ceiling_name, elided, number, short_method, unit_name
from infossl.report._table import NothingToDraw, Point, Series, as_runs, preferred, series
from infossl.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["information_plane"]


class _Path(NamedTuple):
    """One layer of one run: its points on both axes at the steps where both were measured."""

    x: Series
    y: Series
    points: list[tuple[Point, Point]]


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
    ax = style.new_axes(ax, (7.2, 5.2))
    last = max(px.step for path in paths for px, _ in path.points)
    colours = style.role_colours(list(dict.fromkeys(path.x.role for path in paths)))
    _set_limits(ax, paths)
    marks: list[tuple[float, float, str, Any]] = []
    for path in paths:
        _draw_path(ax, path, last, colours[path.x.role])
        px, py = path.points[-1]
        name = "x (raw inputs)" if path.x.is_input else path.x.name
        if not _named_already(ax, marks, px.value, py.value, name):
            marks.append((px.value, py.value, name, colours[path.x.role]))
    _reference_lines(ax, paths, unit)
    _describe(ax, paths, unit)
    if last > 0:
        _time_bar(ax, last)
    _legend(ax, paths, [run.label for run in runs])
    obstacles = [spot for path in paths for spot in _along(path)]
    walls = tuple(
        [p.ceiling for path in paths for p in (pair[axis] for pair in path.points) if p.ceiling is not None]
        for axis in (0, 1)
    )
    place_labels(ax, marks, obstacles, (walls[0], walls[1]))
    return ax


def _paths(xs: Sequence[Series], ys: Sequence[Series]) -> list[_Path]:
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
            paths.append(_Path(sx, sy, points))
    return paths


def _set_limits(ax: Axes, paths: Sequence[_Path]) -> None:
    """All points with their bars, and the ceilings. A null farther away than these reach is named in words instead."""
    for axis, setter in ((0, ax.set_xlim), (1, ax.set_ylim)):
        points = [pair[axis] for path in paths for pair in path.points]
        seen = [v for p in points for v in (p.value, p.low, p.high, p.ceiling) if v is not None]
        low, high = min(seen), max(seen)
        null = _null(points)
        if null is not None and low - (high - low) / 2 <= null[0] < low:
            low = null[0]
        room = (high - low) or max(abs(high), 1.0)
        setter(low - 0.08 * room, high + 0.09 * room)


def _null(points: Sequence[Point]) -> tuple[float, str] | None:
    """The highest null of the points, and what it is."""
    floor = [p for p in points if p.null is not None]
    if not floor:
        return None
    worst = max(floor, key=lambda p: p.null or 0.0)
    what = "null, 95th percentile" if "null_q95" in worst.row.diagnostics else "null, mean"
    return worst.null or 0.0, what


def _draw_path(ax: Axes, path: _Path, last: int, colour: Any) -> None:
    import matplotlib
    from matplotlib.collections import LineCollection
    from matplotlib.patches import FancyArrowPatch

    shades = _shades()
    norm = _time_norm(last)
    xs, ys = [px.value for px, _ in path.points], [py.value for _, py in path.points]
    steps = [px.step for px, _ in path.points]
    for px, py in path.points:
        bars: dict[str, Any] = {"color": style.FAINT, "linewidth": 0.8, "alpha": 0.55, "zorder": 1.5}
        if px.low is not None and px.high is not None:
            ax.hlines(py.value, px.low, px.high, **bars)
        if py.low is not None and py.high is not None:
            ax.vlines(px.value, py.low, py.high, **bars)
    corners = list(zip(xs, ys, strict=True))
    segments = list(pairwise(corners))
    if segments:
        mids = [(math.expm1((math.log1p(a) + math.log1p(b)) / 2)) for a, b in pairwise(steps)]
        lines = LineCollection(segments, cmap=shades, norm=norm, linewidths=1.4, zorder=2)
        lines.set_array(mids)
        ax.add_collection(lines, autolim=False)
        for i in _longest(ax, segments):
            (x0, y0), (x1, y1) = segments[i]
            arrow = FancyArrowPatch(
                (x0 + 0.4 * (x1 - x0), y0 + 0.4 * (y1 - y0)),
                (x0 + 0.66 * (x1 - x0), y0 + 0.66 * (y1 - y0)),
                arrowstyle="-|>,head_length=0.55,head_width=0.28",
                mutation_scale=11,
                color=shades(norm(mids[i])),
                linewidth=0,
                shrinkA=0,
                shrinkB=0,
                zorder=2.5,
            )
            ax.add_patch(arrow)
    marker = style.MARKERS[path.x.index % len(style.MARKERS)]
    edge = matplotlib.rcParams["lines.markersize"]
    for i, (px, py) in enumerate(path.points):
        hollow = px.saturated or py.saturated
        final = i == len(path.points) - 1
        shade = shades(norm(px.step))
        ax.plot(
            px.value,
            py.value,
            marker,
            markersize=edge + (4.0 if final else 0.0),
            markerfacecolor="white" if hollow else colour if final else shade,
            markeredgecolor=colour if final and hollow else style.INK if final else shade,
            markeredgewidth=1.6 if final and hollow else 1.0,
            zorder=4 if final else 3,
            gid="saturated" if hollow else "measured",
        )
    if len(path.points) > 1:
        ax.plot(xs[0], ys[0], "x", color=style.INK, markersize=6, markeredgewidth=1.4, zorder=4.5)


def _named_already(
    ax: Axes, marks: Sequence[tuple[float, float, str, Any]], x: float, y: float, name: str
) -> bool:
    """Whether another run's path of the same layer ends so close that one name serves both."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    return any(
        text == name and math.hypot((mx - x) / (x1 - x0), (my - y) / (y1 - y0)) < 0.1
        for mx, my, text, _ in marks
    )


def _along(path: _Path) -> list[tuple[float, float]]:
    """Points on the drawn line, close enough that a label between two of them would touch it."""
    corners = [(px.value, py.value) for px, py in path.points]
    between = [
        (x0 + f * (x1 - x0), y0 + f * (y1 - y0))
        for (x0, y0), (x1, y1) in pairwise(corners)
        for f in (0.25, 0.5, 0.75)
    ]
    return corners + between


def _longest(ax: Axes, segments: Sequence[tuple[tuple[float, float], tuple[float, float]]]) -> list[int]:
    """The few segments on which an arrow head has room."""
    box = ax.get_window_extent()
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    points = 72.0 / ax.figure.dpi
    lengths = [
        math.hypot((b[0] - a[0]) / (x1 - x0) * box.width, (b[1] - a[1]) / (y1 - y0) * box.height) * points
        for a, b in segments
    ]
    order = sorted(range(len(segments)), key=lambda i: -lengths[i])
    return [i for i in order[:3] if lengths[i] > 22]


def _shades() -> Any:
    """Viridis without its palest end, which is lost on white."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    full = matplotlib.colormaps["viridis"]
    return ListedColormap([full(0.9 * i / 63) for i in range(64)], name="time")


def _time_norm(last: int) -> Any:
    import numpy as np
    from matplotlib.colors import FuncNorm

    return FuncNorm((np.log1p, np.expm1), vmin=0, vmax=max(last, 1))


def _time_bar(ax: Axes, last: int) -> None:
    from matplotlib.cm import ScalarMappable

    bar = ax.figure.colorbar(
        ScalarMappable(_time_norm(last), _shades()), ax=ax, pad=0.02, fraction=0.045, aspect=28
    )
    ticks = style.step_ticks(last)
    bar.set_ticks(ticks, labels=[style.step_name(t) for t in ticks])
    bar.ax.minorticks_off()
    bar.set_label("optimizer step (log scale)")
    bar.outline.set_visible(False)


def _reference_lines(ax: Axes, paths: Sequence[_Path], unit: str) -> None:
    for axis in (0, 1):
        points = [pair[axis] for path in paths for pair in path.points]
        draw, along = (ax.axvline, "x") if axis == 0 else (ax.axhline, "y")
        ceilings: dict[str, tuple[float, str]] = {}
        for p in points:
            if p.ceiling is not None:
                suffix = unit_name(p.row, unit)
                text = f"{ceiling_name(p.row)} = {number(p.ceiling, 2)} {suffix}".rstrip()
                ceilings.setdefault(text, (p.ceiling, text))
        for value, _ in ceilings.values():
            draw(value, color=style.GREY, linestyle=(0, (5, 3)), linewidth=1.0, zorder=1.2, gid="ceiling")
        for value, text in list(ceilings.values())[:2]:
            style.line_label(ax, text, value, axis=along, above=True, end=0.5 if along == "x" else 0.0)
        null = _null(points)
        if null is not None and _inside(ax, axis, null[0]):
            draw(null[0], color=style.GREY, linestyle=":", linewidth=1.1, zorder=1.2, gid="null")
            style.line_label(ax, null[1], null[0], axis=along, above=False, end=0.12 if along == "x" else 0.0)


def _inside(ax: Axes, axis: int, value: float) -> bool:
    low, high = ax.get_xlim() if axis == 0 else ax.get_ylim()
    return low <= value <= high


def _describe(ax: Axes, paths: Sequence[_Path], unit: str) -> None:
    parts = []
    for axis, setter, letter in ((0, ax.set_xlabel, "x"), (1, ax.set_ylabel, "y")):
        points = [pair[axis] for path in paths for pair in path.points]
        row = points[-1].row
        label = axis_label([p.row for p in points], unit)
        null = _null(points)
        if null is not None and not _inside(ax, "xy".index(letter), null[0]):
            label += f"; {null[1]} {number(null[0], 2)}, off the axis"
        setter(style.plain(label))
        methods = list(dict.fromkeys(short_method(p.row.method) for p in points))
        parts.append(f"{letter}: {', '.join(methods[:2])}, {counts([p.row for p in points])}")
        if row.split:
            parts[-1] += f" {elided(row.split, 16)}"
    x, y = paths[0].x.points[0].row.quantity, paths[0].y.points[0].row.quantity
    style.titles(ax, f"Information plane: {x} and {y}", "; ".join(parts))


def axis_label(rows: Sequence[Any], unit: str, *, channel: bool = True) -> str:
    """Quantity, direction of the bound, unit and declared channels."""
    row = rows[-1]
    bounds = {r.bound for r in rows}
    direction = f", {row.bound} bound" if len(bounds) == 1 and row.bound != "none" else ""
    name = unit_name(row, unit)
    text = f"{elided(row.quantity, 44)}{direction}" + (f"  [{name}]" if name else "")
    channels = list(dict.fromkeys(r.channel for r in rows if r.channel))
    return text + (f"\nchannel: {elided(' / '.join(channels), 56)}" if channel and channels else "")


def counts(rows: Sequence[Any]) -> str:
    """`"n = 449"`, or the range where it differs."""
    sizes = sorted({r.n for r in rows})
    return f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}"


def _legend(ax: Axes, paths: Sequence[_Path], labels: Sequence[str]) -> None:
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
    if handles:
        ax.legend(
            handles=handles,
            labels=[str(h.get_label()) for h in handles],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.17),
            ncols=min(len(handles), 6),
            columnspacing=1.4,
            handletextpad=0.3,
        )

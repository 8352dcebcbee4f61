"""One path through the information plane, with time as colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from infossl.report import _style as style
from infossl.report._table import Point, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Path", "draw_path", "time_bar"]


class Path(NamedTuple):
    """One layer of one run: its points on both axes at the steps where both were measured."""

    x: Series
    y: Series
    points: list[tuple[Point, Point]]


def draw_path(ax: Axes, path: Path, last: int, colour: Any) -> None:
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


def time_bar(ax: Axes, last: int) -> None:
    from matplotlib.cm import ScalarMappable

    bar = ax.figure.colorbar(
        ScalarMappable(_time_norm(last), _shades()), ax=ax, pad=0.02, fraction=0.045, aspect=28
    )
    ticks = style.step_ticks(last)
    bar.set_ticks(ticks, labels=[style.step_name(t) for t in ticks])
    bar.ax.minorticks_off()
    bar.set_label("optimizer step (log scale)")
    bar.outline.set_visible(False)

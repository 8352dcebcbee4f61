"""The parts of which curves along training are made: a line, its references, its names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from infossl.report import _style as style
from infossl.report._ends import End
from infossl.report._limits import null_level, reach, seen
from infossl.report._names import ceiling_name, unit_name
from infossl.report._numbers import level
from infossl.report._table import Point, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DASHED", "draw", "ends_of", "finish", "handle", "levels", "marker_of", "reference", "run_handles"]

DASHED = (0, (5, 3))


def marker_of(line: Series, position: int, runs: int) -> str:
    """By run where there are several, or else by line: names alone must not hang on colour."""
    return style.MARKERS[(line.index if runs > 1 else position) % len(style.MARKERS)]


def draw(ax: Axes, line: Series, colour: Any, marker: str) -> None:
    steps = [p.step for p in line.points]
    ax.plot(steps, [p.value for p in line.points], color=colour, linewidth=1.2, zorder=2)
    banded = [(p.step, p.low, p.high) for p in line.points if p.low is not None and p.high is not None]
    if len(banded) > 1 and all(p.row.interval is not None and p.row.level is None for p in line.points):
        # Two certain sides, far apart: the other side is a line of its own, for overlapping areas hide each other.
        for side in (1, 2):
            other = [entry[side] for entry in banded]
            if other != [p.value for p in line.points]:
                ax.plot([entry[0] for entry in banded], other, color=colour, linewidth=1.0, linestyle=(0, (1, 1.4)),
                        zorder=1.6, gid="other-side")  # fmt: skip
    elif len(banded) > 1:
        at, low, high = zip(*banded, strict=True)
        ax.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0, zorder=1.5)
    elif banded:
        ax.vlines(*banded[0], color=colour, alpha=0.5)
    for hollow in (False, True):
        chosen = [p for p in line.points if p.saturated == hollow]
        if chosen:
            ax.plot(
                [p.step for p in chosen],
                [p.value for p in chosen],
                marker,
                markerfacecolor="white" if hollow else colour,
                markeredgecolor=colour,
                markeredgewidth=1.1,
                zorder=3,
                clip_on=False,
                gid="saturated" if hollow else "measured",
            )


def reference(ax: Axes, value: float, colour: Any, dash: Any = "-.") -> None:
    ax.axhline(value, color=colour, linestyle=dash, linewidth=1.0, zorder=1.3, gid="reference")


def ends_of(named: Iterable[tuple[str, Series]], colours: dict[str, Any]) -> list[End]:
    """One name per layer: at the end of the one run, or of the run in the middle of several."""
    groups: dict[str, list[Point]] = {}
    inputs: dict[str, float] = {}
    for name, line in named:
        if line.is_input:
            inputs.setdefault(name, line.points[-1].value)
        else:
            groups.setdefault(name, []).append(line.points[-1])
    ends = [End(None, y, name, colours[name], faint=True) for name, y in inputs.items()]
    for name, points in groups.items():
        middle = sorted(points, key=lambda p: p.value)[len(points) // 2]
        ends.append(End(middle.step, middle.value, name, colours[name]))
    return ends


def finish(ax: Axes, lines: Iterable[Series]) -> None:
    style.step_axis(ax, max(p.step for line in lines for p in line.points))


def levels(
    ax: Axes, lines: Sequence[Series], unit: str, colours: dict[str, Any], *, compared: bool = False
) -> tuple[list[End], str]:
    """Sets the limits of y and draws the ceilings and the null in reach of the data.

    With `compared` the lines are of several estimators, named by role: ceilings bear that name, nulls are left out.

    Returns:
        The names of those that are drawn, and words for those that are off the axis.
    """
    points = [p for line in lines for p in line.points]
    found: dict[tuple[float, str], tuple[Point, set[str]]] = {}
    for line in lines:
        for p in line.points:
            trivial = p.row.quantity.startswith("accuracy")  # everyone knows that no accuracy exceeds 1
            if p.ceiling is not None and not line.is_input and not trivial:
                what = ceiling_name(p.row)
                what = f"{line.role} {what}" if compared and what == "ceiling" else what
                text = f"{what} = {level(p.ceiling, p.row)}"
                found.setdefault((p.ceiling, text), (p, set()))[1].add(line.role)
    layers = [p for line in lines if not line.is_input for p in line.points]
    floor = None if compared else null_level(layers)
    known = [value for value, _ in found] + ([floor[0]] if floor else [])
    low, high = reach(seen(points), known)
    room = (high - low) or max(abs(high), 1.0)
    if ax.get_yscale() == "log":
        ax.set_ylim(low / (high / low) ** 0.06, high * (high / low) ** 0.06)
    else:
        ax.set_ylim(low - 0.06 * room, high + 0.06 * room)
    ends: list[End] = []
    above: list[str] = []
    below: list[str] = []
    named: set[str] = set()
    for (value, text), (p, roles) in sorted(found.items(), key=lambda item: item[0]):
        if value > high:
            above.append(f"{text} {unit_name(p.row, unit)}".rstrip())
            continue
        role = next(iter(roles))
        own = colours[role] if len(roles) == 1 and len(colours) > 1 else style.GREY
        ax.axhline(value, color=own, linestyle=DASHED, linewidth=1.0, zorder=1.2, gid="ceiling")
        if text not in named:
            ends.append(End(None, value, text, own, faint=True))
        named.add(text)
    if floor is not None:
        value, what = floor
        text = f"{what} {level(value, points[-1].row)} {unit_name(points[-1].row, unit)}".rstrip()
        if low <= value <= high:
            ax.axhline(value, color=style.GREY, linestyle=":", linewidth=1.1, zorder=1.2, gid="null")
            ends.append(End(None, value, what.replace("th percentile", " %"), style.GREY, faint=True))
        else:
            (above if value > high else below).append(text)
    above = list(dict.fromkeys(above))
    if len(above) > 2:
        above = [above[0], "…", above[-1]]
    words = [
        f"{side} the axis: {', '.join(texts)}"
        for side, texts in (("above", above), ("below", below))
        if texts
    ]
    return ends, "; ".join(words)


def handle(label: str, colour: Any, linestyle: Any = "-", width: float = 1.8, marker: str = "") -> Any:
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=colour, linestyle=linestyle, linewidth=width, marker=marker, label=style.plain(label)
    )


def run_handles(lines: Iterable[Series], labels: Sequence[str]) -> list[Any]:
    """Legend entries for what the names at the lines do not say: runs, saturation, the other side of an interval."""
    from matplotlib.lines import Line2D

    lines = list(lines)
    used = sorted({line.index for line in lines if not line.is_input})
    handles = []
    if len(used) > 1:
        for i in used:
            marker = style.MARKERS[i % len(style.MARKERS)]
            handles.append(
                Line2D(
                    [], [], linestyle="none", marker=marker, color=style.GREY, label=style.plain(labels[i])
                )
            )
    if any(p.saturated for line in lines for p in line.points):
        handles.append(
            Line2D([], [], linestyle="none", marker="o", markerfacecolor="white", markeredgecolor=style.GREY,
                   label="saturated")
        )  # fmt: skip
    return handles

"""The parts of which curves along training are made: a line, its references, its legend entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from infossl.report import _style as style
from infossl.report._names import ceiling_name, number, unit_name
from infossl.report._table import Point, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DASHED", "draw", "finish", "handle", "limits_and_references", "reference", "run_handles"]

DASHED = (0, (5, 3))


def draw(ax: Axes, line: Series, colour: Any) -> None:
    steps = [p.step for p in line.points]
    ax.plot(steps, [p.value for p in line.points], color=colour, linewidth=1.2, zorder=2)
    banded = [p for p in line.points if p.low is not None and p.high is not None]
    if len(banded) > 1:
        ax.fill_between(
            [p.step for p in banded], [p.low or 0.0 for p in banded], [p.high or 0.0 for p in banded],
            color=colour, alpha=0.13, linewidth=0, zorder=1.5,
        )  # fmt: skip
    elif banded:
        ax.vlines(banded[0].step, banded[0].low or 0.0, banded[0].high or 0.0, color=colour, alpha=0.5)
    marker = style.MARKERS[line.index % len(style.MARKERS)]
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
                gid="saturated" if hollow else "measured",
            )


def reference(ax: Axes, value: float, colour: Any, dash: Any = "-.") -> None:
    ax.axhline(value, color=colour, linestyle=dash, linewidth=1.0, zorder=1.3, gid="reference")


def finish(ax: Axes, lines: Iterable[Series]) -> None:
    style.step_axis(ax, max(p.step for line in lines for p in line.points))


def limits_and_references(
    ax: Axes, lines: Sequence[Series], unit: str, colours: dict[str, Any], *, nulls: bool = True
) -> None:
    """Ceilings and null floors: drawn where they are in reach of the data, told in words where they are not."""
    low, high = ax.get_ylim()
    span = (high - low) or 1.0
    found: dict[float, tuple[str, Point, set[str]]] = {}
    for line in lines:
        for p in line.points:
            if p.ceiling is not None and not line.is_input:
                found.setdefault(round(p.ceiling, 6), (ceiling_name(p.row), p, set()))[2].add(line.role)
    off_scale = []
    drawn = 0
    for value in sorted(found):
        name, p, roles = found[value]
        text = f"{name} = {number(value, 2)} {unit_name(p.row, unit)}".rstrip()
        own = (
            colours[next(iter(roles))] if (len(roles) == 1 and len(colours) > 1) or not nulls else style.GREY
        )
        if p.row.unit == "1" and value == 1.0 and p.row.quantity.startswith("accuracy"):
            continue
        if value > high + 0.9 * span:
            off_scale.append(text)
            continue
        ax.axhline(value, color=own, linestyle=DASHED, linewidth=1.0, zorder=1.2, gid="ceiling")
        style.line_label(
            ax, text, value, axis="y", above=True, colour=own if own != style.GREY else style.GREY
        )
        drawn += 1
    if drawn:
        top = max(v for v in found if v <= high + 0.9 * span)
        ax.set_ylim(low, max(high, top + 0.09 * (max(top, high) - low)))
    if off_scale:
        shown = off_scale if len(off_scale) < 3 else [off_scale[0], "…", off_scale[-1]]
        ax.annotate(
            style.plain(f"above the axis: {', '.join(shown)}"), (1, 1), xycoords="axes fraction", xytext=(-3, -3),
            textcoords="offset points", ha="right", va="top", fontsize=8, color=style.GREY, gid="ceiling",
        )  # fmt: skip
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.07 * (high - low))
    floor = [p for line in lines for p in line.points if p.null is not None]
    if nulls and floor and not floor[0].row.quantity.startswith("accuracy"):
        worst = max(floor, key=lambda p: p.null or 0.0)
        what = "null, 95th percentile" if "null_q95" in worst.row.diagnostics else "null, mean"
        height = worst.null or 0.0
        ax.axhline(height, color=style.GREY, linestyle=":", linewidth=1.1, zorder=1.2, gid="null")
        style.line_label(ax, what, height, axis="y", above=False, end=1.0)
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, height - 0.08 * (high - low)), high)


def handle(label: str, colour: Any, linestyle: Any = "-", width: float = 1.8) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=linestyle, linewidth=width, label=style.plain(label))


def run_handles(lines: Iterable[Series], labels: Sequence[str]) -> list[Any]:
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

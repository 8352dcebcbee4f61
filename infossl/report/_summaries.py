"""Figures over a finished run: bounds beside what they bound, and what the estimators cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from infossl.bounds.result import BoundReport
from infossl.report import _style as style
from infossl.report._ends import below_legend, settle
from infossl.report._names import family
from infossl.report._numbers import number
from infossl.report._table import NothingToDraw, Run, as_runs
from infossl.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bounds_figure", "overhead", "spent_by_name"]

_BARS = 6


@style.styled
def bounds_figure(reports: Sequence[BoundReport], ax: Axes | None = None) -> Axes:
    """Draws both sides of every bound in units of its trivial value, coloured by the class of the result.

    A right-hand side at or beyond 1 promises nothing that was not known before. The axis is logarithmic where the
    values span more than a decade.

    Raises:
        NothingToDraw: (a `ValueError`) if there is no bound with finite sides and a positive trivial value.
    """
    from matplotlib.lines import Line2D

    usable = [r for r in reports if math.isfinite(r.lhs) and math.isfinite(r.trivial) and r.trivial > 0]
    if not usable:
        raise NothingToDraw("no bound has finite sides and a positive trivial value")
    ax = style.new_axes(ax, (6.6, 1.5 + 0.56 * len(usable)))
    right = [r.rhs / r.trivial for r in usable if math.isfinite(r.rhs)]
    left = [r.lhs / r.trivial for r in usable]
    widest = max([*right, *left, 1.0])
    logarithmic = min([*left, *right]) > 0 and widest > 15 * min([*left, *right])
    if logarithmic:
        ax.set_xscale("log")
    for i, r in enumerate(usable):
        y, colour = -i, style.VERDICT_COLOURS[r.verdict]
        lhs, rhs = r.lhs / r.trivial, r.rhs / r.trivial
        end = rhs if math.isfinite(rhs) else widest * (1.6 if logarithmic else 1.15)
        ax.plot([lhs, end], [y, y], color=colour, linewidth=2.4, alpha=0.35, solid_capstyle="butt", zorder=2)
        ax.plot(lhs, y, "o", color=colour, markersize=6.5, zorder=3)
        ax.plot(end, y, marker="|" if math.isfinite(rhs) else ">", color=colour, markersize=13, markeredgewidth=2.4,
                zorder=3)  # fmt: skip
        words = f"{r.verdict}:  measured {number(r.lhs)},  bound {number(r.rhs)}"
        ax.annotate(
            style.plain(words), (0, y), xycoords=("axes fraction", "data"), xytext=(4, 9), textcoords="offset points",
            fontsize=8, color=colour, va="bottom",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip
    ax.axvline(1.0, color=style.GREY, linestyle=(0, (5, 3)), linewidth=1.0, zorder=1, gid="ceiling")
    ax.annotate("trivial value", (1, 1), xycoords=("data", "axes fraction"), xytext=(3, -1), textcoords="offset points",
                fontsize=8, color=style.GREY, va="top")  # fmt: skip
    if logarithmic:
        from matplotlib.ticker import FuncFormatter, LogLocator

        ax.xaxis.set_major_locator(
            LogLocator(subs=(1.0, 3.0) if widest < 50 * min([*left, *right]) else (1.0,))
        )
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.set_yticks([-i for i in range(len(usable))], [style.plain(_wrapped(r.name)) for r in usable])
    ax.set_ylim(-len(usable) + 0.45, 0.75)
    if logarithmic:
        ax.set_xlim(min([*left, *right]) / 1.6, widest * 1.8)
    else:
        low = min([0.0, *left, *right])
        ax.set_xlim(low - 0.02, widest * 1.1)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("share of the trivial value" + (" (log scale)" if logarithmic else ""))
    below_legend(
        ax,
        [
            Line2D([], [], linestyle="none", marker="o", color=style.GREY, label="measured"),
            Line2D([], [], linestyle="none", marker="|", markersize=11, markeredgewidth=2.2, color=style.GREY,
                   label="bound"),
        ],
    )  # fmt: skip
    style.titles(ax, "Bounds beside what they bound")
    settle(ax)
    return ax


@style.styled
def overhead(
    trajectories: Trajectory | Sequence[Trajectory],
    train_seconds: float | Sequence[float | None] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws the seconds that each quantity took, summed over layers and steps, beside the training itself.

    A quantity that several estimators measured has a bar for each; the many that took next to nothing share one.

    Arguments:
        trajectories: one table, or several; one bar per run.
        train_seconds: time of the training loop without measuring, one per run; no such bar where it is `None`.
        ax: where to draw; a new figure by default.

    Raises:
        NothingToDraw: (a `ValueError`) if no row has its seconds.
    """
    from matplotlib.patches import Patch

    runs = as_runs(trajectories)
    totals = spent_by_name(runs)
    highest = {name: max(spent.get(name, 0.0) for spent in totals) for spent in totals for name in spent}
    quantities = sorted((q for q in highest if highest[q] > 0), key=lambda q: (-highest[q], q))
    if not quantities:
        raise NothingToDraw("no row carries the seconds it took")
    small = [q for q in quantities[_BARS:] if highest[q] < 0.05 * highest[quantities[0]]]
    if len(small) > 1:
        quantities = [q for q in quantities if q not in small] + [f"{len(small)} others"]
        for spent in totals:
            spent[quantities[-1]] = sum(spent.get(q, 0.0) for q in small)
    given = (
        [train_seconds] * len(runs)
        if train_seconds is None or isinstance(train_seconds, (int, float))
        else train_seconds
    )
    training = [*given, *[None] * len(runs)][: len(runs)]
    names = (["training"] if any(t is not None for t in training) else []) + quantities
    ax = style.new_axes(ax, (4.9, 1.3 + 0.25 * len(names) * max(1.0, 0.6 * len(runs))))
    thickness = 0.74 / len(runs)
    for j, (spent, trained) in enumerate(zip(totals, training, strict=True)):
        seconds = [trained if name == "training" else spent.get(name, 0.0) for name in names]
        places = [-i + 0.37 - thickness * (j + 0.5) for i in range(len(names))]
        colours = [style.INK if name == "training" else style.BLUE for name in names]
        widths = [0.0 if s is None else s for s in seconds]
        ax.barh(
            places,
            widths,
            height=thickness * 0.92,
            color=colours,
            alpha=1.0 - 0.45 * j / max(len(runs) - 1, 1),
        )
        for place, width in zip(places, widths, strict=True):
            ax.annotate(f"{width:.1f} s" if width >= 0.1 else "< 0.1 s", (width, place), xytext=(3, 0),
                        textcoords="offset points", va="center", fontsize=7.5, color=style.GREY)  # fmt: skip
    ax.set_yticks([-i for i in range(len(names))], [style.plain(_wrapped(name)) for name in names])
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.margins(x=0.12)
    ax.set_xlabel("seconds")
    if len(runs) > 1:
        fades = [1.0 - 0.45 * j / (len(runs) - 1) for j in range(len(runs))]
        below_legend(
            ax,
            [
                Patch(color=style.BLUE, alpha=a, label=style.plain(r.label))
                for a, r in zip(fades, runs, strict=True)
            ],
        )
    style.titles(ax, "Time per quantity and estimator", ["all layers and steps together"])
    settle(ax)
    return ax


def spent_by_name(runs: Sequence[Run]) -> list[dict[str, float]]:
    """Seconds of each run by quantity, and by estimator where a quantity has several; the loss costs none."""
    methods: dict[str, set[str]] = {}
    timed = [
        [
            r
            for r in run.rows
            if r.seconds is not None and math.isfinite(r.seconds) and not r.quantity.startswith("loss/")
        ]
        for run in runs
    ]
    for rows in timed:
        for row in rows:
            if row.method:
                methods.setdefault(row.quantity, set()).add(family(row.method))
    totals: list[dict[str, float]] = []
    for rows in timed:
        spent: dict[str, float] = {}
        for row in rows:
            several = row.method and len(methods[row.quantity]) > 1
            name = f"{row.quantity} by {family(row.method)}" if several else row.quantity
            spent[name] = spent.get(name, 0.0) + (row.seconds or 0.0)
        totals.append(spent)
    return totals


def _wrapped(text: str, width: int = 26) -> str:
    import textwrap

    lines = textwrap.wrap(text, width) or [text]
    return "\n".join(lines[:2]) + ("…" if len(lines) > 2 else "")

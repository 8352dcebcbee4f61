"""Curves along training: one quantity per layer, estimators side by side, loss terms, accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from infossl.report import _style as style
from infossl.report._ends import End, below_legend, label_ends
from infossl.report._limits import null_level, reach, seen
from infossl.report._lines import (
    DASHED,
    draw,
    ends_of,
    finish,
    handle,
    levels,
    marker_of,
    reference,
    run_handles,
)
from infossl.report._names import axis_label, elided, sampled, short_method, unit_name
from infossl.report._numbers import number
from infossl.report._table import NothingToDraw, Point, Series, as_runs, families, roles_of, series
from infossl.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["accuracy", "curves", "loss_terms", "method_comparison"]

_SIZE = (4.9, 3.4)


@style.styled
def curves(
    trajectories: Trajectory | Sequence[Trajectory],
    quantity: str,
    method: str | None = None,
    ax: Axes | None = None,
    *,
    roles: Sequence[str] | None = None,
    unit: str = "nats",
) -> Axes:
    """Draws one quantity along training, one line per layer and run.

    Bands are standard errors, or the two sides of an interval where the estimate has one; two certain sides are
    two lines, the other one dotted. Raw inputs, which do not change, are a horizontal line. Hollow markers are
    saturated. Ceilings and nulls far from the data are named under the title instead of drawn.

    Arguments:
        trajectories: one table, or several; each run has its own marker.
        quantity: such as `"H(Z)"` or `"RankMe"`.
        method: which estimator, where several measured it.
        ax: where to draw; a new figure by default.
        roles: which layers; all by default.
        unit: `"nats"` or `"bits"`; pure numbers are not converted.

    Raises:
        NothingToDraw: (a `ValueError`) if the table has no finite row of it.

    Example:
        >>> from infossl.trajectory import Row, Trajectory
        >>> rows = [Row(step=s, layer="encoder", role="h", quantity="H(Z)", value=2.0 + s, n=9) for s in (0, 10)]
        >>> curves(Trajectory(rows=rows), "H(Z)").get_ylabel()
        'H(Z)  [nats]'
    """
    runs = as_runs(trajectories)
    lines = series(runs, quantity, method=method, roles=roles, unit=unit)
    ax = style.new_axes(ax, _SIZE)
    named = [("raw inputs" if line.is_input else line.name, line) for line in lines]
    names = list(dict.fromkeys(name for name, _ in named))
    of_role = style.role_colours(list(dict.fromkeys(line.role for line in lines)))
    for name, line in named:
        if line.is_input:
            reference(ax, line.points[-1].value, of_role["x"])
        else:
            draw(ax, line, of_role[line.role], marker_of(line, names.index(name), len(runs)))
    finish(ax, lines)
    ends, off = levels(ax, lines, unit, {line.role: of_role[line.role] for line in lines})
    rows = [p.row for line in lines for p in line.points]
    ax.set_ylabel(style.plain(axis_label(rows, unit, channel=False)))
    below_legend(ax, run_handles(lines, [run.label for run in runs]))
    methods = list(dict.fromkeys(short_method(row.method) for row in rows))
    channels = list(dict.fromkeys(row.channel for row in rows if row.channel))
    through = f"channel: {elided(' / '.join(channels), 60)}" if channels else ""
    style.titles(ax, quantity, [sampled(rows, methods[:3]), through, off])
    label_ends(ax, ends_of(named, {name: of_role[line.role] for name, line in named}) + ends)
    return ax


@style.styled
def method_comparison(
    trajectories: Trajectory | Sequence[Trajectory],
    quantity: str = "I(Z;Z')",
    role: str = "z",
    ax: Axes | None = None,
    *,
    unit: str = "nats",
) -> Axes:
    """Draws one quantity of one layer by every estimator that measured it, each with its own ceiling.

    The axis is logarithmic where one of them goes far beyond the others. Where they part, at least one of them is
    wrong; a projected estimate is of the projection, not of Z.

    Raises:
        NothingToDraw: (a `ValueError`) if no estimator has a finite row of it at this layer.
    """
    runs = as_runs(trajectories)
    rows = [row for run in runs for row in run.rows]
    present = families([r for r in rows if role in (r.role, r.layer)], quantity)
    if not present:
        raise NothingToDraw(
            f"{quantity} was not measured at {role}; the table has {', '.join(roles_of(rows))}"
        )
    ax = style.new_axes(ax, _SIZE)
    grouped = [(name, series(runs, quantity, method=name, roles=[role], unit=unit)) for name in present]
    every = [line for _, lines in grouped for line in lines]
    if _parted([lines for _, lines in grouped]):
        style.log_axis(ax)
    colours = {name: style.PALETTE[i % len(style.PALETTE)] for i, name in enumerate(present)}
    handles = []
    for i, (name, lines) in enumerate(grouped):
        marker = marker_of(lines[0], i, len(runs))
        for line in lines:
            draw(ax, line, colours[name], marker_of(line, i, len(runs)))
        handles.append(
            handle(_described(lines[0].points[-1]), colours[name], marker=marker if len(runs) == 1 else "")
        )
    finish(ax, every)
    # One role stands for one estimator here, so that each ceiling has the colour of the estimator that it limits.
    owned = [replace(line, role=name) for name, lines in grouped for line in lines]
    ends, off = levels(ax, owned, unit, colours, compared=True)
    drawn = [p.row for line in every for p in line.points]
    unit_text = unit_name(drawn[-1], unit)
    scale = ", log scale" if ax.get_yscale() == "log" else ""
    ax.set_ylabel(style.plain(quantity + (f"  [{unit_text}{scale}]" if unit_text else "")))
    below_legend(ax, handles + run_handles(every, [run.label for run in runs]))
    style.titles(ax, f"{quantity} at {every[0].name}, by estimator", [sampled(drawn, ()), off])
    label_ends(ax, ends_of([(name, line) for name, lines in grouped for line in lines], colours) + ends)
    return ax


def _parted(groups: Sequence[Sequence[Series]]) -> bool:
    """Whether one estimator goes so far beyond the others that on a linear axis they would lie flat."""
    tops = sorted(max(p.value for line in lines for p in line.points) for lines in groups)
    least = min(v for lines in groups for line in lines for v in seen(line.points))
    return len(tops) > 1 and tops[-1] > 4 * tops[-2] and least > 1e-3 * tops[-1]


def _described(p: Point) -> str:
    """An estimator in full: its wrappers, its direction, its ceiling."""
    parts = [short_method(p.row.method)]
    if p.row.bound != "none":
        parts.append(f"{p.row.bound} bound")
    return ", ".join(parts)


@style.styled
def loss_terms(trajectories: Trajectory | Sequence[Trajectory], ax: Axes | None = None) -> Axes:
    """Draws the objective and its unweighted terms along training.

    Raises:
        NothingToDraw: (a `ValueError`) if no `loss/...` row was recorded.
    """
    runs = as_runs(trajectories)
    terms = list(
        dict.fromkeys(
            r.quantity for run in runs for r in run.rows if r.quantity.startswith("loss/") and not r.error
        )
    )
    drawn: list[tuple[str, list[Series]]] = []
    for term in terms:
        try:
            drawn.append((term.removeprefix("loss/"), series(runs, term)))
        except NothingToDraw:
            continue
    if not drawn:
        raise NothingToDraw("no loss terms were recorded")
    drawn.sort(key=lambda item: item[0] != "total")
    ax = style.new_axes(ax, _SIZE)
    colours = {
        term: style.INK if term == "total" else style.PALETTE[i % len(style.PALETTE)]
        for i, (term, _) in enumerate(drawn)
    }
    for i, (term, lines) in enumerate(drawn):
        for line in lines:
            draw(ax, line, colours[term], marker_of(line, i, len(runs)))
    every = [line for _, lines in drawn for line in lines]
    if all(p.value > 0 for line in every for p in line.points):
        style.log_axis(ax)
        ax.set_ylabel("loss (log scale)")
    else:
        ax.set_ylabel("loss")
    finish(ax, every)
    below_legend(ax, run_handles(every, [run.label for run in runs]))
    style.titles(ax, "Objective and its terms", ["terms before weighting"])
    label_ends(ax, ends_of([(term, line) for term, lines in drawn for line in lines], colours))
    return ax


@style.styled
def accuracy(
    trajectories: Trajectory | Sequence[Trajectory],
    role: str = "h",
    ax: Axes | None = None,
    *,
    quantities: Sequence[str] = ("accuracy(linear)", "accuracy(kNN)"),
) -> Axes:
    """Draws the read-out accuracies of one layer along training, beside raw inputs and the untrained encoder.

    Dash-dotted: the same read-out on raw inputs. Dashed: the encoder at step 0. Without those two an accuracy says
    nothing about what training gave.

    Raises:
        NothingToDraw: (a `ValueError`) if none of them was measured at this layer.
    """
    runs = as_runs(trajectories)
    ax = style.new_axes(ax, _SIZE)
    ends: list[End] = []
    every: list[Series] = []
    for i, quantity in enumerate(quantities):
        try:
            lines = series(runs, quantity)
        except NothingToDraw:
            continue
        trained = [
            line for line in lines if role in (line.role, line.points[0].row.layer) and not line.is_input
        ]
        if not trained:
            continue
        colour = style.PALETTE[i % len(style.PALETTE)]
        name = quantity.removeprefix("accuracy(").removesuffix(")")
        for line in trained:
            draw(ax, line, colour, marker_of(line, i, len(runs)))
        ends += ends_of([(name, line) for line in trained], {name: colour})
        raw = [line.points[-1].value for line in lines if line.is_input]
        untrained = [line.points[0].value for line in trained if line.points[0].step == 0]
        for values, label, dash in ((raw, "raw inputs", "-."), (untrained, "untrained", DASHED)):
            for value in dict.fromkeys(values):
                reference(ax, value, colour, dash)
            if values:
                ends.append(End(None, values[0], f"{name}, {label}", colour, faint=True))
        every += trained
    if not every:
        raise NothingToDraw(f"no accuracy was measured at {role}")
    finish(ax, every)
    low, high = reach([end.y for end in ends] + seen(p for line in every for p in line.points), [])
    ax.set_ylim(low - 0.06 * (high - low or 1.0), max(high, min(high + 0.06 * (high - low or 1.0), 1.02)))
    rows = [p.row for line in every for p in line.points]
    floor = null_level([p for line in every for p in line.points])
    ax.set_ylabel("accuracy on held-out samples" if rows[-1].split == "held-out" else "accuracy")
    below_legend(ax, run_handles(every, [run.label for run in runs]))
    chance = f"{floor[1]} {number(floor[0], 2)}" if floor else ""
    style.titles(ax, f"Read-outs of {role}", [", ".join(t for t in (sampled(rows, ()), chance) if t)])
    label_ends(ax, ends)
    return ax

"""Curves along training: one quantity per layer, estimators side by side, loss terms, accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from infossl.report import _style as style
from infossl.report._lines import (
    DASHED,
    draw,
    finish,
    handle,
    limits_and_references,
    reference,
    run_handles,
)
from infossl.report._names import elided, number, short_method, unit_name
from infossl.report._plane import axis_label, counts
from infossl.report._table import NothingToDraw, Series, as_runs, families, roles_of, series
from infossl.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["accuracy", "curves", "loss_terms", "method_comparison"]

_SIZE = (6.0, 3.6)


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

    Bands are standard errors, or the two sides of an interval where the estimate has one. Raw inputs, which do
    not change, are a horizontal line. Hollow markers are saturated.

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
    names = list(dict.fromkeys((line.name, line.role) for line in lines))
    colours = style.role_colours(list(dict.fromkeys(role for _, role in names)))
    for line in lines:
        if line.is_input:
            reference(ax, line.points[-1].value, colours["x"])
        else:
            draw(ax, line, colours[line.role])
    finish(ax, lines)
    limits_and_references(ax, lines, unit, {line.role: colours[line.role] for line in lines})
    rows = [p.row for line in lines for p in line.points]
    ax.set_ylabel(style.plain(axis_label(rows, unit, channel=False)))
    layers = [
        handle("raw inputs", colours["x"], linestyle="-.") if role == "x" else handle(name, colours[role])
        for name, role in names
    ]
    style.side_legend(ax, layers + run_handles(lines, [run.label for run in runs]))
    methods = list(dict.fromkeys(short_method(row.method) for row in rows))
    split = f" {elided(rows[-1].split, 16)}" if rows[-1].split else ""
    channels = list(dict.fromkeys(row.channel for row in rows if row.channel))
    through = f"\nchannel: {elided(' / '.join(channels), 60)}" if channels else ""
    style.titles(ax, quantity, f"{', '.join(methods[:3])}, {counts(rows)}{split}{through}")
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

    Where they part, at least one of them is wrong; a projected estimate is of the projection, not of Z.

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
    every: list[Series] = []
    handles = []
    grouped = [(name, series(runs, quantity, method=name, roles=[role], unit=unit)) for name in present]
    for i, (_, lines) in enumerate(grouped):
        colour = style.PALETTE[i % len(style.PALETTE)]
        for line in lines:
            draw(ax, line, colour)
        row = lines[0].points[-1].row
        direction = "" if row.bound == "none" else f"\n{row.bound} bound"
        handles.append(handle(short_method(row.method).replace(" (", "\n(") + direction, colour))
        every += lines
    finish(ax, every)
    for i, (_, lines) in enumerate(grouped):
        limits_and_references(ax, lines, unit, {role: style.PALETTE[i % len(style.PALETTE)]}, nulls=False)
    drawn = [p.row for line in every for p in line.points]
    name = unit_name(drawn[-1], unit)
    ax.set_ylabel(style.plain(f"{quantity}" + (f"  [{name}]" if name else "")))
    style.side_legend(ax, handles + run_handles(every, [run.label for run in runs]))
    style.titles(ax, f"{quantity} at {every[0].name}, by estimator", counts(drawn))
    return ax


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
    handles = []
    for i, (term, lines) in enumerate(drawn):
        colour = style.INK if term == "total" else style.PALETTE[i % len(style.PALETTE)]
        for line in lines:
            draw(ax, line, colour)
        handles.append(handle(term, colour))
    every = [line for _, lines in drawn for line in lines]
    if all(p.value > 0 for line in every for p in line.points):
        ax.set_yscale("log")
        ax.set_ylabel("loss (log scale)")
    else:
        ax.set_ylabel("loss")
    finish(ax, every)
    style.side_legend(ax, handles + run_handles(every, [run.label for run in runs]))
    style.titles(ax, "Objective and its terms", "terms before weighting")
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
    handles: list[Any] = []
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
            draw(ax, line, colour)
        handles.append(handle(f"{name}, {role}", colour))
        raw = [line.points[-1].value for line in lines if line.is_input]
        untrained = [line.points[0].value for line in trained if line.points[0].step == 0]
        for values, label, dash in ((raw, "raw inputs", "-."), (untrained, "untrained", DASHED)):
            if values:
                for value in dict.fromkeys(values):
                    reference(ax, value, colour, dash)
                handles.append(handle(f"{name}, {label}", colour, linestyle=dash, width=1.0))
        every += trained
    if not every:
        raise NothingToDraw(f"no accuracy was measured at {role}")
    finish(ax, every)
    chance = [
        v for line in every for p in line.points if (v := p.row.diagnostics.get("null_mean")) is not None
    ]
    low, high = ax.get_ylim()
    ax.set_ylim(low, min(high, 1.02))
    rows = [p.row for line in every for p in line.points]
    ax.set_ylabel("accuracy on held-out samples" if rows[-1].split == "held-out" else "accuracy")
    style.side_legend(ax, handles + run_handles(every, [run.label for run in runs]))
    beside = f", chance {number(chance[-1], 2)}" if chance else ""
    style.titles(ax, f"Read-outs of {role}", f"{counts(rows)}{beside}")
    return ax

"""Figures of a calibration table: how far each estimator is from the truth, and how often its interval holds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.calibration import Calibration
from estimators.calibration_summary import right, silent
from infossl.report._names import elided
from infossl.report._style import (
    FAINT,
    GREY,
    INK,
    MARKERS,
    PALETTE,
    new_axes,
    plain,
    styled,
    titles,
)
from infossl.report._table import NothingToDraw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bias_figure", "coverage_figure", "save"]

_BAND = "#e8f1ea"


@styled
def bias_figure(rows: Sequence[Calibration], ax: Axes | None = None) -> Axes:
    """Estimate minus truth, one cell per law and estimator: mean, and standard deviation below it.

    White is right by the rule of `summarise`, red is too high, blue is too low, fully so at a nat or at the truth, where
    this is more. An exclamation mark says that most estimates carry a flag, a frame that the estimator is wrong and most
    carry none, a cross that it refused this size. The last line counts the laws that are right.

    Raises:
        NothingToDraw: if there are no rows.
    """
    laws, labels, cells = _grid(rows)
    if not any(row.bias is not None for row in rows):
        raise NothingToDraw("no estimator gave a value on any law; the rows hold the messages")
    ax = new_axes(ax, (4.2 + 1.02 * len(labels), 3.4 + 0.44 * len(laws)))
    for (law, label), row in cells.items():
        i, j = laws.index(law), labels.index(label)
        ax.add_patch(_cell(j, i, row))
        ax.text(j, i, _words(row), ha="center", va="center", fontsize=8, color=_ink(row), linespacing=1.2)
    for j, label in enumerate(labels):
        mine = [cells[law, label] for law in laws if (law, label) in cells]
        count = f"{sum(map(right, mine))} of {len(mine)}"
        ax.text(j, len(laws), count, ha="center", va="center", fontsize=9, fontweight="bold")
    one = {law: next(row for row in rows if row.law == law) for law in laws}
    names = [
        plain(f"{elided(law, 44)}  ({'' if one[law].exact else '≤ '}{one[law].truth:.2f})") for law in laws
    ]
    ax.set_yticks(range(len(laws) + 1), [*names, "laws estimated right"])
    ax.get_yticklabels()[-1].set_fontweight("bold")
    ax.set_xticks(range(len(labels)), [plain(_folded(label)) for label in labels], rotation=30, ha="left")
    ax.tick_params(length=0)
    ax.xaxis.tick_top()
    ax.set_xlim(-0.5, len(labels) - 0.5)
    ax.set_ylim(len(laws) + 0.5, -0.5)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    _name_kinds(ax, [one[law].kind for law in laws])
    ax.set_title(f"Estimate less truth [nats]\n{_size(rows)}", loc="left", fontweight="bold", pad=10)
    ax.set_xlabel(
        "Mean over the repetitions, ± standard deviation of one estimate. In brackets: the truth.\n"
        "White: right, within 0.1 nats or 10 % of the truth. Red: too high. Blue: too low.\n"
        "!: most estimates carry a flag. Black frame: wrong, and most carry none. ×: refused.\n"
        "Blue with neither flag nor frame: a lower bound, which may be low."
    )
    ax.xaxis.set_label_position("bottom")
    return ax


@styled
def coverage_figure(rows: Sequence[Calibration], ax: Axes | None = None) -> Axes:
    """How often the intervals hold the estimator's own expectation, one line per estimator and one mark per law.

    The band is 87 to 93 %; bars are one binomial standard error. Open marks: most estimates carry a flag.

    Raises:
        NothingToDraw: if no row has an interval.
    """
    rows = [row for row in rows if row.covers_expectation is not None]
    if not rows:
        raise NothingToDraw("no estimator gave an interval; wrap one as Subsampled(...)")
    laws, labels, cells = _grid(rows)
    ax = new_axes(ax, (8.4, 1.9 + 0.5 * len(labels)))
    ax.axvspan(87, 93, color=_BAND, zorder=0)
    ax.axvline(90, color=GREY, linewidth=0.8)
    styles = {
        law: (MARKERS[i % len(MARKERS)], PALETTE[i % len(PALETTE)] if i < 12 else INK)
        for i, law in enumerate(laws)
    }
    for i, label in enumerate(labels):
        mine = [cells[law, label] for law in laws if (law, label) in cells]
        for j, row in enumerate(mine):
            assert row.covers_expectation is not None
            marker, colour = styles[row.law]
            ax.errorbar(
                100 * row.covers_expectation,
                i + 0.6 * (j + 0.5) / len(mine) - 0.3,
                xerr=100 * (row.coverage_error or 0.0),
                fmt=marker,
                color=colour,
                mfc="white" if (row.flagged or 0.0) >= 0.5 else colour,
                elinewidth=0.8,
                label=plain(row.law) if row.law not in ax.get_legend_handles_labels()[1] else None,
            )
    ax.set_yticks(range(len(labels)), [plain(elided(label, 60)) for label in labels])
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlabel("intervals that hold the estimator's own expectation [%]; nominal 90")
    titles(
        ax,
        "Coverage of the intervals",
        [
            f"{_size(rows)}. Shaded: 87 to 93 %.",
            "Bars: one binomial standard error.",
            "Open marks: most estimates carry a flag.",
        ],
    )
    handles, names = ax.get_legend_handles_labels()
    shown = dict(zip(names, handles, strict=True))
    ax.legend(shown.values(), shown.keys(), loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    return ax


@styled
def save(ax: Axes, stem: Path, endings: Sequence[str] = ("png", "svg")) -> None:
    """Writes `stem`.png and `stem`.svg, byte for byte the same for the same table."""
    nameless: dict[str, dict[str, str | None]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
    }
    for ending in endings:
        ax.figure.canvas.print_figure(stem.with_suffix(f".{ending}"), dpi=150, metadata=nameless[ending])


def _grid(rows: Sequence[Calibration]) -> tuple[list[str], list[str], dict[tuple[str, str], Calibration]]:
    """Laws and estimators in the order of the rows, and the row of each pair."""
    if not rows:
        raise NothingToDraw("there are no calibration rows")
    laws, labels = dict.fromkeys(row.law for row in rows), dict.fromkeys(row.label for row in rows)
    return list(laws), list(labels), {(row.law, row.label): row for row in rows}


def _size(rows: Sequence[Calibration]) -> str:
    dims = {(row.dx, row.dy) for row in rows}
    asked: dict[int, dict[str, None]] = {}
    for row in rows:
        asked.setdefault(row.asked, {})[row.label] = None
    most = max(asked)
    fewer = [f"{r} of {label}" for r in sorted(asked) if r != most for label in asked[r]]
    at = f"n = {', '.join(map(str, sorted({row.n for row in rows})))}, {most} repetitions"
    at += f" ({', '.join(fewer)})" if fewer else ""
    if len(dims) > 1:
        return at
    dx, dy = dims.pop()
    return f"{at}, {dx} columns of x, " + ("y a label" if dy is None else f"{dy} of y")


def _share(row: Calibration) -> float:
    """Where the cell stands between full blue (-1), white (0: right) and full red (1)."""
    if row.bias is None or right(row):
        return 0.0
    return math.copysign(0.2 + 0.8 * min(abs(row.bias) / max(1.0, abs(row.truth)), 1.0), row.bias)


def _words(row: Calibration) -> str:
    if row.bias is None:
        return "×"
    mark = " !" if (row.flagged or 0.0) >= 0.5 else ""
    digits = 2 if abs(row.bias) < 100 else 0
    sign = "−" if round(row.bias, digits) < 0 else "+"
    spread = "" if row.sd is None else f"\n±{row.sd:.2f}"
    return f"{sign}{abs(row.bias):.{digits}f}{mark}{spread}"


def _ink(row: Calibration) -> str:
    return FAINT if row.bias is None else "white" if abs(_share(row)) > 0.85 else INK


def _folded(label: str) -> str:
    """A nested name on a line for each wrapper."""
    head, bracket, rest = label.partition("(")
    return f"{head}(\n{_folded(rest)}" if "(" in rest and bracket else label


def _cell(column: int, line: int, row: Calibration) -> Any:
    import matplotlib
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.patches import Rectangle

    shade = matplotlib.colormaps["RdBu_r"](TwoSlopeNorm(0.0, -1.5, 1.5)(_share(row)))
    frame = {"edgecolor": INK, "linewidth": 1.8} if silent(row) else {"edgecolor": "none"}
    return Rectangle((column - 0.47, line - 0.44), 0.94, 0.88, facecolor=shade, **frame)


def _name_kinds(ax: Axes, kinds: Sequence[str]) -> None:
    """The kinds of law, which the verdicts name, on the right: once for each run of laws, with a line between runs."""
    starts = [i for i, kind in enumerate(kinds) if i == 0 or kinds[i - 1] != kind]
    ends = [*starts[1:], len(kinds)]
    for end in ends:
        ax.axhline(end - 0.5, color=FAINT, linewidth=0.8)
    right = ax.secondary_yaxis("right")
    right.set_yticks(
        [(a + b - 1) / 2 for a, b in zip(starts, ends, strict=True)], [plain(kinds[a]) for a in starts]
    )
    right.tick_params(length=0, colors=GREY)
    right.spines["right"].set_visible(False)

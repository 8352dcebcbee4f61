"""Names at the right end of lines, and what else stands outside the axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from infossl.report import _style as style
from infossl.report._limits import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["End", "below_legend", "label_ends", "settle"]

_GAP = 11.5
_AT = 1.058  # where names begin, as a share of the width of the axes


class End(NamedTuple):
    """Where a line ends and what it is called; `x = None` is the right edge of the axes."""

    x: float | None
    y: float
    text: str
    colour: Any
    faint: bool = False


def label_ends(ax: Axes, ends: Sequence[End]) -> None:
    """Writes each name beside the axes, level with its line, moved just enough that no two overlap.

    The limits of the axes must be final. Executes the layout.
    """
    from matplotlib.lines import Line2D

    ends = sorted(ends, key=lambda end: (end.y, end.text))
    low, high = ax.get_ylim()
    names = [
        ax.text(
            _AT, 0.5, style.plain(end.text), transform=ax.transAxes, ha="left", va="center", fontsize=8.5,
            color=style.GREY if end.faint else style.INK, gid="line-name",
        )
        for end in ends
    ]  # fmt: skip
    settle(ax)
    if not ends:
        return
    height = ax.get_window_extent().height * 72.0 / ax.figure.dpi
    edge = ax.get_xlim()[1]
    tips = ax.transAxes.inverted().transform(
        ax.transData.transform([(edge if e.x is None else e.x, min(max(e.y, low), high)) for e in ends])
    )
    gap = min(_GAP, (height + 6.0) / max(len(ends) - 1, 1))
    places = spread([float(y) * height for _, y in tips], gap, -3.0, height + 3.0)
    for end, name, place, (x, y) in zip(ends, names, places, tips, strict=True):
        name.set_position((_AT, place / height))
        name.set_fontsize(min(8.5, 0.8 * gap))
        leader = Line2D(
            [x, _AT - 0.014], [y, place / height], transform=ax.transAxes, color=end.colour, clip_on=False,
            linewidth=0.8 if end.faint else 1.2, zorder=1.9, gid="leader",
        )  # fmt: skip
        leader.set_in_layout(False)
        ax.add_artist(leader)


def below_legend(ax: Axes, handles: Sequence[Any], lines: int = 1) -> None:
    """A legend under the label of the x axis, where it hides no data; that label has so many `lines`.

    The layout only makes room for its height. Its width must not count: a legend wider than the axes would squeeze
    them, and more so each time that the layout is executed.
    """
    from matplotlib.transforms import ScaledTranslation

    if not handles:
        return
    labels = [str(handle.get_label()) for handle in handles]
    width = 1.15 * ax.get_window_extent().width * 72.0 / ax.figure.dpi
    ncols = max(1, min(len(labels), int(width / (4.7 * max(map(len, labels)) + 32))))
    down = ax.transAxes + ScaledTranslation(0, -(23 + 13 * lines) / 72, ax.figure.dpi_scale_trans)
    legend = ax.legend(
        handles=list(handles),
        labels=labels,
        loc="upper left",
        bbox_to_anchor=(0.0, 0.0),
        bbox_transform=down,
        borderaxespad=0.0,
        borderpad=0.0,
        handlelength=1.8,
        labelspacing=0.45,
        columnspacing=1.4,
        ncols=ncols,
        alignment="left",
    )
    legend.set_in_layout(False)
    rows = -(-len(labels) // ncols)
    ax.text(0, 0, "\n".join(["."] * rows), transform=down, va="top", fontsize=8.5, alpha=0.0, linespacing=1.4,
            gid="spacer")  # fmt: skip


def settle(ax: Axes) -> None:
    """Executes the layout of the figure, after which sizes on it are known."""
    figure = ax.figure.canvas.figure
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)

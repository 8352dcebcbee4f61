"""The one look of all figures, applied inside each call and to nothing else.

matplotlib is imported by the functions that draw, never by importing this package, and pyplot not at all:
a figure is a `Figure` with its own Agg canvas, so the reader's backend and `rcParams` stay as they are.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from infossl.report._names import elided

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "FAINT",
    "GREY",
    "INK",
    "MARKERS",
    "PALETTE",
    "STYLE",
    "VERDICT_COLOURS",
    "line_label",
    "log_axis",
    "new_axes",
    "plain",
    "role_colours",
    "step_axis",
    "styled",
    "titles",
]

P = ParamSpec("P")
T = TypeVar("T")

INK, GREY, FAINT = "#22262b", "#6b7280", "#b6bcc6"
# Okabe & Ito, 2008, *Color Universal Design*: told apart with every common colour deficiency.
SKY, BLUE, GREEN, ORANGE, VERMILION, PURPLE = "#56B4E9", "#0072B2", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
_FIXED = {"x": GREY, "h": VERMILION, "z": PURPLE}
_DEPTH = (SKY, BLUE, GREEN, ORANGE)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
VERDICT_COLOURS = {
    "certified": "#00755a",
    "estimated-consistent": BLUE,
    "estimated-violated": "#b3360b",
    "vacuous": GREY,
    "not-applicable": "#8a8f98",
}

STYLE: Any = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so the same table gives the same picture everywhere
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8ec",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "infossl",
    "axes.unicode_minus": True,
    "text.usetex": False,
}


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Runs a plot function inside the style; the caller's `rcParams` are put back, also after an error."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return inner


def new_axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The given axes, or one on a new figure that belongs to no window."""
    if ax is not None:
        return ax
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def plain(text: str) -> str:
    """Text from a table as it stands: no mathematics mode, no legend entry lost to a leading underscore."""
    if len(text) > 300:
        text = elided(text, 300)
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def role_colours(roles: Sequence[str]) -> dict[str, Any]:
    """A colour per role: h, z and raw inputs always the same, the others by depth."""
    others = [role for role in roles if role not in _FIXED]
    if len(others) > len(_DEPTH):
        import matplotlib

        shades = matplotlib.colormaps["viridis"]
        scale = max(len(others) - 1, 1)
        return {role: shades(0.9 * i / scale) for i, role in enumerate(others)} | _FIXED
    by_depth = {}
    for i, role in enumerate(others):
        digits = role.removeprefix("block")
        by_depth[role] = _DEPTH[(int(digits) - 1 if digits.isdecimal() else i) % len(_DEPTH)]
    if len(set(by_depth.values())) < len(others):
        by_depth = dict(zip(others, _DEPTH, strict=False))
    return by_depth | _FIXED


def step_axis(ax: Axes, last: int) -> None:
    """Optimizer steps on a logarithmic axis that still shows step 0."""
    ax.set_xscale("symlog", linthresh=1, linscale=0.5)
    ticks = step_ticks(last)
    ax.set_xticks(ticks, [step_name(t) for t in ticks])
    ax.set_xticks([], minor=True)
    ax.set_xlim(-0.15, max(last, 1) * 1.06)
    ax.set_xlabel("optimizer step (log scale)")


def log_axis(ax: Axes) -> None:
    """A logarithmic y axis with plain numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def step_name(step: int) -> str:
    """A step as a tick label: round thousands from 10k on."""
    return f"{step // 1000}k" if step >= 10_000 and step % 1000 == 0 else str(step)


def step_ticks(last: int) -> list[int]:
    """0, the powers of ten, and the last step, which displaces a power that it would crowd.

    Example:
        >>> step_ticks(2200), step_ticks(5000)
        ([0, 1, 10, 100, 2200], [0, 1, 10, 100, 1000, 5000])
    """
    ticks, power = [0], 1
    while power * 3.5 <= last:
        ticks.append(power)
        power *= 10
    return [*ticks, last] if last > 0 else ticks


def titles(ax: Axes, title: str, notes: Sequence[str] = ()) -> None:
    """A title and, in smaller type under it, what was estimated how; as many lines as the width asks for."""
    width = ax.get_window_extent().width * 72.0 / ax.figure.dpi
    lines = [
        part
        for note in notes
        if note
        for part in textwrap.wrap(note, max(int(width / 4.0), 24), break_on_hyphens=False)[:3]
    ]
    ax.set_title(
        plain(elided(title, max(int(width / 5.0), 30))),
        loc="left",
        fontweight="bold",
        pad=8 + 12.5 * len(lines),
    )
    if lines:
        note = ax.annotate(
            plain("\n".join(lines)),
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 6),
            textcoords="offset points",
            va="bottom",
            fontsize=8.5,
            color=GREY,
            linespacing=1.35,
            annotation_clip=False,
        )
        note.set_in_layout(False)  # the title's pad makes room for it; a long one must not squeeze the axes


def line_label(
    ax: Axes, text: str, at: float, *, axis: str, above: bool, colour: Any = GREY, end: float = 0.0
) -> None:
    """Names a reference line on the side away from the data; `end` is where along it, 0 to 1."""
    from matplotlib.patheffects import withStroke

    along = {0.0: 3, 1.0: -3}.get(end, 0)
    vertical = axis == "x"
    start, middle, stop = ("bottom", "center", "top") if vertical else ("left", "center", "right")
    align = {0.0: start, 1.0: stop}.get(end, middle)
    ax.annotate(
        plain(text),
        (at, end) if vertical else (end, at),
        xycoords=("data", "axes fraction") if vertical else ("axes fraction", "data"),
        xytext=(3 if above else -3, along) if vertical else (along, 2 if above else -2),
        textcoords="offset points",
        rotation=90 if vertical else 0,
        ha=("left" if above else "right") if vertical else align,
        va=align if vertical else ("bottom" if above else "top"),
        fontsize=8,
        color=colour,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        gid="reference-label",
    )

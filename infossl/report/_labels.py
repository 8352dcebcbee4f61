"""Places names beside points so that they cover neither each other nor the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from infossl.report import _style as style
from infossl.report._ends import settle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["place_labels"]

_SIZE = 9.0
_DISTANCES = (9.0, 15.0, 22.0, 31.0, 42.0, 56.0)
_ANGLES = tuple(math.pi * k / 8 for k in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8))


def place_labels(
    ax: Axes,
    marks: Sequence[tuple[float, float, str, Any]],
    obstacles: Sequence[tuple[float, float]],
    walls: tuple[Sequence[float], Sequence[float]] = ((), ()),
) -> None:
    """Writes `(x, y, text, colour)` marks near their points, each where it overlaps least.

    `obstacles` are points of the data, `walls` the vertical lines (by x) and horizontal lines (by y).
    Greedy over a fixed ring of candidates, nearest first, so the same table gives the same picture. The limits
    of the axes must be final.
    """
    from matplotlib.patheffects import withStroke

    settle(ax)  # sizes are known only then
    box = ax.get_window_extent()
    scale = 72.0 / ax.figure.dpi
    width, height = box.width * scale, box.height * scale
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()

    def at(x: float, y: float) -> tuple[float, float]:
        return (x - x0) / (x1 - x0) * width, (y - y0) / (y1 - y0) * height

    dots = [at(x, y) for x, y in obstacles]
    upright = sorted({at(x, y0)[0] for x in walls[0]})
    level = sorted({at(x0, y)[1] for y in walls[1]})
    taken: list[tuple[float, float, float, float]] = []
    for x, y, text, colour in marks:
        px, py = at(x, y)
        w, h = 0.62 * _SIZE * len(text), 1.25 * _SIZE

        def cost(
            candidate: tuple[float, float], w: float = w, h: float = h, px: float = px, py: float = py
        ) -> float:
            distance, angle = candidate
            left, low = _corner(px, py, w, h, distance, angle)
            inside = left >= 0 and left + w <= width and low >= 0 and low + h <= height
            hits = sum(left - 3 < dx < left + w + 3 and low - 3 < dy < low + h + 3 for dx, dy in dots)
            overlaps = sum(left < r and left + w > l and low < t and low + h > b for l, b, r, t in taken)
            crossings = sum(left < v < left + w for v in upright) + sum(low < v < low + h for v in level)
            return 1000 * overlaps + 60 * crossings + 300 * (not inside) + 25 * hits + distance + abs(angle)

        best = min(((d, a) for d in _DISTANCES for a in _ANGLES), key=cost)
        left, low = _corner(px, py, w, h, *best)
        taken.append((left, low, left + w, low + h))
        ax.annotate(
            style.plain(text),
            (x, y),
            xytext=(left + w / 2 - px, low + h / 2 - py),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_SIZE,
            color=style.INK,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4}
            if best[0] > 15
            else None,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=6,
            gid="layer-name",
        )


def _corner(px: float, py: float, w: float, h: float, distance: float, angle: float) -> tuple[float, float]:
    """Lower left corner of a w x h box whose near edge is `distance` from the point in that direction."""
    cx = px + math.cos(angle) * (distance + w / 2)
    cy = py + math.sin(angle) * (distance + h / 2)
    return cx - w / 2, cy - h / 2

"""Figures to files and to inline SVG, the same bytes every time."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from infossl.report import _style as style
from infossl.trajectory import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Gallery"]

_NO_METADATA: dict[str, None] = {"Date": None, "Creator": None, "Format": None, "Type": None}
_INDEX = "index.json"
_STEM = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_DPI = 150


class Gallery:
    """Saves figures under `folder` as PNG and SVG and returns each as SVG for a page.

    `index.json` beside them lists which page they belong to, so that a later report can remove those that it no
    longer draws, and nothing else.
    """

    def __init__(self, folder: Path, page: str = "report.html") -> None:
        self.folder = folder
        self.page = page
        self.names: list[str] = []

    def add(self, name: str, draw: Callable[[], Axes]) -> str:
        """Draws, saves `name.png` and `name.svg`, and returns the SVG element.

        Raises:
            ValueError: what `draw` raises when there is nothing to draw.
        """
        stem = self._stem(name)
        png, svg = _render(draw())
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write(self.folder / f"{stem}.png", png)
        atomic_write(self.folder / f"{stem}.svg", svg)
        self.names.append(stem)
        return _inline(svg.decode(), stem)

    def close(self) -> None:
        """Removes the figures that an earlier report of this page wrote and this one did not."""
        index = self._index()
        earlier = index.pop(self.page, [])
        kept = {*self.names, *(stem for stems in index.values() for stem in stems)}
        for stem in earlier:
            if stem not in kept:
                for kind in ("png", "svg"):
                    (self.folder / f"{stem}.{kind}").unlink(missing_ok=True)
        if self.names:
            index[self.page] = sorted(self.names)
        if self.folder.is_dir():
            atomic_write(self.folder / _INDEX, (json.dumps(index, indent=1, sort_keys=True) + "\n").encode())

    def _index(self) -> dict[str, list[str]]:
        """Figures by page as earlier reports left them; none where the file is missing or was edited."""
        try:
            found = json.loads((self.folder / _INDEX).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {
            page: [stem for stem in stems if isinstance(stem, str) and _STEM.fullmatch(stem)]
            for page, stems in found.items()
            if isinstance(stems, list)
        }

    def _stem(self, name: str) -> str:
        base = re.sub(r"[^A-Za-z0-9]+", "-", name.replace("'", "prime")).strip("-").lower()[:60] or "figure"
        stem, count = base, 2
        while stem in self.names:
            stem, count = f"{base}-{count}", count + 1
        return stem


@style.styled
def _render(ax: Axes) -> tuple[bytes, bytes]:
    """PNG and SVG. The canvases are asked directly: `savefig` would lay out and draw each figure twice more."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure = ax.figure.canvas.figure
    figure.set_layout_engine("none")  # the function that drew it has executed the layout
    png, svg = io.BytesIO(), io.BytesIO()
    figure.set_dpi(_DPI)
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    FigureCanvasSVG(figure).print_svg(svg, metadata=_NO_METADATA)
    return png.getvalue(), svg.getvalue()


def _inline(svg: str, prefix: str) -> str:
    """The bare element: no prolog, no namespaces (HTML supplies them), identifiers unique within the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg, count=2).replace("xlink:href", "href")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<style type="text/css">.*?</style>', "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<=\s)(?:d|x|y)="[^"]*"', lambda m: re.sub(r"(\.\d{2})\d+", r"\1", m[0]), svg)
    used = set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
    svg = re.sub(r'\sid="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    return svg.replace("<svg ", '<svg role="img" stroke-linejoin="round" ', 1).strip()

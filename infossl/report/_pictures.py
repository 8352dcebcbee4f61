"""Figures to files and to inline SVG, the same bytes every time."""

from __future__ import annotations

import io
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


class Gallery:
    """Saves figures under `folder` as PNG and SVG and returns each as SVG for a page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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

    def _stem(self, name: str) -> str:
        base = re.sub(r"[^A-Za-z0-9]+", "-", name.replace("'", "prime")).strip("-").lower()[:60] or "figure"
        stem, count = base, 2
        while stem in self.names:
            stem, count = f"{base}-{count}", count + 1
        return stem


@style.styled
def _render(ax: Axes) -> tuple[bytes, bytes]:
    figure = ax.figure
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=160, metadata={"Software": None})  # type: ignore[union-attr]
    figure.savefig(svg, format="svg", metadata=_NO_METADATA)  # type: ignore[union-attr]
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

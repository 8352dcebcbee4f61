"""Escaped HTML from plain values."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Section", "definitions", "details", "esc", "figure", "flattened", "table"]


class Section(NamedTuple):
    """A part of the page; `title` and `body` are HTML."""

    anchor: str
    title: str
    body: str


def esc(value: object) -> str:
    """Text that came from a file, safe in an element and in a quoted attribute."""
    return html.escape(str(value), quote=True)


def figure(svg: str, caption: str) -> str:
    """An inline picture; the caption (plain text) is also what a screen reader hears."""
    labelled = svg.replace("<svg ", f'<svg aria-label="{esc(caption)}" ', 1)
    return f'<figure><div class="picture">{labelled}</div><figcaption>{esc(caption)}</figcaption></figure>'


def table(head: Sequence[tuple[str, bool]], rows: Iterable[str], kind: str = "plain") -> str:
    """A table from finished rows; `head` holds each column's text and whether it is numeric, `kind` its style."""
    cells = "".join(
        f'<th scope="col" class="num">{esc(text)}</th>' if numeric else f'<th scope="col">{esc(text)}</th>'
        for text, numeric in head
    )
    inside = f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table class="{kind}">{inside}</table></div>'


def details(summary: str, body: str, *, opened: bool = False) -> str:
    """A part that folds away; `body` is HTML."""
    return f"<details{' open' if opened else ''}><summary>{esc(summary)}</summary>{body}</details>"


def definitions(pairs: Iterable[tuple[object, object]]) -> str:
    """Names and values side by side."""
    return "<dl>" + "".join(f"<dt>{esc(k)}</dt><dd><code>{esc(v)}</code></dd>" for k, v in pairs) + "</dl>"


def flattened(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names."""
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            pairs += flattened(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", str(value)))
    return pairs

"""Names as figures and tables write them."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence

from infossl.report._numbers import counts
from infossl.trajectory import Row

__all__ = [
    "LAYERLESS",
    "axis_label",
    "ceiling_name",
    "distinct_names",
    "elided",
    "family",
    "sampled",
    "short_layers",
    "short_method",
    "tap_name",
    "unit_name",
]

LAYERLESS = frozenset({"loss"})


_WRAPPERS = {
    "Permuted": "permutation null",
    "Projected": "projected",
    "Subsampled": "subsampled error",
    "Sliced": "sliced",
    "Copula": "copula",
}


def family(method: str) -> str:
    """The innermost estimator of a method: `"Permuted(inner=KSG(k=3))"` gives `"KSG"`."""
    return _chain(method)[-1][0]


def short_method(method: str) -> str:
    """A label for axes and tables: `"Projected(KSG(k=3), dims=4)"` gives `"KSG (projected to 4)"`."""
    chain = _chain(method)
    if chain[0][0] == "InputInformation":  # its channel is printed beside it
        return "Kolchinsky-Tracey"
    wrappers = []
    for name, settings in chain[:-1]:
        text = _WRAPPERS.get(name, name)
        dims = settings.get("dims")
        wrappers.append(f"{text} to {dims}" if name == "Projected" and dims is not None else text)
    core = elided(chain[-1][0], 40)
    return f"{core} ({', '.join(wrappers)})" if wrappers else core


def _chain(method: str) -> list[tuple[str, dict[str, object]]]:
    """Names from the outermost wrapper to the innermost estimator, each with its literal settings."""
    plain = [(method.split("(")[0].strip() or method or "unnamed", dict[str, object]())]
    try:
        node: ast.AST | None = ast.parse(method.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return plain
    chain: list[tuple[str, dict[str, object]]] = []
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        settings: dict[str, object] = {
            key.arg: key.value.value
            for key in node.keywords
            if key.arg is not None and isinstance(key.value, ast.Constant)
        }
        chain.append((node.func.id, settings))
        arguments = [*node.args, *(key.value for key in node.keywords)]
        node = next((a for a in arguments if isinstance(a, ast.Call) and isinstance(a.func, ast.Name)), None)
    return chain or plain


def tap_name(row: Row) -> str:
    """What a figure calls the place of a row: its role, or the layer where it has none."""
    name = row.role or row.layer
    return f"{name} (raw inputs)" if row.role == "x" else name


def ceiling_name(row: Row) -> str:
    """What the ceiling of a row is, in the field's symbols."""
    if row.ceiling is not None and row.n and math.isclose(row.ceiling, math.log(row.n), rel_tol=1e-9):
        return "log n"
    if row.quantity == "I(Z;Y)":
        return "H(Y)"
    if family(row.method) == "InfoNCE":
        return "log K"
    return {"RankMe": "min(n, d)"}.get(row.quantity, "ceiling")


def unit_name(row: Row, unit: str = "nats") -> str:
    """`"nats"`, `"bits"`, or `""` for a pure number."""
    return unit if row.unit == "nats" else ""


def axis_label(rows: Sequence[Row], unit: str, *, channel: bool = True) -> str:
    """Quantity, direction of the bound, unit and declared channels."""
    row = rows[-1]
    bounds = {r.bound for r in rows}
    direction = f", {row.bound} bound" if len(bounds) == 1 and row.bound != "none" else ""
    name = unit_name(row, unit)
    text = f"{elided(row.quantity, 44)}{direction}" + (f"  [{name}]" if name else "")
    channels = list(dict.fromkeys(r.channel for r in rows if r.channel))
    return text + (f"\nchannel: {elided(' / '.join(channels), 56)}" if channel and channels else "")


def sampled(rows: Sequence[Row], methods: Iterable[str]) -> str:
    """Who estimated from how many samples: `"KSG, n = 449 held-out"`."""
    size = f"{counts(rows)} {elided(rows[-1].split, 16)}".strip()
    return ", ".join(part for part in (*methods, size) if part)


def distinct_names(taps: list[tuple[str, ...]], layers: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """The role or layer of each tap; where two share it, the fields in which they differ are added."""
    shared: dict[str, list[tuple[str, ...]]] = {}
    for tap in taps:
        shared.setdefault(tap[1] or layers.get(tap[0], tap[0]), []).append(tap)
    names = {}
    for name, group in shared.items():
        differing = [i for i in range(len(group[0])) if len({tap[i] for tap in group}) > 1]
        for tap in group:
            extra = ", ".join(tap[i] for i in differing if tap[i])
            names[tap] = elided(f"{name} ({extra})" if extra else name)
    return names


def short_layers(rows: Iterable[Row]) -> dict[str, str]:
    """Layers without a role, less the dotted parts that all share: `a.b.layer.0.c` and `a.b.layer.1.c` differ in `layer.0`."""
    layers = list(dict.fromkeys(row.layer for row in rows if not row.role and row.layer not in LAYERLESS))
    parts = [layer.split(".") for layer in layers]
    shortest = min((len(p) for p in parts), default=0)
    if len(layers) < 2 or max(map(len, layers)) <= 16:
        return {}
    head = 0
    while head < shortest - 1 and len({p[head] for p in parts}) == 1:
        head += 1
    tail = 0
    while tail < shortest - head - 1 and len({p[-1 - tail] for p in parts}) == 1:
        tail += 1
    head = max(head - 1, 0)  # the last shared part says what the number after it counts
    return {layer: ".".join(p[head : len(p) - tail]) for layer, p in zip(layers, parts, strict=True)}


def elided(text: str, width: int = 32) -> str:
    """A text of at most `width` characters: the middle goes first, for both ends tell names apart."""
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width // 2 - 1]}…{text[-(width // 2) :]}"

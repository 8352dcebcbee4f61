"""`Tap`: which output of which layer is recorded, and how."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

__all__ = ["Layers", "Tap", "taps_of"]


@dataclass(frozen=True)
class Tap:
    """One place to record.

    Arguments:
        layer: module name as in `model.named_modules()`, or a glob such as `"encoder.blocks.*"`; `""` is the model.
        pool: `"auto"`, `"flatten"`, `"gap"`, `"mean_tokens"`, `"cls"`, or a function `(n, ...) -> (n, d)`.
        role: what the layer is in the theory, such as `"h"` or `"z"`; by default its name.
        select: for modules that return a tuple or dict: an index, a key, or a function of the output.
    """

    layer: str
    pool: str | Callable[[Tensor], Tensor] = "auto"
    role: str = ""
    select: int | str | Callable[[Any], Tensor] | None = None


Layers = str | Iterable["str | Tap"] | Mapping[str, str]


def taps_of(model: nn.Module, layers: Layers = "auto") -> tuple[Tap, ...]:
    """Taps with exact layer names.

    Arguments:
        model: the model to look in.
        layers: `"auto"`, a name or glob, a list of names, globs and `Tap`s, or a mapping from role to name.
            `"auto"` takes what `model.taps()` offers, or else the direct children that have parameters and
            the model's own output.

    Raises:
        ValueError: if a name or glob matches no module (near matches are listed), or two taps fall on one layer.
    """
    names = [name for name, _ in model.named_modules()]
    if isinstance(layers, str) and layers == "auto":
        wanted: list[Tap] = list(_auto(model))
    elif isinstance(layers, str):
        wanted = [Tap(layers)]
    elif isinstance(layers, Mapping):
        wanted = [Tap(name, role=role) for role, name in layers.items()]
    else:
        wanted = [item if isinstance(item, Tap) else Tap(item) for item in layers]
    found: list[Tap] = []
    for tap in wanted:
        matches = [name for name in names if name == tap.layer] or [
            name for name in names if name and fnmatch.fnmatchcase(name, tap.layer)
        ]
        if not matches:
            near = difflib.get_close_matches(tap.layer, [name for name in names if name], n=5, cutoff=0.4)
            hint = f"near matches: {', '.join(near)}" if near else f"its layers begin {', '.join(names[1:8])}"
            raise ValueError(f"layer {tap.layer!r} is not in {type(model).__name__}; {hint}")
        found += [
            replace(tap, layer=name, role=tap.role if tap.role and len(matches) == 1 else name)
            for name in matches
        ]
    layers_seen = [tap.layer for tap in found]
    twice = sorted({name for name in layers_seen if layers_seen.count(name) > 1})
    if twice:
        raise ValueError(f"layers {twice} are tapped more than once; record them in separate passes")
    if not found:
        raise ValueError(f"no layer to record in {type(model).__name__}: name at least one in layers=...")
    return tuple(found)


def _auto(model: nn.Module) -> Iterable[Tap]:
    offered: Any = getattr(model, "taps", None)
    if callable(offered):
        for layer, role, pool in offered():
            yield Tap(layer, pool=pool, role=role)
        return
    for name, child in model.named_children():
        if any(True for _ in child.parameters()):
            yield Tap(name)
    yield Tap("", role="output")

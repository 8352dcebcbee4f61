"""What `infossl train` knows, one line each; `infossl train --help` ends with it."""

from __future__ import annotations

import inspect
from typing import Any

from infossl.data import DATA, DATA_SETS
from infossl.training.families import ALL_OBJECTIVES, METHODS, inputs_of
from infossl.training.optimizers import OPTIMIZERS
from infossl.training.recipes import RECIPES, Recipe

__all__ = ["catalogue"]


def catalogue() -> str:
    """Methods, objectives, data sets, optimizers and recipes, one line each.

    Example:
        >>> print(catalogue().split("optimizers")[1])  # doctest: +ELLIPSIS
         (--optimizer):
          AdamW  Adam with decoupled weight decay; each step moves a weight by about the learning rate.
        ...
    """
    homes = {settings.inputs: name for name, settings in METHODS.items()}  # type: ignore[attr-defined]
    objectives = [
        (name, f"{_first_line(make)} [{homes[inputs_of(make())]}]") for name, make in ALL_OBJECTIVES.items()
    ]
    sections: dict[str, list[tuple[str, str]]] = {
        "methods (--method)": [(name, _first_line(make)) for name, make in METHODS.items()],
        "objectives (--objective), each with the method it asks for": objectives,
        "data sets (--data)": [(name, _first_line(make)) for name, make in {**DATA, **DATA_SETS}.items()],
        "optimizers (--optimizer)": [(name, _first_line(make)) for name, make in OPTIMIZERS.items()],
        "recipes, chosen by data set and objective or method": [
            (name, _in_short(r)) for name, r in RECIPES.items()
        ],
    }
    lines = []
    for title, entries in sections.items():
        width = max(len(name) for name, _ in entries)
        lines += [f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in entries), ""]
    return "\n".join(lines)


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n")[0]


def _in_short(recipe: Recipe) -> str:
    fit, method = recipe.fit, recipe.method or "JointEmbedding()"
    return f"{method}, {fit.steps} steps of {fit.batch_size} images, {fit.optimizer} with lr {fit.lr:g}"

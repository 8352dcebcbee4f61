"""`settings`: the decorator of every estimator. A frozen dataclass whose fields are plain Python values of the right kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar, dataclass_transform

import numpy as np

__all__ = ["settings"]

T = TypeVar("T")

_KINDS: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,)}


@dataclass_transform(frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Makes a frozen dataclass that checks its fields before its own `__post_init__`.

    Numpy scalars become Python numbers, because the repr of an estimator is its name: it must read `k=3`, not
    `k=np.int64(3)`. A setting of the wrong kind is refused where it is given, not later inside a loop.

    Raises (when the class is called):
        TypeError: names the setting, what it was given and what it takes.
    """
    own: Callable[[Any], None] | None = cls.__dict__.get("__post_init__")

    def __post_init__(self: Any) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):
                value = value.item()
                object.__setattr__(self, field.name, value)
            _check(type(self).__name__, field.name, str(field.type), value)
        if own is not None:
            own(self)

    cls.__post_init__ = __post_init__  # type: ignore[attr-defined]
    return dataclass(frozen=True)(cls)


def _check(owner: str, name: str, kind: str, value: Any) -> None:
    if name == "inner":
        if not callable(value):
            raise TypeError(
                f"{owner}(inner={value!r}): inner must be an estimator, such as Gaussian() or KSG(k=3)"
            )
        return
    optional = kind.endswith("| None")
    allowed = _KINDS.get(kind.removesuffix("| None").strip())
    if allowed is None or (optional and value is None):
        return
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise TypeError(
            f"{owner}({name}={value!r}): {name} must be of type {kind}, not {type(value).__name__}"
        )

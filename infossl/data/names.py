"""Data sets by name: text such as `CIFAR10(root='data', views='BYOL')` to an `ImageData`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from estimators import parse
from infossl.data.augment import AUGMENTATIONS
from infossl.data.cifar import cifar10, cifar100
from infossl.data.cluttered_digits import cluttered_digits
from infossl.data.digits import digits
from infossl.data.folder import folder
from infossl.data.image_data import ImageData
from infossl.data.in_memory import arrays
from infossl.data.stl10 import stl10

__all__ = ["DATA", "DATA_SETS", "data_named"]

DATA: dict[str, Callable[[], ImageData]] = {"digits": digits, "cluttered-digits": cluttered_digits}
"""The embedded data sets, by name: they need no files."""

DATA_SETS: dict[str, Callable[..., Any]] = {
    "Arrays": arrays,
    "CIFAR10": cifar10,
    "CIFAR100": cifar100,
    "ClutteredDigits": cluttered_digits,
    "Digits": digits,
    "Folder": folder,
    "STL10": stl10,
}
"""All data sets, by the name that `data_named` reads; their settings are keyword arguments."""


def data_named(text: str) -> ImageData:
    """The data set that a text names: a key of `DATA`, or a call of a name in `DATA_SETS`.

    Augmentations may be written as calls too: `CIFAR10(root='data', views=Compose((ToFloat(), Flip())))`.

    Raises:
        ValueError: if the text names none; the known names are listed.
        TypeError: if a data set is given a setting that it does not have.
        FileNotFoundError: if its files are not there.

    Example:
        >>> data_named("digits"), data_named("Digits(train=900)")
        (ImageData('digits', train=1000, test=797, images=(1, 8, 8), classes=10),
         ImageData('digits', train=900, test=897, images=(1, 8, 8), classes=10))
    """
    if text in DATA:
        return DATA[text]()
    data = parse(text, {**AUGMENTATIONS, **DATA_SETS})
    if not isinstance(data, ImageData):
        known = ", ".join([*sorted(DATA), *sorted(DATA_SETS)])
        raise ValueError(f"{text!r} names no data set; known names: {known}")
    return data

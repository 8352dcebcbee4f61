"""Data sets with their views and probe sets; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable

from infossl.data.cluttered_digits import Clutter, Style, cluttered_digits
from infossl.data.digits import digits
from infossl.data.image_data import ImageData
from infossl.data.seeds import derived_seed, generator

__all__ = ["DATA", "Clutter", "ImageData", "Style", "cluttered_digits", "derived_seed", "digits", "generator"]

DATA: dict[str, Callable[[], ImageData]] = {"digits": digits, "cluttered-digits": cluttered_digits}
"""The embedded data sets, by name."""

"""Numbers as figures and tables write them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from infossl.trajectory import Row

__all__ = ["counts", "level", "number", "plus_minus"]

_MOST_DECIMALS = 4  # smaller numbers are written with an exponent


def number(value: float | None, digits: int = 3) -> str:
    """A number for a label or a table cell; a dash where there is none.

    Numbers too small for `digits` decimals get two significant ones, with an exponent from 1e-4 down.

    Example:
        >>> number(2.2844), number(0.0077, 2), number(1e-6)
        ('2.284', '0.0077', '1.00e−06')
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "NaN")
    size = abs(value)
    if size >= 1e5 or 0 < size < 10.0**-_MOST_DECIMALS:
        text = f"{value:.2e}"
    else:
        small = 0 < size < 10.0**-digits
        text = f"{value:.{1 - math.floor(math.log10(size)) if small else digits}f}"
    return text.replace("-", "−")


def plus_minus(value: float, error: float, digits: int = 2) -> tuple[str, str]:
    """A value and its error with the same number of decimals, enough of them to show the error.

    Example:
        >>> plus_minus(2.28440, 0.00773), plus_minus(-341.039, 0.296)
        (('2.284', '0.008'), ('−341.04', '0.30'))
    """
    if not math.isfinite(value) or not math.isfinite(error) or abs(value) >= 1e5:
        return number(value, digits), number(error, digits)
    if error > 0:
        digits = max(digits, -math.floor(math.log10(error)))
    if digits > _MOST_DECIMALS + 2:
        return number(value, 2), number(error, 2)
    return f"{value:.{digits}f}".replace("-", "−"), f"{error:.{digits}f}"


def level(value: float, row: Row) -> str:
    """A ceiling or null: whole where it counts something."""
    return (
        f"{value:g}" if row.unit == "1" and value == round(value) and abs(value) < 1e5 else number(value, 2)
    )


def counts(rows: Iterable[Row]) -> str:
    """`"n = 449"`, or the range where it differs; nothing where no sample size was recorded.

    Example:
        >>> row = Row(step=0, layer="encoder", role="h", quantity="H(Z)", n=449, value=1.0)
        >>> counts([row])
        'n = 449'
    """
    sizes = sorted({r.n for r in rows if r.n})
    if not sizes:
        return ""
    return f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}"

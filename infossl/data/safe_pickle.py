"""Pickles of plain data: arrays, bytes, numbers, lists and dicts. Nothing in them can run code."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

__all__ = ["load_plain"]

_DTYPES = {"u1", "i1", "u2", "i2", "i4", "u4", "i8", "u8", "f4", "f8", "b1"}


def _array(kind: Any, shape: Any, typecode: Any) -> np.ndarray:
    """Stands in for numpy's `_reconstruct`: an empty array, which the pickle then fills."""
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError(f"an array of kind {kind!r} and shape {shape!r} is no plain array")
    return np.ndarray((0,), np.uint8)


def _dtype(code: Any, *flags: Any) -> np.dtype:
    text = code.decode("ascii") if isinstance(code, bytes) else code
    if text not in _DTYPES:
        raise pickle.UnpicklingError(f"arrays of dtype {text!r} are no plain numbers")
    return np.dtype(text, copy=True)  # a copy: the pickle sets its byte order


def _bytes(text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes in an old protocol."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("it encodes text in a way that bytes are not written")
    return text.encode("latin1")


_ALLOWED = {
    ("_codecs", "encode"): _bytes,
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
}


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no plain data")
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def load_plain(content: bytes, source: str) -> Any:
    """Unpickles numpy arrays of numbers, bytes, text, numbers, lists, tuples and dicts; text of Python 2 as bytes.

    Raises:
        ValueError: if the pickle asks for anything else, which is named, or is broken.

    Example:
        >>> load_plain(pickle.dumps({b"labels": [3, 1]}), "batch")
        {b'labels': [3, 1]}
    """
    try:
        return _Plain(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a broken pickle raises almost anything
        raise ValueError(
            f"{source} is refused: {error}; only a pickle of arrays, bytes, numbers, lists and dicts is read, so get "
            "the file from its publisher again"
        ) from None

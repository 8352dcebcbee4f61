"""Input checks shared by all estimators: shape, finiteness, equal n, dtype, device.

Every message names the argument, its shape and the mend.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_array, is_torch_array

from estimators.protocols import Array

__all__ = [
    "as_labels",
    "as_numpy",
    "as_samples",
    "drop_constant_columns",
    "is_discrete",
    "paired",
    "repeated_rows",
    "standardised",
    "stream",
]


def _shape(x: Array) -> str:
    return str(tuple(getattr(x, "shape", ())))


def is_discrete(x: Array) -> bool:
    """True for an integer or boolean vector `(n,)`, which the package takes as a discrete variable."""
    if getattr(x, "ndim", None) != 1:
        return False
    xp = array_namespace(x)
    return bool(xp.isdtype(x.dtype, ("integral", "bool")))


def as_samples(x: Array, name: str = "x", *, min_n: int = 2) -> Array:
    """Checks continuous samples and returns them as float64 `(n, d)` in their own library.

    A float vector `(n,)` becomes one column. The input is neither changed nor moved to another device.

    Raises:
        TypeError: if `x` is not a numpy array or torch tensor of numbers, or is a discrete vector.
        ValueError: if the shape is not `(n, d)` with d >= 1, n < `min_n`, or a value is not finite.
    """
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be lost; pass the rows without holes")
    if not (is_numpy_array(x) or is_torch_array(x)):
        raise TypeError(
            f"{name} must be a numpy array or a torch tensor of shape (n, d), got {type(x).__name__}; "
            f"convert it with numpy.asarray({name})"
        )
    xp = array_namespace(x)
    if is_discrete(x):
        raise TypeError(
            f"{name} has shape {_shape(x)} and dtype {x.dtype}: an integer vector is a discrete variable, "
            f"and this estimator takes continuous samples here; pass {name}[:, None].astype(float) if its "
            "values are ordered measurements, or use an estimator for labels such as Ross() or ProbeInformation()"
        )
    if not xp.isdtype(x.dtype, ("real floating", "integral", "bool")):
        raise TypeError(f"{name} must hold real numbers, got dtype {x.dtype} and shape {_shape(x)}")
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2 or x.shape[1] < 1:
        raise ValueError(
            f"{name} must have shape (n, d) with d >= 1, got {_shape(x)}; flatten or pool each sample to one row"
        )
    if x.shape[0] < min_n:
        raise ValueError(f"{name} has shape {_shape(x)}: this estimator needs at least n = {min_n} samples")
    if is_torch_array(x):
        if x.device.type == "meta":
            raise TypeError(
                f"{name} of shape {_shape(x)} is on device 'meta', which holds no values; pass the data"
            )
        x = x.detach()
    x = xp.astype(x, xp.float64)
    if not bool(xp.all(xp.isfinite(x))):
        bad = int(xp.sum(xp.astype(~xp.all(xp.isfinite(x), axis=1), xp.int64)))
        raise ValueError(
            f"{name} of shape {_shape(x)} has NaN or inf in {bad} of its rows; drop those rows (in every argument) first"
        )
    return x


def as_numpy(x: Array, name: str = "x", *, min_n: int = 2) -> np.ndarray:
    """`as_samples` for estimators that run on the CPU only: returns a C-contiguous numpy array.

    Raises:
        TypeError: in addition to `as_samples`, if `x` is a tensor on another device; it is never moved silently.
    """
    if hasattr(x, "is_cuda") or is_torch_array(x):
        if x.device.type != "cpu":
            raise TypeError(
                f"{name} of shape {_shape(x)} is on device {str(x.device)!r} and this estimator runs on the CPU; "
                f"pass {name}.cpu()"
            )
        x = x.detach()
        x = (x.double() if x.is_floating_point() else x).numpy()  # numpy has no bfloat16
    return np.ascontiguousarray(as_samples(x, name, min_n=min_n))


def as_labels(y: Array, name: str = "y", *, min_classes: int = 2) -> np.ndarray:
    """Checks a discrete variable: an integer vector `(n,)`; returns codes 0..C-1 as int64 numpy.

    Raises:
        TypeError: if `y` is not an integer vector, or lives on another device than the CPU.
        ValueError: if it has fewer than `min_classes` distinct values.
    """
    if not hasattr(y, "shape") or not is_discrete(y):
        kind = getattr(y, "dtype", type(y).__name__)
        raise TypeError(
            f"{name} must be an integer vector (n,) of labels, got dtype {kind} and shape {_shape(y)}"
        )
    if is_torch_array(y):
        if y.device.type != "cpu":
            raise TypeError(f"{name} of shape {_shape(y)} is on device {str(y.device)!r}; pass {name}.cpu()")
        y = y.detach().numpy()
    values, codes = np.unique(np.asarray(y), return_inverse=True)
    if len(values) < min_classes:
        raise ValueError(
            f"{name} of shape {_shape(y)} has {len(values)} distinct value(s); at least {min_classes} are needed"
        )
    return codes.astype(np.int64).reshape(-1)


def paired(x: Array, y: Array, names: tuple[str, str] = ("x", "y")) -> None:
    """Raises `ValueError` unless both have the same number of rows, and `TypeError` unless one library and device holds both."""
    if is_torch_array(x) != is_torch_array(y) and not (is_discrete(x) or is_discrete(y)):
        raise TypeError(
            f"{names[0]} is a {type(x).__name__} and {names[1]} a {type(y).__name__}: pass both as numpy arrays or both as "
            "torch tensors"
        )
    if is_torch_array(x) and is_torch_array(y) and x.device != y.device:
        raise TypeError(
            f"{names[0]} is on device {str(x.device)!r} and {names[1]} on {str(y.device)!r}: move one of them with "
            f"{names[1]}.to({names[0]}.device)"
        )
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            f"{names[0]} has shape {_shape(x)} and {names[1]} has shape {_shape(y)}: "
            "row i of one must belong to row i of the other, so both need the same n"
        )


def drop_constant_columns(x: Array, name: str = "x") -> tuple[Array, int]:
    """Removes columns without spread; returns the rest and how many were dropped.

    A column is constant when its largest deviation from its mean is at rounding level (2^-44 of its magnitude).

    Raises:
        ValueError: if every column is constant.
    """
    xp = array_namespace(x)
    high, low = xp.max(x, axis=0), xp.min(x, axis=0)
    keep = high - low > xp.maximum(high, -low) * 2.0**-44
    if bool(xp.all(keep)):
        return x, 0
    if not bool(xp.any(keep)):
        raise ValueError(
            f"{name} of shape {_shape(x)}: all columns are constant, there is no information to measure"
        )
    kept = x[:, keep]
    return kept, int(x.shape[1] - kept.shape[1])


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers of our own: a caller who drew the data from `default_rng(seed)` has another stream.

    Shuffling or jittering data with the very numbers that made them correlates with them.
    """
    return np.random.default_rng([zlib.crc32(purpose.encode()), seed])


def repeated_rows(x: np.ndarray) -> int:
    """How many rows are repeats of an earlier one, exactly."""
    rows = np.ascontiguousarray(x).view(np.dtype((np.void, x.dtype.itemsize * x.shape[1])))
    return len(x) - len(np.unique(rows))


def standardised(x: Array, *, with_scale: bool = False) -> Any:
    """Columns with mean 0 and standard deviation 1 (columns without spread must be dropped before).

    The range is divided out first, so that squares neither overflow nor vanish at any scale. `with_scale` also
    returns the standard deviations `(d,)`.
    """
    xp = array_namespace(x)
    x = x - xp.mean(x, axis=0)
    reach = xp.max(xp.abs(x), axis=0)
    x = x / reach
    x = x - xp.mean(x, axis=0)
    deviation = xp.sqrt(xp.mean(x * x, axis=0))
    return (x / deviation, reach * deviation) if with_scale else x / deviation


def diagnostics(**numbers: Any) -> dict[str, float]:
    """Numbers that are not `None`, as plain floats."""
    return {key: float(value) for key, value in numbers.items() if value is not None}

"""Checks of what an objective is given and of what it returns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from infossl.objectives.loss import Loss

__all__ = ["check_finite", "check_pair", "check_settings", "in_full_precision"]

_MEND_N = (
    "batch statistics and negatives need N >= {}; use a larger batch_size, or drop the last incomplete batch"
)


def check_pair(a: Tensor, b: Tensor, names: tuple[str, str] = ("z1", "z2"), min_n: int = 2) -> None:
    """Checks two batches `(N, K)` in which row i of both comes from one image.

    Arguments:
        a, b: the batches, called `names` in messages.
        names: what the caller calls them.
        min_n: fewest rows that the objective can be computed from.

    Raises:
        TypeError: if either is not a floating point tensor.
        ValueError: if shapes differ, are not `(N, K)`, or N < `min_n`.
    """
    for name, z in zip(names, (a, b), strict=True):
        if not isinstance(z, Tensor) or not z.is_floating_point():
            raise TypeError(
                f"{name} must be a floating point tensor (N, K), got {getattr(z, 'dtype', type(z).__name__)}"
            )
        if z.ndim != 2 or z.shape[1] < 1:
            raise ValueError(
                f"{name} has shape {tuple(z.shape)}: expected (N, K); flatten or pool each sample to one row"
            )
    if a.shape != b.shape:
        raise ValueError(
            f"{names[0]} has shape {tuple(a.shape)} and {names[1]} has shape {tuple(b.shape)}: "
            "row i of both must come from the same image, so the shapes must be equal"
        )
    if a.shape[0] < min_n:
        raise ValueError(f"{names[0]} has shape {tuple(a.shape)}: {_MEND_N.format(min_n)}")


def check_settings(
    owner: object,
    *,
    positive: Sequence[str] = (),
    nonnegative: Sequence[str] = (),
    counts: Sequence[str] = (),
) -> None:
    """Checks number settings of an objective by name.

    Arguments:
        owner: the objective.
        positive: names of settings that must be finite numbers > 0.
        nonnegative: names of settings that must be finite numbers >= 0.
        counts: names of settings that must be integers >= 1.

    Raises:
        TypeError: if a setting is no number, or a count no integer.
        ValueError: if a setting is outside its range.
    """
    for name in (*positive, *nonnegative, *counts):
        value = getattr(owner, name)
        if isinstance(value, np.generic):  # the repr is a name: it must read 0.2, not np.float64(0.2)
            value = value.item()
            object.__setattr__(owner, name, value)
        kind = int if name in counts else (int, float)
        if isinstance(value, bool) or not isinstance(value, kind):
            what = "an integer" if name in counts else "a number"
            raise TypeError(f"{type(owner).__name__}({name}={value!r}): {name} must be {what}")
        low, wanted = (0.0, "not be negative") if name in nonnegative else (math.ulp(0.0), "be positive")
        if not low <= value < math.inf:
            raise ValueError(f"{name} = {value} must {wanted} and finite")


def in_full_precision(z: Tensor) -> Tensor:
    """float64 as it is, everything else as float32."""
    return z if z.dtype == torch.float64 else z.float()


def check_finite(loss: Loss) -> Loss:
    """Returns the loss, or says which of its terms is not finite.

    Reads one number back from the device; skipped inside `torch.compile` and CUDA graph capture.

    Raises:
        FloatingPointError: names every term that is NaN or infinite, its value and the usual causes.
    """
    if torch.compiler.is_compiling() or (loss.total.is_cuda and torch.cuda.is_current_stream_capturing()):
        return loss
    if bool(torch.isfinite(loss.total)):
        return loss
    bad = {name: float(term.detach()) for name, term in loss.terms.items() if not bool(torch.isfinite(term))}
    named = (
        ", ".join(f"{name} = {value}" for name, value in bad.items())
        or f"total = {float(loss.total.detach())}"
    )
    raise FloatingPointError(
        f"loss term not finite: {named}; usual causes: NaN or inf in the inputs, a learning rate too large "
        "or without warm-up, or embeddings that overflowed in half precision"
    )

"""An entropy on top of another objective: what `LogDet`, `PairDist` and `KDE` share."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from infossl.objectives.checks import check_finite, in_full_precision
from infossl.objectives.inputs import EMBEDDINGS_AND_DIRECTIONS, PREDICTION_AND_TARGET, TWO_EMBEDDINGS
from infossl.objectives.loss import Loss, Objective

__all__ = ["check_inner", "less_entropy"]

# How many of the inner objective's inputs are embeddings that receive a gradient. They come first.
_EMBEDDINGS = {TWO_EMBEDDINGS: 2, EMBEDDINGS_AND_DIRECTIONS: 2, PREDICTION_AND_TARGET: 1}


def check_inner(owner: object, inner: Objective) -> None:
    """Refuses an inner objective that has no embeddings to take an entropy of.

    Raises:
        TypeError: if `inner` is no objective.
        ValueError: if its inputs are no embeddings.
    """
    name, takes = type(owner).__name__, getattr(inner, "inputs", None)
    if not callable(inner) or isinstance(inner, type) or takes is None:
        raise TypeError(
            f"{name}(inner={inner!r}): inner must be an objective, such as Invariance() or BYOL()"
        )
    if takes not in _EMBEDDINGS:
        raise ValueError(
            f"{name}(inner={inner!r}): inner takes {takes}, which are no embeddings to take an entropy of; "
            f"use an objective of {' or of '.join(_EMBEDDINGS)}"
        )


def less_entropy(
    inner: Objective,
    given: tuple[Tensor, ...],
    name: str,
    weight: float,
    entropy: Callable[[Tensor], Tensor],
) -> Loss:
    r"""\(L_{inner} - w\, \bar H\), with \(\bar H\) the mean entropy of the embeddings that receive a gradient.

    Where the inner objective does not see the scale of its embeddings, rows are brought to length
    \(\sqrt K\) first: else the entropy would grow for ever by scale alone.

    Arguments:
        inner: the objective, checked by `check_inner`.
        given: its inputs.
        name: of the entropy among the terms.
        weight: w.
        entropy: of samples `(N, K)`, in float64, in nats.
    """
    loss = inner(*given)  # checks its inputs
    found = []
    with torch.autocast(given[0].device.type, enabled=False):
        for z in given[: _EMBEDDINGS[inner.inputs]]:  # type: ignore[attr-defined]
            if z.shape[0] < 2:
                raise ValueError(f"an embedding has shape {tuple(z.shape)}: an entropy needs N >= 2")
            samples = in_full_precision(z)
            if inner.scale_free:  # type: ignore[attr-defined]
                samples = F.normalize(samples, dim=1) * z.shape[1] ** 0.5
            found.append(entropy(samples.double()))
        value = (torch.stack(found).sum() / len(found)).to(loss.total.dtype)
    return check_finite(Loss(loss.total - weight * value, {**loss.terms, name: value}))

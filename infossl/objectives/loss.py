"""`Loss`: what every objective returns; and its mean over several calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Loss", "Objective", "over_pairs"]


class Loss(NamedTuple):
    """A total to differentiate and its terms, unweighted and still tensors."""

    total: Tensor
    terms: dict[str, Tensor]


Objective = Callable[..., Loss]
"""An objective: what it is called with is said by its attribute `inputs`."""


def over_pairs(objective: Objective, pairs: Iterable[tuple[Tensor, ...]]) -> Loss:
    r"""Mean of an objective over several calls: both directions of a prediction, or all pairs of many views.

    .. math:: L = \frac{1}{P} \sum_{p=1}^{P} L(\text{inputs}_p)

    and likewise each term.

    Arguments:
        objective: called as `objective(*inputs)`.
        pairs: the inputs of each call, such as `[(prediction1, target2), (prediction2, target1)]`.

    Raises:
        ValueError: if there is no pair.

    Example:
        >>> import torch
        >>> from infossl.objectives import BYOL
        >>> p, t = torch.eye(2), torch.eye(2).flip(0)
        >>> float(over_pairs(BYOL(), [(p, p), (p, t)]).total)
        1.0
    """
    losses = [objective(*inputs) for inputs in pairs]
    if not losses:
        raise ValueError("pairs is empty: give the inputs of at least one call, such as [(z1, z2)]")
    terms = {name: torch.stack([loss.terms[name] for loss in losses]).mean() for name in losses[0].terms}
    return Loss(torch.stack([loss.total for loss in losses]).mean(), terms)

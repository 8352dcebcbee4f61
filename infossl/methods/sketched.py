"""Joint embedding with an objective that looks along random directions, new ones at every step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from infossl.data import derived_seed
from infossl.distributed import gathered
from infossl.methods.outputs import Outputs, Taps, block_taps
from infossl.objectives import Loss, Objective, SIGReg, require_inputs, unit_directions
from infossl.objectives.inputs import EMBEDDINGS_AND_DIRECTIONS

__all__ = ["SketchedEmbedding"]

_DIRECTIONS = 0xD1EC


class SketchedEmbedding(nn.Module):
    """Encoder f, projector g and an objective on z = g(f(view)) and random unit directions.

    The directions of a step are a function of the seed and of the number of steps done, kept in the buffer `step`:
    `after_step` must be called after every optimizer step.

    Arguments:
        encoder: images to h `(N, d)`, with its blocks in `encoder.blocks`.
        projector: h to z `(N, K)`.
        objective: `(z1, z2, directions) -> Loss`.
        directions: how many are drawn.
        seed: of the directions.

    Raises:
        ValueError: for an objective that takes other inputs.

    References:
        Balestriero & LeCun, 2025, *LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics*.
    """

    step: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        objective: Objective | None = None,
        *,
        directions: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.objective = SIGReg() if objective is None else objective
        require_inputs(self.objective, EMBEDDINGS_AND_DIRECTIONS, caller="SketchedEmbedding")
        self.encoder = encoder
        self.projector = projector
        self.directions = directions
        self.seed = seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The representation h and the embedding z of a batch."""
        h = self.encoder(x)
        return {"h": h, "z": self.projector(h)}

    def training_step(self, v1: Tensor, v2: Tensor) -> Outputs:
        """The loss on two views, with h of both."""
        one, two = self(v1), self(v2)
        seed = derived_seed(self.seed, _DIRECTIONS, int(self.step))
        directions = unit_directions(one["z"].shape[1], self.directions, seed).to(one["z"].device)
        loss: Loss = gathered(self.objective)(one["z"], two["z"], directions)
        return Outputs(loss, torch.cat([one["h"], two["h"]]))

    def after_step(self, step: int, steps: int) -> None:
        """Counts optimizer step `step` (1, 2, ...) of `steps`."""
        self.step.fill_(step)

    def taps(self) -> Taps:
        """Blocks, h and z."""
        return (*block_taps(self.encoder), ("encoder", "h", "auto"), ("projector", "z", "auto"))

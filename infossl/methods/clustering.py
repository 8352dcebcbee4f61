"""Clustering with prototypes: SwAV's swapped prediction and DINO's centred self-distillation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from infossl.distributed import gather, gathered
from infossl.methods.ema import ema_update, target_of
from infossl.methods.outputs import Outputs, Taps, block_taps
from infossl.methods.ramps import CosineRamp, Ramp
from infossl.models import Prototypes
from infossl.objectives import DINO, Loss, Objective, SwAV, moved_centre, over_pairs, require_inputs
from infossl.objectives.inputs import STUDENT_TEACHER_CENTRE, TWO_SCORES

__all__ = ["CentredDistillation", "Clustering"]


class Clustering(nn.Module):
    """Encoder f, projector g and prototypes c: an objective on the cosine scores of both views.

    The prototypes stand still in the first `freeze` steps, which the buffer `step` counts; `after_step` must be called after
    every optimizer step.

    Arguments:
        encoder: images to h `(N, d)`, with its blocks in `encoder.blocks`.
        projector: h to z `(N, K)`.
        prototypes: z to scores `(N, C)`.
        objective: `(scores1, scores2) -> Loss`.
        freeze: steps before the prototypes learn.

    Raises:
        ValueError: for an objective that takes other inputs.

    References:
        Caron et al., 2020, *Unsupervised Learning of Visual Features by Contrasting Cluster Assignments*.
    """

    step: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        prototypes: Prototypes,
        objective: Objective | None = None,
        *,
        freeze: int = 0,
    ) -> None:
        super().__init__()
        self.objective = SwAV() if objective is None else objective
        require_inputs(self.objective, TWO_SCORES, caller="Clustering")
        self.encoder = encoder
        self.projector = projector
        self.prototypes = prototypes
        self.freeze = freeze
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """h, z and the scores of a batch."""
        h = self.encoder(x)
        z = self.projector(h)
        return {"h": h, "z": z, "scores": self.prototypes(z)}

    def training_step(self, v1: Tensor, v2: Tensor) -> Outputs:
        """The loss on two views, with h of both."""
        _let_learn(self.prototypes, self.step, self.freeze)
        one, two = self(v1), self(v2)
        loss: Loss = gathered(self.objective)(one["scores"], two["scores"])
        return Outputs(loss, torch.cat([one["h"], two["h"]]))

    def after_step(self, step: int, steps: int) -> None:
        """Counts optimizer step `step` (1, 2, ...) of `steps`."""
        self.step.fill_(step)

    def taps(self) -> Taps:
        """Blocks, h, z and scores."""
        ends = (("encoder", "h", "auto"), ("projector", "z", "auto"), ("prototypes", "scores", "auto"))
        return (*block_taps(self.encoder), *ends)


class CentredDistillation(nn.Module):
    r"""A student predicts the distribution over prototypes that its centred average, the teacher, gives the other view.

    .. math:: L = \tfrac12 \ell(s(v_1), t(v_2), c) + \tfrac12 \ell(s(v_2), t(v_1), c)

    with scores s and t of student and teacher. The centre c is a buffer, the running mean of teacher scores, moved by
    every training step after its loss; `momentum` moves the teacher, prototypes included, in `after_step`, which must be
    called after every optimizer step. Running statistics of the teacher are moved by its own forward passes.

    Arguments:
        encoder: images to h `(N, d)`, with its blocks in `encoder.blocks`.
        projector: h to z `(N, K)`; DINO's heads have no batch normalisation.
        prototypes: z to scores `(N, C)`.
        objective: `(student, teacher, centre) -> Loss`.
        momentum: of the teacher, `(step, steps) -> m`.
        centre_momentum: of the centre.
        freeze: steps before the student's prototypes learn.

    Raises:
        ValueError: for an objective that takes other inputs.

    References:
        Caron et al., 2021, *Emerging Properties in Self-Supervised Vision Transformers*.
    """

    centre: Tensor
    step: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        prototypes: Prototypes,
        objective: Objective | None = None,
        *,
        momentum: Ramp = CosineRamp(0.996, 1.0),  # noqa: B008 - frozen
        centre_momentum: float = 0.9,
        freeze: int = 0,
    ) -> None:
        super().__init__()
        self.objective = DINO() if objective is None else objective
        require_inputs(self.objective, STUDENT_TEACHER_CENTRE, caller="CentredDistillation")
        self.encoder = encoder
        self.projector = projector
        self.prototypes = prototypes
        self.target_encoder = target_of(encoder)
        self.target_projector = target_of(projector)
        self.target_prototypes = target_of(prototypes)
        self.momentum = momentum
        self.centre_momentum = centre_momentum
        self.freeze = freeze
        self.register_buffer("centre", torch.zeros(prototypes.dim))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """h, z and scores of the student, and the teacher's scores."""
        h = self.encoder(x)
        z = self.projector(h)
        with torch.no_grad():
            target = self.target_prototypes(self.target_projector(self.target_encoder(x)))
        return {"h": h, "z": z, "scores": self.prototypes(z), "target": target}

    def training_step(self, v1: Tensor, v2: Tensor) -> Outputs:
        """The loss on two views, with the student's h of both; in training mode the centre moves after it."""
        _let_learn(self.prototypes, self.step, self.freeze)
        one, two = self(v1), self(v2)
        centre = self.centre.clone()
        pairs = [(one["scores"], two["target"], centre), (two["scores"], one["target"], centre)]
        loss = over_pairs(gathered(self.objective), pairs)
        if self.training:
            both = gather(torch.cat([one["target"], two["target"]]))
            self.centre.copy_(moved_centre(self.centre, both, self.centre_momentum))
        return Outputs(loss, torch.cat([one["h"], two["h"]]))

    def after_step(self, step: int, steps: int) -> None:
        """Moves the teacher after optimizer step `step` (1, 2, ...) of `steps`, with the momentum of index step - 1."""
        m = self.momentum(step - 1, steps)
        ema_update(self.target_encoder, self.encoder, m)
        ema_update(self.target_projector, self.projector, m)
        ema_update(self.target_prototypes, self.prototypes, m)
        self.step.fill_(step)

    def taps(self) -> Taps:
        """Blocks, h, z and scores of the student, then h, z and scores of the teacher."""
        return (
            *block_taps(self.encoder),
            ("encoder", "h", "auto"),
            ("projector", "z", "auto"),
            ("prototypes", "scores", "auto"),
            ("target_encoder", "target-h", "auto"),
            ("target_projector", "target-z", "auto"),
            ("target_prototypes", "target", "auto"),
        )


def _let_learn(prototypes: nn.Module, step: Tensor, freeze: int) -> None:
    """Whether gradients reach the prototypes follows from the step alone; without any, an optimizer leaves them."""
    if freeze:
        prototypes.requires_grad_(int(step) >= freeze)

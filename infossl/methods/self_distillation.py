"""Self-distillation: a branch that learns predicts what a branch that follows it says of the other view."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from infossl.distributed import gathered
from infossl.methods.ema import ema_update, target_of
from infossl.methods.outputs import Outputs, Taps, block_taps, dim_of
from infossl.methods.ramps import CosineRamp, Ramp
from infossl.models import ConvEncoder, predictor, projector, seeded
from infossl.objectives import Objective, over_pairs, require_inputs
from infossl.objectives.inputs import PREDICTION_AND_TARGET, TWO_EMBEDDINGS

__all__ = ["SelfDistillation", "self_distillation"]


class SelfDistillation(nn.Module):
    r"""Student encoder f, projector g and predictor q against a target branch, without negatives.

    .. math:: L = \tfrac12 \ell(q(g(f(v_1))), \mathrm{sg}\, t(v_2)) + \tfrac12 \ell(q(g(f(v_2))), \mathrm{sg}\, t(v_1))

    With a momentum the target t is \(\bar g \circ \bar f\), the exponential moving average of the student's parameters: BYOL.
    With `momentum=None` it is the student itself, \(g \circ f\): SimSiam. sg stops the gradient. Each branch sees each view in
    one forward pass: batch normalisation takes its statistics per view.

    `after_step` moves the target and must be called after every optimizer step. Running statistics are not averaged: those of
    the target are moved by its own forward passes in training mode, those of the student by the student's.

    `predictor=None` and `stop_gradient=False` leave out what keeps these methods from collapsing; they are here for
    experiments on collapse.

    Arguments:
        encoder: images to h `(N, d)`, with its blocks in `encoder.blocks`.
        projector: h to z `(N, K)`.
        predictor: z to predictions `(N, K)`; `None` is the identity.
        objective: `(prediction, target) -> Loss`, such as `BYOL()`.
        momentum: `(step, steps) -> m`, such as `CosineRamp(0.996, 1.0)`, or `None` for no separate target.
        stop_gradient: targets are constants of the loss. `False` needs `momentum=None` and an objective that lets gradients
            flow to its second argument, such as `Invariance()`.

    Raises:
        ValueError: for `stop_gradient=False` with a momentum, as no gradient can reach the student through its average, or
            with an objective that stops the gradient itself; for an objective that takes other inputs.

    References:
        Grill et al., 2020, *Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning*.
        Chen & He, 2021, *Exploring Simple Siamese Representation Learning*.
    """

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        predictor: nn.Module | None,
        objective: Objective,
        *,
        momentum: Ramp | None = None,
        stop_gradient: bool = True,
    ) -> None:
        super().__init__()
        if not stop_gradient and momentum is not None:
            raise ValueError(
                "stop_gradient=False needs momentum=None: the average of the student passes no gradient on to it"
            )
        if stop_gradient:
            require_inputs(objective, PREDICTION_AND_TARGET, TWO_EMBEDDINGS, caller="SelfDistillation")
        else:  # those of a prediction and a target stop the gradient themselves
            require_inputs(objective, TWO_EMBEDDINGS, caller="SelfDistillation(stop_gradient=False)")
        self.encoder = encoder
        self.projector = projector
        self.predictor = nn.Identity() if predictor is None else predictor
        self.target_encoder = None if momentum is None else target_of(encoder)
        self.target_projector = None if momentum is None else target_of(projector)
        self.objective = objective
        self.momentum = momentum
        self.stop_gradient = stop_gradient

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """h, z and prediction of the student, and the target that other views are compared with."""
        h = self.encoder(x)
        z = self.projector(h)
        return {"h": h, "z": z, "prediction": self.predictor(z), "target": self._target(x, z)}

    def _target(self, x: Tensor, z: Tensor) -> Tensor:
        if self.target_encoder is None or self.target_projector is None:
            return z.detach() if self.stop_gradient else z
        with torch.no_grad():
            return self.target_projector(self.target_encoder(x))

    def training_step(self, v1: Tensor, v2: Tensor) -> Outputs:
        """The loss on two views, with the student's h of both."""
        one, two = self(v1), self(v2)
        pairs = [(one["prediction"], two["target"]), (two["prediction"], one["target"])]
        return Outputs(over_pairs(gathered(self.objective), pairs), torch.cat([one["h"], two["h"]]))

    def after_step(self, step: int, steps: int) -> None:
        """Moves the target after optimizer step `step` (1, 2, ...) of `steps`, with the momentum of index step - 1."""
        if self.momentum is None or self.target_encoder is None or self.target_projector is None:
            return
        m = self.momentum(step - 1, steps)
        ema_update(self.target_encoder, self.encoder, m)
        ema_update(self.target_projector, self.projector, m)

    def taps(self) -> Taps:
        """Blocks, h, z and prediction of the student, then h and z of a separate target."""
        taps: list[tuple[str, str, str]] = [
            *block_taps(self.encoder),
            ("encoder", "h", "auto"),
            ("projector", "z", "auto"),
        ]
        if not isinstance(self.predictor, nn.Identity):
            taps.append(("predictor", "prediction", "auto"))
        if self.target_encoder is not None:
            taps += [("target_encoder", "target-h", "auto"), ("target_projector", "target", "auto")]
        return tuple(taps)


def self_distillation(
    objective: Objective,
    *,
    encoder: nn.Module | None = None,
    channels: Sequence[int] = (32, 64, 128),
    strides: Sequence[int] | None = None,
    in_channels: int = 1,
    hidden: Sequence[int] = (256, 256),
    predictor_hidden: int | None = 128,
    last_norm: bool = False,
    momentum: Ramp | None = CosineRamp(0.996, 1.0),  # noqa: B008 - frozen
    stop_gradient: bool = True,
    seed: int = 0,
) -> SelfDistillation:
    """A `SelfDistillation` of an encoder, `projector` and `predictor`, initialised from the seed alone.

    Arguments:
        objective: `(prediction, target) -> Loss`.
        encoder: a module with `dim`; by default a `ConvEncoder` of `channels`, `strides` and `in_channels`.
        hidden: dimensions of the projector after h; the last is the dimension of z.
        predictor_hidden: hidden dimension of the predictor; `None` leaves it out.
        last_norm: the projector's output is normalised too, as in SimSiam.
        momentum: of the target, or `None` for SimSiam; `stop_gradient` likewise as in `SelfDistillation`.
        seed: of the initial weights.

    Example:
        >>> from infossl.objectives import BYOL
        >>> byol = self_distillation(BYOL(), channels=(4, 8), hidden=(8, 8), predictor_hidden=4)
        >>> [role for _, role, _ in byol.taps()]
        ['block1', 'h', 'z', 'prediction', 'target-h', 'target']
    """
    with seeded(seed):
        encoder = ConvEncoder(channels, in_channels, strides) if encoder is None else encoder
        head = projector((dim_of(encoder), *hidden), last_norm=last_norm)
        guess = None if predictor_hidden is None else predictor(hidden[-1], predictor_hidden)
    return SelfDistillation(encoder, head, guess, objective, momentum=momentum, stop_gradient=stop_gradient)

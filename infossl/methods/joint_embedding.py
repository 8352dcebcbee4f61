"""Joint embedding: one encoder and projector see both views, an objective compares what comes out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from infossl.distributed import gathered
from infossl.methods.outputs import Outputs, Taps, block_taps, dim_of
from infossl.models import ConvEncoder, projector, seeded
from infossl.objectives import Loss, Objective, require_inputs
from infossl.objectives.inputs import TWO_EMBEDDINGS

__all__ = ["JointEmbedding", "joint_embedding"]


class JointEmbedding(nn.Module):
    """Encoder f, projector g and an objective on z = g(f(view)).

    The call of the method is that of its embeddings, `method(x) -> {"h", "z"}`, so that anything that
    watches modules sees every layer when it calls the method on inputs. Each view is one forward pass: batch
    normalisation takes its statistics per view.

    Arguments:
        encoder: images to h `(N, d)`, with its blocks in `encoder.blocks`.
        projector: h to z `(N, K)`.
        objective: `(z1, z2) -> Loss`.

    Raises:
        ValueError: for an objective that takes other inputs.
    """

    def __init__(self, encoder: nn.Module, projector: nn.Module, objective: Objective) -> None:
        super().__init__()
        require_inputs(objective, TWO_EMBEDDINGS, caller="JointEmbedding")
        self.encoder = encoder
        self.projector = projector
        self.objective = objective

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The representation h and the embedding z of a batch."""
        h = self.encoder(x)
        return {"h": h, "z": self.projector(h)}

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """h `(N, d)` and z `(N, K)` of a batch."""
        out = self(x)
        return out["h"], out["z"]

    def training_step(self, v1: Tensor, v2: Tensor) -> Outputs:
        """The loss on two views, with h of both."""
        (h1, z1), (h2, z2) = self.embed(v1), self.embed(v2)
        return Outputs(gathered(self.objective)(z1, z2), torch.cat([h1, h2]))

    def loss(self, v1: Tensor, v2: Tensor) -> Loss:
        """The loss on two views of the same images."""
        return self.training_step(v1, v2).loss

    def taps(self) -> Taps:
        """`(module name, role, pool)` of every block, of h and of z, from the input up."""
        return (*block_taps(self.encoder), ("encoder", "h", "auto"), ("projector", "z", "auto"))


def joint_embedding(
    objective: Objective,
    *,
    encoder: nn.Module | None = None,
    channels: Sequence[int] = (32, 64, 128),
    strides: Sequence[int] | None = None,
    in_channels: int = 1,
    hidden: Sequence[int] = (256, 256),
    seed: int = 0,
) -> JointEmbedding:
    """A `JointEmbedding` of an encoder and `projector`, initialised from the seed alone.

    The random state of the process is left as it was.

    Arguments:
        objective: `(z1, z2) -> Loss`, such as `VICReg()`.
        encoder: a module with `dim`, such as `resnet18()`; by default a `ConvEncoder` of `channels`, `strides` and
            `in_channels`.
        hidden: dimensions of the projector after h; the last is the dimension of z.
        seed: of the initial weights.

    Example:
        >>> from infossl.objectives import VICReg
        >>> [role for _, role, _ in joint_embedding(VICReg(), channels=(4, 8), hidden=(8,)).taps()]
        ['block1', 'h', 'z']
    """
    with seeded(seed):
        encoder = ConvEncoder(channels, in_channels, strides) if encoder is None else encoder
        head = projector((dim_of(encoder), *hidden))
    return JointEmbedding(encoder, head, objective)

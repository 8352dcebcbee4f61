"""Models and methods."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from infossl.data import generator
from infossl.methods import JointEmbedding, joint_embedding
from infossl.models import ConvEncoder, projector
from infossl.objectives import SimCLR, VICReg


def small(seed: int = 0, objective=None) -> JointEmbedding:
    return joint_embedding(objective or VICReg(), channels=(4, 8), hidden=(16, 6), seed=seed)


def images(n: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=generator(seed))


# -- models ---------------------------------------------------------------------------------------------------


def test_encoder_shapes_follow_channels_and_strides() -> None:
    encoder = ConvEncoder(channels=(4, 6, 8), in_channels=3, strides=(2, 1, 2))
    sizes = []
    for block in encoder.blocks:
        block.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape)))
    assert encoder(torch.rand(5, 3, 16, 16)).shape == (5, 8)
    assert sizes == [(5, 4, 8, 8), (5, 6, 8, 8), (5, 8, 4, 4)]
    assert encoder.dim == 8


def test_h_is_the_spatial_mean_of_the_last_block() -> None:
    encoder = ConvEncoder(channels=(4, 8)).eval()
    x = images()
    torch.testing.assert_close(encoder(x), encoder.blocks(x).flatten(2).mean(2))
    assert float(encoder(x).detach().min()) >= 0


def test_encoders_and_projectors_refuse_settings_that_fit_nothing() -> None:
    with pytest.raises(ValueError, match="at least one block"):
        ConvEncoder(channels=())
    with pytest.raises(ValueError, match="same length"):
        ConvEncoder(channels=(4, 8), strides=(1,))
    with pytest.raises(ValueError, match="dims"):
        projector((4,))


def test_the_projector_is_linear_at_its_end() -> None:
    head = projector((8, 16, 16, 4))
    kinds = [type(layer) for layer in head]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert head(torch.rand(3, 8)).shape == (3, 4)
    assert [type(layer) for layer in projector((8, 4))] == [nn.Linear]


# -- joint embedding ------------------------------------------------------------------------------------------


def test_calling_the_method_fires_every_tap_once_through_the_modules() -> None:
    method, fired = small(), []
    modules = dict(method.named_modules())
    for layer, _, _ in method.taps():
        modules[layer].register_forward_hook(lambda _m, _i, _o, layer=layer: fired.append(layer))
    out = method(images())
    assert fired == [layer for layer, _, _ in method.taps()]
    assert {name: tuple(value.shape) for name, value in out.items()} == {"h": (12, 8), "z": (12, 6)}
    assert method.taps() == (
        ("encoder.blocks.0", "block1", "auto"),
        ("encoder", "h", "auto"),  # the second and last block, pooled: listed once
        ("projector", "z", "auto"),
    )


@pytest.mark.parametrize("objective", [VICReg(), SimCLR()], ids=repr)
def test_the_loss_is_the_objective_of_both_embeddings(objective) -> None:
    method = small(objective=objective).eval()
    v1, v2 = images(seed=1), images(seed=2)
    loss, h = method.training_step(v1, v2)
    torch.testing.assert_close(loss.total, objective(method(v1)["z"], method(v2)["z"]).total)
    torch.testing.assert_close(h, torch.cat([method(v1)["h"], method.embed(v2)[0]]))
    torch.testing.assert_close(method.loss(v1, v2).total, loss.total)
    loss.total.backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in method.parameters())


def test_each_view_is_normalised_by_its_own_batch() -> None:
    method = small().train()
    v1, v2 = images(seed=1), 5 + 3 * images(seed=2)
    h = method.training_step(v1, v2).h
    torch.testing.assert_close(h[:12], small().train()(v1)["h"])  # as if the other view were not there
    assert int(method.encoder.blocks[0][1].num_batches_tracked) == 2


def test_initial_weights_are_a_function_of_the_seed_and_disturb_nobody() -> None:
    before = torch.get_rng_state()
    one, again, other = small(1), small(1), small(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert not torch.equal(one.encoder.blocks[0][0].weight, other.encoder.blocks[0][0].weight)

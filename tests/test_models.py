"""Backbones and heads."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from reference_transformer import position, predictions, tokens
from torch import nn

from infossl.data import generator
from infossl.models import (
    VIT_SIZES,
    Prototypes,
    ResNet,
    TokenPredictor,
    VisionTransformer,
    predictor,
    projector,
    resnet18,
    resnet50,
    seeded,
    sincos_positions,
    vit,
)


def numbers(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def small_vit(pool: str = "none", seed: int = 0) -> VisionTransformer:
    with seeded(seed):
        model = VisionTransformer((12, 8), patch=2, width=16, depth=2, heads=4, in_channels=2, pool=pool)
        for p in model.parameters():  # weights of order 1, so that every part of the formula counts
            nn.init.normal_(p, std=0.5)
    return model


def images(n: int = 3, shape: tuple[int, ...] = (2, 12, 8)) -> torch.Tensor:
    return torch.rand(n, *shape, generator=generator(7))


# -- residual networks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("build", "published"), [(resnet18, 11_689_512), (resnet50, 25_557_032)])
def test_residual_networks_have_the_published_parameters(build, published: int) -> None:
    with torch.device("meta"):
        large, small = build(), build(stem="cifar")
    assert numbers(large) + 1000 * (large.dim + 1) == published  # with the classifier of ImageNet
    assert numbers(large) - numbers(small) == 64 * 3 * (7 * 7 - 3 * 3)


@pytest.mark.parametrize(
    ("stem", "side", "sizes"), [("imagenet", 224, (56, 28, 14, 7)), ("cifar", 32, (32, 16, 8, 4))]
)
def test_stages_shrink_as_published(stem, side: int, sizes: tuple[int, ...]) -> None:
    with torch.device("meta"):
        for model, expansion in ((resnet18(stem=stem), 1), (resnet50(stem=stem), 4)):
            seen = []
            for stage in model.blocks:
                stage.register_forward_hook(lambda _m, _i, out, seen=seen: seen.append(tuple(out.shape)))
            assert model(torch.zeros(2, 3, side, side)).shape == (2, model.dim)
            widths = [64 * 2**i * expansion for i in range(4)]
            assert seen == [(2, w, s, s) for w, s in zip(widths, sizes, strict=True)]


def test_small_images_before_a_large_stem_are_said_once(caplog) -> None:
    with torch.device("meta"):
        for stem, side, said in (("imagenet", 32, 1), ("imagenet", 64, 0), ("cifar", 32, 0)):
            model = ResNet((1, 1, 1, 1), "basic", stem=stem, width=4)
            with caplog.at_level(logging.WARNING):
                caplog.clear()
                for _ in range(3):
                    model(torch.zeros(2, 3, side, side))
            assert len(caplog.records) == said
            if said:
                assert "32x32" in caplog.text
                assert "stem='cifar'" in caplog.text
                assert "1x1 places" in caplog.text


def test_a_residual_block_adds_its_branch_to_its_shortcut() -> None:
    with seeded(0):
        block = ResNet((1, 1, 1, 1), "bottleneck", stem="cifar", width=4).blocks[1][0].eval()
    x = torch.rand(2, 16, 8, 8, generator=generator(0))
    torch.testing.assert_close(block(x), torch.relu(block.shortcut(x) + block.branch(x)))
    assert block(x).shape == (2, 32, 4, 4)


# -- positions ------------------------------------------------------------------------------------------------


def test_positions_are_the_formula() -> None:
    found = sincos_positions(3, 5, 12)
    twin = torch.tensor([position(row, column, 12) for row in range(3) for column in range(5)])
    torch.testing.assert_close(found, twin.float(), rtol=0, atol=1e-7)
    torch.testing.assert_close(found.square().sum(1), torch.full((15,), 6.0))
    assert torch.equal(found[:5, 6:], found[:1, 6:].expand(5, 6))  # one row: the second half is constant
    with pytest.raises(ValueError, match="multiple of 4"):
        sincos_positions(2, 2, 6)


# -- vision transformers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "patch", "published"),
    [
        ("tiny", 16, 5_717_416),
        ("small", 16, 22_050_664),
        ("base", 16, 86_567_656),
        ("large", 16, 304_326_632),
        ("huge", 14, 632_045_800),
    ],
)
def test_transformers_have_the_published_parameters(size: str, patch: int, published: int) -> None:
    with torch.device("meta"):
        model = vit(size, patch=patch)
    width, depth, _ = VIT_SIZES[size]
    count = math.prod(model.grid)
    # The published models also have a class token, a learned position for it and every patch, and a classifier.
    assert numbers(model) + (count + 2) * width + 1000 * (width + 1) == published
    assert len(model.blocks) == depth
    assert numbers(model.blocks[0]) == 12 * width**2 + 13 * width


def test_transformers_are_their_twins() -> None:
    model, x = small_vit().double(), images().double()
    torch.testing.assert_close(model(x), tokens(model, x, 2, 4), rtol=1e-6, atol=1e-6)
    pooled = small_vit("mean").double()
    torch.testing.assert_close(pooled(x), model(x).mean(1))


def test_dropping_patches_is_attention_restricted_to_the_others() -> None:
    model, x = small_vit().double(), images().double()
    keep = torch.stack([torch.randperm(24, generator=generator(i))[:9].sort().values for i in range(3)])
    hidden = torch.ones(3, 24, dtype=torch.bool).scatter(1, keep, False)
    twin = tokens(model, x, 2, 4, hidden).gather(1, keep[:, :, None].expand(-1, -1, 16))
    torch.testing.assert_close(model(x, keep), twin, rtol=1e-6, atol=1e-6)
    shown = model(x).gather(1, keep[:, :, None].expand(-1, -1, 16))
    assert float((model(x, keep) - shown).detach().abs().max()) > 1e-2  # the comparison can fail
    everything = torch.arange(24).expand(3, 24)
    assert torch.equal(model(x, everything), model(x))


def test_initial_weights_have_their_standard_deviations() -> None:
    model = vit("tiny", 32, patch=4)
    parts = {
        "embed.weight": 0.02**2 * 48,
        "blocks.0.attention.qkv.weight": 1.0,
        "blocks.11.expand.weight": 1.0,
    }
    for block in (0, 3, 11):
        parts |= {f"blocks.{block}.{name}.weight": 2 * (block + 1) for name in ("attention.out", "project")}
    for name, divisor in parts.items():
        weight = model.get_parameter(name)
        wanted = 0.02 / math.sqrt(divisor)
        z = (float(weight.detach().std()) / wanted - 1) * math.sqrt(2 * weight.numel())
        assert abs(z) <= 4, name
    assert all(not bool(p.any()) for n, p in model.named_parameters() if n.endswith("bias"))


def test_transformers_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="does not tile"):
        VisionTransformer(30, patch=4)
    with pytest.raises(ValueError, match="must divide width"):
        VisionTransformer(8, patch=4, width=16, depth=1, heads=3)
    with pytest.raises(ValueError, match="image_size"):
        small_vit()(torch.zeros(1, 2, 8, 12))
    with pytest.raises(ValueError, match="known sizes: tiny"):
        vit("enormous")
    with pytest.raises(ValueError, match="pool"):
        VisionTransformer(8, patch=4, pool="max")


# -- heads ----------------------------------------------------------------------------------------------------


def token_predictor() -> TokenPredictor:
    with seeded(1):
        model = TokenPredictor(6, (4, 5), width=8, depth=2, heads=2)
        for p in model.parameters():
            nn.init.normal_(p, std=0.5)
    return model.double()


def places(seed: int, *shape: int) -> torch.Tensor:
    return torch.randint(20, shape, generator=generator(seed))


def test_the_token_predictor_is_its_twin_and_its_blocks_do_not_meet() -> None:
    model, seen = token_predictor(), torch.randn(3, 4, 6, generator=generator(5)).double()
    context, targets = places(1, 3, 4), places(2, 3, 2, 5)
    found = model(seen, context, targets)
    torch.testing.assert_close(found, predictions(model, seen, context, targets, 5, 2), rtol=1e-6, atol=1e-6)
    other = targets.clone()
    other[:, 1] = places(3, 3, 5)
    torch.testing.assert_close(model(seen, context, other)[:, :5], found[:, :5])
    assert not torch.allclose(model(seen, context, other)[:, 5:], found[:, 5:])
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(seen[:, order], context[:, order], targets), found)


def test_heads_have_the_layers_of_their_papers() -> None:
    simsiam = projector((8, 16, 4), last_norm=True).train()
    out = simsiam(torch.randn(64, 8, generator=generator(0)))
    torch.testing.assert_close(out.mean(0), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.var(0, unbiased=False), torch.ones(4), rtol=1e-3, atol=1e-3)
    assert [type(layer) for layer in projector((8, 16, 4), norm=False)] == [nn.Linear, nn.ReLU, nn.Linear]
    kinds = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [type(layer) for layer in predictor(4, 16)] == kinds
    assert predictor(4, 16)(torch.zeros(3, 4)).shape == (3, 4)


def test_prototype_scores_are_cosines() -> None:
    with seeded(0):
        model = Prototypes(5, 7)
    z = torch.randn(9, 5, generator=generator(0))
    twin = torch.nn.functional.cosine_similarity(z[:, None], model.weight[None], dim=2)
    torch.testing.assert_close(model(z), twin)
    torch.testing.assert_close(model(100 * z), twin)
    with pytest.raises(ValueError, match="at least two"):
        Prototypes(5, 1)


# -- seeds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda seed: resnet18(width=4, seed=seed),
        lambda seed: resnet50(width=4, seed=seed),
        lambda seed: vit("tiny", 8, patch=4, seed=seed),
        lambda seed: small_vit(seed=seed),
    ],
)
def test_builders_are_functions_of_the_seed_and_disturb_nobody(build) -> None:
    before = torch.get_rng_state()
    one, again, other = (build(seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(one.state_dict().values(), again.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))

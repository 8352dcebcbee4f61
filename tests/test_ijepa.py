"""I-JEPA: masks, targets, gradients, the moving target, exact resume."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from infossl.data import generator
from infossl.data.masks import Masks, MultiBlock
from infossl.methods import IJEPA, BlockL2, CosineRamp, LinearRamp, SmoothL1, ema_update, ijepa
from infossl.recording import record

PUBLISHED = {"inclusive": False, "truncate": "raster"}


def small(seed: int = 0, **settings) -> IJEPA:
    return ijepa(
        (12, 10),
        patch=2,
        width=16,
        depth=2,
        heads=2,
        predictor_width=8,
        predictor_depth=1,
        seed=seed,
        **settings,
    )


def images(n: int = 6, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, 12, 10, generator=generator(seed))


def trained(method: IJEPA, start: int, stop: int, optimizer: torch.optim.Optimizer | None = None):
    """Steps start + 1, ..., stop of 20 on images that are functions of the step."""
    chosen = [p for p in method.parameters() if p.requires_grad]
    optimizer = optimizer or torch.optim.AdamW(chosen, lr=1e-2)
    for step in range(start, stop):
        loss = method.training_step(images(seed=2 * step), images(seed=2 * step + 1)).loss.total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        method.after_step(step + 1, 20)
    return optimizer


# -- masks ----------------------------------------------------------------------------------------------------


# Rows and columns, min_keep, batch, steps; share of one target, of their union, of the context before the cut, after it.
# The shares of the published sampler; the standard deviation of each over steps is at most 0.048, so that the mean of 600
# steps is known to 0.002.
TABLE = [
    (14, 10, 32, (0.171, 0.446, 0.416, 0.285)),
    (14, 10, 128, (0.171, 0.446, 0.416, 0.254)),
    (16, 10, 128, (0.174, 0.450, 0.428, 0.266)),
    (8, 4, 128, (0.166, 0.430, 0.336, 0.179)),
]


@pytest.mark.parametrize(("side", "min_keep", "batch", "shares"), TABLE)
def test_masks_have_the_published_statistics(side: int, min_keep: int, batch: int, shares) -> None:
    masks = MultiBlock(grid=(side, side), min_keep=min_keep, **PUBLISHED)
    found = torch.zeros(600, 4)
    for step in range(600):
        context, targets = masks.blocks(batch, generator(0, step))
        union = torch.zeros(batch, side * side).scatter(1, targets.flatten(1), 1.0)
        assert not bool((union.bool() & context.flatten(1)).any())
        smallest = int(context.flatten(1).sum(1).min())
        found[step] = torch.tensor(
            [targets.shape[2] / side**2, union.mean(), context.float().mean(), smallest / side**2]
        )
    assert float(found.std(0).max()) < 0.05
    torch.testing.assert_close(found.mean(0), torch.tensor(shares), rtol=0, atol=0.01)


def rectangle(places: Tensor, columns: int) -> tuple[int, int]:
    """Rows and columns of a block, after making sure that it is one."""
    rows, cols = places // columns, places % columns
    size = int(rows.max() - rows.min()) + 1, int(cols.max() - cols.min()) + 1
    assert len(set(places.tolist())) == size[0] * size[1] == len(places)
    return size


def test_target_blocks_are_rectangles_of_the_published_sizes() -> None:
    sizes, touched, inside = set(), torch.zeros(196), torch.zeros(196)
    for step in range(300):
        masks = MultiBlock(grid=(14, 14), **PUBLISHED)(4, generator(1, step))
        found = {rectangle(block, 14) for image in masks.targets for block in image}
        assert len(found) == 1  # one size in a batch
        sizes |= found
        touched[masks.targets.flatten()] = 1
        wide = MultiBlock(grid=(14, 14))(4, generator(1, step))
        inside[wide.targets.flatten()] = 1
    assert sizes == {(5, 6), (6, 5), (6, 6), (7, 5), (8, 5)}
    assert not bool(touched.view(14, 14)[13].any() | touched.view(14, 14)[:, 13].any())
    assert bool(inside.all())  # inclusive: the last row and column too


def test_masks_of_a_batch_fit_together_and_follow_the_generator() -> None:
    masks = MultiBlock(grid=(9, 12))
    one, again, other = (masks(16, generator(3, step)) for step in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert one.context.shape != other.context.shape or not torch.equal(one.context, other.context)
    assert one.context.shape[0] == 16
    assert one.context.shape[1] > 10
    assert bool((one.context.diff(dim=1) > 0).all())
    for context, targets in zip(*one, strict=True):
        assert not set(context.tolist()) & set(targets.flatten().tolist())


def test_random_cuts_leave_the_context_where_it_was() -> None:
    rows = {}
    for truncate in ("raster", "random"):
        masks = MultiBlock(grid=(14, 14), inclusive=False, truncate=truncate)
        kept = [masks(64, generator(2, step)).context // 14 for step in range(100)]
        rows[truncate] = float(torch.cat([k.flatten() for k in kept]).float().mean())
    whole = [MultiBlock(grid=(14, 14), **PUBLISHED).blocks(64, generator(2, step))[0] for step in range(100)]
    mean = float(torch.cat(whole).nonzero()[:, 1].float().mean())
    # The difference to the mean row of the whole contexts has standard deviation 0.0044 over 20 seeds.
    assert abs(rows["random"] - mean) < 4 * 0.0044
    assert rows["raster"] < mean - 2  # 3.69 against 5.98: the top of the image


def test_masks_refuse_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="no context of more than 10 patches"):
        MultiBlock(grid=(4, 4))(8, generator(0))
    for settings in (
        {"grid": (1, 4)},
        {"targets": 0},
        {"min_keep": -1},
        {"target_scale": (0.2, 0.1)},
        {"context_scale": (0.5, 1.5)},
        {"truncate": "top"},
    ):
        with pytest.raises(ValueError, match=next(iter(settings))):
            MultiBlock(**{"grid": (4, 4), **settings})


# -- targets and predictions ----------------------------------------------------------------------------------


def test_targets_are_normalised_tokens_of_the_whole_image() -> None:
    method, x = small(), images()
    torch.nn.init.normal_(method.target_encoder.norm.weight, generator=generator(1))
    out = method(x)
    masks = method.masks(1, generator(0, 0x1A5D))
    tokens = method.target_encoder(x)
    mean, variance = tokens.mean(2, keepdim=True), tokens.var(2, keepdim=True, unbiased=False)
    normal = ((tokens - mean) / (variance + 1e-5).sqrt())[:, masks.targets[0].flatten()]
    torch.testing.assert_close(out["target"], normal)
    torch.testing.assert_close(out["h"], tokens.mean(1))
    torch.testing.assert_close(
        small(normalise=False)(x)["target"], small().encoder(x)[:, masks.targets[0].flatten()]
    )


def test_predictions_know_nothing_of_what_is_hidden() -> None:
    method, x = small(), images()
    for i, p in enumerate(
        method.parameters()
    ):  # initial tokens are nearly positions alone: make them speak of the image
        torch.nn.init.normal_(p, std=0.5, generator=generator(i))
    context = method.masks(1, generator(0, 0x1A5D)).context[0]
    hidden = torch.ones(30)
    hidden[context] = 0
    other = x + hidden.view(6, 5).repeat_interleave(2, 0).repeat_interleave(2, 1)
    one, two = method(x), method(other)
    assert torch.equal(one["prediction"], two["prediction"])
    assert not torch.allclose(one["target"], two["target"], atol=1e-2)
    assert not torch.allclose(method(1 - x)["prediction"], one["prediction"], atol=1e-3)


@pytest.mark.parametrize("objective", [SmoothL1(), SmoothL1(beta=0.1), BlockL2()], ids=repr)
def test_the_loss_is_the_formula(objective) -> None:
    method, v1, v2 = small(objective=objective), images(seed=1), images(seed=2)
    x = torch.cat([v1, v2])
    masks = method.masks(12, generator(0, 0x1A5C, 0))
    total = torch.zeros(())
    prediction = method.predictor(method.encoder(x, masks.context), *masks)
    blocks, count = masks.targets.shape[1:]
    for n in range(12):
        for i in range(blocks):
            target = torch.nn.functional.layer_norm(method.target_encoder(x[n : n + 1])[0], (16,))[
                masks.targets[n, i]
            ]
            error = (prediction[n, i * count : (i + 1) * count] - target).detach().abs()
            if isinstance(objective, BlockL2):
                total += error.square().sum() / (12 * blocks)
            else:
                beta = objective.beta
                huber = torch.where(error < beta, error**2 / (2 * beta), error - beta / 2)
                total += huber.mean() / (12 * blocks)
    out = method.training_step(v1, v2)
    torch.testing.assert_close(out.loss.total, total)
    torch.testing.assert_close(out.h, method.target_encoder(x).mean(1))


# -- gradients and the moving target --------------------------------------------------------------------------


def gradients(method: IJEPA) -> Mapping[str, bool]:
    """Which part receives a gradient in all of its parameters."""
    method.training_step(images(seed=1), images(seed=2)).loss.total.backward()
    return {
        name: all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in part.parameters())
        for name, part in method.named_children()
        if any(True for _ in part.parameters())
    }


def test_gradients_reach_encoder_and_predictor_and_never_the_target() -> None:
    method = small()
    assert gradients(method) == {"encoder": True, "predictor": True, "target_encoder": False}
    assert all(p.grad is None and not p.requires_grad for p in method.target_encoder.parameters())
    stopped, flowing = small(momentum=None), small(momentum=None, stop_gradient=False)
    assert gradients(stopped) == gradients(flowing) == {"encoder": True, "predictor": True}
    pairs = list(zip(stopped.named_parameters(), flowing.named_parameters(), strict=True))
    differ = {name.split(".")[0] for (name, a), (_, b) in pairs if not torch.equal(a.grad, b.grad)}
    assert differ == {"encoder"}  # the predictor's gradient does not depend on it
    # With the target detached, the gradient of the shared encoder is the one of a separate copy of it.
    for a, b in zip(stopped.encoder.parameters(), method.encoder.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_the_target_is_the_average_of_the_encoder() -> None:
    method = small(momentum=LinearRamp(0.5, 1.0)).double()
    followed = {name: p.detach().clone() for name, p in method.encoder.named_parameters()}
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=0.01)
    for step in range(5):
        optimizer.zero_grad()
        v1, v2 = (images(seed=seed).double() for seed in (step, step + 50))
        method.training_step(v1, v2).loss.total.backward()
        optimizer.step()
        method.after_step(step + 1, 5)
        m = 0.5 + 0.5 * step / 5
        for name, p in method.encoder.named_parameters():
            followed[name] = m * followed[name] + (1 - m) * p.detach()
    for name, p in method.target_encoder.named_parameters():
        torch.testing.assert_close(p, followed[name], rtol=0, atol=1e-12)
    distance = max(
        float((p.detach() - followed[name]).abs().max()) for name, p in method.encoder.named_parameters()
    )
    assert distance > 1e-3  # the comparison can fail
    assert int(method.step) == 5


def test_ramps_have_their_values_at_the_start_the_middle_and_the_end() -> None:
    momentum, decay = LinearRamp(0.996, 1.0), CosineRamp(0.04, 0.4)
    assert [momentum(s, 1000) for s in (0, 500, 1000)] == pytest.approx([0.996, 0.998, 1.0], abs=1e-12)
    assert [decay(s, 1000) for s in (0, 500, 1000)] == pytest.approx([0.04, 0.22, 0.4], abs=1e-12)
    assert decay(250, 1000) == pytest.approx(0.4 - 0.36 * (1 + 2**-0.5) / 2, abs=1e-12)
    for ramp in (momentum, decay):
        with pytest.raises(ValueError, match="between 0 and steps"):
            ramp(11, 10)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        ema_update(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1), 1.1)
    with pytest.raises(ValueError, match="differ in the parameters"):
        ema_update(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1), 0.5)


# -- in a run -------------------------------------------------------------------------------------------------


def test_a_state_dict_continues_to_the_bit() -> None:
    unbroken = small()
    trained(unbroken, 0, 6)
    first = small()
    optimizer = trained(first, 0, 3)
    state = copy.deepcopy((first.state_dict(), optimizer.state_dict()))
    second = small()
    second.load_state_dict(state[0])
    other = torch.optim.AdamW([p for p in second.parameters() if p.requires_grad], lr=1e-2)
    other.load_state_dict(state[1])
    trained(second, 3, 6, other)
    for name, value in unbroken.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    forgetful = small()
    forgetful.load_state_dict({**state[0], "step": torch.tensor(0)})  # the step matters: other masks
    loss = [m.training_step(images(seed=9), images(seed=8)).loss.total for m in (forgetful, first)]
    assert not torch.equal(*loss)


def test_recorders_see_every_tap_once_for_every_image() -> None:
    for method, roles in (
        (small(), ["block1", "block2", "h", "context", "prediction", "target"]),
        (small(momentum=None), ["h", "prediction", "target"]),
    ):
        assert [role for _, role, _ in method.taps()] == roles
        before = torch.get_rng_state()
        with record(method) as seen:
            out = method(images())
        assert torch.equal(torch.get_rng_state(), before)
        assert all(len(calls) == 1 and len(calls[0]) == 6 for calls in seen.values())
        torch.testing.assert_close(seen["representation"][0], out["h"].detach())
        torch.testing.assert_close(seen["targets"][0], out["target"].mean(1).detach())
        torch.testing.assert_close(
            out["h"][:2], method(images()[:2])["h"]
        )  # masks do not depend on the batch


def test_initial_weights_and_masks_are_functions_of_the_seed() -> None:
    before = torch.get_rng_state()
    one, again, other = small(1), small(1), small(2)
    assert torch.equal(torch.get_rng_state(), before)
    losses = [m.training_step(images(seed=1), images(seed=2)).loss.total for m in (one, again, other)]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])
    for a, b in zip(one.encoder.parameters(), one.target_encoder.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.data_ptr() != b.data_ptr()


def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(ValueError, match="momentum=None"):
        small(stop_gradient=False)
    with pytest.raises(ValueError, match="grid of"):
        small(masks=MultiBlock(grid=(4, 4)))
    pooled = copy.deepcopy(small().encoder)
    pooled.pool = "mean"
    with pytest.raises(ValueError, match="pool='none'"):
        IJEPA(pooled, small().predictor, MultiBlock(grid=(6, 5)))
    with pytest.raises(ValueError, match="beta"):
        SmoothL1(beta=0)


def test_masks_of_ones_own_are_enough() -> None:
    def left_to_right(n: int, generator: torch.Generator) -> Masks:
        return Masks(torch.arange(10).expand(n, 10), torch.arange(10, 30).view(1, 2, 10).expand(n, 2, 10))

    assert small(masks=left_to_right)(images())["prediction"].shape == (6, 20, 16)

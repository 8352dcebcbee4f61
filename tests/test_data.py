from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from estimators import parse
from infossl.data import DATA, Clutter, ImageData, cluttered_digits, derived_seed, digits, generator
from infossl.data.augment import (
    AUGMENTATIONS,
    Brightness,
    Compose,
    Erasing,
    Gain,
    Noise,
    RandomAffine,
    RandomResizedCrop,
    affine,
)
from infossl.data.digits import DIGITS_VIEWS, digits_images, stratified_split

ALL = [
    RandomAffine(),
    RandomAffine(rotation=0.1, translation=0.0, zoom=0.3, shear=0.2),
    RandomResizedCrop(),
    RandomResizedCrop(scale=(0.3, 0.5), ratio=(1.0, 1.0)),
    Gain(),
    Brightness(),
    Noise(),
    Erasing(p=1.0, size=3),
    DIGITS_VIEWS,
]


def same_image(n: int = 64, side: int = 8, seed: int = 0) -> Tensor:
    return torch.rand(1, 1, side, side, generator=generator(seed)).expand(n, 1, side, side)


# -- seeds ----------------------------------------------------------------------------------------------------


def test_seeds_are_functions_of_their_key() -> None:
    keys = [(s, e, v) for s in range(5) for e in range(20) for v in range(2)]
    seeds = [derived_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert seeds == [derived_seed(*key) for key in keys]
    assert all(0 <= s < 2**63 for s in seeds)
    assert torch.equal(torch.rand(3, generator=generator(1, 2)), torch.rand(3, generator=generator(1, 2)))


# -- augmentations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_every_sample_draws_its_own_parameters_from_the_generator_alone(augment) -> None:
    x = same_image()
    before = torch.get_rng_state()
    first = augment(x, generator(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.shape == x.shape
    assert first.dtype == x.dtype
    assert len(torch.unique(first.flatten(1), dim=0)) > len(x) // 4
    assert torch.equal(augment(x, generator(1)), first)
    assert not torch.equal(augment(x, generator(2)), first)
    assert torch.equal(x, same_image())  # the input is left as it was


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_the_repr_rebuilds(augment) -> None:
    assert parse(repr(augment), AUGMENTATIONS) == augment


@pytest.mark.parametrize(
    "augment",
    [
        RandomAffine(0.0, 0.0, 0.0, 0.0),
        RandomResizedCrop((1.0, 1.0), (1.0, 1.0)),
        Gain(0.0),
        Brightness(0.0),
        Noise(0.0),
        Erasing(p=0.0),
        Compose(),
    ],
    ids=repr,
)
def test_zero_strength_is_the_identity(augment) -> None:
    x = torch.rand(5, 2, 8, 8, generator=generator(0))
    torch.testing.assert_close(augment(x, generator(1)), x, rtol=0, atol=1e-6)


def test_affine_moves_pixels_where_it_should() -> None:
    x = torch.rand(1, 1, 8, 8, generator=generator(0), dtype=torch.float64)
    unit, still = torch.eye(2, dtype=x.dtype)[None], torch.zeros(1, 2, dtype=x.dtype)
    right = affine(x, unit, torch.tensor([[-2 / 8, 0.0]], dtype=x.dtype))  # one pixel is 2 / 8 of [-1, 1]
    torch.testing.assert_close(right[..., 1:], x[..., :-1])
    assert float(right[..., 0].abs().max()) < 1e-12
    quarter = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]], dtype=x.dtype)
    torch.testing.assert_close(affine(x, quarter, still), torch.rot90(x, -1, (2, 3)))


def test_crops_show_a_window_of_whole_pixels_that_is_resampled() -> None:
    # On a ramp u(x, y) = x the crop is a ramp again: its slope is the side of the window, its middle the centre.
    side = 32
    ramp = torch.linspace(-1 + 1 / side, 1 - 1 / side, side, dtype=torch.float64)
    x = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)])[None].expand(
        500, 2, side, side
    )
    crop = RandomResizedCrop(scale=(0.25, 0.49), ratio=(0.8, 1.25))
    windows, out = crop.parameters(500, (side, side), generator(0)), crop(x, generator(0))
    middle = slice(side // 4, 3 * side // 4)  # the border repeats the outermost half pixel
    width = (out[:, 0, 0, middle][:, -1] - out[:, 0, 0, middle][:, 0]) / (ramp[middle][-1] - ramp[middle][0])
    height = (out[:, 1, middle, 0][:, -1] - out[:, 1, middle, 0][:, 0]) / (ramp[middle][-1] - ramp[middle][0])
    torch.testing.assert_close(width * side, windows.width)
    torch.testing.assert_close(height * side, windows.height)
    centre = out[:, 0, 0, side // 2 - 1 : side // 2 + 1].mean(1)
    torch.testing.assert_close((centre + 1) * side / 2, windows.left + windows.width / 2)
    assert set((width * side).round().int().tolist()) <= set(range(14, 26))


def test_gain_brightness_and_noise_have_the_stated_laws() -> None:
    x = torch.ones(4000, 1, 2, 2, dtype=torch.float64)
    gain, shift = Gain(0.3)(x, generator(0)), Brightness(0.1)(x, generator(0)) - 1
    for values, centre, spread in ((gain, 1.0, 0.3), (shift, 0.0, 0.1)):
        assert torch.equal(values, values[:, :, :1, :1].expand_as(values))  # one number per image
        assert float((values - centre).abs().max()) <= spread
        # Uniform: standard deviation spread / sqrt(3), standard error of the mean over 4,000 images.
        assert abs(float(values.mean()) - centre) <= 4 * spread / math.sqrt(3 * 4000)
    noise = Noise(0.05)(x, generator(0)) - 1
    assert abs(float(noise.std()) / 0.05 - 1) <= 4 / math.sqrt(2 * noise.numel())


def test_erasing_blackens_one_square_of_the_chosen_share() -> None:
    x = torch.ones(4000, 1, 8, 8)
    black = (Erasing(p=0.3, size=3)(x, generator(0)) == 0).flatten(1).sum(1)
    assert set(black.tolist()) == {0, 9}
    share = float((black == 9).double().mean())
    assert abs(share - 0.3) <= 4 * math.sqrt(0.3 * 0.7 / 4000)
    where = Erasing(p=1.0, size=3)(x, generator(1))[:, 0] == 0
    assert bool(where.any(0).all())  # every pixel can be hit
    assert float((where.any(2).sum(1) - 3).abs().max()) == 0


def test_wrong_images_and_settings_are_refused() -> None:
    for bad in (torch.ones(3, 8, 8), torch.ones(2, 1, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
            Gain()(bad, generator(0))
    with pytest.raises(ValueError, match="size = 9"):
        Erasing(size=9)(torch.ones(2, 1, 8, 8), generator(0))
    with pytest.raises(ValueError, match="scale"):
        RandomResizedCrop(scale=(0.8, 0.5))
    with pytest.raises(ValueError, match="zoom"):
        RandomAffine(zoom=1.0)


# -- digits ---------------------------------------------------------------------------------------------------


def test_the_digits_are_those_of_scikit_learn() -> None:
    x, y = digits_images()
    raw = load_digits()
    np.testing.assert_array_equal(x.numpy()[:, 0] * 16, raw.images)
    np.testing.assert_array_equal(y.numpy(), raw.target)


@pytest.mark.parametrize("train", [100, 1000, 1700])
def test_the_split_is_a_stratified_partition(train: int) -> None:
    y = load_digits().target
    fit, test = stratified_split(y, train, 0)
    assert len(fit) == train
    np.testing.assert_array_equal(np.sort(np.concatenate([fit, test])), np.arange(len(y)))
    share = np.bincount(y[fit]) - np.bincount(y) * train / len(y)
    assert np.abs(share).max() <= 1
    assert not np.array_equal(fit, stratified_split(y, train, 1)[0])
    with pytest.raises(ValueError, match="1796"):
        stratified_split(y, len(y), 0)


@pytest.mark.parametrize("name", sorted(DATA))
def test_a_data_set_is_the_same_every_time(name: str) -> None:
    data, again = DATA[name](), DATA[name]()
    assert data.content_hash == again.content_hash
    assert (data.name, len(data.train_x), len(data.test_x), data.classes) == (name, 1000, 797, 10)
    assert 0 <= float(data.train_x.min()) <= float(data.train_x.max()) <= 1
    for mine, theirs in zip(data.evaluation(), again.evaluation(), strict=True):
        assert torch.equal(mine, theirs)
    changed = data.train_x.clone()
    changed[0, 0, 0, 0] += 1e-3
    other = ImageData(name, changed, data.train_y, data.test_x, data.test_y, data.augment, data.clean)
    assert other.content_hash != data.content_hash
    other = ImageData(name, data.train_x, data.train_y, data.test_x, data.test_y, Gain(0.1), data.clean)
    assert other.content_hash != data.content_hash


@pytest.mark.parametrize("name", sorted(DATA))
def test_the_probe_set_holds_out_the_test_images(name: str) -> None:
    data = DATA[name]()
    probe = data.probe_set(q=2, seed=0)
    assert int(probe.held_out.sum()) == 797
    assert torch.equal(probe.y[probe.held_out], data.test_y)
    assert torch.equal(probe.x[probe.held_out], data.evaluation()[1])
    assert torch.equal(probe.x[~probe.held_out], data.evaluation()[0])
    assert tuple(probe.views.shape) == (1797, 2, *probe.x.shape[1:])
    assert not torch.equal(probe.views[:, 0], probe.views[:, 1])
    images = torch.cat([data.train_x, data.test_x])
    assert torch.equal(
        probe.views[:, 1], data.augment(images, torch.Generator().manual_seed(probe.view_seeds[1]))
    )
    assert probe.content_hash == data.probe_set(q=2, seed=0).content_hash
    assert probe.content_hash != data.probe_set(q=2, seed=1).content_hash
    assert data.probe_set(q=0).views is None


def test_inconsistent_images_and_labels_are_refused() -> None:
    x, y = torch.ones(4, 1, 2, 2), torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"train_x has shape \(4, 1, 2, 2\) and train_y \(3,\)"):
        ImageData("bad", x, y, x, y, Gain())


# -- cluttered digits -----------------------------------------------------------------------------------------

BARE = Clutter(canvas=16, shift=0.0, rotation=0.0, scale=0.0, patches=0, gain=0.0, noise=0.0)


def test_without_style_the_digit_is_left() -> None:
    x = torch.rand(4, 1, 16, 16, generator=generator(0))
    torch.testing.assert_close(BARE(x, generator(1)), x, rtol=0, atol=1e-5)


def test_shift_and_rotation_move_the_digit_as_the_style_says() -> None:
    x = torch.rand(2, 1, 16, 16, generator=generator(0), dtype=torch.float64)
    style = BARE.style(x, generator(1))
    two_right_one_down = torch.tensor([[4 / 16, 2 / 16]] * 2, dtype=x.dtype)
    out = BARE.render(x, style._replace(shift=two_right_one_down))
    torch.testing.assert_close(out[:, :, 1:, 2:], x[:, :, :-1, :-2])
    out = BARE.render(x, style._replace(rotation=torch.full((2,), math.pi / 2, dtype=x.dtype)))
    torch.testing.assert_close(out, torch.rot90(x, -1, (2, 3)))
    out = BARE.render(x, style._replace(gain=torch.tensor([0.5, 2.0], dtype=x.dtype)))
    torch.testing.assert_close(out[1], 2 * x[1])


def test_pieces_come_from_the_other_digits_and_are_blended_by_the_maximum() -> None:
    clutter = Clutter(canvas=16, shift=0.0, rotation=0.0, scale=0.0, gain=0.0, noise=0.0)
    x = torch.rand(6, 1, 16, 16, generator=generator(0), dtype=torch.float64)
    style = clutter.style(x, generator(1))
    assert bool((style.donor != torch.arange(6)[:, None]).all())
    expected = x.clone()
    for i in range(6):
        for k in range(4):
            (r, c), (row, column) = style.source[i, k].tolist(), style.target[i, k].tolist()
            piece = 0.8 * x[style.donor[i, k], 0, r : r + 6, c : c + 6]
            place = expected[i, 0, row : row + 6, column : column + 6]
            expected[i, 0, row : row + 6, column : column + 6] = torch.maximum(place, piece)
    torch.testing.assert_close(clutter.render(x, style), expected)


def test_the_style_stays_within_the_stated_ranges_and_reaches_them() -> None:
    x = torch.rand(2000, 1, 16, 16, generator=generator(0))
    style = Clutter().style(x, generator(1))
    for values, low, high in (
        (style.shift, -0.55, 0.55),
        (style.rotation, -0.25, 0.25),
        (style.scale, 0.85, 1.15),
        (style.gain, 0.7, 1.3),
        (style.source, 0, 10),
        (style.target, 0, 18),
    ):
        slack = 0.01 * (high - low)
        assert low <= float(values.min()) <= low + slack
        assert high - slack <= float(values.max()) <= high
    assert abs(float(style.noise.std()) / 0.05 - 1) <= 4 / math.sqrt(2 * style.noise.numel())
    flat = torch.stack([style.shift[:, 0], style.shift[:, 1], style.rotation, style.scale, style.gain])
    correlation = torch.corrcoef(flat) - torch.eye(5)
    assert float(correlation.abs().max()) <= 4 / math.sqrt(2000)  # drawn independently


def test_two_views_share_the_content_alone() -> None:
    x = digits_images()[0][:64]
    x = torch.nn.functional.interpolate(x, size=(16, 16), mode="bilinear", align_corners=False)
    clutter = Clutter()
    style, other = clutter.style(x, generator(1)), clutter.style(x, generator(2))
    assert torch.equal(clutter(x, generator(1)), clutter.render(x, style))
    assert all(not torch.equal(a, b) for a, b in zip(style, other, strict=True))
    assert torch.equal(cluttered_digits().train_y, digits().train_y)
    with pytest.raises(ValueError, match=r"\(1, 1, 16, 16\).*two"):
        clutter(x[:1], generator(0))

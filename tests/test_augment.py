"""Augmentations: parameters against their laws, images against closed forms, PIL, scipy and colorsys."""

from __future__ import annotations

import colorsys
import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage, stats
from torch import Tensor

from estimators import parse
from infossl.data import VIEW_PRESETS, SampleGenerator, ViewSettings, generator, multi_crop, views_named
from infossl.data.augment import (
    AUGMENTATIONS,
    Blur,
    ColorJitter,
    Compose,
    Erasing,
    Flip,
    Gain,
    Grayscale,
    Noise,
    Normalise,
    PerView,
    RandomAffine,
    RandomResizedCrop,
    Solarise,
    ToFloat,
)
from infossl.data.cluttered_digits import Clutter
from infossl.data.colour import Blurred, Jitter, brightness, contrast, gray, hue, saturation
from infossl.data.crop import Windows
from infossl.data.sample_generator import philox

OPERATIONS = [
    RandomAffine(),
    Gain(),
    Noise(),
    Erasing(),
    RandomResizedCrop((0.2, 1.0), size=6),
    Flip(),
    ColorJitter(),
    Grayscale(),
    Blur(),
    Solarise(),
    Compose((ToFloat(), RandomResizedCrop(), Flip(), ColorJitter(), Blur(), Normalise())),
]
N = 20_000


def colours(n: int = 6, side: int = 16, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, 3, side, side, generator=generator(seed), dtype=dtype)


def assert_law(draws: Tensor, cdf) -> None:
    """sqrt(n) D of Kolmogorov and Smirnov has mean sqrt(pi / 2) log 2 and variance pi^2 / 12 - mean^2: |z| <= 4."""
    values = draws.numpy()
    d = stats.kstest(values, cdf).statistic
    mean = math.sqrt(math.pi / 2) * math.log(2)
    z = (math.sqrt(len(values)) * d - mean) / math.sqrt(math.pi**2 / 12 - mean**2)
    assert z <= 4, z


def assert_share(chosen: Tensor, p: float) -> None:
    share = float(chosen.double().mean())
    assert abs(share - p) <= 4 * math.sqrt(p * (1 - p) / len(chosen)), share


def keyed(n: int, seed: int = 0, **key: int) -> SampleGenerator:
    return SampleGenerator(seed, torch.arange(n), **key)


# -- streams of random numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_answers(counter, key, expected) -> None:
    assert tuple(int(word) for word in philox(counter, key)) == expected


def test_uniform_and_normal_numbers_have_their_laws() -> None:
    stream = keyed(N // 4)
    for dtype in (torch.float64, torch.float32):
        u = stream.uniform((4,), dtype)
        assert u.dtype == dtype
        assert 0 <= float(u.min()) < 1e-3 < 1 - 1e-3 < float(u.max()) < 1
        assert_law(u.flatten().double(), "uniform")
        assert_law(stream.normal((4,), dtype).flatten().double(), "norm")
    four = keyed(N).uniform((4,))
    correlation = torch.corrcoef(torch.cat([four.T, keyed(N, view=1).uniform((1,)).T])) - torch.eye(5)
    assert float(correlation.abs().max()) <= 4 / math.sqrt(N)


def test_streams_differ_by_seed_epoch_sample_and_view_and_move_on() -> None:
    draws = [
        SampleGenerator(seed, torch.tensor([5, 6]), epoch=epoch, view=view).uniform()
        for seed, epoch, view in itertools.product((0, 1, 2**40), (0, 1), (0, 1))
    ]
    assert len(torch.unique(torch.cat(draws))) == 2 * len(draws)
    stream = keyed(3)
    assert not torch.equal(stream.uniform(), stream.uniform())
    assert torch.equal(stream.for_view(0).uniform(), keyed(3).uniform())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1, "ids": [0]}, "seed = -1"),
        ({"seed": 0, "ids": [0], "epoch": 2**32}, "epoch"),
        ({"seed": 0, "ids": [0], "view": -1}, "view"),
        ({"seed": 0, "ids": [-1]}, "ids must be in"),
        ({"seed": 0, "ids": [[0]]}, r"\(1, 1\)"),
        ({"seed": 0, "ids": [0.5]}, "integers"),
    ],
)
def test_wrong_keys_are_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        SampleGenerator(arguments.pop("seed"), torch.tensor(arguments.pop("ids")), **arguments)


def test_the_number_of_streams_is_that_of_the_batch() -> None:
    for augment in (Gain(), Flip()):
        with pytest.raises(ValueError, match="3 samples and the batch 4"):
            augment(colours(4), keyed(3))


@pytest.mark.parametrize("augment", OPERATIONS, ids=repr)
def test_what_an_image_draws_does_not_depend_on_its_batch_or_rank(augment) -> None:
    """The shares of two ranks, in any order, are the rows of the single process."""
    x, ids = colours(12, side=8), torch.tensor([7, 1, 40, 3, 2, 9, 100, 8, 6, 5, 4, 0])
    whole = augment(x, SampleGenerator(3, ids, epoch=2, view=1))
    for rank in (0, 1):
        rows = torch.arange(12)[rank::2].flip(0)
        part = augment(x[rows], SampleGenerator(3, ids[rows], epoch=2, view=1))
        torch.testing.assert_close(part, whole[rows], rtol=0, atol=1e-12)
    other = augment(x, SampleGenerator(3, ids, epoch=3, view=1))
    assert not torch.allclose(whole, other)


def test_views_that_need_the_batch_or_their_number_say_so() -> None:
    with pytest.raises(TypeError, match="other digits of the batch"):
        Clutter()(torch.rand(4, 1, 16, 16), keyed(4))
    with pytest.raises(ValueError, match="number of the view"):
        PerView((Flip(1.0), Flip(0.0)))(colours(), generator(0))


@pytest.mark.parametrize("augment", OPERATIONS, ids=repr)
def test_reprs_rebuild_and_global_streams_stay(augment) -> None:
    assert parse(repr(augment), AUGMENTATIONS) == augment
    before, x = torch.get_rng_state(), colours()
    kept = x.clone()
    first = augment(x, generator(1))
    assert torch.equal(augment(x, generator(1)), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x, kept)


# -- crops ----------------------------------------------------------------------------------------------------


def test_windows_have_the_stated_law() -> None:
    """On a huge image rounding to pixels is invisible; every window of at most half the area fits at the first try."""
    side = 10**7
    windows = RandomResizedCrop((0.2, 0.5), (3 / 4, 4 / 3)).parameters(N, (side, side), generator(0))
    area, ratio = windows.width * windows.height / side**2, windows.width / windows.height
    assert_law(area, stats.uniform(0.2, 0.3).cdf)
    assert_law(ratio.log(), stats.uniform(math.log(3 / 4), 2 * math.log(4 / 3)).cdf)
    assert_law(windows.top / (side - windows.height), "uniform")
    assert_law(windows.left / (side - windows.width), "uniform")


def test_windows_reach_every_place() -> None:
    """A quarter of 32x32 pixels is 16x16, at 17x17 places of equal probability; the statistic has mean 16 and sd sqrt(32)."""
    windows = RandomResizedCrop((0.25, 0.25), (1.0, 1.0)).parameters(N, (32, 32), generator(0))
    assert set(windows.height.tolist()) == set(windows.width.tolist()) == {16.0}
    for place in (windows.top, windows.left):
        counts = np.bincount(place.int().numpy(), minlength=17)
        assert len(counts) == 17
        assert abs((stats.chisquare(counts).statistic - 16) / math.sqrt(32)) <= 4


def twin_of_the_windows(rng: np.random.Generator, rows: int, columns: int, scale, ratio) -> tuple[int, ...]:
    for _ in range(10):
        area = rows * columns * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= columns and 0 < h <= rows:
            return int(rng.integers(0, rows - h + 1)), int(rng.integers(0, columns - w + 1)), h, w
    w, h = columns, rows
    if columns / rows < ratio[0]:
        h = round(w / ratio[0])
    elif columns / rows > ratio[1]:
        w = round(h * ratio[1])
    return (rows - h) // 2, (columns - w) // 2, h, w


@pytest.mark.parametrize(
    ("rows", "columns", "scale"), [(32, 32, (0.08, 1.0)), (20, 50, (0.6, 1.0)), (9, 40, (0.9, 1.0))]
)
def test_windows_are_those_of_a_loop_over_tries(rows: int, columns: int, scale) -> None:
    """Chi-square of homogeneity over (height, width) and over places: its p is uniform, 4 sd of a normal are 6e-5."""
    n, ratio, rng = 6000, (3 / 4, 4 / 3), np.random.default_rng(0)
    windows = RandomResizedCrop(scale, ratio).parameters(n, (rows, columns), generator(0))
    mine = torch.stack(list(windows), 1).int().numpy()
    twin = np.array([twin_of_the_windows(rng, rows, columns, scale, ratio) for _ in range(n)])
    assert (mine[:, :2] >= 0).all()
    assert (mine[:, 0] + mine[:, 2] <= rows).all()
    assert (mine[:, 1] + mine[:, 3] <= columns).all()
    for part in (slice(2, 4), slice(0, 2)):
        cells, code = np.unique(np.concatenate([mine, twin])[:, part] // 3, axis=0, return_inverse=True)
        table = np.stack(
            [
                np.bincount(code.ravel()[:n], minlength=len(cells)),
                np.bincount(code.ravel()[n:], minlength=len(cells)),
            ]
        )
        frequent = table.sum(0) >= 20
        table = np.concatenate([table[:, frequent], table[:, ~frequent].sum(1, keepdims=True)], 1)
        table = table[:, table.sum(0) > 0]
        if table.shape[1] > 1:
            assert stats.chi2_contingency(table).pvalue > 6e-5
        else:  # no window fits: the central one is left
            assert len(np.unique(mine, axis=0)) == len(np.unique(twin, axis=0)) == 1


@pytest.mark.parametrize("size", [8, 16, (5, 24)])
def test_windows_are_resampled_as_by_pil(size) -> None:
    x = colours(5, side=20)
    windows = Windows(
        *(
            torch.tensor(v).double()
            for v in ([0, 3, 0, 9, 5], [0, 2, 8, 0, 5], [20, 9, 5, 11, 1], [20, 13, 12, 3, 1])
        )
    )
    out = RandomResizedCrop(size=size).apply(x, windows)
    height, width = size if isinstance(size, tuple) else (size, size)
    for i, (top, left, tall, wide) in enumerate(zip(*(w.int().tolist() for w in windows), strict=True)):
        for c in range(3):
            image = Image.fromarray(x[i, c].float().numpy()).crop((left, top, left + wide, top + tall))
            twin = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
            np.testing.assert_allclose(out[i, c].numpy(), twin, rtol=0, atol=2e-6)


def test_windows_are_resampled_as_by_torch_with_antialias() -> None:
    x = colours(3, side=20)
    windows = RandomResizedCrop((0.1, 0.9)).parameters(3, (20, 20), generator(0))
    out = RandomResizedCrop(size=9).apply(x, windows)
    for i, (top, left, tall, wide) in enumerate(zip(*(w.int().tolist() for w in windows), strict=True)):
        part = x[i : i + 1, :, top : top + tall, left : left + wide]
        twin = torch.nn.functional.interpolate(
            part, (9, 9), mode="bilinear", antialias=True, align_corners=False
        )
        torch.testing.assert_close(out[i : i + 1], twin, rtol=0, atol=1e-12)


def test_flips_are_mirror_images_of_the_chosen() -> None:
    assert_share(Flip(0.3).parameters(N, generator(0)).chosen, 0.3)
    x = colours()
    chosen = torch.tensor([True, False, True, False, False, True])
    out = Flip().apply(x, Flip().parameters(6, generator(0))._replace(chosen=chosen))
    torch.testing.assert_close(out[chosen], x[chosen].flip(-1), rtol=0, atol=0)
    assert torch.equal(out[~chosen], x[~chosen])


# -- colours --------------------------------------------------------------------------------------------------


def test_jitter_has_the_stated_law() -> None:
    drawn = ColorJitter(0.4, 0.8, 1.5, 0.1, p=0.7).parameters(N, generator(0))
    assert_law(drawn.brightness, stats.uniform(0.6, 0.8).cdf)
    assert_law(drawn.contrast, stats.uniform(0.2, 1.6).cdf)
    assert_law(drawn.saturation, stats.uniform(0.0, 2.5).cdf)
    assert_law(drawn.hue, stats.uniform(-0.1, 0.2).cdf)
    assert_share(drawn.chosen, 0.7)
    code = drawn.order @ torch.tensor([64, 16, 4, 1])
    counts = np.unique(code.numpy(), return_counts=True)[1]
    assert len(counts) == 24  # all orders, equally often
    assert abs((stats.chisquare(counts).statistic - 23) / math.sqrt(46)) <= 4
    numbers = torch.stack([*drawn[:4], drawn.order[:, 0].double(), drawn.chosen.double()])
    assert float((torch.corrcoef(numbers) - torch.eye(6)).abs().max()) <= 4 / math.sqrt(N)


def test_brightness_contrast_and_saturation_are_their_formulas_and_those_of_pil() -> None:
    x, f = colours(), torch.tensor([0.0, 0.4, 0.9, 1.0, 1.3, 1.9], dtype=torch.float64)
    a, w = x.numpy(), f.numpy()[:, None, None, None]
    luma = (0.2989 * a[:, 0] + 0.587 * a[:, 1] + 0.114 * a[:, 2])[:, None]
    expected = {
        brightness: a * w,
        contrast: a * w + (1 - w) * luma.mean((1, 2, 3), keepdims=True),
        saturation: a * w + (1 - w) * luma,
    }
    pil = {
        brightness: ImageEnhance.Brightness,
        contrast: ImageEnhance.Contrast,
        saturation: ImageEnhance.Color,
    }
    raw = (x * 255).round().to(torch.uint8)
    for operation, twin in expected.items():
        np.testing.assert_allclose(operation(x, f).numpy(), twin.clip(0, 1), rtol=0, atol=1e-12)
        out = operation(raw.double() / 255, f)
        for i in range(len(x)):
            image = pil[operation](Image.fromarray(raw[i].permute(1, 2, 0).numpy())).enhance(float(f[i]))
            # PIL rounds the luma and the result: at most one grey value for each, times the largest factor.
            difference = np.abs(np.asarray(image) / 255 - out[i].permute(1, 2, 0).numpy()) * 255
            assert difference.max() <= 2.5
    np.testing.assert_allclose(gray(x).numpy(), luma, atol=1e-12)
    assert torch.equal(contrast(x, f)[3], x[3])


def test_hue_is_that_of_colorsys() -> None:
    x = colours(4, side=4)
    x[0, :, 0, 0] = 0.5  # a grey pixel, and ties between channels
    x[0, 0, 1] = x[0, 1, 1]
    x[1, 1, 1] = x[1, 2, 1]
    shift = torch.tensor([0.0, 0.3, -0.5, 0.1], dtype=torch.float64)
    out = hue(x, shift)
    for i, r, c in np.ndindex(4, 4, 4):
        h, s, v = colorsys.rgb_to_hsv(*x[i, :, r, c].tolist())
        twin = colorsys.hsv_to_rgb((h + float(shift[i])) % 1, s, v)
        np.testing.assert_allclose(out[i, :, r, c].numpy(), twin, rtol=0, atol=1e-12)
    grey = x[:, :1]
    assert torch.equal(hue(grey, shift), grey)


def test_jitter_applies_the_four_in_the_order_of_each_image() -> None:
    n = 24
    x = colours(n, side=4)
    orders = torch.tensor(list(itertools.permutations(range(4))))
    u = torch.rand(4, n, generator=generator(1), dtype=torch.float64)
    drawn = Jitter(0.5 + u[0], 0.5 + u[1], 0.5 + u[2], u[3] - 0.5, orders, torch.arange(n) % 5 > 0)
    out = ColorJitter(0.5, 0.5, 0.5, 0.5).apply(x, drawn)
    operations = (brightness, contrast, saturation, hue)
    for i in range(n):
        twin = x[i : i + 1]
        for k in orders[i].tolist() if i % 5 else []:
            twin = operations[k](twin, drawn[k][i : i + 1])
        torch.testing.assert_close(out[i : i + 1], twin, rtol=0, atol=1e-12)
    assert not torch.allclose(
        out[1], ColorJitter(0.5, 0.5, 0.5, 0.5).apply(x, drawn._replace(order=orders.flip(0)))[1]
    )
    assert torch.equal(ColorJitter(0, 0, 0, 0, p=1.0)(x, generator(0)), x)


def test_grayscale_and_solarisation() -> None:
    x = colours()
    assert_share(Grayscale(0.2).parameters(N, generator(0)).chosen, 0.2)
    assert_share(Solarise(0.7).parameters(N, generator(0)).chosen, 0.7)
    torch.testing.assert_close(Grayscale(1.0)(x, generator(0)), gray(x).expand_as(x))
    raw = (x * 255).round().to(torch.uint8)
    out = Solarise(1.0)(ToFloat()(raw), generator(0)) * 255
    for i in range(len(x)):  # PIL's threshold of 128 is 1/2 between the bytes 127 and 128
        twin = np.asarray(ImageOps.solarize(Image.fromarray(raw[i].permute(1, 2, 0).numpy())))
        np.testing.assert_array_equal(out[i].permute(1, 2, 0).round().numpy(), twin)
    for augment in (Grayscale(0.0), Solarise(0.0), Blur(0.0)):
        assert torch.equal(augment(x, generator(0)), x)


# -- blur -----------------------------------------------------------------------------------------------------


def test_blur_has_the_stated_law() -> None:
    drawn = Blur(0.3, (0.1, 2.0)).parameters(N, generator(0))
    assert_law(drawn.sigma, stats.uniform(0.1, 1.9).cdf)
    assert_share(drawn.chosen, 0.3)


@pytest.mark.parametrize("kernel", [3, 7, 23])
def test_blur_is_a_truncated_gaussian_with_reflected_borders(kernel: int) -> None:
    x = torch.rand(4, 2, 14, 17, generator=generator(0), dtype=torch.float64)
    sigma, chosen = torch.tensor([0.1, 0.7, 1.3, 2.0]).double(), torch.tensor([True, True, False, True])
    out = Blur(kernel=kernel).apply(x, Blurred(sigma, chosen))
    at = np.arange(kernel) - kernel // 2
    for i in range(4):
        weight = np.exp(-(at**2) / (2 * float(sigma[i]) ** 2))
        twin = x[i].numpy()
        for axis in (1, 2) if chosen[i] else ():
            twin = ndimage.convolve1d(twin, weight / weight.sum(), axis=axis, mode="mirror")
        np.testing.assert_allclose(out[i].numpy(), twin, rtol=0, atol=1e-12)


def test_the_kernel_is_a_tenth_of_the_image() -> None:
    x = colours(2, side=50)
    assert torch.equal(Blur(1.0)(x, generator(0)), Blur(1.0, kernel=5)(x, generator(0)))
    assert not torch.equal(Blur(1.0)(x, generator(0)), Blur(1.0, kernel=7)(x, generator(0)))


# -- misuse ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip(1.5), "p = 1.5"),
        (lambda: Grayscale(-0.1), "p = -0.1"),
        (lambda: ColorJitter(brightness=-1), "brightness = -1"),
        (lambda: ColorJitter(hue=0.6), "hue = 0.6"),
        (lambda: Blur(kernel=4), "kernel = 4"),
        (lambda: Blur(sigma=(0.0, 1.0)), "sigma"),
        (lambda: RandomResizedCrop(size=0), "size = 0"),
        (lambda: RandomResizedCrop(ratio=(2.0, 1.0)), "ratio"),
        (lambda: Normalise((0.5,), (0.0,)), "std"),
        (lambda: Normalise()(torch.rand(2, 1, 4, 4)), "channels"),
        (lambda: gray(torch.rand(2, 4, 4, 4)), "1 or 3 channels"),
        (lambda: Blur(1.0, kernel=17)(colours(2, side=8), generator(0)), "kernel = 17"),
        (lambda: Flip()(torch.ones(2, 3, 4, 4, dtype=torch.uint8), generator(0)), r"ToFloat\(\) first"),
        (lambda: views_named("SimSLR", size=8), "known names: BYOL"),
        (lambda: multi_crop("SimSLR"), "known names: BYOL"),
    ],
)
def test_misuse_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# -- presets --------------------------------------------------------------------------------------------------


def test_presets_are_the_published_numbers() -> None:
    byol, other = VIEW_PRESETS["BYOL"]
    assert (byol.blur, byol.solarise, other.blur, other.solarise) == (1.0, 0.0, 0.1, 0.2)
    assert byol.jitter == VIEW_PRESETS["VICReg"][0].jitter == (0.4, 0.4, 0.2, 0.1)
    assert VIEW_PRESETS["SimCLR"][0].jitter == (0.8, 0.8, 0.8, 0.2)  # strength 1
    assert [v.size for v in VIEW_PRESETS["DINO"]] == [224] * 2 + [96] * 8
    for view in itertools.chain(*VIEW_PRESETS.values()):
        assert (view.flip, view.jitter_p, view.grayscale, view.ratio) == (0.5, 0.8, 0.2, (3 / 4, 4 / 3))


@pytest.mark.parametrize("name", sorted(VIEW_PRESETS))
def test_presets_draw_views_of_bytes(name: str) -> None:
    raw = (colours(3, side=32, dtype=torch.float32) * 255).to(torch.uint8)
    out = views_named(name, size=24)(raw, keyed(3))
    assert (out.shape, out.dtype) == ((3, 3, 24, 24), torch.float32)
    assert 0 <= float(out.min()) <= float(out.max()) <= 1 + 1e-6
    grey = views_named(name, size=24)(raw[:, :1], keyed(3))
    assert grey.shape == (3, 1, 24, 24)


def test_views_of_one_preset_may_differ() -> None:
    x = colours(40, side=24, dtype=torch.float32)
    first, second = (views_named("BYOL", size=24).steps[v] for v in (0, 1))
    views = views_named("BYOL", size=24)
    for view, step in ((0, first), (1, second), (2, first)):
        assert torch.equal(views(x, keyed(40, view=view)), step(x, keyed(40, view=view)))


def test_multi_crops_are_views_of_their_own() -> None:
    x = colours(4, side=32, dtype=torch.float32)
    crops = multi_crop("DINO", size=32, small=12)(x, keyed(4))
    assert [c.shape[-1] for c in crops] == [32] * 2 + [12] * 8
    assert not torch.equal(crops[2], crops[3])
    again = multi_crop("DINO", size=32, small=12).steps[3](x, keyed(4, view=3))
    assert torch.equal(crops[3], again)
    assert ViewSettings(flip=0, jitter_p=0, grayscale=0, blur=0).build(8, None, None).steps[0] == ToFloat()

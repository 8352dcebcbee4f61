"""I-JEPA trains on a CPU: below the predictor that knows positions alone, without collapse, through the toolkit's own loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from infossl.data import ImageData, digits, generator
from infossl.data.masks import Masks, MultiBlock
from infossl.methods import IJEPA, LinearRamp, SmoothL1, ijepa
from infossl.training import FitConfig, fit
from infossl.undisturbed import undisturbed

# Contexts keep more than 6 of the 16 patches: the published masks would leave 2 of them in a batch on this grid.
MASKS = MultiBlock(grid=(4, 4), targets=2, target_scale=(0.13, 0.2), min_keep=6)
# Patches of 2x2 pixels with weights of standard deviation 0.02 would say next to nothing beside positions of amplitude 1. A
# patch of 16x16 pixels on three channels comes in with 0.02 sqrt(768), which is 14 times as much.
EMBEDDING = math.sqrt(768 / 4)


def untrained(seed: int = 0) -> IJEPA:
    method = ijepa(8, patch=2, masks=MASKS, momentum=LinearRamp(0.998, 1.0), seed=seed)
    assert method.target_encoder is not None
    with torch.no_grad():
        for encoder in (method.encoder, method.target_encoder):
            encoder.embed.weight.mul_(EMBEDDING)
    return method


def losses(method: IJEPA, data: ImageData, draws: int = 8) -> tuple[float, float, Tensor]:
    """Loss of the predictor and of the mean target at each position, on views of test images; targets less those means.

    The means are those of views of the training images: neither has seen what it is scored on.
    """
    fitting, test = (
        data.augment(x[:600], generator(5, part)) for part, x in enumerate((data.train_x, data.test_x))
    )
    found = torch.zeros(2)
    with undisturbed(method):
        mean = method.targets(method.target_encoder(fitting)).mean(0)
        tokens = method.targets(method.target_encoder(test))
        for draw in range(draws):
            masks = method.masks(1, generator(7, draw))
            out = method._embed(test, Masks(*(part.expand(len(test), *part.shape[1:]) for part in masks)))
            position = mean[masks.targets[0].flatten()].expand_as(out["target"])
            found += torch.stack([SmoothL1()(p, out["target"]).total for p in (out["prediction"], position)])
    return float(found[0]) / draws, float(found[1]) / draws, tokens - mean


def effective_rank(x: Tensor) -> float:
    """exp of the entropy of the normalised singular values."""
    s = torch.linalg.svdvals(x.flatten(0, 1).double())
    return math.exp(float(torch.special.entr(s / s.sum()).sum()))


def test_the_untrained_predictor_is_above_the_baseline() -> None:
    """The check of the slow test can fail."""
    data = digits()
    predicted, position, _ = losses(untrained(), data, draws=1)
    assert predicted > 1.5 * position


def test_a_constant_target_is_seen_as_collapse() -> None:
    method = untrained()
    with torch.no_grad():
        method.target_encoder.embed.weight.zero_()
    _, position, rest = losses(method, digits(), draws=1)
    assert position < 1e-6  # the position says everything
    assert float(rest.std(0).max()) < 0.02


@pytest.mark.slow
def test_it_goes_below_the_position_alone_without_collapse() -> None:
    data, method = digits(), untrained()
    config = FitConfig(steps=700, batch_size=32, lr=4e-3, weight_decay=0.04, warmup=70, online_probe=False)
    fit(method, data, config, progress=False)
    predicted, position, rest = losses(method, data)
    assert predicted < position
    assert float(rest.std(0).mean()) > 0.02
    assert effective_rank(rest) > 5

"""The trainer of the estimators: early stopping, batches, splits, scales, which trainings count."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from estimators import _training as T

OPTIONS = {"every": 2, "patience": 3, "lr": 1e-2, "shrink": 0.0, "decay": 0.9, "progress": False}


def start(seeds: list[int]) -> torch.Tensor:
    return torch.zeros(len(seeds), 2)


def fits_the_mean(flat, x):
    return -((x - flat[:, None]) ** 2).mean((1, 2))


def test_finds_the_maximum():
    """Least squares: the weights become the mean of the samples."""
    x = torch.as_tensor(np.random.default_rng(0).normal([1, -2], size=(64, 2)), dtype=torch.float32)
    options = OPTIONS | {"lr": 5e-2, "patience": 50, "decay": 0.95}

    def validate(flat):
        return fits_the_mean(flat, x.expand(len(flat), -1, -1)).double()

    fit = T.train(start, fits_the_mean, validate, (x,), seeds=[0, 1], batch=64, steps=600, **options)
    torch.testing.assert_close(fit.flat, x.mean(0).expand(2, -1), rtol=0, atol=2e-3)
    assert fit.validation == pytest.approx([-x.var(0, correction=0).mean().item()] * 2, abs=1e-5)


def test_early_stopping_keeps_a_copy_of_the_best_weights():
    seen, scores = [], iter([0.0, 2.0, 1.0, 1.5, 0.5, 0.0, 9.0])

    def validate(flat):
        seen.append(flat.clone())
        return torch.tensor([next(scores)], dtype=torch.float64)

    fit = T.train(
        start, fits_the_mean, validate, (torch.ones(50, 2),), seeds=[0], batch=20, steps=100, **OPTIONS
    )
    assert fit.converged
    assert fit.steps == 8
    assert fit.validation == [2.0]
    assert torch.equal(fit.flat, seen[1])
    assert not torch.equal(fit.flat, seen[2]), "training went on after the copy"


def test_a_training_that_diverges_is_marked_and_leaves_the_others_alone():
    def explodes(flat, x):
        return fits_the_mean(flat, x) * torch.tensor([1.0, math.inf])

    def validate(flat):
        return -((flat - 1) ** 2).sum(1).double()

    samples = (torch.ones(50, 2),)
    both = T.train(start, explodes, validate, samples, seeds=[0, 1], batch=20, steps=40, **OPTIONS)
    alone = T.train(start, fits_the_mean, validate, samples, seeds=[0], batch=20, steps=40, **OPTIONS)
    assert both.validation == [alone.validation[0], -math.inf]
    assert torch.equal(both.flat[:1], alone.flat)


def test_batches_take_the_same_rows_of_every_tensor_and_every_row_once_a_pass():
    x = torch.arange(20.0)[:, None].expand(-1, 2)
    labels = torch.arange(20)
    taken = []

    def objective(flat, a, b):
        assert a.shape == (2, 5, 2)
        assert torch.equal(a[..., 0].long(), b)
        taken.append(b)
        return flat.sum(1)

    T.train(
        start, objective, lambda f: f.sum(1).double(), (x, labels), seeds=[3, 4], batch=5, steps=4, **OPTIONS
    )
    passes = torch.cat(taken, 1)
    assert torch.equal(passes.sort(1).values, labels.expand(2, -1))
    assert not torch.equal(passes[0], passes[1]), "each training has an order of its own"


def split(**changes):
    return T.split(1000, **({"validation": 0.15, "test": 0.25, "seed": 0} | changes))


def test_parts_are_disjoint_and_seeded():
    parts = split()
    assert [len(p) for p in parts] == [600, 150, 250]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    assert not np.array_equal(parts.train, split(seed=1).train)


def test_columns_are_standardised_by_the_training_part_only():
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((100, 3)) * [1e-200, 1.0, 1e150] + [0, 5, 0])
    x[:60, 1] = 2.0  # constant on the training part alone
    scaled = T.scaled(x, np.arange(60))
    assert torch.isfinite(scaled).all()
    for column in (0, 2):
        assert scaled[:60, column].mean().item() == pytest.approx(0, abs=1e-6)
        assert scaled[:60, column].std(correction=0).item() == pytest.approx(1, abs=1e-6)
    changed = x.clone()
    changed[60:] = 0.5 * x[60:]
    assert torch.equal(T.scaled(changed, np.arange(60))[:60], scaled[:60])


@pytest.mark.parametrize(
    ("validation", "expected"),
    [
        ([1.0, 1.1, 0.9], [True, True, True]),
        ([1.0, 0.05, -math.inf], [True, False, False]),
        ([0.01, -0.02, math.nan], [True, True, False]),  # nothing to find is no failure
        ([-math.inf, math.nan, -math.inf], [False, False, False]),
    ],
)
def test_trainings_that_count(validation, expected):
    assert T.kept(np.array(validation)).tolist() == expected


def test_pooled_error_is_the_scatter_of_the_mean():
    """Values a_s + mean of samples: the samples are shared by all trainings, the a_s are not."""
    values, errors = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        samples, own = rng.standard_normal(50), 0.2 * rng.standard_normal(4)
        found = T.pooled(own + samples.mean(), np.tile(samples - samples.mean(), (4, 1)))
        values.append(found.value)
        errors.append(found.stderr**2)
    exact = 1 / 50 + 0.2**2 / 4
    assert abs(np.mean(errors) / exact - 1) <= 4 * math.sqrt(2 / 49 / 400)
    assert abs(np.var(values) / exact - 1) <= 4 * math.sqrt(2 / 400)
    assert T.pooled(np.ones(1), np.ones((1, 9))).spread is None

"""LMI: codes from other samples, what the cross terms keep, labels, invariances, guards."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from estimators import KSG, LMI, CrossFittedCCA, Gao, Gaussian, Projected, parse
from estimators import _latent as L
from estimators.distributions import MultivariateNormal, catalogue

SMALL = LMI(hidden=16, steps=250)
TINY = LMI(dims=2, hidden=8, steps=20)


def normal(n: int, d: int = 2, seed: int = 0, rho: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    return MultivariateNormal(rho, d, d, pairs=1).sample(n, seed)


# -- networks, loss and metric -------------------------------------------------------------------------------


def one_by_one(net: L.Autoencoder, flat: torch.Tensor) -> list:
    """The maps in float64, from the flat parameters of one training."""
    parts, offset = [], 0
    for shape in net.shapes():
        parts.append(flat[offset : offset + math.prod(shape)].reshape(shape).double().numpy())
        offset += math.prod(shape)
    assert offset == len(flat)
    size = 2 * net.layers + 3

    def network(weights):
        def apply(z):
            linear, *rest = weights
            out = z
            for k in range(0, len(rest), 2):
                out = (out if k == 0 else np.maximum(out, 0)) @ rest[k] + rest[k + 1]
            return z @ linear + out

        return apply

    return [network(parts[start : start + size]) for start in range(0, len(parts), size)]


@pytest.mark.parametrize("labels", [False, True])
def test_loss_is_that_of_the_formula(labels):
    net = L.Autoencoder(dx=5, dy=3, dims_x=2, dims_y=2, hidden=4, layers=2, labels=labels)
    flat = net.initial([1, 2])
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(7, d, generator=generator) for d in (5, 3))
    if labels:
        y = torch.arange(7) % 3
    got = -L.score(net, x, y, own=0.3)(flat)
    for s in range(2):
        maps, a = one_by_one(net, flat[s]), x.double().numpy()
        u = maps[0](a)
        expected = 0.3 * np.mean((maps[1](u) - a) ** 2)
        if labels:
            logits = maps[2](u)
            log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            expected -= log_p[np.arange(7), y.numpy()].mean() / math.log(3)
        else:
            b = y.double().numpy()
            v = maps[3](b)
            expected += 0.3 * np.mean((maps[4](v) - b) ** 2)
            expected += np.mean((maps[2](u) - b) ** 2) + np.mean((maps[5](v) - a) ** 2)
        assert got[s].item() == pytest.approx(expected, rel=1e-4)


def test_metric_is_invertible_and_scales_by_the_canonical_correlation():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((4000, 3))
    u = np.hstack([z, rng.standard_normal((4000, 1))]) @ rng.standard_normal((4, 4)) + 5
    v = np.hstack([0.9 * z[:, :1] + math.sqrt(0.19) * rng.standard_normal((4000, 1)), z[:, 1:2]])
    u, v = torch.as_tensor(u), torch.as_tensor(v)
    a, b = L.metric(u, v)
    left, right = (u @ a).numpy(), (v @ b).numpy()
    assert np.linalg.matrix_rank(a.numpy()) == 4
    # canonical correlations 1 and 0.9, then none: four standard errors of a standard deviation and of a correlation
    np.testing.assert_allclose(left.std(0), [1, 0.9, 0.1, 0.1], atol=4 / math.sqrt(2 * 4000))
    np.testing.assert_allclose(right.std(0), [1, 0.9], atol=4 / math.sqrt(2 * 4000))
    assert Gaussian()(left, right[:, 1:]).value == pytest.approx(
        Gaussian()(u.numpy(), (v - v.mean(0)).numpy() @ b.numpy()[:, 1:]).value, abs=1e-6
    )


def test_slow_drift_is_no_improvement():
    values = iter([-2.0, -1.9999, -1.9, -1.89995])
    score = L.settled(lambda flat: torch.tensor([next(values)], dtype=torch.float64), 1e-3)
    first, drift, better, again = (score(torch.zeros(1, 1)).item() for _ in range(4))
    assert drift == first < better
    assert again == pytest.approx(better, abs=2.1e-3)


# -- estimates -----------------------------------------------------------------------------------------------


def test_correlated_normal_pair():
    """Recorded over 20 data sets: 2 + 2, rho 0.8, n = 600: mean 0.5036, standard deviation 0.0502; the truth is 0.5108."""
    found = [SMALL(*normal(600, seed=s)) for s in (1, 2)]
    assert abs(np.mean([e.value for e in found]) - 0.5036) <= 4 * 0.0502 * math.sqrt(1 / 2 + 1 / 20)
    assert all(abs(e.value + 0.5 * math.log(1 - 0.64)) <= 4 * e.stderr for e in found)
    assert found[0].stderr == pytest.approx(0.037, rel=0.6)
    assert found[0].bound == "none"


def test_independent_high_dimensional_samples_show_nothing():
    e = SMALL(*MultivariateNormal(0.0, 64, 64).sample(600, 3))
    assert abs(e.value) <= 4 * e.stderr


def test_curved_embedding_is_read_from_below_and_better_than_by_principal_components():
    """The truth is 2.0; both measure 400 samples at a time, in 8 + 8 dimensions."""
    x, y = catalogue()["embedding-curved-128"].law.sample(800, 100)
    e = SMALL(x, y)
    halves = [Projected(KSG(k=3), dims=8)(x[part], y[part]).value for part in (slice(400), slice(400, 800))]
    assert np.mean(halves) < e.value <= 2.0
    assert CrossFittedCCA(components=8)(x, y).value > 2.0, "a normal law over-states here"


def test_shared_directions_win_over_varying_ones():
    """In 4 of 50 directions there are 2.0 nats; principal components find none of it."""
    x, y = catalogue()["normal-sparse-50x50-4pairs"].law.sample(800, 100)
    e, plain = SMALL(x, y), LMI(hidden=16, steps=250, reconstruction=30.0)(x, y)
    assert e.value - plain.value > 4 * math.hypot(e.stderr, plain.stderr)
    assert e.value <= 2.0 + 4 * e.stderr


def test_labels():
    """I(X;Y) = log 3 for separated classes; the codes have no order, and KSG gives way to Ross."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(300) % 3)
    x = 5 * rng.standard_normal((3, 4))[y] + 0.1 * rng.standard_normal((300, 4))
    e = LMI(hidden=16, steps=100)(x, y)
    assert e.value == pytest.approx(math.log(3), abs=0.01)
    assert LMI(hidden=16, steps=100)(x, 7 * y - 5) == e
    assert LMI(hidden=16, steps=100)(y, x).value == e.value
    assert LMI(hidden=16, steps=100)(torch.as_tensor(x), torch.as_tensor(y)).value == e.value
    shuffled = LMI(hidden=16, steps=100)(x, rng.permutation(y))
    assert abs(shuffled.value) <= 4 * shuffled.stderr


def test_scales_and_rotations():
    x, y = normal(400, 3)
    e = SMALL(x, y)
    assert SMALL(1e6 * x, 1e-6 * y - 3).value == pytest.approx(e.value, abs=e.stderr)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    turned = SMALL(x @ turn, y)
    assert abs(turned.value - e.value) <= 4 * e.stderr


def test_inner_estimators_and_what_they_declare():
    x, y = normal(300)
    e = LMI(inner=Gaussian(), dims=1, hidden=8, steps=20)(x, y)
    assert e.stderr > 0
    assert e.ceiling is None
    assert LMI(inner=KSG(k=4), dims=2, hidden=8, steps=20)(x, y).ceiling == KSG(k=4)(x[:150], y[:150]).ceiling
    assert LMI(inner=Gao(), dims=2, hidden=8, steps=20)(x, y).stderr > 0
    named = LMI(inner=Projected(KSG(k=4), dims=2), dims=4)
    assert parse(repr(named)) == named


# -- held-out samples ----------------------------------------------------------------------------------------


def test_networks_never_see_the_held_out_samples():
    x, y = (torch.as_tensor(z) for z in normal(240))
    train, valid, test = TINY._splits(240)[0]
    assert not set(test) & {*train, *valid}
    assert len({*train, *valid, *test}) == 240
    before, changed = TINY._fold(x, y, train, valid, test), x.clone()
    changed[test] = changed[test].flip(0)
    after = TINY._fold(changed, y, train, valid, test)
    assert (after.training, after.training_loss) == (before.training, before.training_loss)
    assert after.held_out.value != before.held_out.value
    changed[train] = changed[train].flip(0)
    assert TINY._fold(changed, y, train, valid, test).training_loss != before.training_loss, (
        "the test can fail"
    )


@pytest.mark.parametrize("folds", [2, 3])
def test_every_sample_is_held_out_once(folds):
    splits = LMI(folds=folds)._splits(250)
    assert sorted(np.concatenate([test for _, _, test in splits])) == list(range(250))


def test_training_fits_noise_that_the_value_does_not():
    x, y = MultivariateNormal(0.0, 64, 64).sample(300, 0)
    e = LMI(dims=4, hidden=32, steps=200, penalty=0.0, patience=100)(x, y)
    assert "overfit" in e.flags
    assert e.diagnostics["training"] > 0.2
    assert abs(e.value) <= 4 * e.stderr


# -- degenerate input and guards -----------------------------------------------------------------------------


def test_flags():
    x, y = normal(240)
    constant = np.hstack([x, np.ones((240, 1))])
    assert "constant-columns" in TINY(constant, y).flags
    assert "not-converged" in TINY(x, y).flags
    repeated = np.concatenate([x[:180], x[:60]]), np.concatenate([y[:180], y[:60]])
    assert "duplicates" in TINY(*repeated).flags
    assert "duplicates" not in TINY(x, y).flags


def test_both_labels_are_refused():
    y = np.arange(100) % 3
    with pytest.raises(TypeError, match=r"\(100,\) and \(100,\) are both labels.*Discrete"):
        TINY(y, y)


def test_too_few_samples_name_the_parts():
    with pytest.raises(ValueError, match=r"n = 100 samples leave 50 held out, 7 for validation.*n >= 229"):
        TINY(*normal(100))
    assert TINY(*normal(229)).n == 229


def test_divergence_is_an_error():
    with pytest.raises(ValueError, match="diverged"):
        LMI(dims=2, hidden=8, steps=20, lr=1e30)(*normal(250))


@pytest.mark.parametrize(
    "wrong",
    [
        {"dims": 0},
        {"folds": 1},
        {"batch": 1},
        {"steps": 0},
        {"lr": 0.0},
        {"penalty": -1.0},
        {"reconstruction": math.inf},
        {"validation": 1.0},
    ],
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LMI(**wrong)


def test_the_caller_s_torch_settings_do_not_matter():
    x, y = (torch.as_tensor(z) for z in normal(240, seed=4))
    expected = TINY(x, y)
    with torch.no_grad():
        assert TINY(x, y) == expected
    with torch.inference_mode():
        assert TINY(x, y) == expected
    torch.set_default_dtype(torch.float64)
    try:
        assert TINY(x, y) == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_error_does_not_depend_on_the_order_of_the_rows():
    """Held-out rows are shuffled before they are cut into parts: in sorted rows each part would be one slice of the law."""
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 1000, 3))
    estimator = LMI(dims=2, hidden=8, steps=20)
    for _, _, test in estimator._splits(1000):
        assert (np.diff(test) < 0).sum() > len(test) / 3
    order = np.argsort(x[:, 0])
    shuffled, ordered = estimator(x, x + noise), estimator(x[order], (x + noise)[order])
    assert (
        ordered.stderr < 2.5 * shuffled.stderr
    )  # a scatter of 5 parts: ratios beyond 2.5 have probability 0.01

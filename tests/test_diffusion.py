"""MMG: the normal law in closed form, the network's correction, honest splits, labels, guards."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from estimators import KSG, LMI, MMG, parse
from estimators import _diffusion as D
from estimators.distributions import MultivariateNormal, catalogue

SMALL = MMG(seeds=1, hidden=64, steps=600)
TINY = MMG(seeds=1, hidden=8, steps=5)


def normal(n: int, d: int = 2, seed: int = 0, rho: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    return MultivariateNormal(rho, d, d, pairs=1).sample(n, seed)


def law(dtype: torch.dtype = torch.float64) -> D.Base:
    """Two coordinates of x with a partner, one without."""
    return D.Base(
        torch.eye(3), torch.eye(2), torch.tensor([1.5, 0.7, 0.2]), torch.tensor([0.9, 0.4, 0.0])
    ).to(dtype)


def network(seeds: int = 1) -> tuple[D.Denoiser, torch.Tensor]:
    net = D.Denoiser(law(torch.float32), D.Levels(-5.0, 6.0), hidden=8, layers=2)
    flat = net.initial(list(range(seeds)))
    return net, flat + 0.05 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0))


# -- the normal law ------------------------------------------------------------------------------------------


def pooled_violators(values: np.ndarray) -> np.ndarray:
    blocks: list[list[float]] = []
    for value in values:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) < np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    return np.concatenate([np.full(len(b), np.mean(b)) for b in blocks])


@pytest.mark.parametrize("k", [1, 2, 5, 40])
def test_falling_is_the_nearest_falling_sequence(k):
    values = np.random.default_rng(k).standard_normal(k)
    np.testing.assert_allclose(D.falling(torch.tensor(values)).numpy(), pooled_violators(values), atol=1e-12)


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_normal_denoiser_is_the_conditional_expectation(known):
    """E[e | z] or E[e | z, y] from the joint covariance of (e, z, y), coordinate by coordinate."""
    net = D.Denoiser(law(), D.Levels(-5.0, 6.0), 8, 1)
    z, v, level = torch.tensor([[0.3, -1.2, 0.8]]).double(), torch.tensor([[0.5, 2.0]]).double(), 0.7
    got = net.normal(z, v, torch.tensor([[level]], dtype=torch.float64), torch.tensor([[known]]).double())[0]
    a, b = math.sqrt(1 / (1 + math.exp(-level))), math.sqrt(1 / (1 + math.exp(level)))
    partners = [0.5, 2.0, 0.0]
    for i, (t, r) in enumerate(zip(law().variance.tolist(), law().r.tolist(), strict=True)):
        cross = a * r * math.sqrt(t)
        cov = np.array([[a * a * t + b * b, cross], [cross, 1.0]])
        if known:
            expected = np.array([b, 0.0]) @ np.linalg.solve(cov, [z[0, i].item(), partners[i]])
        else:
            expected = b * z[0, i].item() / cov[0, 0]
        assert got[i].item() == pytest.approx(expected, abs=1e-9)


def test_log_ratio_is_the_integral_of_the_gap_at_every_point():
    base = law()
    u, v = torch.tensor([[0.4, -1.1, 0.3]]).double(), torch.tensor([[1.2, -0.6]]).double()

    def error(level: float, known: bool) -> float:
        """E over the noise of |e - e^|^2, e^ = c (z - a m)."""
        a2, b2, total = 1 / (1 + math.exp(-level)), 1 / (1 + math.exp(level)), 0.0
        for i in range(3):
            t, r = base.variance[i].item(), base.r[i].item() if known else 0.0
            m = r * math.sqrt(t) * (v[0, i].item() if i < 2 else 0.0)
            c = math.sqrt(b2) / (a2 * t * (1 - r * r) + b2)
            total += (1 - c * math.sqrt(b2)) ** 2 + c * c * a2 * (u[0, i].item() - m) ** 2
        return total

    integral = quad(lambda level: error(level, False) - error(level, True), -40, 40, limit=200)[0] / 2
    assert base.log_ratio(u, v).item() == pytest.approx(integral, abs=1e-6)


def test_expected_log_ratio_is_the_information():
    rng = np.random.default_rng(0)
    base, v = law(), torch.as_tensor(rng.standard_normal((20000, 2)))
    noise = torch.as_tensor(rng.standard_normal((20000, 3)))
    u = base.variance.sqrt() * (base.r * base.partner(v) + (1 - base.r**2).sqrt() * noise)
    found = base.log_ratio(u, v)
    assert base.information == pytest.approx(-0.5 * math.log((1 - 0.81) * (1 - 0.16)))
    assert abs(found.mean().item() - base.information) <= 4 * found.std().item() / math.sqrt(20000)


# -- levels, network and integrals ---------------------------------------------------------------------------


def test_weights_turn_means_into_integrals():
    levels = D.Levels(-3.0, 7.0)
    level, weight = levels.draw((torch.arange(4000, dtype=torch.float64) + 0.5) / 4000)
    assert level.min() > -3
    assert level.max() < 7
    assert weight.mean().item() == pytest.approx(10, rel=1e-4)
    assert (weight * level).mean().item() == pytest.approx((49 - 9) / 2, rel=1e-4)


def test_training_starts_at_the_normal_law():
    net, _ = network()
    u, v = torch.ones(5, 3), torch.ones(5, 2)
    scored = D.score(net, net.initial([3]), u, v, draws=4, seed=0)
    assert all(torch.equal(part, torch.zeros(1, 5, dtype=torch.float64)) for part in scored)


def test_integrals_are_those_of_the_two_denoisers():
    """The pieces of the score against the squared errors themselves, at the same levels and noise."""
    net, flat = network(2)
    generator = torch.Generator().manual_seed(1)
    u, v = torch.randn(6, 3, generator=generator), torch.randn(6, 2, generator=generator)
    draws = 400
    scored = D.score(net, flat, u, v, draws=draws, seed=7)
    generator = torch.Generator().manual_seed(7)
    strata = torch.arange(draws, dtype=torch.float32).repeat(6, 1)
    level, weight = net.levels.draw((strata + torch.rand(strata.shape, generator=generator)) / draws)
    noise = torch.randn(6 * draws, 3, generator=generator)
    a, b = u.repeat_interleave(draws, 0), v.repeat_interleave(draws, 0)
    level = level.reshape(-1, 1)
    z = level.sigmoid().sqrt() * a + (-level).sigmoid().sqrt() * noise
    for s in range(2):
        guess, plain = [], []
        for known in (torch.zeros_like(level), torch.ones_like(level)):
            n = net.normal(z, b, level, known)
            h = net.correction(flat[s : s + 1], z[None], b[None], level[None], known[None])[0]
            plain.append(n)
            guess.append(n + h)
        half = 0.5 * weight.reshape(-1)

        def integral(q, half=half):
            return (half * q).double().reshape(6, draws).mean(1)

        gap = [((noise - e[0]) ** 2).sum(1) - ((noise - e[1]) ** 2).sum(1) for e in (guess, plain)]
        orthogonal = [((e[0] - e[1]) ** 2).sum(1) for e in (guess, plain)]
        torch.testing.assert_close(scored.gap[s], integral(gap[0] - gap[1]), atol=2e-4, rtol=1e-3)
        torch.testing.assert_close(
            scored.orthogonal[s], integral(orthogonal[0] - orthogonal[1]), atol=2e-4, rtol=1e-3
        )


def test_scores_do_not_depend_on_the_rows_at_once(monkeypatch):
    net, flat = network()
    u, v = torch.ones(10, 3), torch.ones(10, 2)
    whole = D.score(net, flat, u, v, draws=512, seed=0).gap.mean()
    monkeypatch.setattr(D, "_ROWS", 1024)
    parts = D.score(net, flat, u, v, draws=512, seed=0).gap
    assert abs((parts.mean() - whole).item()) <= 4 * parts.std().item() / math.sqrt(10) * math.sqrt(2)


# -- estimates -----------------------------------------------------------------------------------------------


def test_correlated_normal_pair():
    """Recorded over 20 data sets: 2 + 2, rho 0.8, n = 600: mean 0.4932, standard deviation 0.0677; the truth is 0.5108."""
    found = [SMALL(*normal(600, seed=s)) for s in (1, 2, 3)]
    assert abs(np.mean([e.value for e in found]) - 0.4932) <= 4 * 0.0677 * math.sqrt(1 / 3 + 1 / 20)
    assert all(abs(e.value + 0.5 * math.log(1 - 0.64)) <= 4 * e.stderr for e in found)
    assert found[0].stderr == pytest.approx(0.065, rel=0.3)
    assert found[0].bound == "none"
    assert found[0].reliable, found[0].flags


def test_strong_dependence_in_several_dimensions():
    """Recorded over 10 data sets: 5 + 5, 3 nats, n = 600: mean 2.8275, standard deviation 0.1565."""
    e = SMALL(*MultivariateNormal.with_information(3.0, 5, 5).sample(600, 1))
    assert abs(e.value - 2.8275) <= 4 * 0.1565 * math.sqrt(1 + 1 / 10)


def test_ten_nats_are_within_the_range_of_noise_levels():
    e = SMALL(*MultivariateNormal.with_information(10.0).sample(600, 1))
    assert abs(e.value - 10.0) <= 4 * e.stderr
    assert "saturated" not in e.flags
    x, _ = normal(300, 1)
    assert "saturated" in TINY(x, x).flags


def test_network_finds_what_the_normal_law_does_not():
    """A cross of two normal laws without correlation. Recorded over 8 data sets: n = 1500: mean 0.5896, standard deviation
    0.0308; the truth is 0.6634.
    """
    setting = catalogue()["mixture-cross-1x1"].law
    e = SMALL(*setting.sample(1500, 1))
    assert abs(e.value - 0.5896) <= 4 * 0.0308 * math.sqrt(1 + 1 / 8)
    assert abs(e.value - setting.mutual_information()) <= 4 * e.stderr
    assert abs(e.diagnostics["normal"]) < 0.02
    assert e.diagnostics["orthogonal"] == pytest.approx(e.value, abs=4 * e.stderr)


def test_independent_high_dimensional_samples_show_nothing():
    """Recorded over 6 data sets: 64 + 64, n = 600: standard deviation 0.0066."""
    e = SMALL(*MultivariateNormal(0.0, 64, 64).sample(600, 3))
    assert abs(e.value) <= 4 * max(e.stderr, 0.0066)


def test_curved_embedding():
    """4 latent dimensions, 2.0 nats. In 4 directions the value holds; in 8 the two forms part and say so."""
    x, y = catalogue()["embedding-curved-128"].law.sample(800, 100)
    e = MMG(dims=4, seeds=1, hidden=64, steps=600)(x, y)
    assert abs(e.value - 2.0) <= 4 * e.stderr
    assert "disagreement" not in e.flags
    wide = MMG(dims=8, seeds=1, hidden=64, steps=600, penalty=0.0)(x, y)
    assert {"disagreement", "not-converged"} & set(wide.flags)


def test_labels():
    """Two clusters. Recorded over 10 data sets: n = 600: standard deviation 0.0368; the truth is 0.3368."""
    setting = catalogue()["clusters-2"].law
    x, y = setting.sample(600, 1)
    e = SMALL(x, y)
    assert abs(e.value - setting.mutual_information()) <= 4 * max(e.stderr, 0.0368)
    assert SMALL(x, 7 * y - 5).value == pytest.approx(e.value, abs=1e-4)
    assert SMALL(y, x).value == e.value
    assert SMALL(torch.as_tensor(x), torch.as_tensor(y)).value == e.value


def test_scales_and_rotations():
    """Canonical directions are those of the normal law in any basis."""
    x, y = normal(400, 3)
    e = SMALL(x, y)
    assert SMALL(1e6 * x, 1e-6 * y - 3).value == pytest.approx(e.value, abs=0.1 * e.stderr)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    assert abs(SMALL(x @ turn, y).value - e.value) <= e.stderr


def test_trainings_are_averaged():
    x, y = catalogue()["mixture-cross-1x1"].law.sample(400, 0)
    e = MMG(seeds=2, hidden=16, steps=200)(x, y)
    assert e.diagnostics["spread"] > 0
    assert e.diagnostics["failed"] == 0
    assert "spread" not in MMG(seeds=1, hidden=16, steps=40)(x, y).diagnostics


def test_as_the_inner_estimator_of_learnt_codes():
    x, y = normal(400, 3)
    e = LMI(inner=TINY, dims=2, hidden=8, steps=100)
    assert parse(repr(e)) == e
    assert e(x, y).stderr > 0
    assert KSG()(x, y).value > 0


# -- held-out samples, degenerate input, guards --------------------------------------------------------------


def test_the_test_part_fits_nothing():
    x, y = (torch.as_tensor(z) for z in normal(300))
    parts = np.split(np.arange(300), [180, 225])
    from estimators._training import Parts

    before, changed = TINY._fit_and_score(x, y, False, Parts(*parts)), x.clone()
    changed[225:] = changed[225:].flip(0)
    after = TINY._fit_and_score(changed, y, False, Parts(*parts))
    assert np.array_equal(after.validation, before.validation)
    assert after.low == before.low
    assert after.normal < before.normal - 0.1
    changed[:180] = changed[:180].flip(0)
    refitted = TINY._fit_and_score(changed, y, False, Parts(*parts))
    assert not np.array_equal(refitted.values, after.values), "the test can fail"


def test_flags():
    x, y = normal(240)
    assert TINY(x, y).flags == ("not-converged",)
    assert "constant-columns" in TINY(np.hstack([x, np.ones((240, 1))]), y).flags
    repeated = np.concatenate([x[:180], x[:60]]), np.concatenate([y[:180], y[:60]])
    assert "duplicates" in TINY(*repeated).flags


@pytest.mark.parametrize("n", [120, 300])
def test_more_columns_than_samples_and_repeated_columns(n):
    x, y = normal(n, 200)
    assert math.isfinite(MMG(dims=None, seeds=1, hidden=8, steps=5)(x, np.hstack([y, y])).value)


def test_both_labels_are_refused():
    y = np.arange(120) % 3
    with pytest.raises(TypeError, match=r"\(120,\) and \(120,\) are both labels.*Discrete"):
        TINY(y, y)


def test_divergence_is_an_error():
    with pytest.raises(ValueError, match="diverged"):
        MMG(seeds=1, hidden=8, steps=40, lr=1e30)(*normal(240))


@pytest.mark.parametrize(
    "wrong",
    [
        {"dims": 0},
        {"draws": 0},
        {"batch": 0},
        {"steps": 0},
        {"seeds": 0},
        {"lr": 0.0},
        {"penalty": -1.0},
        {"validation": 0.8, "test": 0.2},
    ],
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MMG(**wrong)


def test_the_caller_s_torch_settings_do_not_matter():
    x, y = (torch.as_tensor(z) for z in normal(120, seed=4))
    expected = TINY(x, y)
    with torch.inference_mode():
        assert TINY(x, y) == expected
    torch.set_default_dtype(torch.float64)
    try:
        assert TINY(x, y) == expected
    finally:
        torch.set_default_dtype(torch.float32)

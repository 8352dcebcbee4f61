"""InfoNCE and MINE: exact critics, honest splits, calibrated errors, isolation from the caller's torch settings."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from estimators import MINE, InfoNCE, parse, variational
from estimators import _critics as C
from estimators.variational import dv_bound, infonce_bound

QUICK = {"seeds": 1, "steps": 20, "batch": 32}
BOTH = [
    pytest.param(e(critic=critic, **QUICK), id=f"{e.__name__}-{critic}")
    for e in (InfoNCE, MINE)
    for critic in ("separable", "joint")
]


def gaussian(n: int, d: int, rho: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """d independent pairs of correlation rho: I = -d/2 log(1 - rho^2)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.standard_normal((n, d))


def exact_scores(x: np.ndarray, y: np.ndarray, rho: float) -> np.ndarray:
    """log p(y|x) / p(y) of all pairs."""
    s = 1 - rho**2
    squares = (y[None] - rho * x[:, None]) ** 2 / s - y[None] ** 2
    return -0.5 * squares.sum(-1) - 0.5 * x.shape[1] * math.log(s)


# -- the bounds as functions of a score matrix ---------------------------------------------------------------


# (rho, K): mean and standard deviation of one batch, d = 20, recorded over 400 (K = 64) and 40 batches (K = 512).
# The published table has InfoNCE .94 (.3, 512), 3.27 (.6, 64), 4.12 (.8, 64), 4.04 (.6, 512).
RECORDED = {
    (0.3, 64): ((0.914, 0.153), (0.954, 0.167)),
    (0.6, 64): ((3.275, 0.165), (4.561, 0.480)),
    (0.8, 64): ((4.128, 0.031), (11.690, 1.306)),
    (0.3, 512): ((0.951, 0.056), (0.956, 0.057)),
    (0.6, 512): ((4.039, 0.083), (4.488, 0.129)),
}


@pytest.mark.parametrize(("rho", "k"), RECORDED)
def test_exact_critic(rho, k):
    batches, seen = (100 if k == 64 else 5), (400 if k == 64 else 40)
    scores = [exact_scores(*gaussian(k, 20, rho, seed=s + 1), rho) for s in range(batches)]
    for bound, (mean, deviation) in zip((infonce_bound, dv_bound), RECORDED[rho, k], strict=True):
        error = deviation * math.sqrt(1 / batches + 1 / seen)
        assert abs(np.mean([bound(f) for f in scores]) - mean) <= 4 * error
    assert np.mean([infonce_bound(f) for f in scores]) <= min(
        math.log(k), -10 * math.log(1 - rho**2) + 4 * deviation
    )


def loops(scores: np.ndarray) -> tuple[float, float]:
    """Both bounds, one pair after the other."""
    k = len(scores)
    nce = sum(
        scores[i, i] - math.log(sum(math.exp(scores[i, j]) for j in range(k))) for i in range(k)
    ) / k + math.log(k)
    others = [math.exp(scores[i, j]) for i in range(k) for j in range(k) if i != j]
    return nce, sum(scores[i, i] for i in range(k)) / k - math.log(sum(others) / len(others))


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_bounds_against_loops(make):
    scores = np.random.default_rng(0).standard_normal((7, 7))
    nce, dv = loops(scores)
    assert float(infonce_bound(make(scores))) == pytest.approx(nce, abs=1e-12)
    assert float(dv_bound(make(scores))) == pytest.approx(dv, abs=1e-12)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_invariances_of_the_bounds(make):
    rng = np.random.default_rng(1)
    scores, of_x = rng.standard_normal((6, 6)), rng.standard_normal((6, 1))
    assert float(infonce_bound(make(scores + of_x))) == pytest.approx(
        float(infonce_bound(make(scores))), abs=1e-12
    )
    assert float(dv_bound(make(scores + 1e3))) == pytest.approx(float(dv_bound(make(scores))), abs=1e-9)
    assert float(dv_bound(make(scores + of_x))) != pytest.approx(float(dv_bound(make(scores))), abs=1e-3)
    assert float(infonce_bound(make(1e6 * np.eye(6)))) == math.log(6)


def test_bounds_are_differentiable():
    scores = torch.randn(
        5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(infonce_bound, scores)
    assert torch.autograd.gradcheck(dv_bound, scores)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (1, 1), (2, 3, 3)])
@pytest.mark.parametrize("bound", [infonce_bound, dv_bound])
def test_bounds_need_a_square(bound, shape):
    with pytest.raises(ValueError, match=r"\(K, K\)"):
        bound(np.zeros(shape))


# -- critics and scoring -------------------------------------------------------------------------------------


def critic_and_samples(kind: str, n: int = 23) -> tuple[C.Critic, torch.Tensor, torch.Tensor, torch.Tensor]:
    critic = C.Critic(kind, dx=2, dy=3, hidden=8, layers=2, embed=4)
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, d, generator=generator) for d in (2, 3))
    return critic, critic.initial([1, 2]), x, y


def one_by_one(critic: C.Critic, flat: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Scores (S, n, n) of a network in float64, one training and one pair after the other."""
    out = np.zeros((len(flat), len(x), len(y)))
    for s in range(len(flat)):
        parts, offset = [], 0
        for shape in critic.shapes():
            size = math.prod(shape)
            parts.append(flat[s, offset : offset + size].reshape(-1, shape[-1]).double().numpy())
            offset += size

        def network(v, weights):
            for k in range(0, len(weights), 2):
                v = (v if k == 0 else np.maximum(v, 0)) @ weights[k] + weights[k + 1][0]
            return v

        for i, a in enumerate(x.double().numpy()):
            for j, b in enumerate(y.double().numpy()):
                if critic.kind == "joint":
                    first = np.concatenate([parts[0], parts[1]])
                    out[s, i, j] = network(np.concatenate([a, b]), [first, *parts[2:]])[0]
                else:
                    half = len(parts) // 2
                    g = a @ parts[0] + network(a, parts[1:half])
                    h = b @ parts[half] + network(b, parts[half + 1 :])
                    out[s, i, j] = g @ h / math.sqrt(critic.embed)
    return out


@pytest.mark.parametrize("kind", ["separable", "joint"])
def test_score_matrix_is_the_network_of_every_pair(kind):
    critic, flat, x, y = critic_and_samples(kind, 9)
    a, b = critic.embeddings(flat, x.expand(2, -1, -1), y.expand(2, -1, -1))
    np.testing.assert_allclose(
        critic.matrix(flat, a, b).numpy(), one_by_one(critic, flat, x, y), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("kind", ["separable", "joint"])
def test_dv_score_uses_all_pairs(kind, monkeypatch):
    critic, flat, x, y = critic_and_samples(kind)
    monkeypatch.setattr(C, "_PAIRS", 100)  # several chunks
    scored = C.score_dv(critic, flat, x, y)
    matrices = one_by_one(critic, flat, x, y)
    np.testing.assert_allclose(scored.value.numpy(), [dv_bound(m) for m in matrices], atol=1e-4)
    weights = np.array([np.exp(m[~np.eye(23, dtype=bool)]) for m in matrices])
    np.testing.assert_allclose(scored.effective.numpy(), weights.sum(1) ** 2 / (weights**2).sum(1), rtol=1e-3)


@pytest.mark.parametrize("kind", ["separable", "joint"])
def test_infonce_score_is_the_mean_over_batches(kind):
    critic, flat, x, y = critic_and_samples(kind)
    scored = C.score_infonce(critic, flat, x, y, batch=5, passes=3, seed=4)
    matrices, generator = one_by_one(critic, flat, x, y), torch.Generator().manual_seed(4)
    values = []
    for _ in range(3):
        order = torch.randperm(23, generator=generator)[:20].reshape(4, 5).numpy()
        values += [[infonce_bound(m[np.ix_(rows, rows)]) for m in matrices] for rows in order]
    np.testing.assert_allclose(scored.value.numpy(), np.mean(values, axis=0), atol=1e-4)


def test_training_moments_match_the_bound():
    critic, flat, x, y = critic_and_samples("separable")
    matched, log_z = critic.moments(flat, *critic.embeddings(flat, *C._shared(flat, x, y)), shifts=4)
    np.testing.assert_allclose(
        (matched - log_z).numpy(), [dv_bound(m) for m in one_by_one(critic, flat, x, y)], atol=1e-4
    )
    critic, flat, x, y = critic_and_samples("joint")
    matched, log_z = critic.moments(flat, *critic.embeddings(flat, *C._shared(flat, x, y)), shifts=22)
    np.testing.assert_allclose(
        (matched - log_z).numpy(), [dv_bound(m) for m in one_by_one(critic, flat, x, y)], atol=1e-4
    )


class Fixed:
    """A critic without parameters: f = 0.4 x y, so that e^f has a variance."""

    kind = "separable"

    def embeddings(self, flat, x, y):
        return 0.4 * x, y

    def matrix(self, flat, a, b):
        return a @ b.mT


@pytest.mark.parametrize("score", ["infonce", "dv"])
def test_influence_gives_the_scatter_over_test_sets(score):
    """Standard deviation over 200 test sets, itself known to 1 / sqrt(400), against the mean reported error."""
    values, errors = [], []
    for s in range(200):
        x, y = (torch.as_tensor(v, dtype=torch.float32) for v in gaussian(160, 1, 0.7, seed=s))
        flat = torch.zeros(1, 1)
        scored = (
            C.score_dv(Fixed(), flat, x, y)
            if score == "dv"
            else C.score_infonce(Fixed(), flat, x, y, 32, 8, 0)
        )
        values.append(scored.value.item())
        errors.append(scored.influence.std().item() / math.sqrt(160))
    # 0.05: first-order errors and, for InfoNCE, 8 partitions instead of all
    assert abs(math.log(np.std(values) / np.mean(errors))) <= 4 / math.sqrt(400) + 0.05


def test_mine_gradient_has_the_running_denominator():
    """Its gradient is E grad f - E[e^f grad f] / running mean, here by hand in the first two steps."""
    critic, _, x, y = critic_and_samples("separable", 6)
    objective = C.mine_objective(critic, shifts=4, momentum=0.9)
    running = None
    for seed in (5, 6):
        flat = critic.initial([seed]).requires_grad_()
        shared = C._shared(flat, x, y)
        (got,) = torch.autograd.grad(objective(flat, *critic.embeddings(flat, *shared)).sum(), flat)
        scores = critic.matrix(flat, *critic.embeddings(flat, *shared))[0]
        others = scores[~torch.eye(6, dtype=torch.bool)]
        z = others.exp().mean()
        running = z.item() if running is None else 0.9 * running + 0.1 * z.item()
        (expected,) = torch.autograd.grad(scores.diagonal().mean() - z / running, flat)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def test_early_stopping_keeps_a_copy_of_the_best_weights():
    critic = C.Critic("separable", 1, 1, hidden=4, layers=1, embed=2)
    x, y = (torch.as_tensor(v, dtype=torch.float32) for v in gaussian(50, 1, 0.9, seed=0))
    seen, scores = [], iter([0.0, 2.0, 1.0, 1.5, 0.5, 0.0, 9.0])

    def validate(flat):
        seen.append(flat.clone())
        return torch.tensor([next(scores)], dtype=torch.float64)

    fit = C.train(
        critic, C.infonce_objective(critic), validate, x, y,
        seeds=[0], batch=20, steps=100, every=2, patience=3, lr=1e-2, shrink=0.0, decay=0.9, progress=False,
    )  # fmt: skip
    assert fit.converged
    assert fit.steps == 8
    assert fit.validation == [2.0]
    assert torch.equal(fit.flat, seen[1])
    assert not torch.equal(fit.flat, seen[2]), "training went on after the copy"


def test_trainings_do_not_touch_each_other():
    x, y = gaussian(300, 2, 0.8, seed=0)
    three = InfoNCE(seeds=3, steps=60)
    alone = [C.Critic("separable", 2, 2, 8, 1, 4).initial([s]) for s in (1, 2)]
    together = C.Critic("separable", 2, 2, 8, 1, 4).initial([1, 2])
    assert torch.equal(torch.cat(alone), together)
    assert three(x, y).diagnostics["spread"] > 0


# -- estimates -----------------------------------------------------------------------------------------------

TRUTH = -math.log(1 - 0.8**2)


def test_infonce_on_a_correlated_gaussian():
    """Recorded over 20 data sets: 2+2, rho .8, n = 5000: mean 1.0016, standard deviation 0.0254; the truth is 1.0217."""
    e = InfoNCE(seeds=1)(*gaussian(5000, 2, 0.8, seed=100))
    assert abs(e.value - 1.0016) <= 4 * 0.0254
    assert abs(e.value - TRUTH) <= 4 * e.stderr
    assert e.bound == "lower"
    assert e.ceiling == math.log(256)
    assert e.reliable, e.flags


@pytest.mark.parametrize(
    ("estimator", "mean", "deviation"),
    [
        (InfoNCE(seeds=1), 0.9730, 0.0832),
        (MINE(seeds=1), 0.9655, 0.0847),
        (MINE(seeds=1, critic="separable"), 0.9282, 0.0858),
    ],
)
def test_small_samples(estimator, mean, deviation):
    """Recorded over 20 data sets: 2+2, rho .8, n = 800."""
    found = [estimator(*gaussian(800, 2, 0.8, seed=s)) for s in (7, 8)]
    assert abs(np.mean([e.value for e in found]) - mean) <= 4 * deviation * math.sqrt(1 / 2 + 1 / 20)
    assert found[0].stderr == pytest.approx(0.08, rel=0.4)


@pytest.mark.parametrize("estimator", [InfoNCE(seeds=2), MINE(seeds=2)])
def test_independent_high_dimensional_samples_show_nothing(estimator):
    x, y = gaussian(800, 64, 0.0, seed=3)
    e = estimator(x, y)
    assert e.value <= 4 * e.stderr
    assert e.value > -0.2


@pytest.mark.parametrize("estimator", [InfoNCE(seeds=1, steps=300), MINE(seeds=1, steps=300)])
def test_labels_are_one_hot_encoded(estimator):
    """I(X;Y) = log 3 for separated classes; the codes have no order."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(400) % 3)
    x = 5 * rng.standard_normal((3, 4))[y] + 0.1 * rng.standard_normal((400, 4))
    e = estimator(x, y)
    assert e.value == pytest.approx(math.log(3), abs=0.05)
    assert estimator(x, 7 * y - 5) == e
    assert estimator(y, x).value == pytest.approx(math.log(3), abs=0.05)


@pytest.mark.parametrize("estimator", [InfoNCE(seeds=1), MINE(seeds=1)])
def test_one_column_each(estimator):
    """At d = 1 every weight matrix of a first layer has one row; none of them may be taken for a bias."""
    e = estimator(*gaussian(600, 1, 0.95, seed=0))
    assert abs(e.value - -0.5 * math.log(1 - 0.95**2)) <= 4 * e.stderr
    assert e.stderr < 0.12


def test_scores_far_apart_have_no_subnormal_gradient():
    scores = torch.tensor([[0.0, -50.0, -95.0]], requires_grad=True)
    for raw, slowest in ((scores, True), (C._normal(scores, -1), False)):
        (gradient,) = torch.autograd.grad(raw.logsumexp(-1).sum(), scores)
        subnormal = (gradient != 0) & (gradient.abs() < torch.finfo(torch.float32).tiny)
        assert bool(subnormal.any()) == slowest
        torch.testing.assert_close(gradient, torch.tensor([[1.0, 0.0, 0.0]]))


def test_saturation():
    x, _ = gaussian(600, 3, 0.0, seed=0)
    e = InfoNCE(seeds=1, batch=8, steps=500)(x, x)
    assert e.ceiling == math.log(8)
    assert math.log(8) - 1 < e.value <= math.log(8)
    assert "saturated" in e.flags
    assert "saturated" not in InfoNCE(seeds=1, batch=64)(*gaussian(600, 1, 0.3, seed=0)).flags


# -- flags, by what the report is made from ------------------------------------------------------------------


def report(settings, **changes):
    parts = (np.arange(60), np.arange(15), np.arange(25))
    scores = {
        "validation": np.array([1.0, 1.1]),
        "train": np.array([1.0, 1.2]),
        "test": np.array([1.0, 1.2]),
        "influence": np.tile(np.linspace(-1, 1, 25), (2, 1)),
        "effective": np.array([500.0, 400.0]),
        "ceiling": 5.0,
        "steps": 10,
        "converged": True,
    }
    return variational._report(settings, 100, 0, parts, variational._Scores(**(scores | changes)))


def test_value_and_error_over_trainings():
    e = report(MINE())
    assert e.value == pytest.approx(1.1)
    assert e.diagnostics["spread"] == pytest.approx(0.1 * math.sqrt(2))
    assert e.stderr == pytest.approx(math.hypot(np.linspace(-1, 1, 25).std() / 5, 0.1))
    assert e.diagnostics["effective_sample"] == 400
    assert e.flags == ()
    single = {k: np.ones(1) for k in ("validation", "train", "test", "effective")}
    assert "spread" not in report(MINE(), influence=np.ones((1, 25)), **single).diagnostics


@pytest.mark.parametrize(
    ("settings", "changes", "flag"),
    [
        (MINE(), {"train": np.array([3.0, 3.0])}, "overfit"),
        (MINE(), {"effective": np.array([500.0, 99.0])}, "low-effective-sample"),
        (MINE(), {"converged": False}, "not-converged"),
        (MINE(), {"ceiling": 1.05}, "saturated"),
        (InfoNCE(), {"ceiling": 2.05, "effective": None}, "saturated"),
        (MINE(), {"validation": np.array([1.0, -math.inf])}, "failed-seeds"),
        (MINE(), {"validation": np.array([1.0, 0.05])}, "failed-seeds"),
        (MINE(), {"test": np.array([1.0, math.nan])}, "failed-seeds"),
    ],
)
def test_each_flag_is_raised_by_its_cause(settings, changes, flag):
    e = report(settings, **changes)
    assert e.flags == (flag,)
    if flag == "failed-seeds":
        assert e.value == 1.0
        assert e.diagnostics["failed"] == 1


def test_trainings_are_never_chosen_by_their_test_score():
    assert report(MINE(), test=np.array([1.0, -5.0])).value == -2.0
    assert np.array_equal(variational._kept(np.array([0.01, -0.02])), [True, True]), (
        "nothing to find is no failure"
    )


def test_divergence_is_an_error():
    with pytest.raises(ValueError, match="smaller lr"):
        InfoNCE(seeds=2, lr=1e30, steps=40)(*gaussian(200, 2, 0.5, seed=0))


def test_overfit_is_flagged_on_real_data():
    x, y = gaussian(400, 64, 0.5, seed=0)
    assert "overfit" in InfoNCE(seeds=1)(x, y).flags


# -- honest splits -------------------------------------------------------------------------------------------


def test_parts_are_disjoint_and_seeded():
    parts = variational._split(1000, InfoNCE())
    assert [len(p) for p in parts] == [600, 150, 250]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    assert not np.array_equal(parts[0], variational._split(1000, InfoNCE(seed=1))[0])


def test_columns_are_standardised_by_the_training_part_only():
    x = torch.as_tensor(np.random.default_rng(0).standard_normal((100, 3)) * [1e-200, 1.0, 1e150] + [0, 5, 0])
    x[:60, 1] = 2.0  # constant on the training part alone
    scaled = variational._scaled(x, np.arange(60))
    assert torch.isfinite(scaled).all()
    for column in (0, 2):
        assert scaled[:60, column].mean().item() == pytest.approx(0, abs=1e-6)
        assert scaled[:60, column].std(correction=0).item() == pytest.approx(1, abs=1e-6)
    changed = x.clone()
    changed[60:] = 0.5 * x[60:]
    assert torch.equal(variational._scaled(changed, np.arange(60))[:60], scaled[:60])


def test_the_value_comes_from_the_test_part(monkeypatch):
    """With test pairs broken the value falls to nothing, whatever the training part says."""
    x, y = gaussian(600, 1, 0.95, seed=0)
    estimator = InfoNCE(seeds=1)
    test = variational._split(600, estimator)[2]
    y = y.copy()
    y[test] = y[np.random.default_rng(1).permutation(test)]
    e = estimator(x, y)
    assert e.value < 0.1 < 0.6 < e.diagnostics["train"]
    assert "overfit" in e.flags


# -- isolation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", BOTH)
def test_global_state_is_untouched_and_results_repeat(estimator):
    x, y = gaussian(240, 2, 0.8, seed=0)
    saved, settings = torch.get_rng_state(), (torch.get_num_threads(), torch.is_grad_enabled())
    first = estimator(x, y)
    torch.manual_seed(99)
    numpy_before, torch_before = repr(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    assert estimator(x, y) == first
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert repr(np.random.get_state()) == numpy_before  # noqa: NPY002
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == settings
    torch.set_rng_state(saved)


@pytest.mark.parametrize("estimator", BOTH)
@pytest.mark.parametrize(
    "context",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_runs_the_same_inside_the_callers_contexts(estimator, context):
    x, y = gaussian(240, 2, 0.8, seed=0)
    expected = estimator(x, y)
    with context():
        inside = torch.as_tensor(x) * 1.0, torch.as_tensor(y) * 1.0
        assert estimator(*inside) == expected
        assert estimator(torch.as_tensor(x, dtype=torch.float64), y) == expected


def test_default_dtype_and_device_do_not_matter():
    x, y = gaussian(240, 2, 0.8, seed=0)
    expected = [e.values[0](x, y) for e in BOTH]
    try:
        torch.set_default_dtype(torch.float64)
        assert [e.values[0](x, y) for e in BOTH] == expected
        torch.set_default_device("meta")
        assert [e.values[0](x, y) for e in BOTH] == expected
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("estimator", BOTH)
def test_numpy_torch_and_gradient_tensors_agree(estimator):
    x, y = gaussian(240, 2, 0.8, seed=0)
    expected = estimator(x, y)
    assert estimator(torch.as_tensor(x), torch.as_tensor(y)) == expected
    assert estimator(torch.as_tensor(x).requires_grad_(), y) == expected
    labels = (x[:, 0] > 0).astype(np.int64)
    assert estimator(torch.as_tensor(x), torch.as_tensor(labels)) == estimator(x, labels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("estimator", [InfoNCE(seeds=1), MINE(seeds=1)])
def test_cuda(estimator):
    x, y = gaussian(800, 2, 0.8, seed=0)
    here, there = estimator(x, y), estimator(torch.as_tensor(x).cuda(), torch.as_tensor(y).cuda())
    assert there.value == pytest.approx(here.value, abs=4 * here.stderr)


def test_affine_maps_of_columns_change_little():
    """Columns are standardised, so only rounding remains; it is amplified by training."""
    x, y = gaussian(400, 2, 0.8, seed=0)
    e = InfoNCE(seeds=1)(x * [1e-8, 1e8] + [3e-8, 0], y)
    assert e.value == pytest.approx(InfoNCE(seeds=1)(x, y).value, abs=0.25 * e.stderr)


def test_module_is_importable_without_torch():
    code = (
        "import sys, estimators.variational; assert 'torch' not in sys.modules; estimators.variational.MINE()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_progress_is_silent_without_a_terminal(capfd):
    x, y = gaussian(240, 1, 0.5, seed=0)
    assert InfoNCE(progress=True, **QUICK)(x, y) == InfoNCE(**QUICK)(x, y)
    assert capfd.readouterr() == ("", "")


def test_names_survive():
    for e in (
        InfoNCE(),
        MINE(),
        InfoNCE(critic="joint", lr=1e-4, seeds=5, progress=True),
        MINE(hidden=8, test=0.5),
    ):
        assert parse(repr(e)) == e == pickle.loads(pickle.dumps(e))
        assert hash(parse(repr(e))) == hash(e)


# -- bad input -----------------------------------------------------------------------------------------------


def test_too_few_samples_names_the_split():
    x, y = gaussian(90, 1, 0.5, seed=0)
    with pytest.raises(
        ValueError, match=r"n = 90 .* 55 for training, 13 for validation and 22 .* at least 16: use n >= 114"
    ):
        InfoNCE()(x, y)
    assert InfoNCE(**QUICK)(*gaussian(114, 1, 0.5, seed=0)).n == 114


def test_bad_arguments():
    x, y = gaussian(240, 2, 0.5, seed=0)
    estimator = InfoNCE(**QUICK)
    with pytest.raises(ValueError, match="NaN"):
        estimator(np.where(x > 2, np.nan, x), y)
    with pytest.raises(ValueError, match="same n"):
        estimator(x, y[:-1])
    with pytest.raises(ValueError, match="constant"):
        estimator(np.ones((240, 2)), y)
    with pytest.raises(ValueError, match="distinct"):
        estimator(x, np.zeros(240, dtype=int))
    with pytest.raises(TypeError, match="numpy"):
        estimator(x.tolist(), y)
    with pytest.raises(TypeError, match="different devices"):
        estimator(torch.zeros(240, 2, device="meta"), y)
    e = estimator(np.concatenate([x, np.ones((240, 1))], axis=1), y)
    assert "constant-columns" in e.flags
    assert e.value == estimator(x, y).value


@pytest.mark.parametrize("estimator", [InfoNCE, MINE])
@pytest.mark.parametrize(
    "settings",
    [
        {"critic": "deep"},
        {"hidden": 0},
        {"batch": 1},
        {"lr": 0.0},
        {"lr": math.nan},
        {"penalty": -1.0},
        {"steps": 0},
        {"seeds": 0},
        {"test": 0.9, "validation": 0.1},
        {"test": 0.0},
    ],
)
def test_bad_settings(estimator, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        estimator(**settings)


def test_repeated_pairs_are_flagged_because_the_parts_share_them():
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.standard_normal((2, 60, 3)), 10, axis=1)
    assert "duplicates" in InfoNCE(seeds=1, steps=5)(x, y).flags
    assert "duplicates" not in InfoNCE(seeds=1, steps=5)(*rng.standard_normal((2, 600, 3))).flags

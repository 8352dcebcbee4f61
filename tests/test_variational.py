"""The estimators with a critic: known truths, flags, honest splits, isolation from the caller's torch settings."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from estimators import FLO, JSD, MINE, NWJ, SMILE, InfoNCE, _trained, _training, parse

QUICK = {"seeds": 1, "steps": 20, "batch": 32}
BOTH = [
    pytest.param(e(critic=critic, **QUICK), id=f"{e.__name__}-{critic}")
    for e, critic in [
        *((e, critic) for e in (InfoNCE, MINE) for critic in ("separable", "joint")),
        (NWJ, "bilinear"),
        (JSD, "joint"),
        (SMILE, "separable"),
        (FLO, "joint"),
    ]
]
CLASSES = [InfoNCE, MINE, NWJ, JSD, SMILE, FLO]


def gaussian(n: int, d: int, rho: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """d independent pairs of correlation rho: I = -d/2 log(1 - rho^2)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.standard_normal((n, d))


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
        (NWJ(seeds=1), 0.9733, 0.0714),
        (JSD(seeds=1), 0.9578, 0.0615),
        (SMILE(seeds=1), 0.9585, 0.0607),
        (FLO(seeds=1), 0.9741, 0.0672),
    ],
)
def test_small_samples(estimator, mean, deviation):
    """Recorded over 20 data sets: 2+2, rho .8, n = 800."""
    e = estimator(*gaussian(800, 2, 0.8, seed=7))
    assert abs(e.value - mean) <= 4 * deviation * math.sqrt(1 + 1 / 20)
    assert e.stderr == pytest.approx(0.08, rel=0.4)


@pytest.mark.parametrize("estimator", [e(seeds=2, steps=150, patience=4) for e in CLASSES])
def test_independent_high_dimensional_samples_show_nothing(estimator):
    x, y = gaussian(800, 64, 0.0, seed=3)
    e = estimator(x, y)
    assert e.value <= 4 * e.stderr
    assert e.value > -0.2


@pytest.mark.parametrize("estimator", [e(seeds=1, steps=150, patience=3) for e in CLASSES])
def test_labels_are_one_hot_encoded(estimator):
    """I(X;Y) = log 3 for separated classes; the codes have no order."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(400) % 3)
    x = 5 * rng.standard_normal((3, 4))[y] + 0.1 * rng.standard_normal((400, 4))
    e = estimator(x, y)
    assert e.value == pytest.approx(math.log(3), abs=0.05)
    assert estimator(x, 7 * y - 5) == e
    assert estimator(y, x).value == pytest.approx(math.log(3), abs=0.05)


@pytest.mark.parametrize("estimator", [e(seeds=1, steps=300) for e in CLASSES])
def test_one_column_each(estimator):
    """At d = 1 every weight matrix of a first layer has one row; none of them may be taken for a bias."""
    e = estimator(*gaussian(600, 1, 0.95, seed=0))
    assert abs(e.value - -0.5 * math.log(1 - 0.95**2)) <= 4 * e.stderr
    assert e.stderr < 0.12


def test_what_each_claims():
    x, y = gaussian(240, 2, 0.8, seed=0)
    for estimator in CLASSES:
        e = estimator(**QUICK)(x, y)
        assert e.bound == ("none" if estimator is SMILE else "lower")
        assert e.quantity == "I(X;Y)"
        assert e.ceiling == (math.log(32) if estimator is InfoNCE else math.log(60 * 59))
        assert ("effective_sample" in e.diagnostics) == (estimator is not InfoNCE)
        assert {"train", "validation", "test", "failed", "n_train", "n_validation", "n_test"} <= set(
            e.diagnostics
        )
    assert SMILE(tau=math.inf, **QUICK)(x, y).bound == "lower"


def test_smile_and_jsd_share_a_critic():
    """One training, two values: without clipping Donsker-Varadhan, which no constant of the critic can beat."""
    x, y = gaussian(800, 2, 0.8, seed=3)
    dv, nwj = SMILE(tau=math.inf, seeds=1)(x, y), JSD(seeds=1)(x, y)
    assert dv.diagnostics["steps"] == nwj.diagnostics["steps"]
    assert 0 <= dv.value - nwj.value <= 0.05


@pytest.mark.parametrize("estimator", [NWJ, JSD, FLO, MINE])
def test_five_pairs_stay_below_the_truth(estimator):
    """5+5, 3 nats, n = 1000: lower bounds, and more than the ceiling of an InfoNCE batch of 8 could show."""
    x, y = gaussian(1000, 5, math.sqrt(1 - math.exp(-1.2)), seed=5)
    e = estimator(seeds=1, steps=300)(x, y)
    assert math.log(8) < e.value <= 3 + 4 * e.stderr


def test_bilinear_critic_sees_scalar_products_alone():
    """y = x + noise has them; y = |x| + noise has none."""
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 400, 1))
    seen = NWJ(critic="bilinear", seeds=1, steps=300)(x, x + 0.5 * noise)
    assert seen.value > 4 * seen.stderr
    folded = np.abs(x) + 0.1 * noise
    linear, network = (NWJ(critic=kind, seeds=1, steps=300)(x, folded) for kind in ("bilinear", "joint"))
    assert abs(linear.value) <= 4 * linear.stderr + 0.02
    assert network.value > 0.8


def test_few_effective_weights_are_flagged():
    """y = x in three columns and 200 samples: a few near pairs carry the mean of the weights."""
    x, _ = gaussian(200, 3, 0.0, seed=0)
    e = NWJ(seeds=1, critic="separable", steps=400)(x, x)
    assert "low-effective-sample" in e.flags
    assert e.diagnostics["effective_sample"] < 100


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
        "margin": 0.0,
        "steps": 10,
        "converged": True,
    }
    return _trained.report(settings, 100, 0, parts, _trained.Scores(**(scores | changes)), "lower")


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
        (InfoNCE(), {"ceiling": 2.05, "margin": 1.0, "effective": None}, "saturated"),
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


@pytest.mark.parametrize("estimator", CLASSES)
def test_divergence_is_an_error(estimator):
    with pytest.raises(ValueError, match="smaller lr"):
        estimator(seeds=2, lr=1e30, steps=40)(*gaussian(200, 2, 0.5, seed=0))


def test_a_failed_training_is_left_out(monkeypatch):
    """The second of three gets weights that are not numbers; the value is that of the other two."""
    x, y = gaussian(240, 2, 0.8, seed=0)
    train = _training.train

    def broken(initial, *args, **kwargs):
        def start(seeds):
            flat = initial(seeds)
            flat[1] = math.nan
            return flat

        return train(start, *args, **kwargs)

    clean = NWJ(seeds=3, steps=40, critic="separable")
    monkeypatch.setattr(_training, "train", broken)
    e = clean(x, y)
    assert "failed-seeds" in e.flags
    assert e.diagnostics["failed"] == 1
    assert math.isfinite(e.value)


def test_overfit_is_flagged_on_real_data():
    x, y = gaussian(400, 64, 0.5, seed=0)
    assert "overfit" in InfoNCE(seeds=1)(x, y).flags


# -- honest splits -------------------------------------------------------------------------------------------


def test_the_value_comes_from_the_test_part(monkeypatch):
    """With test pairs broken the value falls to nothing, whatever the training part says."""
    x, y = gaussian(600, 1, 0.95, seed=0)
    estimator = InfoNCE(seeds=1)
    test = _training.split(600, validation=0.15, test=0.25, seed=0).test
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
    for estimator in (InfoNCE, FLO):
        assert estimator(progress=True, **QUICK)(x, y) == estimator(**QUICK)(x, y)
    assert capfd.readouterr() == ("", "")


def test_names_survive():
    for e in (
        InfoNCE(),
        MINE(),
        InfoNCE(critic="joint", lr=1e-4, seeds=5, progress=True),
        MINE(hidden=8, test=0.5),
        NWJ(critic="bilinear"),
        SMILE(tau=math.inf),
        SMILE(tau=3.0, seed=2),
        FLO(layers=1),
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


@pytest.mark.parametrize("estimator", CLASSES)
@pytest.mark.parametrize(
    "settings",
    [
        {"critic": "deep"},
        {"hidden": 0},
        {"embed": 0},
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


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan])
def test_bad_tau(tau):
    with pytest.raises(ValueError, match="tau"):
        SMILE(tau=tau)


def test_every_critic_goes_with_every_bound():
    x, y = gaussian(160, 2, 0.8, seed=0)
    for estimator in CLASSES:
        for critic in ("joint", "separable", "bilinear"):
            e = estimator(critic=critic, seeds=2, steps=5)(x, y)
            assert math.isfinite(e.value)
            assert parse(e.method) == estimator(critic=critic, seeds=2, steps=5)


def test_repeated_pairs_are_flagged_because_the_parts_share_them():
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.standard_normal((2, 60, 3)), 10, axis=1)
    assert "duplicates" in InfoNCE(seeds=1, steps=5)(x, y).flags
    assert "duplicates" not in InfoNCE(seeds=1, steps=5)(*rng.standard_normal((2, 600, 3))).flags

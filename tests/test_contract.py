"""One contract for all estimators: adding one is adding a line here."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import random

import numpy as np
import pytest
import torch

import estimators
from estimators import (
    CKA,
    CLUB,
    ESTIMATORS,
    FLO,
    HSIC,
    JSD,
    KDE,
    KSG,
    LDMI,
    LMI,
    MINE,
    MMG,
    NWJ,
    SMILE,
    Auto,
    Binned,
    Copula,
    CrossFittedCCA,
    DiffusionEntropy,
    Discrete,
    DoE,
    Estimate,
    Extrapolated,
    FrenzelPompe,
    Gao,
    Gaussian,
    GaussianCopula,
    GaussianTotalCorrelation,
    GeometricKNN,
    InfoNCE,
    KNNDivergence,
    KolchinskyTracey,
    KozachenkoLeonenko,
    LeaveOneOut,
    LocalNonUniformity,
    LogDetEntropy,
    MatrixRenyi,
    Permuted,
    ProbeInformation,
    Projected,
    Ross,
    SamplePropagation,
    ShrunkGaussian,
    Sliced,
    Student,
    StudentCopula,
    Subsampled,
    ThreeEntropies,
    TotalCorrelation,
    parse,
)

# estimator -> what it is called with: "x", "xy" (continuous), "xyz", "xc" (y is a class label), "xq" (not paired)
CONTRACT = {
    Gaussian(): "x",
    Gaussian(corrected=False): "xy",
    GaussianTotalCorrelation(): "x",
    GaussianTotalCorrelation(corrected=False): "xy",
    ShrunkGaussian(): "x",
    ShrunkGaussian(shrinkage="held-out"): "xy",
    CrossFittedCCA(components=2): "xy",
    GaussianCopula(): "x",
    Student(): "xy",
    Student(df=4.0): "xy",
    StudentCopula(): "xy",
    Auto(): "xy",
    Auto(seed=1): "xc",
    GaussianCopula(corrected=False): "xy",
    LDMI(eps=1e-4): "xy",
    LogDetEntropy(beta=2.0): "x",
    KozachenkoLeonenko(k=4): "x",
    KSG(k=4): "xy",
    KSG(k=4, algorithm=2): "xy",
    LocalNonUniformity(k=10): "xy",
    GeometricKNN(k=20): "xy",
    GeometricKNN(k=12, standardise=False): "x",
    FrenzelPompe(k=4): "xyz",
    TotalCorrelation(k=4): "x",
    Ross(k=3): "xc",
    Gao(k=4): "xy",
    Gao(k=3, standardise=False): "xc",
    KNNDivergence(k=4, norm="euclidean"): "xq",
    KolchinskyTracey(sigma=0.5): "x",
    KolchinskyTracey(sigma=1.0): "xc",
    SamplePropagation(sigma=0.5, draws=2): "x",
    SamplePropagation(sigma=1.0, draws=2): "xc",
    LeaveOneOut(sigma=0.5): "x",
    KDE(): "x",
    KDE(bandwidth="likelihood"): "xy",
    KDE(bandwidth=0.5): "xc",
    Discrete(): "c",
    Discrete("nsb", symbols=(2, 2)): "cc",
    Binned(bins=4): "x",
    Binned(Discrete("chao-shen"), bins=3, rule="mass"): "xc",
    MatrixRenyi(): "x",
    MatrixRenyi(alpha=1.0, kernel="cosine"): "xc",
    MatrixRenyi(alpha=1.01): "xy",
    DiffusionEntropy(): "x",
    HSIC(): "xy",
    CKA(): "xy",
    CKA(kernel="gaussian", unbiased=False): "xc",
    ProbeInformation(): "xc",
    InfoNCE(seeds=1, steps=5): "xy",
    MINE(seeds=1, steps=5): "xy",
    NWJ(seeds=1, steps=5): "xy",
    JSD(seeds=1, steps=5, critic="separable"): "xy",
    SMILE(seeds=1, steps=5, critic="bilinear"): "xc",
    FLO(seeds=1, steps=5): "xy",
    DoE(seeds=1, steps=5, components=2): "xy",
    CLUB(seeds=1, steps=5, covariance="diagonal"): "xy",
    LMI(dims=2, hidden=8, steps=20): "xy",
    MMG(seeds=1, hidden=8, steps=5): "xy",
    Subsampled(KSG(k=3), parts=3): "xy",
    Permuted(Gaussian(), times=3): "xy",
    Permuted(FrenzelPompe(k=4), times=3): "xyz",
    Projected(KSG(k=3), dims=2): "xy",
    Sliced(Gaussian(), slices=4): "xy",
    Copula(Gaussian()): "xy",
    ThreeEntropies(Gaussian()): "xy",
    Extrapolated(Gaussian(), gammas=5): "xy",
}
CASES = [pytest.param(e, kind, id=f"{e!r}-{kind}") for e, kind in CONTRACT.items()]
CONTINUOUS = [case for case in CASES if case.values[1][0] != "c"]  # labels have their own guards


def samples(kind: str, n: int = 240) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 3))
    made = {"x": x, "y": x + rng.standard_normal((n, 3)), "c": (x[:, 0] > 0).astype(np.int64)}
    made["z"], made["q"] = x + rng.standard_normal((n, 3)), rng.standard_normal((n, 3))
    return [made[name] for name in kind]


def test_every_public_estimator_is_in_the_contract():
    assert {type(e).__name__ for e in CONTRACT} == set(ESTIMATORS)


@pytest.mark.parametrize(("estimator", "kind"), CASES)
def test_parse_inverts_repr(estimator, kind):
    assert parse(repr(estimator)) == estimator
    assert hash(parse(repr(estimator))) == hash(estimator)
    assert pickle.loads(pickle.dumps(estimator)) == estimator


@pytest.mark.parametrize(("estimator", "kind"), CASES)
def test_settings_are_frozen_and_every_one_is_documented(estimator, kind):
    fields = dataclasses.fields(estimator)
    text = inspect.getdoc(type(estimator)) + (inspect.getmodule(type(estimator)).__doc__ or "")
    for field in fields:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(estimator, field.name, getattr(estimator, field.name))
        assert field.name in text, field.name
        assert field.repr == field.compare, field.name  # what the name leaves out must not change the value


@pytest.mark.parametrize(("estimator", "kind"), CASES)
def test_tensors_of_another_device_or_none_are_named(estimator, kind):
    """Meta tensors stand for what is on a GPU: refused by name, with the mend, by what runs on the CPU only."""
    arrays = [torch.as_tensor(x) for x in samples(kind)]
    with pytest.raises(TypeError, match=r"x.* on device '?meta|device.*'meta'|y.* on device '?meta"):
        estimator(*(x.to("meta") for x in arrays))
    if len(arrays) > 1:
        with pytest.raises(TypeError, match=r"device.*meta"):
            estimator(*arrays[:-1], arrays[-1].to("meta"))


@pytest.mark.parametrize(("estimator", "kind"), CASES)
def test_returns_an_estimate_that_names_its_method(estimator, kind):
    e = estimator(*samples(kind))
    assert isinstance(e, Estimate)
    assert type(e.value) is float
    assert parse(e.method) == estimator
    assert e.n <= 240
    assert e.unit == ("1" if isinstance(estimator, (HSIC, CKA)) else "nats")  # two are pure numbers
    assert all(type(v) is float for v in e.diagnostics.values())
    assert e.ceiling is None or e.value <= e.ceiling + 1e-9
    assert e.stderr is None or e.stderr > 0
    assert len(set(e.flags)) == len(e.flags)
    assert "\n" not in str(e)
    assert e.method.split("(")[0] in e._repr_html_()


@pytest.mark.parametrize(("estimator", "kind"), CASES)
def test_numpy_and_torch_agree(estimator, kind):
    arrays = samples(kind)
    a, b = estimator(*arrays), estimator(*(torch.as_tensor(x) for x in arrays))
    assert b.value == pytest.approx(a.value, abs=1e-9)
    assert (b.flags, b.bound, b.n, b.quantity) == (a.flags, a.bound, a.n, a.quantity)
    for mine, other in ((a.stderr, b.stderr), (a.ceiling, b.ceiling)):
        assert (mine is None) == (other is None)
        assert mine is None or other == pytest.approx(mine, rel=1e-5, abs=1e-9)
    assert set(b.diagnostics) == set(a.diagnostics)


@pytest.mark.parametrize(("estimator", "kind"), CASES)
def test_float32_is_measured_in_float64(estimator, kind):
    single = [x.astype(np.float32) if x.dtype == np.float64 else x for x in samples(kind)]
    double = [x.astype(np.float64) if x.dtype == np.float32 else x for x in single]
    assert estimator(*single).value == pytest.approx(estimator(*double).value, abs=1e-9)


@pytest.mark.parametrize(("estimator", "kind"), CASES)
def test_read_only_input_is_accepted_and_unchanged(estimator, kind):
    arrays = samples(kind)
    copies = [x.copy() for x in arrays]
    for x in arrays:
        x.setflags(write=False)
    estimator(*arrays)
    for x, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize(("estimator", "kind"), CASES)
def test_deterministic_and_global_streams_untouched(estimator, kind):
    def streams():
        return (
            torch.get_rng_state().tolist(),
            repr(np.random.get_state()),  # noqa: NPY002 - the stream that must stay untouched
            random.getstate(),
            torch.get_num_threads(),
        )

    before = streams()
    assert estimator(*samples(kind)) == estimator(*samples(kind))
    assert streams() == before


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("estimator", "kind"), CONTINUOUS)
def test_nan_and_inf_are_errors_that_name_the_argument(estimator, kind, bad):
    arrays = samples(kind)
    arrays[0][7, 1] = bad
    with pytest.raises(ValueError, match=r"x of shape .* has NaN or inf in 1 of its rows"):
        estimator(*arrays)


@pytest.mark.parametrize(("estimator", "kind"), [c for c in CONTINUOUS if c.values[1] in ("xy", "xc")])
def test_unequal_n_names_both_shapes(estimator, kind):
    x, y = samples(kind)
    with pytest.raises(ValueError, match=r"\(240, 3\).*\(239"):
        estimator(x, y[:-1])


@pytest.mark.parametrize(("estimator", "kind"), CASES)
def test_too_few_samples(estimator, kind):
    with pytest.raises(ValueError, match=r"n |sample|need"):
        estimator(*(x[:3] for x in samples(kind)))


@pytest.mark.parametrize(("estimator", "kind"), CONTINUOUS)
def test_constant_samples(estimator, kind):
    arrays = samples(kind)
    arrays[0] = np.ones_like(arrays[0])
    if isinstance(
        estimator, (KolchinskyTracey, SamplePropagation, LeaveOneOut)
    ):  # through a channel a constant carries exactly nothing
        assert estimator(*arrays).value == pytest.approx(0, abs=1e-9)
        return
    with pytest.raises(ValueError, match="constant"):
        estimator(*arrays)


@pytest.mark.parametrize(("estimator", "kind"), CONTINUOUS)
def test_wrong_kinds_of_argument(estimator, kind):
    arrays = samples(kind)
    with pytest.raises(TypeError, match=r"numpy|array|tensor"):
        estimator(arrays[0].tolist(), *arrays[1:])
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        estimator(arrays[0][None], *arrays[1:])


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_docstrings_have_formula_units_reference_and_example(name):
    text = inspect.getdoc(getattr(estimators, name))
    assert "nats" in text or "inner" in text
    assert ".. math::" in text or r"\(" in text
    for part in ("Raises:", "Referenc", ">>>"):
        assert part in text, (name, part)
    home = inspect.getmodule(getattr(estimators, name)).__doc__
    assert "inner" in text or "Shapes:" in text or "`(n, dx)`" in home, name

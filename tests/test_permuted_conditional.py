"""The null of a conditional mutual information: local permutations, p-values, labels, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from estimators import Discrete, FrenzelPompe, Gaussian, Permuted, Projected, Subsampled
from estimators._local_permutation import contrast, neighbourhoods, permutation


def data(n: int, seed: int, direct: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z drives both, X by a curve; `direct` is what X's own noise gives to Y."""
    z, u, v = np.random.default_rng(seed).standard_normal((3, n, 1))
    return np.sin(2 * z) + 0.5 * u, z + 0.5 * v + direct * 0.5 * u, z


@pytest.mark.parametrize("inner", [Gaussian(), FrenzelPompe(k=5)], ids=["gaussian", "neighbours"])
def test_p_values_are_uniform_given_z(inner):
    """Over 400 other seeds: mean 0.515 and 0.514, sd 0.291 and 0.290; exact ones on this grid have 0.525 and 0.288."""
    reps = 80
    p = np.array(
        [Permuted(inner, times=19, seed=s)(*data(200, s, 0)).diagnostics["p_value"] for s in range(reps)]
    )
    assert abs(p.mean() - 0.515) <= 4 * 0.291 * math.sqrt(1 / reps + 1 / 400)
    smooth = p - np.random.default_rng(0).uniform(0, 1 / 20, reps)
    assert kstest(smooth, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("inner", [Gaussian(), FrenzelPompe(k=5)], ids=["gaussian", "neighbours"])
def test_dependence_given_z_is_seen(inner):
    p = [Permuted(inner, times=19, seed=s)(*data(200, s, 0.7)).diagnostics["p_value"] for s in range(10)]
    assert np.mean(p) < 0.1


def test_the_permuted_sample_keeps_its_dependence_on_z():
    x, _, z = data(1000, 0, 0)
    near = neighbourhoods(z, 5)
    index = permutation(z, near, np.random.default_rng(0))
    assert (near == index[:, None]).any(axis=1).all()
    assert len(np.unique(index)) > 0.85 * 1000  # each used once as far as possible; 0.67 if drawn at random
    drawn = near[np.arange(1000), np.random.default_rng(0).integers(0, 5, 1000)]
    assert len(np.unique(drawn)) < 0.72 * 1000
    assert 0.1 < np.mean(index == np.arange(1000)) < 0.3  # about one in five stays

    def share(first: np.ndarray) -> float:
        return float(np.corrcoef(first[:, 0], np.sin(2 * z[:, 0]))[0, 1])

    assert share(x[index]) == pytest.approx(share(x), abs=0.02)
    assert abs(share(x[np.random.default_rng(0).permutation(1000)])) < 4 / math.sqrt(1000)
    # Its own noise is gone, but for those who stay.
    noise = x - np.sin(2 * z)
    assert np.corrcoef(noise[index, 0], noise[:, 0])[0, 1] < 0.3


def test_neighbourhoods_are_the_nearest_in_standardised_z():
    z = np.random.default_rng(0).standard_normal((100, 2)) * np.array([1e-3, 1e3])
    unit = (z - z.mean(axis=0)) / z.std(axis=0)
    gap = np.abs(unit[:, None] - unit[None]).max(axis=2)
    np.testing.assert_array_equal(neighbourhoods(z, 6), np.argsort(gap, axis=1)[:, :6])
    assert contrast(z, neighbourhoods(z, 6)) < 1 / 3


def test_the_value_and_the_fields_are_those_of_the_inner_estimator():
    x, y, z = data(300, 0, 0.7)
    e = Permuted(FrenzelPompe(), times=9)(x, y, z)
    plain = FrenzelPompe()(x, y, z)
    assert (e.value, e.quantity, e.flags, e.ceiling) == (plain.value, "I(X;Y|Z)", (), plain.ceiling)
    assert {"null_mean", "null_sd", "null_q95", "p_value", "contrast_z"} <= set(e.diagnostics)
    assert e.diagnostics["p_value"] == pytest.approx(0.1)
    assert e == Permuted(FrenzelPompe(), times=9)(x, y, z)
    assert e != Permuted(FrenzelPompe(), times=9, seed=1)(x, y, z)


def test_it_nests_and_takes_torch():
    x, y, z = data(300, 0, 0.7)
    nested = Permuted(Subsampled(Projected(Gaussian(), dims=2), parts=3), times=5)
    a, b = nested(x, y, z), nested(*(torch.as_tensor(v) for v in (x, y, z)))
    assert a.value == pytest.approx(b.value, abs=1e-10)
    assert a.diagnostics == pytest.approx(b.diagnostics, abs=1e-10)


def test_neighbours_far_apart_in_z_are_flagged():
    x, y, _ = data(300, 0, 1)
    wide = np.random.default_rng(5).standard_normal((300, 20))
    e = Permuted(Gaussian(), times=5)(x, y, wide)
    assert "high-dimension" in e.flags
    assert "high-dimension" not in Gaussian()(x, y, wide).flags
    assert e.diagnostics["contrast_z"] > 1 / 3


def test_labels_are_permuted_within_their_class():
    z = np.random.default_rng(0).integers(0, 4, 400)
    index = permutation(z, None, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(index), np.arange(400))
    np.testing.assert_array_equal(z[index], z)
    assert np.mean(index == np.arange(400)) < 0.05
    rng = np.random.default_rng(2)
    copy = (z + (rng.random((2, 400)) < 0.3)) % 4  # both follow z: dependent, but not given z

    class Chained:
        def __call__(self, x, y, c):
            joint = Discrete()(x, c * 4 + y)
            return joint.__class__(
                value=joint.value - Discrete()(x, c).value, quantity="I(X;Y|Z)", n=400, method="chained"
            )

    assert Permuted(Chained(), times=39)(copy[0], copy[1], z).diagnostics["p_value"] > 0.05
    assert Permuted(Discrete(), times=39)(copy[0], copy[1]).diagnostics["p_value"] < 0.05
    assert Permuted(Chained(), times=39)(copy[0], copy[0], z).diagnostics["p_value"] < 0.05


def test_refusals():
    x, y, z = data(50, 0, 0)
    with pytest.raises(ValueError, match="neighbors = 1: at least 2"):
        Permuted(Gaussian(), neighbors=1)
    with pytest.raises(TypeError, match="neighbors must be of type int"):
        Permuted(Gaussian(), neighbors=2.0)
    with pytest.raises(ValueError, match="neighbors = 60 need n >= 60"):
        Permuted(Gaussian(), neighbors=60)(x, y, z)
    with pytest.raises(ValueError, match="all columns are constant"):
        Permuted(Gaussian())(x, y, np.ones((50, 1)))
    with pytest.raises(TypeError, match="got 4"):
        Permuted(Gaussian())(x, y, z, z)

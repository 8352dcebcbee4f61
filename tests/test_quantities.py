"""What is measured: exact spectra, closed forms on the sphere, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from estimators import Gaussian
from infossl.activations import Activations
from infossl.channels import Augmentation, GaussianChannel, Label
from infossl.quantities import (
    FULL,
    LIGHT,
    QUANTITIES,
    Alignment,
    InputInformation,
    KNNAccuracy,
    LabelInformation,
    LinearAccuracy,
    LogTraceCovariance,
    RankMe,
    RepresentationEntropy,
    Uniformity,
    ViewInformation,
    measures_named,
)
from infossl.quantities.geometry import alignment, rank_me, uniformity


def of(z: np.ndarray, **more) -> Activations:
    return Activations(layer="encoder", role="h", z=np.asarray(z, float), **more)


# -- RankMe --------------------------------------------------------------------------------------------------


def orthonormal(n: int, d: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(0).standard_normal((n, d)))[0]


def with_spectrum(n: int, s: np.ndarray) -> np.ndarray:
    return orthonormal(n, len(s)) * s @ orthonormal(len(s), len(s)).T


def test_rankme_of_exact_spectra():
    assert rank_me(orthonormal(1024, 64)) == pytest.approx(64, abs=1e-9)
    s = 1 / np.arange(1, 513)
    p = s / s.sum()
    assert rank_me(with_spectrum(600, s)) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-9)
    assert rank_me(with_spectrum(600, s)) == pytest.approx(117.2, abs=0.05)
    assert rank_me(np.ones((20, 5))) == pytest.approx(1, abs=1e-6)
    low = orthonormal(200, 4) @ orthonormal(16, 4).T
    assert rank_me(low) == pytest.approx(4, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_rankme_does_not_depend_on_scale_or_rotation(scale, rng):
    z = rng.standard_normal((100, 8))
    assert rank_me(z * scale) == pytest.approx(rank_me(z), rel=1e-9)
    assert rank_me(z @ orthonormal(8, 8)) == pytest.approx(rank_me(z), rel=1e-9)


def test_rankme_is_not_centred(rng):
    """A common mean dominates the spectrum: that is the paper's definition, and the trap of comparing variants."""
    z = rng.standard_normal((1000, 64))
    assert rank_me(z + 100) < 2 < 60 < rank_me(z)


def test_rankme_flags_small_samples_and_refuses_zero(rng):
    assert RankMe()(of(rng.standard_normal((100, 64)))).flags == ("small-sample",)
    assert RankMe()(of(rng.standard_normal((300, 64)))).ceiling == 64
    with pytest.raises(ValueError, match="collapsed"):
        rank_me(np.zeros((5, 3)))


# -- alignment and uniformity --------------------------------------------------------------------------------


def test_alignment_is_the_squared_chord():
    angle = np.linspace(0, math.pi, 9)
    a = np.tile([1.0, 0.0], (9, 1))
    b = np.column_stack([np.cos(angle), np.sin(angle)])
    np.testing.assert_allclose(alignment(3 * a, 0.1 * b), 4 * np.sin(angle / 2) ** 2, atol=1e-12)


@pytest.mark.parametrize(("d", "exact"), [(2, -1.58), (8, -3.08), (128, -3.94)])
def test_uniformity_of_directions_uniform_on_the_sphere(d, exact):
    z = np.random.default_rng(0).standard_normal((4000, d))
    assert uniformity(z) == pytest.approx(exact, abs=0.02)


def test_uniformity_against_the_double_loop(rng):
    z = rng.standard_normal((30, 3))
    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    terms = [math.exp(-2 * np.sum((u[i] - u[j]) ** 2)) for i in range(30) for j in range(i)]
    assert uniformity(z) == pytest.approx(math.log(np.mean(terms)), abs=1e-12)


def test_uniformity_at_collapse_and_dead_rows():
    assert uniformity(np.ones((10, 3))) == pytest.approx(0, abs=1e-12)
    dead = np.array([[1.0, 0], [0, 1], [0, 0], [1, 1]])
    with pytest.raises(ValueError, match="zero has no direction"):
        uniformity(dead)
    e = Uniformity()(of(dead))
    assert (e.value, e.n, e.flags) == (uniformity(dead[[0, 1, 3]]), 3, ("dead-rows",))
    views = np.stack([dead, np.ones((4, 2))], axis=1)
    assert Alignment()(of(dead, views=views)).n == 3
    with pytest.raises(ValueError, match=r"3 of 4 rows are zero.*dead"):
        Uniformity()(of(dead * np.array([[1], [0], [0], [0]])))


def test_log_trace_of_covariance(rng):
    z = rng.standard_normal((200, 4)) * np.array([1, 2, 3, 4])
    assert LogTraceCovariance()(of(z)).value == pytest.approx(math.log(np.trace(np.cov(z.T))), abs=1e-12)
    collapsed = LogTraceCovariance()(of(np.ones((20, 3))))
    assert (collapsed.value, collapsed.flags) == (-math.inf, ("collapsed",))


# -- information ---------------------------------------------------------------------------------------------


def test_input_information_is_refused_without_a_channel():
    with pytest.raises(ValueError, match=r"infinite.*GaussianChannel"):
        InputInformation()
    with pytest.raises(ValueError, match="must be positive"):
        GaussianChannel(sigma=0.0)


def test_input_information_does_not_depend_on_scale_when_the_noise_is_relative(rng):
    z = rng.standard_normal((200, 3))
    relative, absolute = (InputInformation(GaussianChannel(0.5, relative=r)) for r in (True, False))
    assert relative(of(1000 * z)).value == pytest.approx(relative(of(z)).value, abs=1e-9)
    assert absolute(of(1000 * z)).value > absolute(of(z)).value + 1  # growing weights alone "inform"
    low, high = relative(of(z)).interval
    assert 0 <= low <= high <= math.log(200)


def test_a_constant_representation_has_no_relative_noise():
    with pytest.raises(ValueError, match="collapsed"):
        InputInformation(GaussianChannel(0.5))(of(np.ones((20, 3))))
    fixed = InputInformation(GaussianChannel(0.5, relative=False))(of(np.ones((20, 3))))
    assert fixed.interval == pytest.approx((0, 0), abs=1e-9)


def test_view_information_takes_the_first_two_views(rng):
    views = rng.standard_normal((300, 3, 2))
    views[:, 1] += views[:, 0]
    e = ViewInformation(Gaussian())(of(views[:, 0], views=views))
    assert e.value == Gaussian()(views[:, 0], views[:, 1]).value
    assert e.quantity == "I(Z;Z')"
    with pytest.raises(ValueError, match=r"no pair of views.*augment"):
        ViewInformation()(of(views[:, 0]))


def test_entropy_is_named_after_the_representation(rng):
    assert RepresentationEntropy()(of(rng.standard_normal((50, 2)))).quantity == "H(Z)"


def two_classes(rng, n: int, gap: float) -> tuple[np.ndarray, np.ndarray]:
    y = rng.integers(0, 2, n)
    return rng.standard_normal((n, 2)) + gap * (2 * y[:, None] - 1), y


def test_read_outs_use_the_fitting_samples_when_there_are_some(rng):
    z, y = two_classes(rng, 400, 5.0)
    flipped = {"fit_z": z, "fit_y": 1 - y}
    for measure in (LinearAccuracy(), KNNAccuracy()):
        assert measure(of(z, y=y)).value == 1.0
        assert measure(of(z, y=y, **flipped)).value == 0.0
    assert LabelInformation()(of(z, y=y)).value > 0.6
    assert LabelInformation()(of(z, y=y, **flipped)).value < 0


def test_accuracy_reports_chance_and_error(rng):
    z, y = two_classes(rng, 1000, 0.0)
    e = LinearAccuracy()(of(z, y=y))
    assert abs(e.value - 0.5) <= 4 * e.stderr
    assert e.diagnostics["null_mean"] == pytest.approx(max(np.mean(y), 1 - np.mean(y)))
    assert e.stderr == pytest.approx(0.5 / math.sqrt(1000), rel=0.02)
    with pytest.raises(ValueError, match="no labels"):
        LinearAccuracy()(of(z))


# -- presets -------------------------------------------------------------------------------------------------


def test_presets():
    assert measures_named("light") == LIGHT
    assert measures_named("full") == FULL
    with pytest.raises(ValueError, match="light, full"):
        measures_named("heavy")
    with pytest.raises(ValueError, match="at least one"):
        measures_named([])
    with pytest.raises(TypeError, match="cannot be called"):
        measures_named([3])


def test_light_has_no_trained_critic_and_no_permutation():
    text = repr(LIGHT)
    assert "InfoNCE" not in text
    assert "Permuted" not in text
    assert "InfoNCE" in repr(FULL)


@pytest.mark.parametrize("name", sorted(QUANTITIES))
def test_every_quantity_says_what_it_needs_and_parses_from_its_repr(name):
    import estimators
    from estimators import parse

    make = QUANTITIES[name]
    quantity = make(GaussianChannel(0.5)) if name == "InputInformation" else make()
    names = {**QUANTITIES, **estimators.ESTIMATORS, "GaussianChannel": GaussianChannel}
    assert parse(repr(quantity), names) == quantity
    assert set(quantity.needs) <= {"views", "labels"}
    assert quantity.__doc__
    assert repr(Augmentation()) == "Augmentation()"
    assert repr(Label()) == "Label()"


def test_alignment_null_is_two_for_random_directions(rng):
    views = rng.standard_normal((3000, 2, 8))
    views[:, 1] = views[:, 0]
    e = Alignment()(of(views[:, 0], views=views))
    assert e.value == 0
    assert e.diagnostics["null_mean"] == pytest.approx(2, abs=4 * 2 / math.sqrt(8 * 3000))


def test_uniformity_quantity_has_its_ceiling(rng):
    assert Uniformity()(of(rng.standard_normal((50, 3)))).ceiling == 0.0

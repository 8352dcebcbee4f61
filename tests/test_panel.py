"""`Panel`: several estimators side by side, and when they contradict each other."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import (
    KSG,
    CrossFittedCCA,
    Gaussian,
    InfoNCE,
    Panel,
    PanelResult,
    Permuted,
    Projected,
    ShrunkGaussian,
    Subsampled,
    parse,
)
from estimators.distributions import Embedded, Independent, LabelledClusters, MultivariateNormal

FAST = (Gaussian(), Subsampled(Projected(KSG(standardise=False), dims=8), parts=4), CrossFittedCCA())


def test_members_read_what_they_read_alone():
    x, y = MultivariateNormal(0.8, 2, 2).sample(400, 0)
    result = Panel((Gaussian(), KSG()), times=0)(x, y)
    assert isinstance(result, PanelResult)
    assert result["Gaussian"] == Gaussian()(x, y)
    assert result["KSG"] == KSG()(x, y)
    assert not result.disagreement
    assert result.diagnostics["gap"] == abs(result["Gaussian"].value - result["KSG"].value)


def test_nulls_are_those_of_permuted():
    x, y = MultivariateNormal(0.8).sample(300, 0)
    alone = Permuted(Gaussian(), times=5, seed=3)(x, y)
    e = Panel((Gaussian(),), times=5, seed=3)(x, y)["Gaussian"]
    assert e.diagnostics["null_mean"] == alone.diagnostics["null_mean"]
    assert e.method == repr(Gaussian())


def test_a_held_out_lower_bound_needs_no_null():
    x, y = MultivariateNormal(0.8).sample(300, 0)
    assert "p_value" not in Panel((InfoNCE(seeds=1, steps=20),), times=2)(x, y)["InfoNCE"].diagnostics


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (Independent(MultivariateNormal(0.5, 40, 40)), False),
        (Embedded(MultivariateNormal.with_information(1.0, 2, 2), 40, bend=0.0, noise=0.01), False),
        (Embedded(MultivariateNormal.with_information(1.0, 2, 2), 40, noise=0.01), True),
        (MultivariateNormal.with_information(2.0, 40, 40), True),
    ],
    ids=["independent", "linear", "curved", "weak"],
)
def test_disagreement_fires_in_the_two_hard_cases(law, expected):
    result = Panel(FAST, times=0)(*law.sample(1200, 0))
    assert result.disagreement is expected
    assert all(("disagreement" in e.flags) is expected for e in result.estimates)
    assert not (expected and result.reliable)


def test_default_members_for_labels():
    x, y = LabelledClusters(2, 1, 2.0).sample(300, 0)
    result = Panel(times=1)(x, y)
    assert [e.method.split("(")[0] for e in result.estimates] == ["Subsampled", "ProbeInformation", "InfoNCE"]
    assert Panel(times=1)(y, x).estimates == result.estimates


def test_a_member_that_cannot_measure_does_not_stop_the_others(rng):
    x, y = rng.standard_normal((2, 60, 40))
    result = Panel((Gaussian(), KSG()), times=0)(x, y)
    assert "needs n > 81" in result.errors[repr(Gaussian())]
    assert len(result.estimates) == 1
    assert "could not measure" in str(result)
    assert not result.reliable
    with pytest.raises(ValueError, match="no member of the panel can measure"):
        Panel((Gaussian(),))(x, y)


def test_it_shows_as_a_table(rng):
    x = rng.standard_normal((200, 3))
    result = Panel((Gaussian(), KSG()), times=2)(x, x + rng.standard_normal((200, 3)))
    text = str(result)
    assert "effective ranks" in text
    assert "neither" in text
    assert len(text.splitlines()) == 4
    assert "<table>" in result._repr_html_()
    assert list(result.to_pandas()["estimator"]) == ["Gaussian", "KSG"]
    with pytest.raises(KeyError, match="no member 'MINE'"):
        result["MINE"]


def test_text_and_settings(rng):
    panel = Panel((KSG(k=5), Gaussian()), times=3)
    assert parse(repr(panel)) == panel
    assert hash(parse("Panel()")) == hash(Panel())
    with pytest.raises(ValueError, match="must be a tuple of estimators"):
        Panel(())
    with pytest.raises(ValueError, match="times = -1"):
        Panel(times=-1)
    with pytest.raises(ValueError, match="NaN"):
        Panel()(np.full((50, 1), np.nan), np.zeros((50, 1)))
    with pytest.raises(ValueError, match="50"):
        Panel()(rng.standard_normal((50, 1)), rng.standard_normal((40, 1)))


def test_an_infinite_member_contradicts_a_finite_one_and_not_another():
    x = np.random.default_rng(0).standard_normal((300, 1))
    result = Panel((Gaussian(), KSG()), times=0)(x, x)
    assert result.disagreement
    assert result.diagnostics["gap"] == np.inf
    both = Panel((Gaussian(), Gaussian(corrected=False)), times=0)(x, x)
    assert not both.disagreement
    assert both.diagnostics["gap"] == 0


def test_the_flag_of_one_member_is_no_contradiction():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 60))
    y = 0.25 * x + rng.standard_normal((1000, 60))
    one = ShrunkGaussian()(x, y)
    assert "disagreement" in one.flags  # with its own corrected value
    quiet = Gaussian()(x, y)
    assert not PanelResult((one, quiet), {}, 1000).disagreement
    assert PanelResult((one, one), {}, 1000).disagreement
    both = Panel((ShrunkGaussian(), Gaussian()), times=0)(x, y)
    assert both.disagreement
    assert all(e.flags.count("disagreement") == 1 for e in both.estimates)


def test_members_are_a_tuple():
    """A list has no hash, and its repr would not be read back as the same panel."""
    with pytest.raises(ValueError, match="tuple"):
        Panel([Gaussian()])

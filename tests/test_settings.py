"""Settings are plain Python values of the right kind, so that the repr of an estimator is its name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from estimators import ESTIMATORS, Gaussian, InfoNCE, KolchinskyTracey, Projected, Subsampled, parse


@pytest.mark.parametrize(
    "estimator",
    [
        KolchinskyTracey(sigma=np.float64(0.5)),
        Subsampled(Gaussian(), parts=np.int64(5)),
        InfoNCE(lr=np.float32(0.5)),
        Gaussian(corrected=np.False_),
    ],
    ids=repr,
)
def test_numpy_scalars_become_plain_numbers(estimator):
    assert "np." not in repr(estimator)
    assert parse(repr(estimator)) == estimator


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Gaussian(corrected="False"),
            r"Gaussian\(corrected='False'\): corrected must be of type bool, not str",
        ),
        (lambda: Gaussian(corrected=1), "must be of type bool, not int"),
        (lambda: Projected(Gaussian(), dims=1.5), "dims must be of type int, not float"),
        (lambda: Projected(Gaussian(), dims=True), "dims must be of type int, not bool"),
        (lambda: Subsampled("Gaussian"), r"inner must be an estimator, such as Gaussian\(\)"),
        (lambda: InfoNCE(lr="fast"), "lr must be of type float"),
    ],
)
def test_settings_of_the_wrong_kind_are_refused_where_they_are_given(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_optional_settings_take_none():
    from estimators import ProbeInformation

    assert ProbeInformation(l2=None).l2 is None
    with pytest.raises(TypeError, match=r"l2 must be of type float \| None"):
        ProbeInformation(l2="strong")


@pytest.mark.parametrize(
    "name",
    [
        "KSG",
        "KozachenkoLeonenko",
        "FrenzelPompe",
        "TotalCorrelation",
        "LocalNonUniformity",
        "Ross",
        "Gao",
        "KNNDivergence",
    ],
)
def test_every_setting_of_the_neighbour_estimators_has_a_kind_and_a_range(name):
    make = ESTIMATORS[name]
    assert repr(make(k=np.int64(9), workers=np.int64(2))) == repr(make(k=9))
    for field in dataclasses.fields(make):
        wrong_kind = {"bool": "no", "int": True, "str": 2, "float | None": "low"}[field.type]
        with pytest.raises(TypeError, match=rf"{name}\({field.name}=.*must be of type"):
            make(**{field.name: wrong_kind})
        if field.type != "bool":
            wrong_value = {"int": 0, "str": "l1", "float | None": 0.0}[field.type]
            with pytest.raises(ValueError, match=f"{field.name} must"):
                make(**{field.name: wrong_value})

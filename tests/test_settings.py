"""Settings are plain Python values of the right kind, so that the repr of an estimator is its name."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import Gaussian, InfoNCE, KolchinskyTracey, Projected, Subsampled, parse


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

"""`Estimate`, its vocabulary and how it prints."""

from __future__ import annotations

import dataclasses
import math
import pickle

import pytest

from estimators import FLAGS, Estimate

HALF = Estimate(value=0.5, quantity="I(X;Y)", n=100, method="KSG(k=3)")


def test_bits_are_nats_over_log_two():
    assert HALF.bits == pytest.approx(0.5 / math.log(2), rel=1e-15)


def test_a_pure_number_has_no_bits():
    with pytest.raises(ValueError, match="pure number"):
        _ = dataclasses.replace(HALF, unit="1").bits


def test_flags_come_from_the_vocabulary():
    assert dataclasses.replace(HALF, flags=("saturated",)).reliable is False
    with pytest.raises(ValueError, match="vocabulary"):
        dataclasses.replace(HALF, flags=("dubious",))
    assert all(text and text[0].islower() for text in FLAGS.values())


def test_an_interval_is_low_then_high():
    with pytest.raises(ValueError, match="low <= high"):
        dataclasses.replace(HALF, interval=(1.0, 0.0))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "I(X;Y) = 0.5000 nats"),
        ({"bound": "lower"}, "I(X;Y) >= 0.5000 nats"),
        ({"bound": "upper", "stderr": 0.1}, "I(X;Y) <= 0.5000 ± 0.1000 nats"),
        ({"interval": (0.1, 0.9)}, "in [0.1000, 0.9000]"),
        ({"interval": (0.1, 0.9), "level": 0.9}, "in 90% [0.1000, 0.9000]"),
        ({"ceiling": 4.6}, "ceiling 4.600"),
        ({"flags": ("ties",)}, "flags: ties"),
    ],
)
def test_prints_as_one_honest_line(changes, text):
    printed = str(dataclasses.replace(HALF, **changes))
    assert text in printed
    assert "\n" not in printed


def test_html_escapes_the_method():
    assert "<b>" not in dataclasses.replace(HALF, method="<b>")._repr_html_()


def test_html_reads_top_down_with_units_and_what_the_flags_say():
    e = dataclasses.replace(
        HALF,
        bound="lower",
        stderr=0.01,
        interval=(0.4, 0.6),
        level=0.9,
        ceiling=4.6,
        flags=("ties",),
        diagnostics={"a<b": 2.0},
    )
    page = e._repr_html_()
    parts = (
        "I(X;Y)",
        "≥ 0.5000 ± 0.0100 nats",
        "90% interval",
        "[0.4000, 0.6000] nats",
        "ceiling",
        "4.6000 nats",
    )
    parts += (">100<", "KSG(k=3)", "ties", FLAGS["ties"], "diagnostics", "a&lt;b")
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    pure = dataclasses.replace(HALF, unit="1", flags=())._repr_html_()
    assert "nats" not in pure
    assert "diagnostics" not in pure
    assert "= 0.5000<" in pure
    assert "= inf nats" in dataclasses.replace(HALF, value=math.inf)._repr_html_()


def test_is_frozen_and_picklable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        HALF.value = 1.0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(HALF)) == HALF

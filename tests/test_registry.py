"""`parse`: names to objects, and nothing else."""

from __future__ import annotations

import pytest

from estimators import parse
from estimators.wrappers import Permuted, Subsampled


@pytest.mark.parametrize("text", ["Gaussian", "Gaussian()", " Gaussian(corrected=True) ", "Gaussian(True)"])
def test_spellings_of_one_object(text):
    assert parse(text) == parse("Gaussian(corrected=True)")


def test_nested_calls():
    built = parse("Permuted(Subsampled(Gaussian(), parts=5), times=7)")
    assert isinstance(built, Permuted)
    assert isinstance(built.inner, Subsampled)
    assert built.inner.parts == 5
    assert parse(repr(built)) == built


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Gausian()", "did you mean Gaussian"),
        ("__import__('os').system('true')", "only calls of known names"),
        ("Gaussian().corrected", "only calls of known names"),
        ("Gaussian(corrected=1 + 1)", "only calls of known names"),
        ("[Gaussian() for _ in (1,)]", "only calls of known names"),
        ("lambda: 1", "only calls of known names"),
        ("Gaussian(**{'corrected': True})", r"\*\* is not allowed"),
        ("Gaussian(", "cannot read"),
        ("", "cannot read"),
    ],
)
def test_anything_else_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_an_unknown_setting_is_a_type_error_that_names_the_call():
    with pytest.raises(TypeError, match="cannot build Gaussian"):
        parse("Gaussian(k=3)")


def test_literals():
    names = {"f": lambda *args, **kwargs: (args, kwargs)}
    assert parse("f(-1, 2.5, 'a', (1, 2), [3], None, True, inf, x={'k': 1})", names) == (
        (-1, 2.5, "a", (1, 2), [3], None, True, float("inf")),
        {"x": {"k": 1}},
    )

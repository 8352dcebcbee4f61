"""Named lists of measures: `"light"` and `"full"`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from estimators import (
    ESTIMATORS,
    KSG,
    Gaussian,
    InfoNCE,
    KozachenkoLeonenko,
    Permuted,
    ProbeInformation,
    Projected,
    Subsampled,
    parse,
)
from infossl.activations import Activations
from infossl.channels import GaussianChannel
from infossl.quantities.accuracy import KNNAccuracy, LinearAccuracy
from infossl.quantities.entropy import RepresentationEntropy
from infossl.quantities.geometry import Alignment, LogTraceCovariance, RankMe, Uniformity
from infossl.quantities.information import InputInformation, LabelInformation, ViewInformation

__all__ = ["FULL", "LIGHT", "Measure", "measures_named"]

Measure = Callable[[Activations], Any]
"""`(activations) -> Estimate | float`: a quantity of this package, or any function of the user's own."""

LIGHT: tuple[Measure, ...] = (
    RepresentationEntropy(Gaussian()),
    RepresentationEntropy(Projected(KozachenkoLeonenko(k=5), dims=4)),
    ViewInformation(Projected(KSG(k=5), dims=4)),
    ViewInformation(Projected(Gaussian(), dims=64)),
    InputInformation(GaussianChannel(sigma=0.25)),
    LabelInformation(ProbeInformation(l2=1e-2)),
    LinearAccuracy(),
    KNNAccuracy(),
    RankMe(),
    Alignment(),
    Uniformity(),
    LogTraceCovariance(),
)
"""Closed forms, neighbours and probes: no trained critic, no permutation."""

FULL: tuple[Measure, ...] = (
    RepresentationEntropy(Gaussian()),
    RepresentationEntropy(Subsampled(Projected(KozachenkoLeonenko(k=5), dims=4))),
    ViewInformation(Permuted(Projected(Gaussian(), dims=64), times=9)),
    ViewInformation(Permuted(Subsampled(Projected(KSG(k=5), dims=4)), times=9)),
    ViewInformation(InfoNCE(hidden=32, batch=128, steps=400, patience=3, seeds=1)),
    InputInformation(GaussianChannel(sigma=0.25)),
    LabelInformation(ProbeInformation()),
    *LIGHT[6:],
)
"""`LIGHT` with standard errors, permutation nulls and a trained critic."""

_PRESETS = {"light": LIGHT, "full": FULL}


def measures_named(measure: str | Measure | Iterable[str | Measure]) -> Sequence[Measure]:
    """The measures that `"light"`, `"full"`, one measure or a list of measures stands for; texts are parsed.

    Raises:
        ValueError: for another name, or an empty list.
        TypeError: for something that cannot be called.
    """
    if isinstance(measure, str) and "(" not in measure:
        if measure not in _PRESETS:
            raise ValueError(
                f"measure = {measure!r}: known presets are {', '.join(_PRESETS)}, or give a list"
            )
        return _PRESETS[measure]
    given = [measure] if callable(measure) or isinstance(measure, str) else list(measure)
    chosen = [_parsed(item) if isinstance(item, str) else item for item in given]
    if not chosen:
        raise ValueError("measure is empty: name 'light', 'full' or at least one measure")
    for item in chosen:
        if not callable(item):
            raise TypeError(
                f"measure {item!r} cannot be called: a measure is (activations) -> float or Estimate"
            )
    return chosen


def _parsed(text: str) -> Measure:
    from infossl.quantities import QUANTITIES  # the table of names holds this module's own

    return parse(text, {**QUANTITIES, **ESTIMATORS, "GaussianChannel": GaussianChannel})

"""Entropy and mutual-information estimators: samples in, one typed `Estimate` out, in nats."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from estimators._result import FLAGS, Estimate
from estimators.protocols import ConditionalMutualInformation, Entropy, MutualInformation
from estimators.registry import parse

_HOME = {
    "Gaussian": "gaussian",
    "KozachenkoLeonenko": "neighbors",
    "KSG": "neighbors",
    "KolchinskyTracey": "mixture",
    "MINE": "variational",
    "InfoNCE": "variational",
    "ProbeInformation": "probe",
    "Subsampled": "wrappers",
    "Permuted": "wrappers",
    "Projected": "wrappers",
}

__all__ = [
    "FLAGS",
    "ConditionalMutualInformation",
    "Entropy",
    "Estimate",
    "MutualInformation",
    "parse",
    *_HOME,
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"estimators.{_HOME[name]}"), name)
    if name == "ESTIMATORS":
        return {key: getattr(import_module(f"estimators.{home}"), key) for key, home in _HOME.items()}
    raise AttributeError(f"module 'estimators' has no attribute {name!r}")

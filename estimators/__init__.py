"""Entropy and mutual-information estimators: samples in, one typed `Estimate` out, in nats."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from estimators._result import FLAGS, Estimate
from estimators.protocols import ConditionalMutualInformation, Entropy, MutualInformation
from estimators.registry import parse

_HOME = {
    "Auto": "auto",
    "Gaussian": "gaussian",
    "GaussianTotalCorrelation": "total_correlation",
    "ShrunkGaussian": "shrinkage",
    "CrossFittedCCA": "canonical",
    "GaussianCopula": "copula",
    "LDMI": "log_det",
    "LogDetEntropy": "log_det",
    "KozachenkoLeonenko": "neighbors",
    "KSG": "neighbors",
    "LocalNonUniformity": "neighbors_local",
    "GeometricKNN": "neighbors_geometric",
    "FrenzelPompe": "neighbors_conditional",
    "TotalCorrelation": "neighbors_total",
    "Ross": "neighbors_mixed",
    "Gao": "neighbors_mixed",
    "KNNDivergence": "divergence",
    "KolchinskyTracey": "mixture",
    "SamplePropagation": "propagation",
    "LeaveOneOut": "leave_one_out",
    "KDE": "kde",
    "Discrete": "discrete",
    "Binned": "binning",
    "MatrixRenyi": "kernel",
    "DiffusionEntropy": "kernel",
    "HSIC": "dependence",
    "CKA": "dependence",
    "MINE": "variational",
    "InfoNCE": "variational",
    "NWJ": "variational",
    "JSD": "variational",
    "SMILE": "variational",
    "FLO": "variational",
    "DoE": "variational_density",
    "CLUB": "variational_density",
    "LMI": "latent",
    "MMG": "diffusion",
    "ProbeInformation": "probe",
    "Subsampled": "wrappers",
    "Permuted": "wrappers",
    "Projected": "views",
    "Sliced": "views",
    "Student": "student",
    "StudentCopula": "student",
    "Copula": "views",
    "ThreeEntropies": "views",
    "Extrapolated": "extrapolation",
}

__all__ = [
    "FLAGS",
    "ConditionalMutualInformation",
    "Entropy",
    "Estimate",
    "MutualInformation",
    "Panel",
    "PanelResult",
    "distributions",
    "mutual_information",
    "parse",
    *_HOME,
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"estimators.{_HOME[name]}"), name)
    if name in ("Panel", "PanelResult"):  # shows many numbers, and so is no estimator
        return getattr(import_module("estimators.panel"), name)
    if name == "mutual_information":
        return import_module("estimators.auto").mutual_information
    if name == "distributions":
        return import_module("estimators.distributions")
    if name == "ESTIMATORS":
        return {key: getattr(import_module(f"estimators.{home}"), key) for key, home in _HOME.items()}
    raise AttributeError(f"module 'estimators' has no attribute {name!r}")

"""Generalization-bound checks that say what they are: both sides, what is left out, who used which data."""

from __future__ import annotations

from infossl.bounds.check import check_bounds
from infossl.bounds.result import Assumption, BoundReport, Status, Verdict, read_bounds, write_bounds
from infossl.bounds.roles import Roles, Sample, require_disjoint, row_hashes
from infossl.bounds.test_set import binary_kl, clopper_pearson, kl_inverse, test_set_bound
from infossl.bounds.vicreg import (
    VICRegTerms,
    same_class_pairs,
    vicreg_bound,
    vicreg_split_bound,
    vicreg_terms,
)

__all__ = [
    "Assumption",
    "BoundReport",
    "Roles",
    "Sample",
    "Status",
    "VICRegTerms",
    "Verdict",
    "binary_kl",
    "check_bounds",
    "clopper_pearson",
    "kl_inverse",
    "read_bounds",
    "require_disjoint",
    "row_hashes",
    "same_class_pairs",
    "test_set_bound",
    "vicreg_bound",
    "vicreg_split_bound",
    "vicreg_terms",
    "write_bounds",
]

"""`check_bounds`: every bound that arrays of features and labels allow."""

from __future__ import annotations

import numpy as np

from estimators._samples import as_labels, as_numpy, paired
from estimators.protocols import Array
from infossl.bounds.least_squares import RANK_TOLERANCE
from infossl.bounds.result import BoundReport, Status
from infossl.bounds.roles import Roles
from infossl.bounds.test_set import test_set_bound
from infossl.bounds.vicreg import vicreg_bound
from infossl.readouts import ridge_accuracy

__all__ = ["check_bounds"]


def check_bounds(
    features: Array,
    labels: Array,
    held_out: Array,
    held_out_labels: Array,
    *,
    views: tuple[Array, Array] | None = None,
    view_labels: Array | None = None,
    predictions: Array | None = None,
    roles: Roles | None = None,
    delta: float = 0.05,
    one_law: Status = "assumed",
    rank_tolerance: float = RANK_TOLERANCE,
    seed: int = 0,
    step: int | None = None,
) -> list[BoundReport]:
    """Bound reports for one encoder: VICReg with class and with augmentation pairs, and the test-set bound.

    Arguments:
        features: of the labelled sample that fits the probe.
        labels: their classes.
        held_out: features that errors are measured on.
        held_out_labels: their classes.
        views: features of the pool's first and second views; without them there are no VICReg reports.
        view_labels: classes of the pool; without them there is no report for class pairs.
        predictions: classes that a probe of one's own predicts for `held_out`; by default the ridge probe
            `infossl.readouts.ridge_accuracy`, fitted on `features`, answers.
        roles: which sample did what; without it nothing is `certified`.
        delta: failure probability of each high-probability statement on its own.
        one_law: how far labelled, pool and held-out inputs are known to follow one law.
        rank_tolerance: singular values below this share of the largest count as zero.
        seed: of the same-class pairs.
        step: optimizer steps done, if it belongs to a run.

    Shapes:
        `features`: `(n, d)`; `held_out`: `(k, d)`; `views`: two of `(m, d)`; labels, predictions: integers.

    Raises:
        TypeError: if features are no arrays of numbers on the CPU, or labels no integer vectors.
        ValueError: for NaN, wrong shapes, unequal n or d, one class only, or `held_out` equal to `features`.

    Example:
        >>> import numpy as np
        >>> y = np.arange(400) % 2
        >>> z = np.eye(2)[y] + np.random.default_rng(0).normal(0, 0.1, (400, 2))
        >>> for report in check_bounds(z[:200], y[:200], z[200:], y[200:]):
        ...     print(report)
        test-set bound: 0.0000 <= 0.0149 (estimated-consistent; trivial 1.0000)
    """
    z, test = as_numpy(features, "features"), as_numpy(held_out, "held_out")
    y, test_y = np.asarray(labels), np.asarray(held_out_labels)
    as_labels(labels, "labels")
    as_labels(held_out_labels, "held_out_labels", min_classes=1)
    paired(z, y, ("features", "labels"))
    paired(test, test_y, ("held_out", "held_out_labels"))
    if z.shape[1] != test.shape[1]:
        raise ValueError(f"features {z.shape} and held_out {test.shape} need the same number of columns")
    # A collapsed encoder gives equal rows to different inputs, so that equal features alone are no leak.
    if np.array_equal(z, test) and np.array_equal(y, test_y) and np.ptp(z, axis=0).any():
        raise ValueError(
            f"held_out of shape {test.shape} is features again, row by row: an error on the sample that "
            "fitted the probe bounds nothing; pass samples that trained neither the encoder nor the probe"
        )
    roles = roles or Roles()
    roles.require_rows(probe=len(z), evaluation=len(test))
    reports = []
    if views is not None:
        for pairs in ("class", "augmentation"):
            if pairs == "class" and view_labels is None:
                continue
            report = vicreg_bound(
                features,
                labels,
                views[0],
                held_out,
                held_out_labels,
                pool_labels=view_labels,
                second_views=views[1],
                pairs=pairs,
                one_law=one_law,
                rank_tolerance=rank_tolerance,
                roles=roles,
                seed=seed,
                step=step,
            )
            reports.append(report)
    if predictions is None:
        mistakes = len(test) - round(len(test) * ridge_accuracy(z, y, test, test_y))
    else:
        as_labels(predictions, "predictions", min_classes=1)
        paired(test, predictions, ("held_out", "predictions"))
        mistakes = int(np.sum(np.asarray(predictions) != test_y))
    reports.append(test_set_bound((mistakes, len(test)), delta=delta, roles=roles, step=step))
    return reports

r"""The test-set bound: the error on new data from the mistakes on a fresh sample, by inverting the binary kl.

With probability at least \(1 - \delta\) over n independent test samples, for one fixed predictor,

.. math:: R \le \mathrm{kl}^{-1}\!\left(\hat R, \tfrac{1}{n} \ln \tfrac{1}{\delta}\right)
   = \sup \{ p \ge \hat R : \mathrm{kl}(\hat R \,\|\, p) \le \tfrac{1}{n} \ln \tfrac{1}{\delta} \}.

It is the Chernoff relaxation of the exact binomial (Clopper-Pearson) limit (Langford, 2005, *Tutorial on
practical prediction theory for classification*, JMLR 6, 273-306). Any other certificate of the same error
that is looser explains, but certifies nothing new.
"""

# ruff: noqa: PT028  (the field calls it the test-set bound; it is no pytest function)
from __future__ import annotations

import math
from dataclasses import replace
from numbers import Integral

import numpy as np
from array_api_compat import is_torch_array
from scipy.stats import beta

from estimators.protocols import Array
from infossl.bounds.result import BoundReport
from infossl.bounds.roles import Roles

__all__ = ["binary_kl", "clopper_pearson", "kl_inverse", "test_set_bound"]

_TOLERANCE = 1e-12


def binary_kl(q: float, p: float) -> float:
    r"""\(\mathrm{kl}(q \| p) = q \ln \frac{q}{p} + (1 - q) \ln \frac{1 - q}{1 - p}\) in nats.

    Arguments:
        q: a probability.
        p: a probability; 0 or 1 gives infinity unless `q` equals it.

    Raises:
        ValueError: if either is outside [0, 1].

    Example:
        >>> round(binary_kl(0.5, 0.25), 6), binary_kl(0.5, 1.0)
        (0.143841, inf)
    """
    for name, value in (("q", q), ("p", p)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} = {value} must be a probability in [0, 1]")
    if (p == 0 and q > 0) or (p == 1 and q < 1):
        return math.inf
    first = q * math.log(q / p) if q > 0 else 0.0
    second = (1 - q) * (math.log1p(-q) - math.log1p(-p)) if q < 1 else 0.0
    return first + second


def kl_inverse(q: float, c: float) -> float:
    r"""\(\mathrm{kl}^{-1}(q, c) = \sup \{p \ge q : \mathrm{kl}(q \| p) \le c\}\), from above to within 1e-12.

    Arguments:
        q: the empirical error, a probability.
        c: the budget in nats, >= 0.

    Raises:
        ValueError: if `q` is no probability or `c` is negative or NaN.

    Example:
        >>> round(kl_inverse(0.0, 0.1), 6), round(1 - 2.718281828459045**-0.1, 6)
        (0.095163, 0.095163)
    """
    if not c >= 0:
        raise ValueError(f"c = {c} must be a number of nats >= 0")
    binary_kl(q, q)  # refuses what is no probability
    low, high = q, 1.0
    if c == 0 or q == 1:
        return q
    while high - low > _TOLERANCE:
        middle = (low + high) / 2
        if binary_kl(q, middle) <= c:
            low = middle
        else:
            high = middle
    return high


def clopper_pearson(k: int, n: int, delta: float) -> float:
    r"""Exact one-sided upper limit \(\max \{p : P(\mathrm{Bin}(n, p) \le k) \ge \delta\}\).

    Arguments:
        k: mistakes, 0 <= k <= n.
        n: samples.
        delta: failure probability.

    Example:
        >>> round(clopper_pearson(0, 100, 0.05), 6), round(1 - 0.05 ** (1 / 100), 6)
        (0.029513, 0.029513)
    """
    return 1.0 if k == n else float(beta.ppf(1 - delta, k + 1, n - k))


def test_set_bound(
    errors: Array | tuple[int, int],
    *,
    delta: float = 0.05,
    roles: Roles | None = None,
    step: int | None = None,
) -> BoundReport:
    r"""Upper bound on the 0-1 error of one fixed predictor from its mistakes on a fresh sample.

    .. math:: R \le \mathrm{kl}^{-1}\!\left(\hat R, \tfrac{1}{n} \ln \tfrac{1}{\delta}\right)

    `certified` when `roles` declares the samples of encoder, probe and evaluation, the last is disjoint from
    the others, and was drawn at random; without that declaration at most `estimated-consistent`.
    Each report holds on its own: of many along a training run, a share `delta` may fail.

    Arguments:
        errors: 0-1 mistakes, one per test sample, or `(mistakes, n)`.
        delta: failure probability.
        roles: which sample did what.
        step: optimizer steps done, if it belongs to a run.

    Shapes:
        `errors`: `(n,)` of booleans, or numbers that are all 0 or 1.

    Raises:
        TypeError: if `errors` is neither an array nor a pair of integers.
        ValueError: if there is no sample, a value is neither 0 nor 1, `delta` is outside (0, 1), or the
            declared evaluation sample has another number of rows.

    References:
        Langford, 2005, JMLR 6, 273-306. Clopper & Pearson, 1934, Biometrika 26, 404-413.

    Example:
        >>> report = test_set_bound((20, 797))
        >>> print(report)
        test-set bound: 0.0251 <= 0.0411 (estimated-consistent; trivial 1.0000)
    """
    k, n = _counts(errors)
    if not 0 < delta < 1:
        raise ValueError(f"delta = {delta} must lie strictly between 0 and 1")
    roles = roles or Roles()
    roles.require_rows(evaluation=n)
    budget = math.log(1 / delta) / n
    report = BoundReport(
        name="test-set bound",
        statement="R <= kl^-1(R_test, ln(1/delta)/n) with probability >= 1 - delta over the n test samples",
        source="Langford (2005), JMLR 6; binary kl inverted numerically from above",
        kind="high-probability",
        object="0-1 error of the probe on new data, in [0, 1]",
        lhs=k / n,
        lhs_how=f"{k} mistakes on {n} held-out samples",
        rhs=kl_inverse(k / n, budget),
        terms={
            "test_error": k / n,
            "budget": budget,
            "clopper_pearson": clopper_pearson(k, n, delta),
            "n": float(n),
        },
        trivial=1.0,
        delta=delta,
        assumptions=(roles.evaluation_is_new(), roles.evaluation_is_random()),
        roles=roles.describe(),
        rhs_exact=True,
        step=step,
    )
    return replace(report, plain=_in_words(report, n, delta))


test_set_bound.__test__ = False  # type: ignore[attr-defined]  # a bound, not a test to collect


def _counts(errors: Array) -> tuple[int, int]:
    if isinstance(errors, tuple) and len(errors) == 2 and all(isinstance(v, Integral) for v in errors):
        k, n = int(errors[0]), int(errors[1])
        if not 0 <= k <= n or n < 1:
            raise ValueError(f"errors = ({k}, {n}) must be (mistakes, n) with 0 <= mistakes <= n and n >= 1")
        return k, n
    if not hasattr(errors, "shape"):
        raise TypeError(
            "errors must be an array (n,) of 0-1 mistakes or a pair (mistakes, n) of integers, "
            f"got {type(errors).__name__}"
        )
    if is_torch_array(errors):
        if errors.device.type != "cpu":
            raise TypeError(
                f"errors of shape {tuple(errors.shape)} is on {str(errors.device)!r}; pass errors.cpu()"
            )
        errors = errors.detach().numpy()
    if errors.ndim != 1 or len(errors) < 1:
        raise ValueError(f"errors must have shape (n,) with n >= 1, got {tuple(errors.shape)}")
    if not np.isin(errors, (0, 1)).all():
        raise ValueError(
            f"errors of shape {tuple(errors.shape)} must be 0 or 1 for each sample (1 is a mistake), "
            "without NaN; for predicted and true labels pass predicted != true"
        )
    return int(np.sum(errors)), len(errors)


def _in_words(report: BoundReport, n: int, delta: float) -> str:
    if report.verdict == "vacuous":
        return f"The {n} test samples promise nothing about the probe's error on new data."
    # Rounded up, so that the sentence never promises more than the number.
    limit = math.ceil(report.rhs * 1000) / 10
    promise = f"error on new data is at most {limit:.1f} % with probability {100 * (1 - delta):g} %"
    if report.verdict == "certified":
        return f"The probe's {promise}, over the draw of the {n} test samples."
    return f"If the {n} test samples are random draws that trained nothing, the probe's {promise}."

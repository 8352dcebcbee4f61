r"""Which estimators to believe: bias, scatter and coverage over repeated samples of laws whose truth is known.

Every estimator sees the same fresh samples of every law. Over R repetitions with values \(\hat I_r\) and truth I,

.. math:: \text{bias} = \bar I - I, \qquad \text{sd}^2 = \frac{1}{R - 1} \sum_r (\hat I_r - \bar I)^2, \qquad
   \text{rmse}^2 = \frac{1}{R} \sum_r (\hat I_r - I)^2

and the coverage of the truth, or of the estimator's own expectation, is the share of the intervals that hold it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import norm

from estimators._result import Estimate
from estimators._samples import stream
from estimators.distributions import Distribution, Setting

__all__ = ["Calibration", "brief", "calibrate"]

Quantity = Literal["I(X;Y)", "H(X)"]
_ATTEMPTS = 3  # an estimator that fails this often before its first success is given up on that law


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One estimator on repeated samples of one law, in nats. Shares are in [0, 1]; `None` where nothing was measured.

    Arguments:
        law: id of the law.
        kind: what makes it hard.
        distribution: its repr.
        truth: its information or entropy; an upper bound of it where `exact` is false.
        exact: whether `truth` is the truth.
        quantity: what was estimated.
        n: rows of each sample.
        dx: columns of x.
        dy: columns of y; `None` for labels.
        estimator: its repr.
        label: the repr without default settings.
        asked: repetitions that were asked for.
        repetitions: those that gave a finite value.
        failures: those that did not; after 3 without a success no more were tried.
        failure: the first message.
        seed: of the samples.
        mean: of the values.
        bias: mean less truth.
        sd: of the values.
        rmse: root of the mean squared distance from the truth.
        stderr: root mean square of the reported standard errors.
        level: nominal coverage of the intervals.
        intervals: estimates that had an interval or a standard error.
        covers_expectation: share of the intervals that hold the estimator's expectation.
        covers_truth: share of the intervals that hold the truth.
        flagged: share of the estimates with a flag.
        flags: all flags that were raised.
        bound: direction of the bound that the estimates claim; `"none"` unless all claim the same.
        seconds: mean time of one estimate.
    """

    law: str
    kind: str
    distribution: str
    truth: float
    exact: bool
    quantity: Quantity
    n: int
    dx: int
    dy: int | None
    estimator: str
    label: str
    asked: int
    repetitions: int
    failures: int
    failure: str
    seed: int
    mean: float | None = None
    bias: float | None = None
    sd: float | None = None
    rmse: float | None = None
    stderr: float | None = None
    level: float | None = None
    intervals: int = 0
    covers_expectation: float | None = None
    covers_truth: float | None = None
    flagged: float | None = None
    flags: tuple[str, ...] = ()
    bound: str = "none"
    seconds: float | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What was asked: two rows with the same key answer the same question."""
        return (self.distribution, self.estimator, self.quantity, self.n, self.asked, self.seed)

    @property
    def coverage_error(self) -> float | None:
        """Binomial standard error of a coverage of nominal `level`, from as many intervals."""
        if self.level is None or not self.intervals:
            return None
        return math.sqrt(self.level * (1 - self.level) / self.intervals)

    def to_json(self) -> str:
        """One JSON line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Calibration:
        """The row of a line of `to_json`; `ValueError` when it is none."""
        try:
            fields = json.loads(line)
            return cls(**{**fields, "flags": tuple(fields["flags"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a calibration row: {error}") from None


def calibrate(
    estimators: Sequence[Callable[..., Estimate]],
    laws: Iterable[Setting],
    *,
    n: int,
    repetitions: int = 20,
    seed: int = 0,
    quantity: Quantity = "I(X;Y)",
    done: Iterable[Calibration] = (),
    keep: Callable[[Calibration], None] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> list[Calibration]:
    """Every estimator on `repetitions` fresh samples of every law; one row each, law by law.

    A failure is a row that says so, never an exception. Samples depend on the seed and the law alone, so that
    estimators are compared on the same data and a row can be made again on its own.

    Arguments:
        estimators: callables that return an `Estimate`. Each has an interval of its own with a level, or a standard
            error from which a normal 90 % interval is made, or no coverage.
        laws: from `catalogue().values()` or `laws_at(dx, dy)`.
        n: rows of each sample, at least 2.
        repetitions: samples of each law, at least 2.
        seed: of the samples.
        quantity: `"I(X;Y)"`, or `"H(X)"` for estimators of entropy; laws that do not know it are refused.
        done: rows from before, which are not made again.
        keep: called with every new row as soon as it is there.
        workers: processes; each gets its share of the cores.
        progress: a bar on the standard error stream, where that is a terminal.

    Raises:
        ValueError: if `n` or `repetitions` is too small, there is no estimator or no law, two estimators or two laws
            are equal, or a law does not know its entropy.

    Example:
        >>> from estimators import Gaussian
        >>> from estimators.distributions import catalogue
        >>> law = catalogue()["normal-1x1-0.8"]
        >>> row = calibrate([Gaussian()], [law], n=200, repetitions=100, progress=False)[0]
        >>> round(row.truth, 3), abs(row.bias) < 0.02, 0.8 < row.covers_truth <= 1
        (0.511, True, True)
    """
    laws, asked = list(laws), list(estimators)
    _check(asked, laws, n, repetitions, workers, quantity)
    finished = {row.key: row for row in done}
    tasks = [
        (estimator, law, n, repetitions, seed, quantity)
        for law in laws
        for estimator in asked
        if (repr(law.law), repr(estimator), quantity, n, repetitions, seed) not in finished
    ]
    made = {}
    for row in _in_turn(tasks, workers, progress):
        made[row.key] = row
        if keep is not None:
            keep(row)
    return [
        {**finished, **made}[repr(law.law), repr(estimator), quantity, n, repetitions, seed]
        for law in laws
        for estimator in asked
    ]


def _check(
    estimators: list[Any], laws: list[Setting], n: int, repetitions: int, workers: int, quantity: str
) -> None:
    for name, value, least in (("n", n, 2), ("repetitions", repetitions, 2), ("workers", workers, 1)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} must be an int of at least {least}, got {value!r}")
    if quantity not in ("I(X;Y)", "H(X)"):
        raise ValueError(f"quantity must be 'I(X;Y)' or 'H(X)', got {quantity!r}")
    for name, given in (("estimators", [repr(e) for e in estimators]), ("laws", [repr(s.law) for s in laws])):
        if not given:
            raise ValueError(f"{name} is empty: give at least one")
        twice = {text for text in given if given.count(text) > 1}
        if twice:
            raise ValueError(f"{name} holds {sorted(twice)[0]} more than once; leave the repeats out")
    for estimator in estimators:
        if not callable(estimator):
            raise ValueError(f"{estimator!r} is no estimator; give a call such as KSG(k=3)")
    for law in laws:
        _truth(law.law, quantity)


def _in_turn(tasks: list[Any], workers: int, progress: bool) -> Iterable[Calibration]:
    from tqdm import tqdm

    if workers > 1 and len(tasks) > 1:
        from joblib import Parallel, delayed

        rows = Parallel(n_jobs=workers, return_as="generator")(delayed(_measure)(*task) for task in tasks)
    else:
        rows = (_measure(*task) for task in tasks)
    return tqdm(rows, "calibrate", total=len(tasks), unit="row", disable=None if progress else True)


def _truth(law: Distribution, quantity: str) -> float:
    return law.mutual_information() if quantity == "I(X;Y)" else law.entropy_x()


def _measure(
    estimator: Callable[..., Estimate], law: Setting, n: int, repetitions: int, seed: int, quantity: Quantity
) -> Calibration:
    """One row."""
    seeds = stream(seed, f"calibrate {law.law!r}").integers(2**62, size=repetitions)
    estimates: list[Estimate] = []
    failures, failure, spent = 0, "", 0.0
    for one in seeds:
        if failures >= _ATTEMPTS and not estimates:
            break
        x, y = law.law.sample(n, seed=int(one))
        began = time.perf_counter()
        try:
            estimate = estimator(x, y) if quantity == "I(X;Y)" else estimator(x)
            if not math.isfinite(estimate.value):
                raise FloatingPointError(f"the value is {estimate.value}")
        except (ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError) as error:
            failures, failure = failures + 1, failure or f"{type(error).__name__}: {error}"
            continue
        spent += time.perf_counter() - began
        estimates.append(estimate)
    truth = _truth(law.law, quantity)
    row = Calibration(
        law=law.id,
        kind=law.kind,
        distribution=repr(law.law),
        truth=truth,
        exact=law.law.exact,
        quantity=quantity,
        n=int(n),
        dx=law.law.dx,
        dy=None if law.law.discrete_y else law.law.dy,
        estimator=repr(estimator),
        label=brief(estimator),
        asked=int(repetitions),
        repetitions=len(estimates),
        failures=failures,
        failure=failure,
        seed=int(seed),
    )
    return (
        dataclasses.replace(row, **_statistics(estimates, truth), seconds=spent / len(estimates))
        if estimates
        else row
    )


def _statistics(estimates: list[Estimate], truth: float) -> dict[str, Any]:
    """The numbers of a row, from its estimates."""
    values, count = np.array([e.value for e in estimates]), len(estimates)
    mean = float(values.mean())
    errors = [e.stderr for e in estimates if e.stderr is not None]
    numbers: dict[str, Any] = {
        "mean": mean,
        "bias": mean - truth,
        "sd": float(values.std(ddof=1)) if count > 1 else None,
        "rmse": math.sqrt(float(np.mean((values - truth) ** 2))),
        "stderr": math.sqrt(float(np.mean(np.square(errors)))) if errors else None,
        "flagged": sum(bool(e.flags) for e in estimates) / count,
        "flags": tuple(sorted({flag for e in estimates for flag in e.flags})),
        "bound": estimates[0].bound if len({e.bound for e in estimates}) == 1 else "none",
    }
    sides = [side for side in map(_interval, estimates) if side is not None]
    if sides:
        low, high, level = np.array([s[0] for s in sides]), np.array([s[1] for s in sides]), sides[0][2]
        # The mean of R values follows each of them: its distance is short by sqrt(1 - 1 / R), put right here.
        own = np.array([e.value for e in estimates if _interval(e) is not None])
        centre = own + (mean - own) * math.sqrt(count / max(count - 1, 1))
        numbers |= {
            "level": level,
            "intervals": len(sides),
            "covers_expectation": float(np.mean((low <= centre) & (centre <= high))) if count > 1 else None,
            "covers_truth": float(np.mean((low <= truth) & (truth <= high))),
        }
    return numbers


def _interval(e: Estimate, level: float = 0.9) -> tuple[float, float, float] | None:
    """Low, high and nominal level: the estimate's own, or the normal one from its standard error."""
    if e.interval is not None and e.level is not None:
        return (*e.interval, e.level)
    if e.stderr is None:
        return None
    reach = float(norm.ppf((1 + level) / 2)) * e.stderr
    return e.value - reach, e.value + reach, level


def brief(estimator: Any) -> str:
    """The repr without settings that have their default, which `estimators.parse` reads as well.

    Example:
        >>> from estimators import KSG, Projected
        >>> brief(Projected(KSG(k=5), dims=8)), brief(Projected(KSG()))
        ('Projected(KSG(k=5), dims=8)', 'Projected(KSG())')
    """
    if not dataclasses.is_dataclass(estimator) or isinstance(estimator, type):
        return repr(estimator)
    parts = []
    for field in dataclasses.fields(estimator):
        value = getattr(estimator, field.name)
        if field.name == "inner":
            parts.append(brief(value))
        elif value != field.default:
            parts.append(f"{field.name}={value!r}")
    return f"{type(estimator).__name__}({', '.join(parts)})"

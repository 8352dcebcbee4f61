r"""Extrapolation in the sample size: what the estimator would say at infinite n, if its bias falls as 1/n.

For \(\gamma = 1, \ldots, G\) the sample is split into \(\gamma\) disjoint parts of \(n / \gamma\) rows and the estimates
are averaged. A bias proportional to the inverse sample size makes the averages a straight line in \(\gamma\),

.. math:: \bar I(\gamma) = I_0 + a \gamma

whose intercept at \(\gamma = 0\) is the extrapolated value.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from estimators._covariance import merged
from estimators._result import Estimate
from estimators._samples import stream
from estimators._settings import settings
from estimators.protocols import Array
from estimators.wrappers import take_rows, without_uncertainty

__all__ = ["Extrapolated"]

_LEAST = 5  # values of gamma that a line and its curvature need


@settings
class Extrapolated:
    r"""Replaces the value by its extrapolation to infinite n, with a standard error and an interval.

    The line is fitted by least squares to the averages at \(\gamma = 1 \ldots G\): under the 1/n law of the variance
    they all have the variance of the full-sample estimate. Its error combines that variance, from the scatter of
    the parts, and the scatter of the averages around the line; the interval is Student's t with the degrees of freedom
    of both, and covers the truth where the line holds. A quadratic term that is large against the linear one, or an
    intercept that moves when the full sample is left out, says that the line does not hold: the flag
    `not-linear` is raised. An extrapolated lower bound is no bound. Where the inner estimator reads infinity, of all samples
    or of a part, its value is returned as it is, with the same flag and no error.

    Arguments:
        inner: any estimator.
        gammas: largest number of parts; fewer are used where parts get too small for the inner estimator.
        level: nominal coverage of the interval.
        seed: of the random splits.

    Raises:
        ValueError: if fewer than 5 numbers of parts are possible, and as the inner estimator does.

    References:
        Strong, Koberle, de Ruyter van Steveninck & Bialek, 1998, *Entropy and information in neural spike trains*,
        Phys. Rev. Lett. 80, 197. Holmes & Nemenman, 2019, Phys. Rev. E 100, 022404. Satterthwaite, 1946, *An
        approximate distribution of estimates of variance components*, Biometrics Bull. 2, 110-114.

    Example:
        >>> import numpy as np
        >>> from estimators import Extrapolated, Gaussian
        >>> x, y = np.random.default_rng(0).standard_normal((2, 400, 4))
        >>> plug_in = Gaussian(corrected=False)
        >>> abs(Extrapolated(plug_in)(x, y).value) < plug_in(x, y).value
        True
    """

    inner: Callable[..., Estimate]
    gammas: int = 10
    level: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.gammas < _LEAST:
            raise ValueError(
                f"gammas = {self.gammas}: at least {_LEAST} sample sizes are needed to see a line bend"
            )
        if not 0 < self.level < 1:
            raise ValueError(f"level = {self.level} must lie between 0 and 1")

    def __call__(self, *samples: Array) -> Estimate:
        whole = self.inner(*samples)
        n = samples[0].shape[0]
        means, scatters = [whole.value], []
        for gamma in range(2, self.gammas + 1):
            try:
                parts = self._parts(samples, n, gamma)
            except ValueError as error:
                if gamma > _LEAST:
                    break
                raise ValueError(
                    f"n = {n} allows fewer than {_LEAST} sample sizes for {self.inner!r}: {error}; use more samples"
                ) from None
            if not np.isfinite([whole.value, *parts]).all():
                return self._unextrapolated(whole)
            means.append(float(parts.mean()))
            scatters.append(float(parts.var(ddof=1)) / gamma)
        fit = _line(np.array(means))
        sampling = float(np.mean(scatters))  # each is an estimate of the full-sample variance
        stderr = math.sqrt(sampling + fit.variance)
        reach = 0.0
        if stderr > 0:
            freedom = _freedom(sampling, len(scatters), fit.variance)
            reach = float(t.ppf(0.5 + self.level / 2, freedom)) * stderr
        without = _line(np.array(means[1:]), first=2).intercept
        bent = fit.curvature > 0.1 and abs(without - fit.intercept) > stderr / 2
        return dataclasses.replace(
            whole,
            value=fit.intercept,
            method=repr(self),
            bound="none",
            stderr=stderr or None,
            interval=(fit.intercept - reach, fit.intercept + reach),
            level=self.level,
            ceiling=None,
            flags=merged(whole.flags, ("not-linear",) if bent else ()),
            diagnostics={
                **whole.diagnostics,
                "at_full_n": whole.value,
                "slope": fit.slope,
                "curvature": fit.curvature,
                "intercept_without_full_n": without,
                "gammas": float(len(means)),
            },
        )

    def _unextrapolated(self, whole: Estimate) -> Estimate:
        """The value on all samples: through infinite ones goes no line."""
        return dataclasses.replace(
            whole,
            method=repr(self),
            bound="none",
            stderr=None,
            interval=None,
            level=None,
            ceiling=None,
            flags=merged(whole.flags, ("not-linear",)),
            diagnostics={**whole.diagnostics, "at_full_n": whole.value},
        )

    def _parts(self, samples: tuple[Array, ...], n: int, gamma: int) -> np.ndarray:
        order = stream(self.seed, f"parts {gamma}").permutation(n)
        inner = without_uncertainty(self.inner)
        indices = [np.sort(part) for part in np.array_split(order, gamma)]
        return np.array([inner(*(take_rows(x, index) for x in samples)).value for index in indices])


def _freedom(sampling: float, splits: int, around: float) -> float:
    """Degrees of freedom of the sum of both variances (Satterthwaite).

    The split into gamma parts sees a variance with gamma - 1 of them, gamma = 2 ... splits + 1, and the line through
    splits + 1 averages has splits - 1.
    """
    relative = (
        2 * sum(1 / j for j in range(1, splits + 1)) / splits**2
    )  # variance of their mean over its square
    return 2 * (sampling + around) ** 2 / (sampling**2 * relative + around**2 * 2 / (splits - 1))


@dataclass(frozen=True)
class _Line:
    intercept: float
    slope: float
    variance: float
    curvature: float


def _line(means: np.ndarray, first: int = 1) -> _Line:
    """Least-squares line through (gamma, mean), the variance of its intercept, and the relative quadratic term."""
    gamma = np.arange(first, first + len(means), dtype=float)
    design = np.column_stack([np.ones_like(gamma), gamma])
    coefficients = np.linalg.lstsq(design, means, rcond=None)[0]
    residual = means - design @ coefficients
    noise = float(residual @ residual) / max(len(means) - 2, 1)
    variance = noise * float(np.linalg.inv(design.T @ design)[0, 0])
    quadratic = np.polyfit(gamma, means, 2)
    slope = float(coefficients[1])
    bend = abs(float(quadratic[0]) / float(quadratic[1])) if quadratic[1] != 0 else math.inf
    return _Line(float(coefficients[0]), slope, variance, bend)

"""Calibration tables: their numbers, their samples, their verdicts; and that they see an error bar that is wrong."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from estimators import KSG, Estimate, Gaussian, Projected, Subsampled
from estimators.calibration import Calibration, brief, calibrate
from estimators.calibration_laws import laws_at
from estimators.calibration_summary import side, silent, summarise
from estimators.distributions import MultivariateNormal, Setting, catalogue
from estimators.registry import parse

NORMAL = catalogue()["normal-1x1-0.8"]
WIDE = Setting("wide", "light", "wide", MultivariateNormal(0.5, 2, 2))


@dataclasses.dataclass(frozen=True)
class SampleMean:
    """The mean of x, unbiased for 0, with an error that is right up to `factor`."""

    factor: float = 1.0
    offset: float = 0.0
    flags: tuple[str, ...] = ()
    bound: str = "none"

    def __call__(self, x, y):
        return Estimate(
            value=float(x.mean()) + self.offset,
            quantity="I(X;Y)",
            n=len(x),
            method=repr(self),
            stderr=self.factor * float(x.std(ddof=1)) / math.sqrt(len(x)),
            flags=self.flags,
            bound=self.bound,
        )


@dataclasses.dataclass(frozen=True)
class Refuses:
    after: int = 0

    def __call__(self, x, y):
        raise ValueError("not today")


def one(estimator, **settings) -> Calibration:
    return calibrate([estimator], [NORMAL], **({"n": 50, "repetitions": 10, "progress": False} | settings))[0]


# -- coverage ------------------------------------------------------------------------------------------------


def test_an_error_that_is_right_covers_and_one_that_is_halved_does_not():
    """Nominal 90 % at 600 repetitions, within four binomial errors; half the error gives 2 Phi(0.82) - 1 = 59 %."""
    right, halved = one(SampleMean(), repetitions=600), one(SampleMean(0.5), repetitions=600)
    assert right.coverage_error == pytest.approx(math.sqrt(0.09 / 600))
    assert abs(right.covers_expectation - 0.9) <= 4 * right.coverage_error
    assert abs(halved.covers_expectation - 0.589) <= 4 * math.sqrt(0.589 * 0.411 / 600)
    # At n = 50 a normal interval where t_49 is due: 89.4 %.
    assert right.stderr == pytest.approx(1 / math.sqrt(50), rel=0.02)
    assert right.sd == pytest.approx(1 / math.sqrt(50), rel=4 / math.sqrt(2 * 599))


def test_a_bias_is_seen_in_the_coverage_of_the_truth_alone():
    law = Setting("zero", "independent", "zero", MultivariateNormal(0.0))
    row = calibrate([SampleMean(offset=1.0)], [law], n=50, repetitions=100, progress=False)[0]
    assert row.covers_truth == 0
    assert row.covers_expectation > 0.8
    assert abs(row.bias - 1) <= 4 * row.sd / 10


@pytest.mark.parametrize("inner", [Subsampled(SampleMean()), Subsampled(Gaussian(), parts=5)])
def test_subsampled_covers_its_expectation(inner):
    """Nominal 90 % at n = 200, 300 repetitions, four binomial errors."""
    row = one(inner, n=200, repetitions=300)
    assert row.intervals == 300
    assert abs(row.covers_expectation - 0.9) <= 4 * row.coverage_error


# -- the numbers of a row ------------------------------------------------------------------------------------


def test_a_row_against_the_direct_computation():
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Spy:
        def __call__(self, x, y):
            seen.append(Gaussian()(x, y))
            return seen[-1]

    row = one(Spy(), n=80, repetitions=12)
    values = np.array([e.value for e in seen])
    truth = -0.5 * math.log(1 - 0.64)
    assert row.truth == pytest.approx(truth)
    assert row.mean == pytest.approx(values.mean())
    assert row.bias == pytest.approx(values.mean() - truth)
    assert row.sd == pytest.approx(values.std(ddof=1))
    assert row.rmse == pytest.approx(math.sqrt(np.mean((values - truth) ** 2)))
    assert row.stderr == pytest.approx(math.sqrt(np.mean([e.stderr**2 for e in seen])))
    reach = 1.6448536269514722 * np.array([e.stderr for e in seen])
    assert row.covers_truth == np.mean(np.abs(values - truth) <= reach)
    stretched = np.abs(values - values.mean()) * math.sqrt(12 / 11)
    assert row.covers_expectation == np.mean(stretched <= reach)
    assert (row.n, row.dx, row.dy, row.repetitions, row.failures) == (80, 1, 1, 12, 0)


def test_samples_are_fresh_shared_and_depend_on_the_seed():
    samples = []

    @dataclasses.dataclass(frozen=True)
    class Keep:
        name: str

        def __call__(self, x, y):
            samples.append(x)
            return Gaussian()(x, y)

    calibrate([Keep("a"), Keep("b")], [NORMAL], n=20, repetitions=3, progress=False)
    first, second = samples[:3], samples[3:]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], first[1])
    assert one(Gaussian(), seed=1).mean != one(Gaussian(), seed=2).mean
    assert not np.array_equal(first[0], NORMAL.law.sample(20, seed=0)[0])


def test_workers_change_nothing_but_the_time():
    alone, together = (
        calibrate([Gaussian(), KSG()], [NORMAL, WIDE], n=40, repetitions=3, workers=w, progress=False)
        for w in (1, 2)
    )
    strip = lambda rows: [dataclasses.replace(row, seconds=None) for row in rows]  # noqa: E731
    assert strip(alone) == strip(together)


def test_failures_are_rows_that_say_so():
    row = one(Refuses())
    assert (row.repetitions, row.failures, row.failure) == (0, 3, "ValueError: not today")
    assert row.bias is None
    assert summarise([row])[0].verdict == "fails: ValueError: not today"
    infinite = one(lambda x, y: dataclasses.replace(Gaussian()(x, y), value=math.inf))
    assert infinite.failure == "FloatingPointError: the value is inf"


def test_entropies_have_their_own_truth():
    row = one(Gaussian(), quantity="H(X)", n=400, repetitions=60)
    assert row.truth == pytest.approx(0.5 * math.log(2 * math.pi * math.e))
    assert abs(row.bias) <= 4 * row.sd / math.sqrt(60)
    embedded = catalogue()["embedding-curved-128-noisy"]
    with pytest.raises(ValueError, match="no closed form"):
        calibrate([Gaussian()], [embedded], n=50, quantity="H(X)", progress=False)


def test_rows_survive_json_and_are_not_made_twice():
    made = []
    rows = calibrate([Gaussian()], [NORMAL, WIDE], n=30, repetitions=4, keep=made.append, progress=False)
    assert made == rows
    read = [Calibration.from_json(row.to_json()) for row in rows]
    assert read == rows
    again = []
    more = calibrate(
        [Gaussian(), SampleMean()], [NORMAL, WIDE], n=30, repetitions=4, done=read, keep=again.append
    )
    assert len(more) == 4
    assert {row.estimator for row in again} == {repr(SampleMean())}
    # Another size is another question.
    calibrate([Gaussian()], [NORMAL], n=31, repetitions=4, done=read, keep=again.append, progress=False)
    assert len(again) == 3
    with pytest.raises(ValueError, match="not a calibration row"):
        Calibration.from_json('{"law": "x"}')


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 1}, "n must be an int of at least 2"),
        ({"repetitions": 1}, "repetitions must be"),
        ({"workers": 0}, "workers must be"),
        ({"quantity": "KL"}, "quantity must be"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        one(Gaussian(), **settings)


def test_bad_lists():
    for estimators, laws, message in (
        ([], [NORMAL], "estimators is empty"),
        ([Gaussian()], [], "laws is empty"),
        ([Gaussian(), Gaussian()], [NORMAL], "more than once"),
        (["Gaussian"], [NORMAL], "is no estimator"),
    ):
        with pytest.raises(ValueError, match=message):
            calibrate(estimators, laws, n=20)
    with pytest.raises(ValueError, match="rows is empty"):
        summarise([])
    with pytest.raises(ValueError, match="tolerance"):
        summarise([one(Gaussian())], tolerance=0)


# -- verdicts ------------------------------------------------------------------------------------------------


def rows_with(*cases) -> list[Calibration]:
    """Rows of one estimator from (kind, bias, flagged) triples."""
    plain = one(Gaussian())
    return [
        dataclasses.replace(
            plain, law=f"law {i}", kind=kind, truth=1.0, bias=bias, sd=0.01, flagged=flagged, bound="none"
        )
        for i, (kind, bias, flagged) in enumerate(cases)
    ]


@pytest.mark.parametrize(
    ("cases", "verdict"),
    [
        ([("light", 0.02, 0), ("heavy", -0.05, 0)], "believe"),
        ([("light", 0, 0), ("light", 0, 0), ("embedded", 0.5, 1)], "believe unless flagged"),
        ([("light", 0, 1), ("light", 0, 1), ("embedded", 0.5, 1)], "biased high on embedded"),
        ([("light", -0.5, 0), ("heavy", -0.5, 0), ("weak", 0, 0)], "biased low"),
        (
            [("light", 0, 0), ("weak", -0.5, 0), ("embedded", 0.5, 0)],
            "biased low on weak; biased high on embedded",
        ),
        (
            [("light", -0.5, 1), ("heavy", -0.5, 1), ("weak", 0, 0)],
            "biased low",
        ),  # flagged, but right on one alone
        (
            [("light", -0.5, 1), ("heavy", -0.5, 1), ("weak", 0.5, 1)],
            "biased low; biased high on weak",
        ),
    ],
)
def test_verdicts(cases, verdict):
    assert summarise(rows_with(*cases))[0].verdict == verdict


def test_a_lower_bound_may_be_low_and_not_high():
    low, high = (
        [dataclasses.replace(r, bound="lower") for r in rows_with(("light", b, 0))] for b in (-0.5, 0.5)
    )
    assert summarise(low)[0].verdict == "a lower bound that holds"
    assert summarise(high)[0].verdict == "biased high"


def test_bounds_of_some_laws_alone():
    """An estimator that claims a bound where it has no better, as `Auto` does."""
    near, low = rows_with(("light", 0.02, 0), ("bent", -0.5, 0))
    mixed = summarise([near, dataclasses.replace(low, bound="lower")])[0]
    assert mixed.verdict == "right, or a lower bound that holds"
    assert (mixed.right, mixed.silent) == (1, 0)  # low as a bound may be, but not right


def test_a_bound_that_is_not_claimed_by_all_estimates_is_none():
    claims = iter(["lower", "none", "lower", "lower", "lower", "lower"])

    def wavering(x, y):
        return dataclasses.replace(Gaussian()(x, y), bound=next(claims))

    assert one(wavering, repetitions=3).bound == "none"
    assert one(wavering, repetitions=3).bound == "lower"


def test_silent_is_wrong_without_a_flag():
    rows = rows_with(("light", 0.02, 0), ("weak", -0.5, 0.4), ("bent", -0.5, 0.6), ("heavy", 0.5, 0))
    assert [side(row) for row in rows] == [0, -1, -1, 1]
    assert [silent(row) for row in rows] == [False, True, False, True]
    summary = summarise(rows)[0]
    assert (summary.right, summary.silent) == (1, 2)
    refused = dataclasses.replace(rows[0], bias=None)
    assert (side(refused), silent(refused)) == (0, False)


def test_a_summary_is_the_mean_over_laws_and_names_the_worst():
    summary = summarise(rows_with(("light", 0.02, 0), ("heavy", -0.3, 1)))[0]
    assert summary.bias == pytest.approx(-0.14)
    assert summary.flagged == 0.5
    assert (summary.worst, summary.worst_bias) == ("law 1", -0.3)
    assert summary.coverage_error == pytest.approx(math.sqrt(0.09 / 20))


def test_a_kind_of_noise_is_no_bias():
    """3 standard errors of the mean are granted: sd 1 over 10 samples hides half a nat."""
    rows = [dataclasses.replace(r, sd=1.0) for r in rows_with(("light", 0.5, 0))]
    assert summarise(rows)[0].verdict == "believe"


# -- laws at a size ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3), (7, 5), (40, 40), (1, None), (2, None), (9, None)])
def test_laws_have_the_size_that_was_asked_for(size):
    laws = laws_at(*size)
    assert len({s.id for s in laws}) == len(laws) >= 7
    for setting in laws:
        x, y = setting.law.sample(20, seed=3)
        assert x.shape == (20, size[0])
        assert y.shape == ((20,) if size[1] is None else (20, size[1]))
        assert np.isfinite(x).all()
        assert setting.law.mutual_information() >= 0
        if setting.law.exact and size[1] is not None and "curved" not in setting.id:
            log_ratio = setting.law.log_ratio(x, y)
            assert np.isfinite(log_ratio).all()


@pytest.mark.parametrize("size", [(3, 4), (6, None)])
def test_the_truth_is_the_mean_log_ratio(size):
    """Monte Carlo at 20 000 points of each law, |z| <= 4."""
    for setting in laws_at(*size):
        if setting.law.exact:
            log_ratio = setting.law.log_ratio(*setting.law.sample(20_000, seed=11))
            error = log_ratio.std(ddof=1) / math.sqrt(20_000)
            assert abs(log_ratio.mean() - setting.law.mutual_information()) <= 4 * error + 1e-9, setting.id


def test_laws_of_no_columns_are_refused():
    with pytest.raises(ValueError, match="dx must be at least 1"):
        laws_at(0, 1)
    with pytest.raises(TypeError, match="dy must be an int"):
        laws_at(2, 1.5)


def test_brief_is_read_by_parse():
    for estimator in (KSG(), Projected(KSG(k=7), dims=2), Subsampled(Gaussian(corrected=False), parts=4)):
        assert parse(brief(estimator)) == estimator
    assert brief(len) == repr(len)

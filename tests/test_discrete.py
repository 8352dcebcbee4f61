"""Counting estimators: closed forms, exact expectations, twins, invariance, bad input; and binning, which feeds them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import reference_discrete as R
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import exp1, psi
from scipy.stats import binom, norm, poisson

from estimators import Binned, Discrete, Permuted, Subsampled, binning, parse
from estimators import discrete as D

METHODS = ["plug-in", "miller-madow", "grassberger", "james-stein", "chao-shen", "nsb"]
COUNTS = [
    [1, 1, 2],
    [9, 1],
    [3, 0, 0, 5, 1],
    [10, 20, 30, 1, 0, 0],
    [1] * 6,
    [5, 5, 5, 5],
    [100, 3, 2, 1, 1, 1, 0, 0],
]
FAST = settings(max_examples=60, deadline=None)
tables = st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=2, max_size=4).filter(
    lambda t: sum(map(sum, t)) >= 4
)


def labels(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Paired labels that have this table of counts."""
    t = np.asarray(table)
    cell = np.repeat(np.arange(t.size), t.ravel())
    return cell // t.shape[1], cell % t.shape[1]


# -- closed forms --------------------------------------------------------------------------------------------


def test_fair_coin_and_uniform_die():
    assert D.plug_in([7, 7]) == pytest.approx(math.log(2), abs=1e-15)
    assert D.plug_in([10**9] * 6) == pytest.approx(math.log(6), abs=1e-14)
    assert D.james_stein([5, 5, 5, 5]) == pytest.approx(math.log(4), abs=1e-14)


def test_entropy_of_a_geometric_law():
    counts = 2 ** np.arange(40, -1, -1)  # p_k = 2^-k, up to the last: H = 2 log 2
    assert D.plug_in(counts) == pytest.approx(2 * math.log(2), abs=1e-10)


def test_xor_is_seen_only_by_the_pair():
    a, b = np.array([0, 0, 1, 1] * 25), np.array([0, 1, 0, 1] * 25)
    c = a ^ b
    assert Discrete()(a, c).value == pytest.approx(0, abs=1e-14)
    assert Discrete()(b, c).value == pytest.approx(0, abs=1e-14)
    assert Discrete()(2 * a + b, c).value == pytest.approx(math.log(2), abs=1e-14)


def test_symmetric_channel():
    flips = np.zeros(1000, dtype=bool)
    flips[:110], flips[500:610] = True, True
    x = np.arange(1000) >= 500
    e = Discrete()(x, x ^ flips)
    assert e.value == pytest.approx(math.log(2) - R.entropy([0.22, 0.78]), abs=1e-12)
    assert e.ceiling == pytest.approx(math.log(2))


@pytest.mark.parametrize("z", [0.05, 0.5, 2.0, 7.0])
def test_grassberger_has_the_poisson_expectation_that_defines_it(z):
    n = np.arange(1, 80)
    g = [math.log(2 * k) - D.grassberger([int(k), int(k)]) for k in n]  # two equal cells: log 2k - G(k)
    expected = z * math.log(z) + z * exp1(2 * z)
    assert float(np.sum(poisson.pmf(n, z) * n * g)) == pytest.approx(expected, abs=1e-9)


def test_chao_shen_of_singletons_and_of_full_coverage():
    n = 50
    p = 1 / n**2  # coverage 1 / n
    expected = -n * p * math.log(p) / (1 - (1 - p) ** n)
    assert D.chao_shen([1] * n) == pytest.approx(expected, rel=1e-12)
    c = np.array([40, 30, 30])
    horvitz = -sum(q * math.log(q) / (1 - (1 - q) ** 100) for q in c / 100)
    assert D.chao_shen(c) == pytest.approx(horvitz, rel=1e-12)


def test_shrinkage_weight_by_hand():
    # p = (0.9, 0.1): (1 - 0.82) / (9 * (0.4^2 + 0.4^2)) = 0.18 / 2.88
    assert D.shrinkage([9, 1]) == pytest.approx(0.0625, abs=1e-15)
    assert Discrete("james-stein")(np.array([0] * 9 + [1])).diagnostics["lambda"] == pytest.approx(0.0625)
    assert D.james_stein([1, 1, 1], symbols=8) == pytest.approx(math.log(8))  # all singletons: shrunk wholly


def test_nsb_before_the_first_coincidence_is_half_the_range():
    # One sample says nothing about the law: the posterior is the prior, whose mean entropy is uniform on (0, log K).
    for k in (2, 8, 1000):
        assert D.nsb([1], k)[0] == pytest.approx(math.log(k) / 2, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_one_class_is_exactly_zero(method):
    constant, other = np.full(50, 3), np.arange(50) % 5
    e = Discrete(method)(constant)
    assert e.value == 0.0
    assert e.stderr is None
    assert "saturated" not in e.flags
    assert Discrete(method)(constant, other).value == pytest.approx(0, abs=1e-12)
    assert Discrete(method)(constant, constant).value == 0.0


# -- exact expectations over all outcomes --------------------------------------------------------------------


@pytest.mark.parametrize("law", [[0.5, 0.5], [0.5, 0.3, 0.2], [0.25] * 4])
def test_bias_of_the_plug_in_has_the_miller_madow_order(law):
    h, k = R.entropy(law), len(law)

    def left(n: int) -> float:  # after Harris' second term only O(1 / n^3) is left
        bias = R.expectation(D.plug_in, law, n) - h
        return bias + (k - 1) / (2 * n) - (1 - sum(1 / p for p in law)) / (12 * n**2)

    a, b = left(12), left(24)
    assert abs(b) < 0.2 * abs(a)
    assert abs(b) < 3 / 24**3 * sum(1 / p for p in law)


@pytest.mark.parametrize("law", [[0.5, 0.5], [0.5, 0.3, 0.2], [0.25] * 4])
def test_corrections_remove_most_of_the_exact_bias(law):
    h, n = R.entropy(law), 16
    plain, miller, grassberger = (
        R.expectation(f, law, n) - h for f in (D.plug_in, D.miller_madow, D.grassberger)
    )
    assert abs(miller) < 0.1 * abs(plain)
    # Exact for Poisson counts of any size; at fixed n, log n itself leaves 1 / 2n, whatever the number of cells.
    assert grassberger == pytest.approx(1 / (2 * n), rel=0.02)


@pytest.mark.parametrize("law", [[0.5, 0.5], [0.5, 0.3, 0.2], [0.7, 0.1, 0.1, 0.1]])
def test_entropy_error_matches_the_exact_scatter(law):
    n = 20
    mean = R.expectation(D.plug_in, law, n)
    exact = R.expectation(lambda c: (D.plug_in(c) - mean) ** 2, law, n)

    def squared_error(counts):
        seen = np.array([c for c in counts if c])
        return D._entropy_error(seen) ** 2

    # At n = 20 the omitted orders are a sizeable part: the standard error is right to a third.
    assert 0.67 < math.sqrt(R.expectation(squared_error, law, n) / exact) < 1.5


def test_information_error_matches_the_exact_scatter():
    n, law = 24, [0.4, 0.1, 0.1, 0.4]

    def both(counts):
        e = Discrete()(*labels(np.reshape(counts, (2, 2)).tolist()))
        return e.value, (e.stderr or 0.0) ** 2

    seen = {c: both(c) for c in R.outcomes(n, 4)}
    mean = R.expectation(lambda c: seen[c][0], law, n)
    exact = R.expectation(lambda c: (seen[c][0] - mean) ** 2, law, n)
    assert 0.75 < math.sqrt(R.expectation(lambda c: seen[c][1], law, n) / exact) < 1.33


def test_errors_at_uniform_and_independent_laws_are_not_zero():
    # 2 n (log K - H) and 2 n I are chi-squared: with nu degrees of freedom the deviation is sqrt(nu / 2) / n.
    die = np.arange(600) % 6
    assert Discrete()(die).stderr == pytest.approx(math.sqrt(5 / 2) / 600, rel=1e-9)
    a, b = labels([[50] * 4] * 3)
    assert Discrete()(a, b).stderr == pytest.approx(math.sqrt(6 / 2) / 600, rel=1e-9)
    # Of a die with itself the information is the entropy, and so is its error.
    assert Discrete()(die, die).stderr == pytest.approx(math.sqrt(5 / 2) / 600, rel=1e-9)


# -- twins ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("name", ["plug_in", "miller_madow", "grassberger", "chao_shen", "james_stein"])
def test_counts_against_twins(name, counts):
    assert getattr(D, name)(counts) == pytest.approx(getattr(R, name)(counts), abs=1e-12)


@pytest.mark.parametrize("counts", COUNTS)
def test_nsb_against_adaptive_quadrature(counts):
    # The twin's range of log beta ends at +-18, where 1e-8 of the flattest posteriors is left.
    assert D.nsb(counts) == pytest.approx(R.nsb_by_formula(counts), abs=1e-6)


@pytest.mark.parametrize("counts", [(1, 1), (7, 0), (30, 12), (3, 1)])
def test_nsb_against_brute_force_over_the_law_and_the_beta_mixture(counts):
    assert D.nsb(counts) == pytest.approx(R.nsb_of_two(*counts), abs=2e-6)


def test_alphabet_as_number_or_as_zeros():
    assert D.james_stein([5, 2, 0, 0, 0]) == pytest.approx(D.james_stein([5, 2], symbols=5), abs=1e-14)
    assert D.nsb([5, 2, 0, 0, 0]) == pytest.approx(D.nsb([5, 2], symbols=5), abs=1e-12)


@FAST
@given(tables)
def test_information_against_twins(table):
    x, y = labels(table)
    joint = list(zip(x.tolist(), y.tolist(), strict=True))
    for name in ("plug_in", "miller_madow", "grassberger", "chao_shen"):
        twin = getattr(R, name)
        three = [twin(R.counted(v)) for v in (x.tolist(), y.tolist(), joint)]
        e = Discrete(name.replace("_", "-"))(x, y)
        assert e.value == pytest.approx(three[0] + three[1] - three[2], abs=1e-11)
    seen = np.asarray(table)
    seen = seen[seen.any(axis=1)][:, seen.any(axis=0)]
    assert Discrete("james-stein")(x, y).value == pytest.approx(R.james_stein_information(seen), abs=1e-11)


def test_sorted_and_tabulated_joint_counts_agree():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 40, 100), rng.integers(0, 40, 100)  # 1600 cells: sorted
    joint = R.counted(list(zip(x.tolist(), y.tolist(), strict=True)))
    assert Discrete()(x, y).diagnostics["h_xy"] == pytest.approx(R.plug_in(joint), abs=1e-12)


# -- properties ----------------------------------------------------------------------------------------------


@FAST
@given(tables, st.sampled_from(METHODS))
def test_chain_rule_symmetry_and_relabelling(table, method):
    x, y = labels(table)
    estimate = Discrete(method)
    e, swapped = estimate(x, y), estimate(y, x)
    d = e.diagnostics
    assert e.value == pytest.approx(d["h_x"] + d["h_y"] - d["h_xy"], abs=1e-12)
    assert swapped.value == pytest.approx(e.value, abs=1e-10)
    rename = np.array([70, -3, 12, 5])
    order = np.random.default_rng(0).permutation(len(x))
    assert estimate(rename[x][order], y[order]).value == pytest.approx(e.value, abs=1e-10)
    if method != "james-stein":  # whose marginals come from the shrunk joint table
        assert d["h_x"] == pytest.approx(estimate(x).value, abs=1e-12)
        assert d["h_y"] == pytest.approx(estimate(y).value, abs=1e-12)


@FAST
@given(tables)
def test_merging_symbols_loses_information_and_bounds_hold(table):
    x, y = labels(table)
    e = Discrete()(x, y)
    assert e.value >= -1e-12
    assert e.value <= e.ceiling + 1e-12
    assert Discrete()(x // 2, y).value <= e.value + 1e-12
    assert Discrete()(np.minimum(x, 1), np.minimum(y, 1)).value <= e.value + 1e-12
    assert Discrete()(x // 2).value <= Discrete()(x).value + 1e-12


@FAST
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(lambda c: sum(c) >= 4))
def test_entropies_stay_within_their_ceilings(counts):
    x = np.repeat(np.arange(len(counts)), counts)
    for method in METHODS:
        e = Discrete(method)(x)
        assert e.value >= 0.0
        assert e.ceiling is None or e.value <= e.ceiling + 1e-10
    for method in ("plug-in", "james-stein", "nsb"):
        assert Discrete(method)(x).value <= math.log(len(set(x.tolist()))) + 1e-10
        assert Discrete(method, symbols=20)(x).value <= math.log(20) + 1e-10


@FAST
@given(st.lists(st.integers(0, 30), min_size=2, max_size=8).filter(lambda c: sum(c) >= 2))
def test_shrinkage_is_a_weight(counts):
    assert 0.0 <= D.shrinkage(counts) <= 1.0
    assert D.james_stein(counts) >= D.plug_in(counts) - 1e-12


# -- statistics ----------------------------------------------------------------------------------------------


def test_nsb_posterior_is_calibrated_under_its_own_prior():
    """Laws drawn from the prior: the standardised errors of 300 posteriors have mean 0 and variance 1, by definition."""
    rng, k, n, draws = np.random.default_rng(7), 30, 40, 300
    grid = np.exp(np.linspace(-16, 16, 4000))
    xi = psi(k * grid + 1) - psi(grid + 1)
    z = []
    for target in rng.uniform(0, math.log(k), draws):
        law = rng.dirichlet(np.full(k, np.interp(target, xi, grid)))
        mean, sd = D.nsb(rng.multinomial(n, law))
        z.append((R.entropy(law.tolist()) - mean) / sd)
    assert abs(np.mean(z)) * math.sqrt(draws) < 4
    # The deviation of z^2, recorded over 2000 other draws, is 1.8.
    assert abs(np.mean(np.square(z)) - 1) * math.sqrt(draws) / 1.8 < 4


@pytest.mark.parametrize(
    # Expectation of each estimator less the truth log 500, and its deviation, recorded over 2000 draws of n = 200.
    ("method", "bias", "deviation"),
    [
        ("plug-in", -1.1707, 0.0354),
        ("miller-madow", -0.7606, 0.0467),
        ("grassberger", -0.3071, 0.0828),
        ("james-stein", -0.0022, 0.0054),
        ("chao-shen", 0.0508, 0.1465),
        ("nsb", -0.0805, 0.0382),  # over 1000 draws
    ],
)
def test_undersampled_uniform_law(method, bias, deviation):
    rng = np.random.default_rng(11)
    e = Discrete(method, symbols=500)(rng.integers(0, 500, 200))
    assert abs(e.value - math.log(500) - bias) < 4 * deviation
    assert {"small-sample", "saturated"} <= set(e.flags)


def test_undersampled_plug_in_has_its_exact_expectation():
    n, k = 200, 500
    c = np.arange(1, n + 1)
    expected = -k * float(np.sum(binom.pmf(c, n, 1 / k) * c / n * np.log(c / n)))
    value = Discrete()(np.random.default_rng(11).integers(0, k, n)).value
    assert abs(value - expected) < 4 * 0.0354


# -- flags, errors, one typed result -------------------------------------------------------------------------


def test_diagnostics_and_bound():
    e = Discrete()(np.array([0, 0, 0, 0, 5, 5, 9]))
    assert e.bound == "lower"
    assert e.diagnostics == {
        "occupied": 3.0,
        "singletons": 1.0,
        "log_n": math.log(7),
        "correction": 0.0,
    }
    assert Discrete("miller-madow")(np.arange(7) % 3).bound == "none"
    pair = Discrete("chao-shen")(np.arange(60) % 3, np.arange(60) % 2).diagnostics
    assert (pair["occupied_x"], pair["occupied_y"], pair["occupied"]) == (3, 2, 6)
    assert pair["coverage_xy"] == 1.0


def test_small_sample_and_saturated_fire_and_rest():
    many, few = np.arange(100), np.arange(100) % 4
    assert {"small-sample", "saturated"} <= set(Discrete()(many).flags)
    assert Discrete()(few).flags == ()
    assert Discrete()(few, few // 2).flags == ()
    assert (
        "saturated" in Discrete()(many, few).flags
    )  # each symbol once: the information is H(Y) whatever the law
    assert Discrete()(many, few).value == pytest.approx(math.log(4))
    assert "small-sample" in Discrete()(np.arange(100) % 25).flags
    assert "small-sample" not in Discrete()(np.arange(100) % 20).flags


def test_values_beyond_their_bounds_are_flagged_not_clipped():
    coin = np.array([0] * 51 + [1] * 49)
    e = Discrete("miller-madow", symbols=2)(coin)
    assert e.value > math.log(2)
    assert "violated-bound" in e.flags
    assert "violated-bound" not in Discrete("miller-madow")(coin).flags  # nothing was declared
    a, b = labels([[25] * 4] * 4)
    assert Discrete("miller-madow")(a, b).value == pytest.approx(-9 / (2 * 400), abs=1e-12)  # never clipped
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 12, (2, 1000))
    e = Discrete("miller-madow")(a, b)
    assert abs(e.value) < 4 * e.stderr
    assert "large-correction" in e.flags
    assert "large-correction" not in Discrete("miller-madow")(a, a).flags


def test_declared_alphabets():
    x, y = np.arange(40) % 4, np.arange(40) % 5
    assert Discrete("nsb", symbols=(4, 5))(x, y).value == pytest.approx(
        Discrete("nsb")(x, y).value, abs=1e-12
    )
    assert Discrete("nsb", symbols=100)(x).value > Discrete("nsb")(x).value
    with pytest.raises(ValueError, match=r"y has 5 distinct labels, more than symbols = 4"):
        Discrete(symbols=4)(x, y)
    for bad in (0, 2.5, True, (3,), (3, 4, 5)):
        with pytest.raises(ValueError, match="symbols"):
            Discrete(symbols=bad)
    with pytest.raises(ValueError, match=r"10\^200"):
        Discrete("nsb", symbols=10**150)(x, y)


def test_nsb_of_huge_alphabets_is_finite():
    counts = [3, 2, 2, 1, 1, 1, 1, 1]
    value, sd = D.nsb(counts, 10**199)
    assert value == pytest.approx(D.nsb(counts, 10**12)[0], abs=1e-6)
    assert 0 < sd < 1


def test_nsb_of_a_zipf_law():
    law = 1 / np.arange(1, 1001)
    law /= law.sum()
    counts = np.random.default_rng(5).multinomial(20_000, law)
    value, sd = D.nsb(counts)
    assert abs(value - R.entropy(law.tolist())) < 4 * sd
    assert sd == pytest.approx(D._entropy_error(counts[counts > 0]), rel=0.1)  # far from the prior
    assert D.plug_in(counts) < R.entropy(law.tolist()) - sd


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(9), r"x has shape \(9,\) and dtype float64.*astype\(int\).*Binned\(\)"),
        (np.zeros((9, 2), dtype=int), r"\(9, 2\).*unique\(x, axis=0"),
        (torch.zeros(9), r"dtype torch.float32"),
        (np.array(["a", "b"] * 4), r"integer vector"),
        ([0, 1, 0, 1], r"list.*numpy.asarray\(x\)"),
        (np.array([]), r"integer vector"),
    ],
)
def test_what_is_no_label_vector_is_refused_with_the_mend(bad, message):
    with pytest.raises(TypeError, match=message):
        Discrete()(bad)


def test_empty_short_and_unpaired():
    with pytest.raises(ValueError, match=r"\(0,\).*at least n = 4"):
        Discrete()(np.array([], dtype=int))
    with pytest.raises(ValueError, match=r"\(3,\).*at least n = 4"):
        Discrete()(np.arange(3))
    with pytest.raises(ValueError, match=r"x has shape \(8,\) and y has shape \(7,\)"):
        Discrete()(np.arange(8), np.arange(7))
    with pytest.raises(ValueError, match="y has shape"):
        Discrete()(np.arange(8), np.arange(2))
    with pytest.raises(ValueError, match=r"method = 'mle' must be one of plug-in"):
        Discrete("mle")
    for counts in ([], [0, 0], [-1, 2], [0.5, 0.5], [[1, 2]]):
        with pytest.raises(ValueError, match=r"counts must be a vector"):
            D.plug_in(np.array(counts))
    with pytest.raises(ValueError, match="less than the 2 symbols"):
        D.nsb([1, 2], symbols=1)


@pytest.mark.parametrize("method", METHODS)
def test_kinds_of_labels_agree(method):
    x, y = np.arange(60) % 3, (np.arange(60) // 3) % 2
    e = Discrete(method)(x, y)
    for make in (
        lambda v: v.astype(np.uint8),
        torch.as_tensor,
        lambda v: torch.as_tensor(v, dtype=torch.int32),
        lambda v: v * 10**12 - 5,
    ):
        assert Discrete(method)(make(x), make(y)) == e
    assert Discrete(method)(x, y.astype(bool)) == e
    assert parse(e.method) == Discrete(method)


def test_wrappers_take_labels():
    x = np.arange(200) % 4
    e = Permuted(Subsampled(Discrete("chao-shen"), parts=4), times=9)(x, x // 2)
    assert e.diagnostics["null_mean"] < 0.1
    assert e.stderr is not None
    assert e.value == pytest.approx(Discrete("chao-shen")(x, x // 2).value)


# -- binning -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["width", "mass", "fixed"])
@pytest.mark.parametrize("bins", [2, 5, 30])
def test_binned_against_the_twin(rule, bins):
    x = np.random.default_rng(bins).normal(size=(150, 2))
    x[::7] = x[0]  # ties
    span = {"low": -6.0, "high": 6.0} if rule == "fixed" else {}
    e = Binned(bins=bins, rule=rule, **span)(x)
    twin = R.binned_symbols(x, bins, rule, **span)
    assert e.value == pytest.approx(R.plug_in(R.counted(twin)), abs=1e-12)
    assert e.quantity == "H(QX)"
    y = np.arange(150) % 3
    joint = R.plug_in(R.counted(list(zip(twin, y.tolist(), strict=True))))
    expected = e.value + math.log(3) - joint
    assert Binned(bins=bins, rule=rule, **span)(x, y).value == pytest.approx(expected, abs=1e-12)
    assert Binned(bins=bins, rule=rule, **span)(y, x).value == pytest.approx(expected, abs=1e-12)


def gaussian_cells(width: float) -> np.ndarray:
    """Probability of the cells of floor(x / width) for N(0, 1), one of each mirrored pair, far cells merged."""
    return np.diff(norm.cdf(np.arange(0, 8 + width, width)))


def expected_plug_in(law: np.ndarray, d: int, n: int) -> float:
    """Exact E H of n samples of d independent coordinates, each in one of 2 len(law) cells: sums over types of pattern."""
    c = np.arange(1, n + 1)
    total = 0.0
    for kinds in itertools.combinations_with_replacement(range(len(law)), d):
        times = np.bincount(kinds, minlength=len(law))
        many = 2.0**d * math.factorial(d) / math.prod(math.factorial(int(t)) for t in times)
        p = float(np.prod(law**times))
        if many * p > 1e-12:
            total -= many * float(np.sum(binom.pmf(c, n, p) * c / n * np.log(c / n)))
    return total


@pytest.mark.parametrize(
    # Deviation recorded over 300 draws; the limit is log 1000 = 6.9078.
    ("width", "about", "deviation"),
    [(5, 6.345, 0.0185), (2, 6.666, 0.0178), (1, 6.906, 0.0014)],
)
def test_binning_of_a_gaussian_layer_saturates_at_log_n(width, about, deviation):
    n, d = 1000, 10
    law = gaussian_cells(width)
    law = np.append(law[law > 1e-6], max(0.5 - law[law > 1e-6].sum(), 0.0))
    expected = expected_plug_in(law, d, n)
    assert expected == pytest.approx(about, abs=0.005)
    x = np.random.default_rng(3).standard_normal((n, d))
    e = Binned(bins=round(20 / width), rule="fixed", low=-10.0, high=10.0)(x)
    assert abs(e.value - expected) < 4 * deviation + 1e-4
    assert e.ceiling == pytest.approx(math.log(1000))
    assert ("saturated" in e.flags) == (width < 5)  # 0.55 below log n at width 5


def test_narrow_cells_return_log_n_whatever_the_law():
    # At width 0.5 two rows share a cell with probability 0.14^10: fewer than 0.01 pairs of 1000 rows are expected to.
    law = gaussian_cells(0.5)
    assert math.comb(1000, 2) * (2 * float(np.sum(law**2))) ** 10 < 0.01
    x = np.random.default_rng(3).standard_normal((1000, 10))
    e = Binned(bins=40, rule="fixed", low=-10.0, high=10.0)(x)
    assert e.value == pytest.approx(math.log(1000), abs=1e-12)
    assert e.diagnostics["occupied"] == e.diagnostics["singletons"] == 1000


def test_saturated_binning_reads_the_whole_label():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 12)), np.arange(300) % 10
    e = Binned()(x, y)
    assert e.value == pytest.approx(math.log(10))  # independent, and yet everything
    assert {"saturated", "small-sample"} <= set(e.flags)
    assert e.diagnostics["occupied_x"] == 300


@FAST
@given(st.integers(0, 10**6), st.sampled_from(["width", "mass", "fixed"]), st.integers(2, 12))
def test_entropy_grows_in_nested_bins(seed, rule, bins):
    x = np.random.default_rng(seed).standard_t(3, size=(60, 2))
    span = {"low": -1e3, "high": 1e3} if rule == "fixed" else {}
    coarse, fine = (Binned(bins=b, rule=rule, **span) for b in (bins, 2 * bins))
    assert coarse(x).value <= fine(x).value + 1e-12
    assert coarse(x[:, :1], x[:, 1:]).value <= fine(x[:, :1], x[:, 1:]).value + 1e-12
    assert coarse(x[:, :1]).value <= coarse(x).value + 1e-12


def test_mass_makes_columns_uniform_whatever_their_law():
    x = np.random.default_rng(0).standard_cauchy((300, 1))
    assert Binned(bins=30, rule="mass")(x).value == pytest.approx(math.log(30), abs=1e-12)
    cells = binning.cells(x[:101], 4, "mass")
    assert sorted(np.bincount(cells.ravel()).tolist()) == [25, 25, 25, 26]


def test_invariances_of_the_rules():
    x = np.random.default_rng(0).normal(size=(400, 3))
    mass, width = Binned(bins=4, rule="mass"), Binned(bins=4, rule="width")
    fixed = Binned(bins=8, rule="fixed", low=-8.0, high=8.0)
    assert mass(np.exp(x)).value == mass(x).value  # increasing maps
    for scale in (2.0**-300, 2.0**40, 2.0**1015):  # the scale of weights is invisible to the relative rules
        assert width(scale * x).value == width(x).value
        assert mass(scale * x).value == mass(x).value
    assert width(np.array([0.3, 2.0, 7e5]) * x).value == pytest.approx(width(x).value, abs=0.02)
    assert fixed(0.1 * x).value == pytest.approx(
        3 * math.log(2), abs=0.03
    )  # the absolute one keeps the signs
    assert fixed(x).value > 2.4
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    assert abs(width(x @ turn).value - width(x).value) > 1e-3


def test_bins_counts_cells_and_edges_are_exact():
    x = np.arange(31.0)[:, None]
    assert binning.cells(x, 30).ravel().tolist() == [*range(30), 29]
    assert binning.cells(x, 30, "fixed", 0.0, 30.0).ravel().tolist() == [*range(30), 29]
    low = np.nextafter(0.0, -1.0)
    assert binning.cells(np.array([[low * 1e300, 31.0, 1e308]]).T, 30, "fixed", 0.0, 30.0)[1:].tolist() == [
        [30],
        [30],
    ]
    assert binning.cells(np.array([[-1e-9]]), 30, "fixed", 0.0, 30.0).tolist() == [[-1]]


def test_values_outside_the_fixed_range():
    x = np.linspace(-3, 3, 101)[:, None]  # steps of 0.06: 33 values lie within [-1, 1]
    with pytest.raises(
        ValueError, match=r"x of shape \(101, 1\) has 68 values outside \[-1.0, 1.0\].*\[-3, 3\]"
    ):
        Binned(rule="fixed", low=-1.0, high=1.0)(x)
    e = Binned(rule="fixed", low=-1.0, high=1.0, bins=4, overflow=True)(x)
    assert e.diagnostics["overflow"] == pytest.approx(68 / 101)
    assert e.diagnostics["log_cells"] == pytest.approx(math.log(6))
    assert "saturated" in e.flags
    assert e.diagnostics["occupied"] == 6
    inside = Binned(rule="fixed", low=-3.0, high=3.0, bins=4, overflow=True)(x)
    assert inside.diagnostics["overflow"] == 0.0
    assert inside.flags == ()


def test_collapsed_layers():
    flat = np.ones((50, 3))
    e = Binned(rule="fixed", low=0.0, high=2.0)(flat)
    assert e.value == 0.0
    for rule in ("width", "mass"):
        with pytest.raises(ValueError, match="all columns are constant"):
            Binned(rule=rule)(flat)
        x = np.column_stack([np.ones(50), np.arange(50.0)])
        e = Binned(rule=rule, bins=5)(x)
        assert "constant-columns" in e.flags
        assert e.diagnostics["dropped"] == 1
        assert e.value == pytest.approx(math.log(5))


def test_binned_wraps_any_estimator_of_labels():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    y = x + rng.normal(size=(200, 1))
    for inner in (Discrete("nsb", symbols=(4, 4)), Permuted(Discrete(), times=5), Subsampled(Discrete())):
        e = Binned(inner, bins=4)(x, y)
        assert parse(e.method) == Binned(inner, bins=4)
        assert {"bins", "dx", "dy", "log_cells_x", "occupied"} <= set(e.diagnostics)
    assert Binned(bins=4)(x, y) == Binned(bins=4)(torch.as_tensor(x), torch.as_tensor(y))
    assert Binned()(np.arange(50) % 3).quantity == "H(X)"  # labels stay what they are


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"rule": "depth"}, "rule = 'depth' must be one of width, mass, fixed"),
        ({"bins": 1}, "at least 2 cells"),
        ({"rule": "fixed"}, "low < high"),
        ({"rule": "fixed", "low": 1.0, "high": 1.0}, "low < high"),
        ({"rule": "fixed", "low": -1e308, "high": 1e308}, "low < high"),
        ({"rule": "fixed", "low": math.nan, "high": 1.0}, "low < high"),
        ({"low": 0.0}, "belong to rule='fixed'"),
        ({"overflow": True}, "belong to rule='fixed'"),
    ],
)
def test_settings_that_contradict_each_other(settings_, message):
    with pytest.raises(ValueError, match=message):
        Binned(**settings_)


def test_binned_refuses_what_cannot_be_cut():
    x = np.zeros((20, 2))
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"x of shape \(20, 2\) has NaN or inf in 1"):
        Binned()(x)
    with pytest.raises(ValueError, match="at least n = 4"):
        Binned()(np.eye(3))
    with pytest.raises(ValueError, match=r"\(20, 1\) and y has shape \(19, 1\)"):
        Binned()(np.arange(20.0)[:, None], np.arange(19.0)[:, None])
    with pytest.raises(ValueError, match=r"rows must be integers \(n, d\)"):
        binning.patterns(np.arange(3))

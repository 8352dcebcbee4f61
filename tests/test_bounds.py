from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference_bounds import binomial_cdf, kl_inverse_by_grid, projector, vicreg_rhs

from infossl import bounds
from infossl.bounds import (
    Assumption,
    BoundReport,
    Roles,
    Sample,
    binary_kl,
    check_bounds,
    clopper_pearson,
    kl_inverse,
    read_bounds,
    require_disjoint,
    row_hashes,
    same_class_pairs,
    vicreg_bound,
    vicreg_split_bound,
    vicreg_terms,
    write_bounds,
)
from infossl.bounds.least_squares import least_squares
from infossl.bounds.vicreg import one_hot
from infossl.readouts import ridge_accuracy

CERTAIN = Assumption("a", "holds by construction")


def report(**changes) -> BoundReport:
    fields = {
        "name": "toy",
        "statement": "R <= B",
        "source": "none",
        "kind": "high-probability",
        "object": "R",
        "lhs": 0.1,
        "lhs_how": "counted",
        "rhs": 0.3,
        "trivial": 1.0,
        "delta": 0.05,
        "assumptions": (CERTAIN,),
        "rhs_exact": True,
    }
    return BoundReport(**(fields | changes))


# --- verdicts ---


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "certified"),
        ({"assumptions": ()}, "certified"),
        ({"kind": "deterministic", "delta": None}, "certified"),
        ({"delta": None}, "estimated-consistent"),
        ({"rhs_exact": False}, "estimated-consistent"),
        ({"left_out": ("a term",)}, "estimated-consistent"),
        ({"assumptions": (CERTAIN, Assumption("b", "assumed"))}, "estimated-consistent"),
        ({"assumptions": (CERTAIN, Assumption("b", "tested"))}, "estimated-consistent"),
        ({"assumptions": (CERTAIN, Assumption("b", "violated"))}, "not-applicable"),
        ({"rhs": 1.0}, "vacuous"),
        ({"rhs": math.inf}, "vacuous"),
        ({"rhs": 0.05}, "estimated-violated"),
        ({"rhs": 0.05, "rhs_exact": False}, "estimated-violated"),
        ({"lhs": 1.5, "rhs": 1.2}, "estimated-violated"),
        ({"lhs": 1.5, "rhs": 1.2, "assumptions": (Assumption("b", "violated"),)}, "not-applicable"),
        ({"rhs": 2.0, "left_out": ("a term",)}, "vacuous"),
    ],
)
def test_verdict(changes, verdict):
    assert report(**changes).verdict == verdict


def test_certified_needs_everything_at_once():
    for status in ("assumed", "tested", "violated"):
        for left_out in ((), ("x",)):
            for exact in (True, False):
                r = report(assumptions=(CERTAIN, Assumption("b", status)), left_out=left_out, rhs_exact=exact)
                assert r.verdict != "certified"
    assert report(left_out=("x",), rhs_exact=True).verdict != "certified"


def test_reports_refuse_what_is_no_bound():
    for name in ("lhs", "rhs", "trivial"):
        with pytest.raises(ValueError, match=f"{name} of the bound 'toy' is NaN"):
            report(**{name: math.nan})
    for delta in (0.0, 1.0, -0.1, 2.0):
        with pytest.raises(ValueError, match="strictly between 0 and 1"):
            report(delta=delta)
    with pytest.raises(ValueError, match="must be one of"):
        Assumption("text", "certainly")  # type: ignore[arg-type]


def test_json_round_trip(tmp_path):
    reports = [
        report(
            terms={"a": 0.1, "b": math.inf}, roles={"probe": "train"}, left_out=("x",), plain="So.", step=7
        ),
        report(rhs=math.inf, delta=None, assumptions=(Assumption("é", "assumed"),)),
    ]
    for r in reports:
        assert BoundReport.from_json(r.to_json()) == r
    assert json.loads(reports[1].to_json())["verdict"] == "vacuous"
    extra = json.loads(reports[0].to_json()) | {"field_of_a_later_version": 1}
    assert BoundReport.from_json(json.dumps(extra)) == reports[0]
    path = tmp_path / "run" / "bounds.jsonl"
    write_bounds(path, reports)
    assert read_bounds(path) == read_bounds(path.parent) == reports
    write_bounds(path, reports[:1])
    assert read_bounds(path) == reports[:1]
    assert [p.name for p in path.parent.iterdir()] == ["bounds.jsonl"]


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no bounds at"):
        read_bounds(tmp_path)
    path = tmp_path / "bounds.jsonl"
    for line in ("{", "3", '{"name": "toy"}'):
        path.write_text(report().to_json() + "\n" + line + "\n")
        with pytest.raises(ValueError, match="line 2 is not a bound report"):
            read_bounds(path)


# --- kl and the test-set bound ---


@pytest.mark.parametrize("q", [0.0, 0.003, 0.05, 0.31, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("c", [1e-4, 0.003, 0.05, 0.7, 3.0])
def test_kl_inverse_against_a_grid(q, c):
    p = kl_inverse(q, c)
    step = (1 - q) / 1_000_000
    assert -1e-12 <= p - kl_inverse_by_grid(q, c) <= step + 1e-12
    # From above: the returned value is at or past the boundary, and by no more than the tolerance.
    assert binary_kl(q, p) >= c or p == 1
    assert binary_kl(q, max(q, p - 2e-12)) <= c


def test_kl_inverse_closed_forms():
    for c in (1e-6, 0.01, 1.0, 5.0):
        assert kl_inverse(0.0, c) == pytest.approx(-math.expm1(-c), abs=2e-12)
    assert kl_inverse(0.3, 0.0) == 0.3
    assert kl_inverse(1.0, 0.4) == 1.0
    assert binary_kl(0.2, 0.2) == 0
    assert binary_kl(0.2, 0.0) == binary_kl(0.2, 1.0) == math.inf
    assert binary_kl(0.0, 0.0) == binary_kl(1.0, 1.0) == 0


@pytest.mark.parametrize(
    ("n", "kl", "empirical", "expected"),
    [
        (1_000, 20, 0.05, (0.117, 0.166, 0.136)),
        (10_000, 100, 0.05, (0.089, 0.124, 0.095)),
        (10_000, 1000, 0.02, (0.152, 0.245, 0.240)),
    ],
)
def test_kl_inverse_in_pac_bayes_is_tighter_than_both_relaxations(n, kl, empirical, expected):
    c = (kl + math.log(2 * math.sqrt(n) / 0.05)) / n
    classic = empirical + math.sqrt(c / 2)
    quadratic = (math.sqrt(empirical + c / 2) + math.sqrt(c / 2)) ** 2
    values = (kl_inverse(empirical, c), classic, quadratic)
    assert [round(v, 3) for v in values] == list(expected)
    assert values[0] < min(classic, quadratic)


def test_kl_refuses_what_is_no_probability():
    for q in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="probability"):
            kl_inverse(q, 0.1)
        with pytest.raises(ValueError, match="probability"):
            binary_kl(0.5, q)
    for c in (-1.0, math.nan):
        with pytest.raises(ValueError, match="c ="):
            kl_inverse(0.1, c)


def test_clopper_pearson_inverts_the_binomial_sum():
    for k, n in ((0, 7), (3, 40), (39, 40), (12, 200)):
        p = clopper_pearson(k, n, 0.05)
        assert binomial_cdf(k, n, p) == pytest.approx(0.05, rel=1e-9)
        assert p <= kl_inverse(k / n, math.log(20) / n)
    assert clopper_pearson(5, 5, 0.05) == 1.0


def failure_rate(p: float, n: int, delta: float, limit, repetitions: int = 4000) -> float:
    mistakes = np.random.default_rng(11).binomial(n, p, repetitions)
    failed = {int(k): limit(int(k), n, delta) < p for k in np.unique(mistakes)}
    return float(np.mean([failed[int(k)] for k in mistakes]))


@pytest.mark.parametrize("p", [0.01, 0.1, 0.4])
@pytest.mark.parametrize("n", [50, 400])
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_coverage(p, n, delta):
    slack = 3 * math.sqrt(delta * (1 - delta) / 4000)

    def bound(k: int, n: int, delta: float) -> float:
        return bounds.test_set_bound((k, n), delta=delta).rhs

    assert failure_rate(p, n, delta, bound) <= delta + slack
    assert failure_rate(p, n, delta, clopper_pearson) <= delta + slack


def test_coverage_check_can_fail():
    def half_the_budget(k: int, n: int, delta: float) -> float:
        return kl_inverse(k / n, 0.25 * math.log(1 / delta) / n)

    assert failure_rate(0.1, 400, 0.05, half_the_budget) > 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


def test_test_set_bound_reads_errors_in_every_form():
    errors = np.zeros(50, dtype=bool)
    errors[:4] = True
    forms = [errors, errors.astype(float), torch.from_numpy(errors), (4, 50), (np.int64(4), np.int64(50))]
    reports = [bounds.test_set_bound(e) for e in forms]
    assert all(r == reports[0] for r in reports)
    r = reports[0]
    assert r.lhs == 0.08
    assert r.rhs == kl_inverse(0.08, math.log(20) / 50)
    assert r.terms["clopper_pearson"] == clopper_pearson(4, 50, 0.05) < r.rhs
    assert r.delta == 0.05


@pytest.mark.parametrize(
    ("errors", "kind", "text"),
    [
        ([0, 1], TypeError, "must be an array"),
        ((0.5, 3), TypeError, "must be an array"),
        ((4, 3), ValueError, "0 <= mistakes <= n"),
        ((0, 0), ValueError, "n >= 1"),
        (np.array([0.0, np.nan]), ValueError, "without NaN"),
        (np.array([0, 2]), ValueError, "must be 0 or 1"),
        (np.zeros((3, 1)), ValueError, r"shape \(n,\)"),
        (np.zeros(0), ValueError, "n >= 1"),
    ],
)
def test_test_set_bound_refuses(errors, kind, text):
    with pytest.raises(kind, match=text):
        bounds.test_set_bound(errors)


def test_test_set_bound_refuses_delta():
    for delta in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="delta"):
            bounds.test_set_bound((1, 10), delta=delta)


def test_all_wrong_is_vacuous():
    r = bounds.test_set_bound((5, 5))
    assert r.verdict == "vacuous"
    assert "promise nothing" in r.plain


# --- roles ---


def samples(**changes) -> dict[str, Sample]:
    x = np.arange(120.0).reshape(30, 2, 2)
    return {
        "encoder": Sample.of("unlabelled", x[:10]),
        "probe": Sample.of("labelled", x[10:20], labels_used=True),
        "evaluation": Sample.of("test", x[20:], drawn="at random"),
    } | changes


def test_certified_needs_declared_disjoint_random_samples():
    declared = bounds.test_set_bound((1, 10), roles=Roles(**samples()))
    assert declared.verdict == "certified"
    assert declared.plain == (
        f"The probe's error on new data is at most {math.ceil(declared.rhs * 1000) / 10:.1f} % "
        "with probability 95 %, over the draw of the 10 test samples."
    )
    for missing in ("encoder", "probe", "evaluation"):
        r = bounds.test_set_bound((1, 10), roles=Roles(**samples(**{missing: None})))
        assert r.verdict == "estimated-consistent"
        assert r.roles[missing] == "undeclared"
        assert r.plain.startswith("If the 10 test samples are random draws that trained nothing,")
    undeclared = replace(samples()["evaluation"], drawn="undeclared")
    assert (
        bounds.test_set_bound((1, 10), roles=Roles(**samples(evaluation=undeclared))).verdict
        == "estimated-consistent"
    )
    assert bounds.test_set_bound((1, 10)).verdict == "estimated-consistent"


def test_untrained_encoder_can_be_declared():
    roles = Roles(**samples(encoder=Sample("random weights", ())))
    assert bounds.test_set_bound((1, 10), roles=roles).verdict == "certified"


@pytest.mark.parametrize("role", ["encoder", "probe", "pool"])
def test_a_leak_is_refused(role):
    x = np.arange(120.0).reshape(30, 2, 2)
    leaked = Sample.of("leaky", x[19:21])  # row 20 is a test row
    with pytest.raises(
        ValueError, match=f"1 of the 10 rows of 'test' are also in 'leaky'.*new to the {role}"
    ):
        Roles(**samples(**{role: leaked}))


def test_require_disjoint():
    x = np.arange(12.0).reshape(6, 2)
    require_disjoint(Sample.of("a", x[:3]), Sample.of("b", x[3:]), "because")
    with pytest.raises(ValueError, match="2 of the 3 rows of 'a' are also in 'b': because"):
        require_disjoint(Sample.of("a", x[:3]), Sample.of("b", x[1:]), "because")


def test_declared_rows_must_be_those_of_the_arrays():
    with pytest.raises(ValueError, match="'test' with 10 rows, but its arrays have 11"):
        bounds.test_set_bound((1, 11), roles=Roles(**samples()))


def test_rows_are_compared_by_value():
    x = np.random.default_rng(0).integers(0, 255, (5, 1, 4, 4)).astype(np.uint8)
    same = [x.reshape(5, 16), x.astype(np.float32), torch.from_numpy(x), np.asfortranarray(x), x[::-1][::-1]]
    assert all(row_hashes(s) == row_hashes(x) for s in same)
    assert len(set(row_hashes(x))) == 5
    assert row_hashes(np.array([[0.0]])) == row_hashes(np.array([[-0.0]]))
    assert row_hashes(x + np.float32(1e-3)) != row_hashes(x)
    assert Sample.of("a", x).hashes == row_hashes(x)
    with pytest.raises(TypeError, match="must be an array"):
        row_hashes([[1.0]])
    with pytest.raises(ValueError, match="one row per sample"):
        row_hashes(np.array(1.0))
    with pytest.raises(ValueError, match="drawn = 'by hand'"):
        Sample.of("a", x, drawn="by hand")  # type: ignore[arg-type]


# --- least squares and projectors ---


@pytest.mark.parametrize(
    ("n", "d", "rank"), [(40, 7, 7), (12, 12, 12), (9, 20, 9), (40, 7, 3), (9, 20, 4), (30, 5, 1)]
)
def test_projector_identities(n, d, rank, rng):
    z = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    y = one_hot(rng.integers(0, 3, n), 3)
    fit = least_squares(z, y)
    p = projector(z)
    assert fit.rank == rank
    assert fit.residual == pytest.approx(float(np.linalg.norm(p @ y)), abs=1e-10)
    q = np.linalg.qr(z @ rng.standard_normal((d, rank)))[0]
    assert fit.residual**2 == pytest.approx(float(np.sum(y**2) - np.sum((q.T @ y) ** 2)), abs=1e-10)
    assert float(np.linalg.norm(p)) == pytest.approx(math.sqrt(n - rank), abs=1e-10)
    np.testing.assert_allclose(fit.weights, np.linalg.lstsq(z, y, rcond=1e-10)[0], atol=1e-10)
    terms = vicreg_terms(z, y, z, y, z[:1], z[:1])
    assert terms.projector_norm == pytest.approx(math.sqrt(n - rank), abs=1e-12)
    assert terms.c == 0


def test_nearly_collapsed_features_count_by_the_tolerance(rng):
    z = np.ones((50, 4)) + 1e-8 * rng.standard_normal((50, 4))
    y = one_hot(rng.integers(0, 2, 50), 2)
    assert least_squares(z, y).rank == 1
    assert least_squares(z, y, 1e-12).rank == 4
    with pytest.raises(ValueError, match="rank_tolerance"):
        least_squares(z, y, 1.0)


def test_truncated_head_owns_its_residual(rng):
    z = rng.standard_normal((60, 5)) * np.array([1, 1, 1, 1e-3, 1e-3])
    y = one_hot(rng.integers(0, 2, 60), 2)
    fit = least_squares(z, y, 0.1)
    assert fit.rank == 3
    assert fit.residual == pytest.approx(float(np.linalg.norm(y - z @ fit.weights)), abs=1e-12)


def test_same_class_pairs(rng):
    y = rng.integers(0, 4, 200)
    i, j = same_class_pairs(y, seed=3)
    assert (y[i] == y[j]).all()
    assert (i != j).all()
    assert sorted(i) == sorted(j) == list(range(200))
    assert (same_class_pairs(y, seed=3)[1] == j).all()
    assert (same_class_pairs(y, seed=4)[1] != j).any()
    i, _ = same_class_pairs(np.array([5, 7, 5, 9]))
    assert i.tolist() == [0, 2]
    with pytest.raises(ValueError, match="no class has two members"):
        same_class_pairs(np.arange(4))


# --- the VICReg bound ---


class World:
    """A fixed random ReLU encoder 10 -> 64 -> 16 on three Gaussian classes at radius 3."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.first, self.second = rng.normal(size=(10, 64)) / 10**0.5, rng.normal(size=(64, 16)) / 8
        means = rng.normal(size=(3, 10))
        self.means = 3 * means / np.linalg.norm(means, axis=1, keepdims=True)

    def encode(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x @ self.first, 0) @ self.second

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = rng.integers(0, 3, n)
        return self.means[y] + rng.normal(size=(n, 10)), y


def trial(world: World, n: int, seed: int, m: int = 400, scale: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    (x, y), (pool, pool_y), (test, test_y) = (world.draw(k, rng) for k in (n, m, 2000))
    views = pool + 0.1 * rng.normal(size=pool.shape)
    f = {"z": x, "pool": pool, "views": views, "test": test}
    return {k: scale * world.encode(v) for k, v in f.items()} | {"y": y, "pool_y": pool_y, "test_y": test_y}


def bound(t: dict[str, np.ndarray], **options) -> BoundReport:
    return vicreg_bound(t["z"], t["y"], t["pool"], t["test"], t["test_y"], pool_labels=t["pool_y"], **options)


def coefficient_one(r: BoundReport) -> float:
    return r.terms["invariance"] + r.terms["2 * pool_residual"] + r.terms["labelled_residual"]


def test_terms_match_the_formula_as_it_is_written():
    t = trial(World(1), 100, 0)
    r = bound(t, seed=5)
    i, j = same_class_pairs(t["pool_y"], seed=5)
    y, pool_y = one_hot(t["y"], 3), one_hot(t["pool_y"], 3)
    assert r.rhs == pytest.approx(
        vicreg_rhs(t["z"], y, t["pool"], pool_y, t["pool"][i], t["pool"][j]), abs=1e-10
    )
    r = bound(t, pairs="augmentation", second_views=t["views"])
    assert r.rhs == pytest.approx(vicreg_rhs(t["z"], y, t["pool"], pool_y, t["pool"], t["views"]), abs=1e-10)
    head = np.linalg.pinv(t["z"]) @ y
    lhs = np.mean(
        [np.linalg.norm(row @ head - np.eye(3)[c]) for row, c in zip(t["test"], t["test_y"], strict=True)]
    )
    assert r.lhs == pytest.approx(lhs, abs=1e-12)


@pytest.mark.parametrize("n", [17, 30, 100, 1000])
def test_class_pairs_hold_in_every_trial(n):
    world = World(1)
    for seed in range(25):
        t = trial(world, n, seed)
        r = bound(t)
        assert r.lhs <= r.rhs
        assert r.verdict == "vacuous"
        split = vicreg_split_bound(t["z"], t["y"], t["pool"], t["pool_y"], t["test"], t["test_y"])
        assert split.lhs <= split.rhs
        assert r.slack > 0


def test_rhs_falls_with_more_labels_and_is_smaller_for_augmentation_pairs():
    world = World(1)
    mean = {n: np.mean([bound(trial(world, n, s)).rhs for s in range(10)]) for n in (30, 100, 1000)}
    assert mean[30] > mean[100] > mean[1000] > 1
    t = trial(world, 100, 0)
    by_class, proxy = bound(t), bound(t, pairs="augmentation", second_views=t["views"])
    assert proxy.terms["invariance"] < by_class.terms["invariance"] / 5
    assert proxy.terms["c"] == by_class.terms["c"]


def test_invariance_to_scale_over_twelve_orders():
    world = World(1)
    reference = bound(trial(world, 30, 0))
    for exponent in range(-6, 7):
        r = bound(trial(world, 30, 0, scale=10.0**exponent))
        assert r.rhs == pytest.approx(reference.rhs, rel=1e-9)
        assert r.lhs == pytest.approx(reference.lhs, rel=1e-9)


def test_without_c_the_right_side_depends_on_the_scale_and_fails():
    world = World(1)
    violated = {1.0: 0, 0.01: 0}
    for seed in range(25):
        for scale in violated:
            r = bound(trial(world, 17, seed, scale=scale))
            assert r.lhs <= r.rhs
            violated[scale] += coefficient_one(r) < r.lhs
    assert violated[0.01] >= 20 > 10 >= violated[1.0]


def test_labelled_sample_inside_the_pool():
    # Leading terms hold for a random part of the pool and for the whole of it, as the roles say.
    world = World(1)
    for seed in range(10):
        t = trial(world, 10, seed)
        for part in (100, 400):
            r = bound(t | {"z": t["pool"][:part], "y": t["pool_y"][:part]})
            assert r.lhs <= r.rhs
    assert r.terms["c"] == 0


def test_interpolation_of_the_pool_shows_what_is_left_out():
    # Heads that fit their own samples perfectly: every leading term is 0, and the complexity terms are all.
    world = World(1)
    t = trial(world, 10, 0, m=14)
    r = bound(t | {"z": t["pool"], "y": t["pool_y"]})
    assert r.rhs < 1e-8 < r.lhs
    assert r.verdict == "estimated-violated"
    assert "left out" in r.plain
    assert r.left_out


def test_zero_features_give_the_trivial_value():
    t = trial(World(1), 30, 0, scale=0.0)
    r = bound(t)
    assert r.lhs == r.trivial == 1.0
    assert r.terms["labelled_rank"] == r.terms["pool_rank"] == r.terms["effective_rank"] == 0
    assert r.rhs == pytest.approx(3.0)
    assert r.verdict == "vacuous"


def test_collapsed_constant_features():
    t = trial(World(1), 60, 0)
    constant = {k: np.ones_like(t[k]) for k in ("z", "pool", "views", "test")}
    r = bound(t | constant)
    shares = np.bincount(t["y"]) / 60
    expected = np.mean([np.linalg.norm(shares - np.eye(3)[c]) for c in t["test_y"]])
    assert r.lhs == pytest.approx(expected)
    assert r.terms["pool_rank"] == 1
    assert r.terms["effective_rank"] == pytest.approx(1.0)
    assert r.terms["invariance"] == 0
    assert r.rhs > 1


def test_perfectly_separated_classes_are_consistent_and_never_certified(rng):
    y = rng.integers(0, 3, 300)
    z = np.eye(3)[y] + 0.001 * rng.standard_normal((300, 3))
    roles = Roles(
        encoder=Sample.of("e", -z[:100]),
        probe=Sample.of("p", z[:100]),
        pool=Sample.of("u", z[100:200]),
        evaluation=Sample.of("t", z[200:], drawn="at random"),
    )
    options = {"pool_labels": y[100:200], "roles": roles, "one_law": "holds by construction"}
    r = vicreg_bound(z[:100], y[:100], z[100:200], z[200:], y[200:], **options)
    assert {a.status for a in r.assumptions} == {"holds by construction"}
    assert r.verdict == "estimated-consistent"
    split = vicreg_split_bound(z[:100], y[:100], z[100:200], y[100:200], z[200:], y[200:], roles=roles)
    assert split.verdict == "estimated-consistent"
    assert not any("complexity" in text for text in split.left_out)
    assert any("complexity" in text for text in r.left_out)


def test_augmentation_pairs_do_not_apply():
    t = trial(World(1), 100, 0)
    r = bound(t, pairs="augmentation", second_views=t["views"])
    assert r.verdict == "not-applicable"
    assert r.plain.startswith("A proxy")


def test_unknown_pool_labels_give_largest_values():
    t = trial(World(1), 100, 0)
    known = bound(t, pairs="augmentation", second_views=t["views"])
    unknown = vicreg_bound(
        t["z"], t["y"], t["pool"], t["test"], t["test_y"], pairs="augmentation", second_views=t["views"]
    )
    assert unknown.terms["2 * pool_residual"] == 2
    assert unknown.terms["c"] >= known.terms["c"]
    assert len(unknown.left_out) > len(known.left_out)
    full = vicreg_terms(np.eye(3), np.eye(3), np.eye(3), None, np.eye(3), np.eye(3))
    assert (full.pool_residual, full.c, full.pool_labels_known) == (
        0.0,
        pytest.approx(1 + math.sqrt(3)),
        False,
    )


def test_split_refuses_an_encoder_trained_on_its_samples(rng):
    z, y = rng.standard_normal((90, 4)), rng.integers(0, 2, 90)
    parts = {"probe": z[:30], "pool": z[30:60], "evaluation": z[60:]}
    declared = {k: Sample.of(k, v) for k, v in parts.items()}
    for leaked in ("probe", "pool"):
        with pytest.raises(ValueError, match="without a common row"):
            vicreg_split_bound(
                z[:30], y[:30], z[30:60], y[30:60], z[60:], y[60:],
                roles=Roles(encoder=Sample.of("encoder", parts[leaked][:1]), **declared),
            )  # fmt: skip
    with pytest.raises(ValueError, match="without a common row"):
        vicreg_split_bound(
            z[:30], y[:30], z[30:60], y[30:60], z[60:], y[60:],
            roles=Roles(probe=Sample.of("probe", z[:30]), pool=Sample.of("pool", z[:30])),
        )  # fmt: skip


def test_labelled_sample_and_pool_roles(rng):
    x = rng.standard_normal((40, 3))
    whole = Sample.of("u", x[:30])

    def status(probe: Sample | None) -> str:
        return Roles(probe=probe, pool=whole).labelled_is_free_of_pool().status

    assert status(Sample.of("p", x[30:])) == status(Sample.of("p", x[:30][::-1])) == "holds by construction"
    assert status(Sample.of("p", x[:10])) == status(None) == "assumed"


# --- check_bounds ---


def test_check_bounds_gives_all_three():
    t = trial(World(1), 200, 0)
    x = np.random.default_rng(9).standard_normal((2400, 2))
    roles = Roles(
        encoder=Sample.of("pool", x[:200]),
        probe=Sample.of("train", x[200:400], labels_used=True),
        evaluation=Sample.of("test", x[400:], drawn="at random"),
    )
    views = (t["pool"], t["views"])
    a, b, c = check_bounds(
        t["z"], t["y"], t["test"], t["test_y"], views=views, view_labels=t["pool_y"], roles=roles, step=40
    )
    assert [r.name for r in (a, b, c)] == [
        "VICReg, class pairs",
        "VICReg, augmentation pairs",
        "test-set bound",
    ]
    assert [r.verdict for r in (a, b, c)] == ["vacuous", "not-applicable", "certified"]
    assert {r.step for r in (a, b, c)} == {40}
    assert c.lhs == pytest.approx(1 - ridge_accuracy(t["z"], t["y"], t["test"], t["test_y"]), abs=1e-12)
    assert c.rhs == kl_inverse(c.lhs, math.log(20) / 2000)
    assert all(r.plain.endswith(".") for r in (a, b, c))
    assert [BoundReport.from_json(r.to_json()) for r in (a, b, c)] == [a, b, c]
    assert a == bound(t, roles=roles, step=40)
    torch_reports = check_bounds(
        *(torch.from_numpy(t[k]) for k in ("z", "y", "test", "test_y")),
        views=tuple(torch.from_numpy(v) for v in views),
        view_labels=torch.from_numpy(t["pool_y"]),
        roles=roles,
        step=40,
    )
    assert torch_reports == [a, b, c]


def test_check_bounds_without_views_or_their_labels():
    t = trial(World(1), 200, 0)
    arrays = (t["z"], t["y"], t["test"], t["test_y"])
    assert [r.name for r in check_bounds(*arrays)] == ["test-set bound"]
    names = [r.name for r in check_bounds(*arrays, views=(t["pool"], t["views"]))]
    assert names == ["VICReg, augmentation pairs", "test-set bound"]
    assert not any(r.verdict == "certified" for r in check_bounds(*arrays))
    (own,) = check_bounds(*arrays, predictions=np.where(np.arange(2000) < 10, t["test_y"] + 1, t["test_y"]))
    assert own.lhs == 0.005


def test_null_labels_independent_of_the_features(rng):
    t = trial(World(1), 300, 0)
    null = {k: rng.integers(0, 3, len(t[k])) for k in ("y", "pool_y", "test_y")}
    views = (t["pool"], t["views"])
    a, _, c = check_bounds(
        t["z"], null["y"], t["test"], null["test_y"], views=views, view_labels=null["pool_y"]
    )
    assert a.verdict == "vacuous"
    # The best head answers the class shares: residual sqrt(2/3); 0-1 error 2/3.
    assert a.lhs == pytest.approx(math.sqrt(2 / 3), rel=0.1)
    assert abs(c.lhs - 2 / 3) <= 4 * math.sqrt(2 / 9 / 2000)
    assert c.rhs > c.lhs


def test_check_bounds_refuses_the_training_sample_as_test():
    t = trial(World(1), 100, 0)
    with pytest.raises(ValueError, match="is features again"):
        check_bounds(t["z"], t["y"], t["z"].copy(), t["y"].copy())
    # Equal features of a collapsed encoder are no leak.
    (r,) = check_bounds(np.ones((100, 3)), t["y"], np.ones((100, 3)), t["y"])
    assert r.lhs == pytest.approx(1 - np.bincount(t["y"]).max() / 100)


def test_classes_absent_from_a_sample():
    t = trial(World(1), 200, 0)
    keep = t["y"] < 2
    r = bound(t | {"z": t["z"][keep], "y": t["y"][keep]})
    assert r.lhs <= r.rhs
    only = t["test_y"] == 1
    shifted = {k: t[k] * 10 - 3 for k in ("y", "pool_y", "test_y")}
    assert bound(t | shifted).rhs == bound(t).rhs
    assert bound(t | {"test": t["test"][only], "test_y": t["test_y"][only]}).rhs == bound(t).rhs


def break_argument(t: dict, name: str, how: str) -> dict:
    value = t[name].astype(float) if t[name].ndim == 2 else t[name].copy()
    if how == "nan":
        value[3, 1] = np.nan
    elif how == "inf":
        value[0, 0] = np.inf
    elif how == "short":
        value = value[:-1]
    elif how == "columns":
        value = value[:, :-1]
    elif how == "one class":
        value[:] = 1
    elif how == "float":
        value = value.astype(float)
    elif how == "list":
        value = value.tolist()
    return t | {name: value}


@pytest.mark.parametrize("pairs", ["class", "augmentation"])
@pytest.mark.parametrize(
    ("name", "how", "kind", "text"),
    [
        ("z", "nan", ValueError, "features of shape .* has NaN or inf in 1"),
        ("pool", "inf", ValueError, "pool of shape .* has NaN or inf"),
        ("test", "nan", ValueError, "held_out of shape .* has NaN"),
        ("z", "short", ValueError, "labels has shape"),
        ("pool", "short", ValueError, "pool"),
        ("test", "short", ValueError, "held_out_labels has shape"),
        ("z", "columns", ValueError, "same number of columns"),
        ("pool", "columns", ValueError, "same number of columns"),
        ("test", "columns", ValueError, "same number of columns"),
        ("y", "one class", ValueError, "labels of shape .* has 1 distinct"),
        ("pool_y", "one class", ValueError, "pool_labels of shape .* has 1 distinct"),
        ("y", "float", TypeError, "labels must be an integer vector"),
        ("z", "list", TypeError, "features must be a numpy array"),
    ],
)
def test_vicreg_refuses(pairs, name, how, kind, text):
    t = break_argument(trial(World(1), 30, 0), name, how)
    with pytest.raises(kind, match=text):
        bound(t, pairs=pairs, second_views=t["views"])


def test_vicreg_refuses_missing_parts():
    t = trial(World(1), 30, 0)
    arrays = (t["z"], t["y"], t["pool"], t["test"], t["test_y"])
    with pytest.raises(ValueError, match="needs pool_labels"):
        vicreg_bound(*arrays)
    with pytest.raises(ValueError, match="needs second_views"):
        vicreg_bound(*arrays, pairs="augmentation")
    with pytest.raises(ValueError, match="second_views has shape"):
        vicreg_bound(*arrays, pairs="augmentation", second_views=t["views"][:-1])
    with pytest.raises(ValueError, match="same number of columns"):
        vicreg_bound(*arrays, pairs="augmentation", second_views=t["views"][:, 1:])
    with pytest.raises(ValueError, match="must be 'class' or 'augmentation'"):
        vicreg_bound(*arrays, pairs="views")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "how", "kind"),
    [
        ("z", "nan", ValueError),
        ("test", "inf", ValueError),
        ("z", "short", ValueError),
        ("test", "short", ValueError),
        ("test", "columns", ValueError),
        ("y", "one class", ValueError),
        ("test_y", "float", TypeError),
    ],
)
def test_check_bounds_refuses(name, how, kind):
    t = break_argument(trial(World(1), 30, 0), name, how)
    with pytest.raises(kind):
        check_bounds(t["z"], t["y"], t["test"], t["test_y"])

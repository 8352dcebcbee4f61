"""Neighbour estimators: closed forms, slow twins, invariances, ties, and every refusal."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_neighbors import distances, joint_distances, kozachenko_leonenko, ksg
from scipy.special import psi

from estimators import Estimate, _search, _search_torch, parse
from estimators._search import _grid, _products, nearest_and_counts
from estimators._search import count as _count
from estimators._search import fastest as _path
from estimators._search import nearest as _nearest
from estimators.neighbors import KSG, KozachenkoLeonenko

NAMES = {"KSG": KSG, "KozachenkoLeonenko": KozachenkoLeonenko}
ROOT = Path(__file__).resolve().parent.parent
N_TWIN = 70 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 300
TWINS = "kernel_twin"  # tests with this in their name also run without compilation


def gaussian_pair(rho: float, n: int, seed: int, d: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    return x, rho * x + math.sqrt(1 - rho * rho) * rng.standard_normal((n, d))


def equicorrelated(d: int, n: int, seed: int) -> tuple[np.ndarray, float]:
    cov = 0.5 * np.eye(d) + 0.5
    x = np.random.default_rng(seed).standard_normal((n, d)) @ np.linalg.cholesky(cov).T
    return x, 0.5 * (d * math.log(2 * math.pi * math.e) + np.linalg.slogdet(cov)[1])


# ---------------------------------------------------------------- kernels against their twins


@pytest.mark.parametrize("norm", ["max", "euclidean"])
@pytest.mark.parametrize("path", ["tree", "filter", "brute"])
@pytest.mark.parametrize(
    ("n", "d", "split", "k"), [(0, 2, 1, 3), (0, 5, 2, 1), (0, 11, 11, 4), (5, 1, 1, 4), (66, 3, 1, 2)]
)
def test_kernel_twin_nearest(path: str, norm: str, n: int, d: int, split: int, k: int) -> None:
    x = np.random.default_rng(d).standard_normal((n or N_TWIN, d))
    n = len(x)
    distance, index = _nearest(x, k, split, norm == "euclidean", path=path)
    expected = joint_distances(x, split, norm)
    found = np.sqrt(distance) if norm == "euclidean" else distance
    np.testing.assert_allclose(found, np.sort(expected, axis=1)[:, :k], rtol=1e-14)
    np.testing.assert_array_equal(index, np.argsort(expected, axis=1)[:, :k])
    assert (index != np.arange(n)[:, None]).all()


@pytest.mark.parametrize("norm", ["max", "euclidean"])
@pytest.mark.parametrize(
    ("path", "d"),
    [("line", 1), ("tree", 1), ("tree", 4), ("brute", 1), ("brute", 7), ("filter", 1), ("filter", 7)],
)
def test_kernel_twin_count(path: str, d: int, norm: str) -> None:
    if path == "line" and norm == "euclidean":
        pytest.skip("on a line the two norms are one")
    rng = np.random.default_rng(d)
    x = rng.standard_normal((N_TWIN, d))
    expected = distances(x, norm)
    # Radii are distances that occur: the boundary point is the one that a wrong inequality would count.
    radius = np.sort(expected, axis=1)[np.arange(len(x)), rng.integers(0, len(x) - 1, len(x))]
    radius[:3] = 0.0, 1e9, np.nextafter(0, 1)
    counts = np.sum(expected < radius[:, None], axis=1)
    if norm == "euclidean":
        # Squares of rounded roots would move the boundary: the radii are taken from the kernel's own squares.
        square = np.zeros((len(x), len(x)))
        for column in x.T:
            square += (column[:, None] - column[None]) ** 2
        np.fill_diagonal(square, np.inf)
        radius = np.sort(square, axis=1)[np.arange(len(x)), rng.integers(0, len(x) - 1, len(x))]
        counts = np.sum(square < radius[:, None], axis=1)
    np.testing.assert_array_equal(_count(x, radius, norm == "euclidean", path=path), counts)


@pytest.mark.parametrize("path", ["tree", "filter", "brute"])
def test_kernel_twin_repeated_points_are_neighbours_at_distance_zero(path: str) -> None:
    x = np.repeat(np.random.default_rng(0).integers(0, 3, (N_TWIN // 6, 2)).astype(float), 6, axis=0)
    distance, index = _nearest(x, 3, 1, False, path=path)
    np.testing.assert_array_equal(distance, np.zeros_like(distance))
    assert (index != np.arange(len(x))[:, None]).all()
    assert all(len(set(row)) == 3 for row in index)
    np.testing.assert_array_equal(_count(x, np.zeros(len(x)), False, path=path), np.zeros(len(x)))
    expected = np.sum(distances(x) < 1.0, axis=1)
    np.testing.assert_array_equal(_count(x, np.ones(len(x)), False, path=path), expected)


@pytest.mark.parametrize("norm", ["max", "euclidean"])
@pytest.mark.parametrize("algorithm", [1, 2])
@pytest.mark.parametrize(("dx", "dy"), [(1, 1), (2, 3), (1, 6), (9, 8)])
def test_kernel_twin_ksg(algorithm: int, norm: str, dx: int, dy: int) -> None:
    rng = np.random.default_rng(dx)
    x = rng.standard_normal((N_TWIN, dx)) * 10
    y = rng.standard_normal((N_TWIN, dy)) + x[:, :1]
    for k in (1, 4):
        found = KSG(k=k, algorithm=algorithm, norm=norm)(x, y).value
        assert found == pytest.approx(ksg(x, y, k, algorithm, norm), abs=1e-12)


@pytest.mark.parametrize("norm", ["max", "euclidean"])
@pytest.mark.parametrize("d", [1, 3, 17])
def test_kernel_twin_entropy(norm: str, d: int) -> None:
    x = np.random.default_rng(d).exponential(size=(N_TWIN, d)) * np.arange(1, d + 1)
    for k in (1, 5):
        found = KozachenkoLeonenko(k=k, norm=norm)(x).value
        assert found == pytest.approx(kozachenko_leonenko(x, k, norm), abs=1e-11)


def test_kernels_without_compilation() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", TWINS, __file__],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-2000:]
    assert "passed" in run.stdout


@pytest.mark.slow
def test_two_processes_on_a_cold_cache(tmp_path: Path) -> None:
    code = (
        "import numpy as np; from estimators.neighbors import KSG; r = np.random.default_rng(0);"
        "print(KSG()(r.standard_normal((500, 1)), r.standard_normal((500, 9))).value)"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    out = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], out
    assert out[0][0] == out[1][0] != ""
    assert list(tmp_path.rglob("*.nbi"))


def test_kernels_release_the_lock_and_keep_to_exact_arithmetic() -> None:
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("nothing is compiled")
    from estimators._kernels import blocks, line, pairs, tree

    for kernel in (
        tree.build,
        tree.nearest,
        tree.count,
        line.count,
        pairs.largest,
        pairs.squared,
        pairs.nearest,
        pairs.count,
        blocks.kth,
        blocks.count,
    ):
        options = kernel.targetoptions
        assert options["nogil"]
        assert not options.get("fastmath")
        assert not options.get("parallel")


def test_path_by_dimension_and_number() -> None:
    assert [_path(1000, d) for d in (2, 4, 5, 6, 16)] == ["tree", "tree", "filter", "filter", "filter"]
    assert [_path(50_000, d) for d in (6, 10, 11, 5000)] == ["tree", "tree", "filter", "filter"]


@pytest.mark.parametrize("d", [1, 3, 8])
@pytest.mark.parametrize("norm", ["max", "euclidean"])
def test_all_searches_agree_on_many_leaves(d: int, norm: str) -> None:
    x = np.random.default_rng(d).standard_normal((3000, d))
    x[:100] = np.round(x[:100], 1)
    euclidean = norm == "euclidean"
    tree, brute, quick = (_nearest(x, 4, d, euclidean, path=path)[0] for path in ("tree", "brute", "filter"))
    np.testing.assert_array_equal(tree, brute)
    np.testing.assert_array_equal(quick, brute)
    radius = tree[:, -1] * 3
    counts = _count(x, radius, euclidean, path="tree")
    for path in ("brute", "filter"):
        np.testing.assert_array_equal(_count(x, radius, euclidean, path=path), counts)


HARD = {
    "gaussian": lambda z: z,
    "outliers": lambda z: z**9,
    "clusters": lambda z: np.sign(z[:, :1]) + 1e-7 * z,
    "scales": lambda z: z * 10.0 ** -np.arange(z.shape[1]),
    "tiny": lambda z: z * 1e-26,  # squares underflow in float32
    "line": lambda z: z[:, :1] + 1e-9 * z,
}


@pytest.mark.parametrize("euclidean", [False, True])
@pytest.mark.parametrize("shape", list(HARD))
def test_the_tables_of_the_filter_bound_every_distance(shape: str, euclidean: bool) -> None:
    z = HARD[shape](np.random.default_rng(1).standard_normal((200, 30)))
    groups = [(0, 10), (10, 30)]
    tables = (_products if euclidean else _grid)(z, groups)
    for g, (first, last) in enumerate(groups):
        table = np.empty((200, 200), tables.slack.dtype)
        tables.fill(g, 0, 200, table)
        exact = distances(z[:, first:last], "euclidean" if euclidean else "max")
        exact = exact**2 if euclidean else exact / tables.unit
        np.fill_diagonal(exact, 0)
        lower, slack = table.astype(float), tables.slack.astype(float)
        assert (lower - tables.below <= exact).all()
        assert (exact <= lower + slack[:, None] + slack[None]).all()
        # The bounds are needed: without them the tables are wrong, on either side.
        if shape == "gaussian":
            assert not (exact <= lower).all()


@pytest.mark.parametrize("euclidean", [False, True])
@pytest.mark.parametrize("shape", list(HARD))
def test_the_filter_is_exact_on_hard_data(
    shape: str, euclidean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    z = HARD[shape](np.random.default_rng(2).standard_normal((700, 24)))
    given_up = []
    monkeypatch.setattr(_search, "_exactly", lambda *a, make=_search._exactly: given_up.append(1) or make(*a))
    for algorithm in (1, 2):
        found = nearest_and_counts(z, 4, 7, euclidean, algorithm, path="filter")
        # In clusters the filter decides nothing, and exact distances take over.
        assert given_up or shape != "clusters"
        assert not given_up or shape != "gaussian"
        for a, b in zip(found, nearest_and_counts(z, 4, 7, euclidean, algorithm, path="brute"), strict=True):
            np.testing.assert_array_equal(a, b)
        given_up.clear()


@pytest.mark.parametrize(("n", "dx"), [(3000, 1), (3000, 3), (600, 12)])
def test_result_does_not_depend_on_the_number_of_workers(n: int, dx: int) -> None:
    x, y = gaussian_pair(0.6, n, 1, dx)
    assert KSG(workers=3)(x, y) == KSG()(x, y)
    assert KozachenkoLeonenko(workers=2)(x) == KozachenkoLeonenko()(x)


@pytest.mark.parametrize("norm", ["max", "euclidean"])
def test_memory_holds_no_square_of_the_samples(norm: str) -> None:
    n = 6000
    x, y = gaussian_pair(0.5, n, 1, 8)
    KSG(norm=norm)(x[:300], y[:300])
    tracemalloc.start()
    KSG(norm=norm)(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * n  # one byte per pair would be more


# ---------------------------------------------------------------- closed forms


# Standard deviation over 200 seeds at n = 2000, and the mean error there (below a tenth of it, save at 0.9).
@pytest.mark.parametrize(
    ("algorithm", "rho", "std"),
    [
        (1, 0.0, 0.0174),
        (1, 0.5, 0.0215),
        (1, 0.9, 0.0253),
        (2, 0.0, 0.0193),
        (2, 0.5, 0.0227),
        (2, 0.9, 0.0263),
    ],
)
def test_ksg_gaussian(algorithm: int, rho: float, std: float) -> None:
    truth = -0.5 * math.log(1 - rho * rho)
    values = [KSG(algorithm=algorithm)(*gaussian_pair(rho, 2000, seed)).value for seed in range(10)]
    assert abs(np.mean(values) - truth) <= 4 * std / math.sqrt(10)


def test_ksg_euclidean_vectors() -> None:
    values = [KSG(norm="euclidean")(*gaussian_pair(0.5, 2000, seed, 2)).value for seed in range(10)]
    assert abs(np.mean(values) + math.log(0.75)) <= 4 * 0.0227 / math.sqrt(10)


# Recorded over 200 seeds at n = 2000: standard deviation and bias, which is O((k/n)^(2/d)).
@pytest.mark.parametrize(
    ("d", "norm", "std", "bias"),
    [
        (1, "max", 0.0222, 0.0),
        (2, "max", 0.0275, 0.0),
        (2, "euclidean", 0.0278, 0.0),
        (5, "max", 0.0405, -0.0643),
        (5, "euclidean", 0.0411, -0.0647),
    ],
)
def test_entropy_gaussian(d: int, norm: str, std: float, bias: float) -> None:
    errors = []
    for seed in range(10):
        x, truth = equicorrelated(d, 2000, seed)
        errors.append(KozachenkoLeonenko(norm=norm)(x).value - truth)
    assert abs(np.mean(errors) - bias) <= 4 * std / math.sqrt(10)


def test_entropy_uniform() -> None:
    values = [KozachenkoLeonenko()(np.random.default_rng(s).uniform(0, 3, 2000)).value for s in range(10)]
    assert abs(np.mean(values) - math.log(3)) <= 4 * 0.0175 / math.sqrt(10)  # std over 200 seeds


def test_entropy_may_be_negative() -> None:
    x = np.random.default_rng(0).normal(0, 0.1, 2000)
    truth = 0.5 * math.log(2 * math.pi * math.e * 0.01)
    assert truth < 0
    assert abs(KozachenkoLeonenko()(x).value - truth) <= 4 * 0.0222


# ---------------------------------------------------------------- invariances


@pytest.mark.parametrize("algorithm", [1, 2])
@pytest.mark.parametrize("norm", ["max", "euclidean"])
def test_ksg_ignores_scale_and_offset(algorithm: int, norm: str) -> None:
    x, y = gaussian_pair(0.8, 1500, 3, 2)
    estimator = KSG(algorithm=algorithm, norm=norm)
    value = estimator(x, y).value
    for scale in (1e-6, 1e-3, 1e3, 1e6):
        assert estimator(x * scale, y).value == pytest.approx(value, abs=1e-9)
    assert estimator(x * np.array([1e-6, 1e6]), y).value == pytest.approx(value, abs=1e-9)
    assert estimator(x * 1e-12, y * 1e-12).value == pytest.approx(value, abs=1e-9)
    assert estimator(x * -7.0, y).value == pytest.approx(value, abs=1e-9)
    # The offset leaves 2^-33 of resolution: a distance may cross a boundary, one count in 3000.
    assert estimator(x + 1e6, y + 1e6).value == pytest.approx(value, abs=1e-3)
    assert estimator(x.astype(np.float32), y.astype(np.float32)).value == pytest.approx(value, abs=1e-3)


def _raw_twin(x: np.ndarray, y: np.ndarray, k: int = 3) -> float:
    to_x, to_y = distances(x), distances(y)
    radius = np.sort(np.maximum(to_x, to_y), axis=1)[:, k - 1 : k]
    counts = [np.sum(to < radius, axis=1) for to in (to_x, to_y)]
    return float(psi(k) + psi(len(x)) - np.mean(psi(counts[0] + 1) + psi(counts[1] + 1)))


def test_without_standardisation_the_unit_decides() -> None:
    x, y = gaussian_pair(0.8, 1500, 3)
    raw = KSG(standardise=False)
    assert raw(x * 1e-12, y * 1e-12).value == pytest.approx(raw(x, y).value, abs=1e-9)
    assert raw(x * 1e3, y).value < raw(x, y).value - 0.3
    for norm in ("max", "euclidean"):
        raw = KSG(standardise=False, norm=norm)
        assert raw(x * 1e200, y * 1e200).value == pytest.approx(raw(x, y).value, abs=1e-9)
    assert raw(x * 3, y).value == pytest.approx(_raw_twin(x * 3, y), abs=1e-12)


def test_ksg_is_symmetric() -> None:
    x, y = gaussian_pair(0.7, 800, 5, 2)
    for algorithm in (1, 2):
        estimator = KSG(algorithm=algorithm)
        assert estimator(x, y[:, :1]).value == pytest.approx(estimator(y[:, :1], x).value, abs=1e-12)


@pytest.mark.parametrize("norm", ["max", "euclidean"])
@pytest.mark.parametrize("scale", [1e-12, -3.0, 1e12])
def test_entropy_scaling_law(norm: str, scale: float) -> None:
    x, _ = equicorrelated(3, 500, 1)
    estimator = KozachenkoLeonenko(norm=norm)
    assert estimator(scale * x + 5 * scale).value == pytest.approx(
        estimator(x).value + 3 * math.log(abs(scale)), abs=1e-9
    )


def test_order_of_rows_does_not_matter() -> None:
    x, y = gaussian_pair(0.7, 800, 6)
    order = np.random.default_rng(0).permutation(800)
    assert KSG()(x[order], y[order]).value == pytest.approx(KSG()(x, y).value, abs=1e-12)


def test_input_is_left_alone_and_may_be_read_only() -> None:
    x, y = gaussian_pair(0.5, 200, 2)
    x[:20] = y[:20] = 0.0  # ties: noise is added, to a copy
    before = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the test is that it is left alone
    for standardise in (True, False):
        KSG(standardise=standardise)(x, y)
    KozachenkoLeonenko()(x)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_torch_and_strided_input_give_the_numpy_result() -> None:
    x, y = gaussian_pair(0.5, 300, 2, 2)
    expected = KSG()(x, y)
    assert KSG()(torch.from_numpy(x), torch.from_numpy(y).requires_grad_()) == expected
    assert KSG()(np.asfortranarray(x), np.repeat(y, 2, axis=0)[::2]) == expected
    assert KozachenkoLeonenko()(torch.from_numpy(x)) == KozachenkoLeonenko()(x)


DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


def measured_by_torch(estimator: KSG | KozachenkoLeonenko, device: str, *arrays: np.ndarray) -> Estimate:
    tensors = [torch.as_tensor(a, dtype=torch.float64, device=device) for a in arrays]
    # A tensor on the CPU is taken by the compiled kernels; the chunked search is one step further in.
    return estimator._measure(*tensors) if device == "cpu" else estimator(*tensors)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("norm", ["max", "euclidean"])
@pytest.mark.parametrize(("n", "d"), [(500, 1), (500, 3), (300, 9)])
def test_torch_search_gives_the_same_estimate(
    device: str, norm: str, n: int, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("estimators._search_torch._CELLS", 64 * n)  # several blocks, the last one short
    x, y = gaussian_pair(0.7, n, 3, d)
    rounded = np.round(x, 1), np.round(y, 1)
    for settings in ({"algorithm": 1}, {"algorithm": 2}, {"standardise": False}):
        estimator = KSG(norm=norm, **settings)
        for pair in ((x * 5, y), rounded):
            expected, found = estimator(*pair), measured_by_torch(estimator, device, *pair)
            assert found.value == pytest.approx(expected.value, abs=1e-9)
            assert (found.flags, found.ceiling) == (expected.flags, expected.ceiling)
            assert found.diagnostics == pytest.approx(expected.diagnostics, abs=1e-9)
    estimator = KozachenkoLeonenko(norm=norm)
    expected, found = estimator(x * 5), measured_by_torch(estimator, device, x * 5)
    assert found.value == pytest.approx(expected.value, abs=1e-9)
    assert found.flags == expected.flags


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_two_devices_are_refused() -> None:
    x, y = gaussian_pair(0.5, 50, 2)
    with pytest.raises(TypeError, match="bring both to one device"):
        KSG()(torch.as_tensor(x, device="cuda"), y)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("euclidean", [False, True])
def test_torch_search_kernels_agree_to_the_last_bit(device: str, euclidean: bool) -> None:
    z = np.random.default_rng(5).standard_normal((400, 5))
    tensor = torch.as_tensor(z, device=device)
    for algorithm in (1, 2):
        expected = nearest_and_counts(z, 3, 2, euclidean, algorithm)
        for a, b in zip(
            _search_torch.nearest_and_counts(tensor, 3, 2, euclidean, algorithm), expected, strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_a_float_vector_is_one_column() -> None:
    x, y = gaussian_pair(0.5, 300, 2)
    assert KSG()(x[:, 0], y[:, 0]) == KSG()(x, y)


# ---------------------------------------------------------------- the object


@pytest.mark.parametrize(
    "estimator",
    [KSG(), KSG(k=7, algorithm=2, standardise=False, norm="euclidean"), KozachenkoLeonenko(k=2, norm="max")],
)
def test_the_repr_is_the_name(estimator: KSG | KozachenkoLeonenko) -> None:
    assert parse(repr(estimator), NAMES) == estimator
    assert pickle.loads(pickle.dumps(estimator)) == estimator
    assert hash(parse(repr(estimator), NAMES)) == hash(estimator)


def test_workers_are_no_part_of_the_name() -> None:
    assert KSG(workers=2) == KSG()
    assert repr(KSG(k=np.int64(3), workers=2)) == repr(KSG())
    assert pickle.loads(pickle.dumps(KSG(workers=2))).workers == 2


def test_estimate_fields() -> None:
    x, y = gaussian_pair(0.5, 300, 2)
    e = KSG(k=4)(x, y)
    assert (e.quantity, e.n, e.method, e.bound, e.stderr, e.flags) == (
        "I(X;Y)",
        300,
        repr(KSG(k=4)),
        "none",
        None,
        (),
    )
    assert e.ceiling == pytest.approx(psi(300) - psi(4))
    assert KSG(k=4, algorithm=2)(x, y).ceiling == pytest.approx(psi(300) - psi(4) - 1 / 4)
    assert {"dx", "dy", "dropped", "ties", "duplicates", "contrast"} == set(e.diagnostics)
    h = KozachenkoLeonenko()(x)
    assert (h.quantity, h.flags, h.method) == ("H(X)", (), "KozachenkoLeonenko(k=3, norm='max')")


def test_importing_the_module_loads_neither_numba_nor_torch() -> None:
    code = "import sys, estimators.neighbors; assert not {'numba', 'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"k": 0}, ValueError),
        ({"k": 2.0}, TypeError),
        ({"k": True}, TypeError),
        ({"k": "3"}, TypeError),
        ({"standardise": "no"}, TypeError),
        ({"standardise": 1}, TypeError),
        ({"workers": 1.0}, TypeError),
        ({"norm": None}, TypeError),
        ({"algorithm": "1"}, TypeError),
        ({"workers": 0}, ValueError),
        ({"norm": "l1"}, ValueError),
        ({"algorithm": 3}, ValueError),
    ],
)
def test_settings_are_checked(settings: dict, error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(settings))):
        KSG(**settings)


# ---------------------------------------------------------------- degenerate data


def test_bad_values_are_refused() -> None:
    x, _ = gaussian_pair(0.5, 50, 2)
    for bad in (np.nan, np.inf):
        z = x.copy()
        z[3] = bad
        with pytest.raises(ValueError, match=r"y of shape .* has NaN or inf"):
            KSG()(x, z)
        with pytest.raises(ValueError, match="NaN or inf"):
            KozachenkoLeonenko()(z)


def test_too_few_samples_name_n_and_k() -> None:
    x, y = gaussian_pair(0.5, 4, 2)
    for call in (lambda: KSG(k=4)(x, y), lambda: KozachenkoLeonenko(k=4)(x)):
        with pytest.raises(ValueError, match=r"k = 4 .* n = 4; give more samples or a smaller k"):
            call()
    assert "small-sample" in KSG(k=3)(x, y).flags
    assert "small-sample" in KSG(k=3)(*gaussian_pair(0.5, 29, 2)).flags
    assert "small-sample" not in KSG(k=3)(*gaussian_pair(0.5, 30, 2)).flags


def test_unequal_n() -> None:
    x, y = gaussian_pair(0.5, 50, 2)
    with pytest.raises(ValueError, match=r"x has shape \(50, 1\) and y has shape \(49, 1\)"):
        KSG()(x, y[1:])


def test_a_discrete_vector_is_refused() -> None:
    x, _ = gaussian_pair(0.5, 50, 2)
    with pytest.raises(TypeError, match="discrete variable"):
        KSG()(x, np.arange(50) % 2)
    with pytest.raises(TypeError, match="discrete variable"):
        KozachenkoLeonenko()(np.arange(50))


def test_a_tensor_elsewhere_is_refused() -> None:
    x, _ = gaussian_pair(0.5, 50, 2)
    with pytest.raises(TypeError, match=r"pass y.cpu\(\)"):
        KSG()(x, torch.empty(50, 1, device="meta"))


def test_constant_columns() -> None:
    x, y = gaussian_pair(0.5, 300, 2)
    with_constant = np.column_stack([x, np.full(300, 7.0)])
    e = KSG()(with_constant, y)
    assert e.flags == ("constant-columns",)
    assert e.diagnostics["dropped"] == 1
    assert e.value == KSG()(x, y).value
    assert KozachenkoLeonenko()(with_constant).value == KozachenkoLeonenko()(x).value
    for call in (lambda: KSG()(x, np.ones((300, 2))), lambda: KozachenkoLeonenko()(np.ones((300, 2)))):
        with pytest.raises(ValueError, match="all columns are constant"):
            call()


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("algorithm", [1, 2])
def test_rounded_data_are_flagged_and_still_measured(algorithm: int, standardise: bool) -> None:
    x, y = (np.round(v, 1) for v in gaussian_pair(0.8, 1500, 4))
    estimator = KSG(algorithm=algorithm, standardise=standardise)
    e = estimator(x, y)
    assert {"ties", "duplicates"} <= set(e.flags)
    assert e.diagnostics["ties"] == max(1500 - len(np.unique(v)) for v in (x, y))
    assert e.diagnostics["duplicates"] == 1500 - len(np.unique(np.column_stack([x, y]), axis=0))
    assert e == estimator(x, y)
    # Rounding to 0.1 is noise of standard deviation 0.03 and removes little of 0.511; 0.026 is the
    # standard deviation over 50 seeds. The twin, which adds no noise to the ties, is far off.
    truth = -0.5 * math.log(1 - 0.64)
    assert abs(e.value - truth) <= 4 * 0.026
    assert abs(ksg(x, y, algorithm=algorithm) - truth) > 4 * 0.026


def test_float32_collisions_are_counted_without_a_flag() -> None:
    x, y = (v.astype(np.float32) for v in gaussian_pair(0.5, 30_000, 4))
    e = KSG()(x, y)
    assert 0 < e.diagnostics["ties"] < 0.02 * 30_000
    assert e.flags == ()


def test_duplicated_rows_are_flagged() -> None:
    x, y = gaussian_pair(0.8, 1500, 4)
    x[1200:], y[1200:] = x[:300], y[:300]
    e = KSG()(x, y)
    assert {"ties", "duplicates"} <= set(e.flags)
    assert e.diagnostics["duplicates"] == 300
    assert np.isfinite(e.value)
    h = KozachenkoLeonenko()(np.column_stack([x, y]))
    assert {"ties", "duplicates"} <= set(h.flags)
    assert np.isfinite(h.value)


def test_one_repeated_row_is_enough_for_the_flag() -> None:
    x, y = gaussian_pair(0.8, 500, 4)
    x[-1], y[-1] = x[0], y[0]
    assert KSG()(x, y).flags == ("duplicates",)


def test_ties_in_one_variable_do_not_tie_rows() -> None:
    x, y = gaussian_pair(0.8, 1000, 4)
    e = KSG()(np.maximum(x, 0), y)
    assert "ties" in e.flags
    assert "duplicates" not in e.flags


def test_y_is_x_saturates() -> None:
    x, y = gaussian_pair(0.5, 1500, 4)
    for algorithm in (1, 2):
        e = KSG(algorithm=algorithm)(x, x)
        assert "saturated" in e.flags
        assert e.value == pytest.approx(e.ceiling, abs=1e-9)
        assert "saturated" not in KSG(algorithm=algorithm)(x, y).flags


def test_heavy_tails() -> None:
    x, y = gaussian_pair(0.8, 1500, 4)
    assert "heavy-tails" in KSG()(x**9, y).flags
    assert "heavy-tails" in KozachenkoLeonenko()(x**9).flags
    assert "heavy-tails" not in KSG()(x, y).flags


def test_high_dimension() -> None:
    x, y = gaussian_pair(0.5, 1000, 4, 20)
    e = KSG()(x, y)
    assert "high-dimension" in e.flags
    assert e.value < 0.5 * -10 * math.log(0.75)  # the flag is deserved: less than half of the truth
    assert "high-dimension" not in KSG()(x[:, :2], y[:, :2]).flags
    # Many columns, one latent dimension: neighbours are near, and no flag is raised.
    wide = x[:, :1] * np.arange(1, 31) + 1e-3 * np.random.default_rng(0).standard_normal((1000, 30))
    assert "high-dimension" not in KSG()(wide, y[:, :1]).flags
    assert "high-dimension" in KozachenkoLeonenko(norm="euclidean")(np.column_stack([x, y])).flags

"""Speed of `KSG(k=3)` against packaged peers, side by side in one process.

Times vary between machines and runs; ratios measured in one run, with the rounds interleaved, vary little.
Everyone is called once before it is timed. One-thread figures are CPU time of the process, so that other work
on the machine counts less; the gain of two threads is elapsed time, and honest on idle cores only. Peers are used
when they can be imported (`pip install npeet-plus infomeasure benchmark-mi`), and left out otherwise.

    python -m benchmarks.ksg --write
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import os
import platform
import statistics
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.feature_selection import mutual_info_regression
from threadpoolctl import threadpool_limits

from estimators import KSG

__all__ = ["main"]

RESULT = Path(__file__).parent / "results" / "ksg.md"
Estimator = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Case:
    """Dimension of X and of Y, samples, norm, the ratio to the best peer that is wanted, and who is asked."""

    d: int
    n: int
    norm: str
    goal: float
    peers: tuple[str, ...]


CASES = [
    Case(1, 100_000, "max", 4, ("npeet-plus", "scikit-learn", "infomeasure")),
    Case(2, 100_000, "max", 4, ("npeet-plus", "infomeasure")),
    Case(5, 50_000, "max", 3, ("npeet-plus",)),
    Case(10, 10_000, "max", 5, ("npeet-plus", "benchmark-mi")),
    Case(64, 10_000, "max", 10, ("npeet-plus", "benchmark-mi")),
    Case(64, 10_000, "euclidean", 20, ("benchmark-mi", "benchmark-mi, chunk_size=100")),
    Case(512, 1_000, "max", 8, ("npeet-plus", "benchmark-mi")),
    Case(512, 1_000, "euclidean", 10, ("benchmark-mi", "benchmark-mi, chunk_size=100")),
]


def packaged_peers(norm: str) -> dict[str, Estimator]:
    """The peers at hand, in nats and for k = 3."""
    peers: dict[str, Estimator] = {
        "scikit-learn": lambda x, y: float(
            mutual_info_regression(x, y[:, 0], n_neighbors=3, random_state=0, n_jobs=1)[0]
        )
    }
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import npeet_plus

        peers["npeet-plus"] = lambda x, y: float(npeet_plus.mi(x, y, k=3, base=np.e))
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import infomeasure

        peers["infomeasure"] = lambda x, y: float(
            infomeasure.mutual_information(x, y, approach="ksg", k=3, base="e")
        )
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bmi.estimators import KSGEnsembleFirstEstimator

        metric = "chebyshev" if norm == "max" else norm
        settings = {"neighborhoods": (3,), "metric_x": metric}
        peers["benchmark-mi"] = lambda x, y: KSGEnsembleFirstEstimator(**settings).estimate(x, y)
        peers["benchmark-mi, chunk_size=100"] = lambda x, y: KSGEnsembleFirstEstimator(
            **settings, chunk_size=100
        ).estimate(x, y)
    return peers


def gaussian_pair(d: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlation 0.5 per coordinate."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d))
    return x, 0.5 * x + 0.75**0.5 * rng.standard_normal((n, d))


def measure(case: Case, repeats: int) -> tuple[str, list[str]]:
    """A row of the summary, and a row for each estimator."""
    x, y = gaussian_pair(case.d, case.n)
    ours: dict[str, Estimator] = {
        f"KSG, {workers} thread(s)": lambda x, y, w=workers: KSG(norm=case.norm, workers=w)(x, y).value
        for workers in (1, 2)
    }
    one, two = ours
    at_hand = packaged_peers(case.norm)
    everyone = {**ours, **{name: at_hand[name] for name in case.peers if name in at_hand}}
    values: dict[str, float] = {}
    for run in everyone.values():
        run(x[:500], y[:500])
    cpu: dict[str, list[float]] = {name: [] for name in everyone}
    elapsed: dict[str, list[float]] = {name: [] for name in everyone}
    for _ in range(repeats):
        for name, run in everyone.items():
            # A quick run is repeated, as others on the machine disturb it most.
            for _ in range(5 if name in ours else 1):
                wall, start = time.perf_counter(), time.process_time()
                values[name] = run(x, y)
                cpu[name].append(time.process_time() - start)
                elapsed[name].append(time.perf_counter() - wall)
    typical = {name: statistics.median(taken) for name, taken in cpu.items()}
    gain = statistics.median(elapsed[one]) / statistics.median(elapsed[two])
    fastest_gain = min(elapsed[one]) / min(elapsed[two])
    what = f"| {case.d}+{case.d} | {case.n:,} | {case.norm} |"
    peers = {name: taken for name, taken in typical.items() if name not in ours}
    best = min(peers, key=lambda name: peers[name]) if peers else None
    ratio = f"{best} | {peers[best] / typical[one]:.1f}" if best else "none at hand | -"
    summary = f"{what} {ratio} | {case.goal:g} | {gain:.2f} | {fastest_gain:.2f} |"
    rows = [
        f"{what} {name} | {typical[name]:.3f} | {statistics.median(elapsed[name]):.3f} "
        f"| {typical[name] / typical[one]:.2f} | {values[name]:.5f} |"
        for name in everyone
    ]
    return summary, rows


def large_and_wide() -> list[str]:
    """CPU seconds and peak memory beside the size of the data, for the largest inputs."""
    rows = []
    for d, n in ((1, 1_000_000), (64, 10_000), (64, 20_000)):
        x, y = gaussian_pair(d, n)
        start = time.process_time()
        KSG()(x, y)
        seconds = time.process_time() - start
        tracemalloc.start()
        KSG()(x, y)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rows.append(f"| {d}+{d} | {n:,} | {seconds:.2f} | {2 * x.nbytes / 2**20:.0f} | {peak / 2**20:.0f} |")
    return rows


def main() -> None:
    """Measures all cases and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="rounds; the median is reported")
    parser.add_argument(
        "--write", action="store_true", help=f"also write {RESULT.name} under benchmarks/results"
    )
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the peers
        results = [measure(case, options.repeats) for case in CASES]
        sizes = large_and_wide()
    lines = [
        "# KSG(k=3), Gaussian data, correlation 0.5 per coordinate",
        "",
        f"{datetime.date.today()}, {os.cpu_count()} CPUs, {_processor()}, load average {load:.1f} at the start "
        f"and {os.getloadavg()[0]:.1f} at the end, Python {platform.python_version()}.",
        f"Command: `{' '.join(['python -m benchmarks.ksg', *sys.argv[1:]])}`.",
        f"Versions: {_versions()}.",
        "",
        "Ratio: CPU time of the best packaged peer over that of one-thread KSG, medians of interleaved rounds.",
        "Two threads: elapsed time with one over elapsed time with two; on a machine that does other work, the "
        "fastest runs say more than the medians.",
        "",
        "| dimensions | n | norm | best peer | ratio | wanted | two threads, median | two threads, fastest |",
        "|---|---|---|---|---|---|---|---|",
        *(summary for summary, _ in results),
        "",
        "| dimensions | n | norm | estimator | CPU seconds | elapsed seconds | CPU time over ours | nats |",
        "|---|---|---|---|---|---|---|---|",
        *(row for _, rows in results for row in rows),
        "",
        "Size and memory, one thread, max-norm; memory is what the call adds to the data at its peak.",
        "",
        "| dimensions | n | CPU seconds | data, MiB | peak, MiB |",
        "|---|---|---|---|---|",
        *sizes,
    ]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if options.write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(text)


def _versions() -> str:
    found = []
    for name in ("numpy", "numba", "scikit-learn", "npeet-plus", "infomeasure", "benchmark-mi"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def _processor() -> str:
    # Linux leaves platform.processor() empty or names the architecture alone.
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()

"""Speed of `KSG(k=3)` against a packaged peer and a plain k-d tree, side by side in one process.

Times vary between machines and runs; ratios measured in one run, with the runs interleaved, do not vary
much. Every competitor is called once before it is timed, on the same data.

    python -m benchmarks.ksg --write
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import psi
from sklearn.feature_selection import mutual_info_regression

from estimators import KSG

__all__ = ["main"]

RESULT = Path(__file__).parent / "results" / "ksg.md"
CASES = [(1, 100_000), (2, 20_000), (5, 5_000), (64, 2_000)]  # (dimension of X and of Y, samples)
Estimator = Callable[[np.ndarray, np.ndarray], float]


def with_sklearn(x: np.ndarray, y: np.ndarray) -> float:
    """The packaged peer, for scalar X and Y."""
    return float(mutual_info_regression(x, y[:, 0], n_neighbors=3, random_state=0, n_jobs=1)[0])


def with_scipy(x: np.ndarray, y: np.ndarray) -> float:
    """Algorithm 1 as it is usually written: three k-d trees in the largest-coordinate norm."""
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)
    joint = np.hstack([x, y])
    radius = np.nextafter(cKDTree(joint).query(joint, k=4, p=np.inf)[0][:, -1], 0)
    counts = [cKDTree(v).query_ball_point(v, radius, p=np.inf, return_length=True) for v in (x, y)]
    return float(psi(3) + psi(len(x)) - np.mean(psi(counts[0]) + psi(counts[1])))


def measure(competitors: dict[str, Estimator], x: np.ndarray, y: np.ndarray, repeats: int) -> list[str]:
    """Table rows: median seconds, median over the rounds of the ratio to one-thread KSG, and the value."""
    values = {name: run(x, y) for name, run in competitors.items()}
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(repeats):
        for name, run in competitors.items():
            start = time.perf_counter()
            run(x, y)
            seconds[name].append(time.perf_counter() - start)
    ours = seconds["KSG, 1 thread"]
    return [
        f"| {x.shape[1]}+{y.shape[1]} | {len(x):,} | {name} | {statistics.median(taken):.3f} "
        f"| {statistics.median(t / o for t, o in zip(taken, ours, strict=True)):.2f} | {values[name]:.5f} |"
        for name, taken in seconds.items()
    ]


def main() -> None:
    """Measures all cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="rounds; the median is reported")
    parser.add_argument(
        "--write", action="store_true", help=f"also write {RESULT.name} under benchmarks/results"
    )
    options = parser.parse_args()
    lines = [
        "# KSG(k=3), Gaussian data, correlation 0.5 per coordinate",
        "",
        f"{datetime.date.today()}, {os.cpu_count()} CPUs, {_processor()}, "
        f"load average {os.getloadavg()[0]:.1f} at the start, "
        f"Python {platform.python_version()}, numpy {np.__version__}.",
        f"Command: `{' '.join(['python -m benchmarks.ksg', *sys.argv[1:]])}`.",
        "Ratio: time over that of one-thread KSG in the same round, median over the rounds.",
        "",
        "| dimensions | n | estimator | seconds | ratio | I(X;Y), nats |",
        "|---|---|---|---|---|---|",
    ]
    for d, n in CASES:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((n, d))
        y = 0.5 * x + 0.75**0.5 * rng.standard_normal((n, d))
        competitors: dict[str, Estimator] = {
            "KSG, 1 thread": lambda x, y: KSG()(x, y).value,
            "KSG, 2 threads": lambda x, y: KSG(workers=2)(x, y).value,
            "plain scipy cKDTree": with_scipy,
        }
        if d == 1:
            competitors["sklearn mutual_info_regression"] = with_sklearn
        lines += measure(competitors, x, y, options.repeats)
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if options.write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(text)


def _processor() -> str:
    # Linux leaves platform.processor() empty or names the architecture alone.
    info = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":")[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()

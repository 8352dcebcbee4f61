"""Coverage of the intervals on known truths: the table and the figure of `docs/calibration.md`.

About ten minutes of one core. Rows are kept in `docs/calibration.jsonl` as they are made, so that the command goes
on where it was stopped; remove the file to measure again.

    python -m benchmarks.coverage --write
"""

from __future__ import annotations

import argparse
import datetime
import math
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy
from scipy.stats import binom
from threadpoolctl import threadpool_limits

from estimators import (
    KSG,
    Extrapolated,
    Gaussian,
    GaussianCopula,
    KozachenkoLeonenko,
    Ross,
    Subsampled,
)
from estimators.calibration import Calibration, calibrate
from estimators.distributions import catalogue
from infossl.report.calibration import coverage_figure, save
from infossl.trajectory import atomic_write

__all__ = ["main"]

DOCS = Path(__file__).resolve().parents[1] / "docs"
N, REPETITIONS = 1000, 400
CONTINUOUS = (
    *("normal-1x1-0.8", "normal-dense-5x5-1nat", "uniform-channel-0.75", "mixture-modes-1x1", "sine-1period"),
    *("cubic-3x3", "contaminated-1x1", "independent-normal-5x5"),
)
LABELS = ("clusters-2", "clusters-10x10", "staircase-5")
ENTROPIES = ("normal-1x1-0.8", "normal-dense-5x5-1nat", "uniform-channel-0.75", "student-1x1-df1")
PLAN = (
    (
        (
            *(Subsampled(KSG()), Subsampled(Gaussian()), Subsampled(GaussianCopula())),
            *(Gaussian(), Extrapolated(KSG())),
        ),
        CONTINUOUS,
        "I(X;Y)",
    ),
    ((Subsampled(Ross()),), LABELS, "I(X;Y)"),
    ((Subsampled(KozachenkoLeonenko()),), ENTROPIES, "H(X)"),
)


def measured(file: Path | None, n: int, repetitions: int) -> list[Calibration]:
    """All rows of the plan; those in the file are not made again."""
    known = catalogue()
    done = []
    if file is not None and file.exists():
        lines = file.read_text().splitlines(keepends=True)
        done = [Calibration.from_json(line) for line in lines if line.endswith("\n")]
        file.write_text("".join(line for line in lines if line.endswith("\n")))

    def keep(row: Calibration) -> None:
        if file is not None:
            with open(file, "a") as out:
                out.write(row.to_json() + "\n")

    rows = []
    for estimators, laws, quantity in PLAN:
        settings = [known[name] for name in laws]
        rows += calibrate(
            estimators, settings, n=n, repetitions=repetitions, quantity=quantity, done=done, keep=keep
        )
    return rows


def page(rows: Sequence[Calibration], date: str) -> str:
    """The page; every number in it comes from the rows."""
    n, asked = rows[0].n, rows[0].asked
    error = 100 * math.sqrt(0.09 / asked)
    wrapped = [row for row in rows if row.label.startswith("Subsampled")]
    dependent = [row for row in wrapped if row.kind != "independent"]
    other = [row for row in wrapped if row not in dependent]
    shares = [100 * row.covers_expectation for row in dependent if row.covers_expectation is not None]
    chance = 1 - float(
        np.diff(binom.cdf([math.ceil(0.87 * asked) - 1, math.floor(0.93 * asked)], asked, 0.9))[0]
    )
    inside = sum(87 <= share <= 93 for share in shares)
    beyond = [
        row
        for row in dependent
        if row.covers_expectation is not None and not 0.87 <= row.covers_expectation <= 0.93
    ]
    lines = [
        "# Calibration",
        "",
        f"How often the 90 % intervals hold what they should: n = {n}, {asked} fresh samples of each law, {date}.",
        "",
        "```",
        "python -m benchmarks.coverage --write",
        "```",
        "",
        "![coverage](calibration.png)",
        "",
        "`holds mean` is the share of the intervals that hold the estimator's own expectation at this n, which is what a",
        "standard error promises; nominal is 90 %, and one binomial standard error of a share is",
        f"{error:.1f} points. `holds truth` is lower wherever there is bias: no standard error knows it. `se / sd` is the",
        "reported standard error over the scatter that was seen. `Gaussian()` alone reports an error that is analytic",
        "for Gaussian data; wrap it under heavy tails. All values are in nats.",
        "",
        "`Subsampled(...)` on laws with dependence: coverage of the expectation is between "
        f"{min(shares):.1f} % and {max(shares):.1f} % over {len(shares)} rows, {statistics.fmean(shares):.1f} % on average; "
        f"{inside} of the {len(shares)} rows lie within 87 to 93 %. At exactly 90 % "
        f"{chance * len(shares):.1f} rows would lie outside by chance; all estimators see the same samples of a law, so "
        "that its rows err together.",
    ]
    if beyond:
        said = "; ".join(f"{r.label} on `{r.law}` {100 * (r.covers_expectation or 0):.1f} %" for r in beyond)
        lines += [f"Outside: {said}."]
    if other:
        said = "; ".join(
            f"{r.label} on `{r.law}` {100 * (r.covers_expectation or 0):.1f} %"
            + (f" ({', '.join(r.flags)})" if (r.flagged or 0) >= 0.5 else "")
            for r in other
        )
        lines += [
            "",
            f"Independent variables: {said}. There the variance of a second-moment estimator falls as 1/n², not 1/n, "
            "and `Subsampled` overstates it.",
        ]
    lines += [
        "",
        "| estimator | law | truth | bias | sd | se / sd | holds mean | holds truth | flagged |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_line(row) for row in sorted(rows, key=lambda row: [r.label for r in rows].index(row.label))),
        "",
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}; rows with all fields: "
        "[calibration.jsonl](calibration.jsonl). At a size of your own: `infossl calibrate --n 2000 --dx 128 --dy 128`.",
        "",
    ]
    return "\n".join(lines)


def _line(row: Calibration) -> str:
    name = f"`{row.label}`" + (" of x" if row.quantity == "H(X)" else "")
    if row.bias is None or row.sd is None:
        return f"| {name} | {row.law} | {row.truth:.3f} | {row.failure} | | | | | |"
    ratio = "" if row.stderr is None else f"{row.stderr / row.sd:.2f}"
    mean, truth = (
        "" if share is None else f"{100 * share:.1f} %"
        for share in (row.covers_expectation, row.covers_truth)
    )
    flagged = f"{row.flagged:.0%}" + (f" {', '.join(row.flags)}" if (row.flagged or 0) >= 0.5 else "")
    cells = (f"{row.truth:.3f}", f"{row.bias:+.3f}", f"{row.sd:.3f}", ratio, mean, truth, flagged)
    return f"| {name} | {row.law} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints the page; with `--write` stores page, figure and rows in docs/."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="store docs/calibration.md, .png and .jsonl")
    parser.add_argument("--n", type=int, default=N)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    given = parser.parse_args(arguments)
    with threadpool_limits(1):
        rows = measured(DOCS / "calibration.jsonl" if given.write else None, given.n, given.repetitions)
    text = page(rows, datetime.date.today().isoformat())
    if given.write:
        atomic_write(DOCS / "calibration.md", text.encode())
        save(coverage_figure(rows), DOCS / "calibration", endings=("png",))
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

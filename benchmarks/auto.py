"""Accuracy of `Auto` and of the single estimators it could be replaced by, on families held back from its design.

Mean distance from the truth over the settings of `distributions.catalogue()`, in nats. `Auto` was designed on the families of
the split "design" alone; those of "held-out" were first looked at by this script. An estimator that cannot measure a
setting (too few samples for its columns, labels) is compared with `Auto` on the others. Rows are appended to a file as they
are made, and a second run goes on where the first one stopped.

    python -m benchmarks.auto --write
"""

from __future__ import annotations

import argparse
import datetime
import platform
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from estimators import (
    KSG,
    LMI,
    Auto,
    Copula,
    CrossFittedCCA,
    Gaussian,
    GaussianCopula,
    InfoNCE,
    LocalNonUniformity,
    ProbeInformation,
    Projected,
    Ross,
    ShrunkGaussian,
    StudentCopula,
)
from estimators.calibration import Calibration, calibrate
from estimators.distributions import catalogue
from estimators.distributions.catalogue import Setting

__all__ = ["main"]

RESULT = Path(__file__).parent / "results" / "auto.md"
SINGLE = (
    Gaussian(),
    ShrunkGaussian(),
    GaussianCopula(),
    StudentCopula(),
    CrossFittedCCA(),
    KSG(),
    Copula(KSG()),
    LocalNonUniformity(),
    Projected(KSG(), dims=8),
    InfoNCE(),
    LMI(),
)
LABELS = (Ross(), ProbeInformation(), InfoNCE())
OVER = 3.0  # standard errors of the mean above the truth that count as over-stated


def main() -> None:
    """Prints the tables; `--write` puts them into `benchmarks/results/auto.md`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=2000, help="samples of each setting")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", default=(), help="only these kinds of settings")
    parser.add_argument(
        "--report", action="store_true", help="measure nothing, report the rows that are there"
    )
    parser.add_argument("--write", action="store_true", help="write the result file")
    options = parser.parse_args()
    cache = RESULT.with_suffix(f".{options.n}.jsonl")
    rows = (
        kept(cache)
        if options.report
        else measured(options.n, options.repetitions, cache, tuple(options.kinds))
    )
    text = "\n".join(report(rows, options.n, options.repetitions))
    print(text)
    if options.write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(text + "\n")


def kept(cache: Path) -> list[Calibration]:
    """The rows of earlier runs."""
    return [Calibration.from_json(line) for line in cache.read_text().splitlines()] if cache.exists() else []


def measured(n: int, repetitions: int, cache: Path, kinds: tuple[str, ...]) -> list[Calibration]:
    """Every estimator on every setting; rows of an earlier run are kept."""
    every = [*catalogue("held-out").values(), *catalogue("design").values()]
    settings = [s for s in every if not kinds or s.kind in kinds]
    rows: list[Calibration] = []
    with cache.open("a") as file:
        for labels, estimators in ((False, (Auto(), *SINGLE)), (True, (Auto(), *LABELS))):
            laws = [s for s in settings if s.law.discrete_y is labels]
            if laws:
                rows += calibrate(
                    estimators,
                    laws,
                    n=n,
                    repetitions=repetitions,
                    seed=2026,
                    done=kept(cache),
                    keep=lambda row: (file.write(row.to_json() + "\n"), file.flush()),
                )
    return rows


def report(rows: Iterable[Calibration], n: int, repetitions: int) -> list[str]:
    """The tables as Markdown."""
    split = {s.id: s.split for s in catalogue().values()}
    rows = [row for row in rows if row.exact]
    lines = [
        "# Accuracy of `Auto` against single estimators",
        "",
        f"{datetime.date.today()}, {platform.machine()}, {n} samples, {repetitions} data sets of each setting. "
        "`python -m benchmarks.auto --write`",
        "",
        "Root mean squared distance from the truth, in nats, averaged over settings. `Auto there` is `Auto` on the settings "
        "that the estimator could measure: the fair comparison.",
    ]
    for title, part in (("Held-out families", "held-out"), ("Families that the design could see", "design")):
        lines += ["", f"## {title}", "", *_table([r for r in rows if split[r.law] == part])]
    lines += ["", "## Every setting, `Auto`", "", *_settings([r for r in rows if r.label == "Auto()"], split)]
    return lines


def _table(rows: list[Calibration]) -> list[str]:
    kinds = sorted({r.kind for r in rows})
    by_label: dict[str, dict[str, Calibration]] = defaultdict(dict)
    for r in rows:
        by_label[r.label][r.law] = r
    auto = {law: r.rmse for law, r in by_label["Auto()"].items() if r.rmse is not None}
    table = []
    for label, own in by_label.items():
        errors = {law: r.rmse for law, r in own.items() if r.rmse is not None}
        both = [law for law in errors if law in auto]
        if not both:
            continue
        per_kind = []
        for kind in kinds:
            some = [errors[law] for law in both if own[law].kind == kind]
            per_kind.append(f"{np.mean(some):.2f}" if some else "")
        over = sum(_over_stated(own[law]) for law in both if own[law].kind == "embedded")
        embedded = sum(own[law].kind == "embedded" for law in both)
        seconds = np.mean([own[law].seconds for law in both])
        table.append(
            (
                float(np.mean([errors[law] - auto[law] for law in both])),
                [
                    f"`{label}`",
                    f"{len(both)}",
                    f"{np.mean([errors[law] for law in both]):.3f}",
                    f"{np.mean([auto[law] for law in both]):.3f}",
                    *per_kind,
                    f"{over} of {embedded}",
                    f"{seconds:.1f}",
                ],
            )
        )
    head = ["estimator", "settings", "error", "Auto there", *kinds, "over-stated, embedded", "s"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cells) + " |" for _, cells in sorted(table, key=lambda t: t[0])]


def _over_stated(row: Calibration) -> bool:
    if row.bias is None or row.sd is None:
        return False
    error = max(row.sd, row.stderr or 0.0) / np.sqrt(row.repetitions)
    return bool(row.bias > OVER * error)


def _settings(rows: list[Calibration], split: dict[str, str]) -> list[str]:
    laws: dict[str, Setting] = catalogue()
    lines = ["| setting | kind | split | truth | mean | error | flags |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        mean = "failed" if r.mean is None else f"{r.mean:.3f}"
        error = "" if r.rmse is None else f"{r.rmse:.3f}"
        lines.append(
            f"| {r.law} | {laws[r.law].kind} | {split[r.law]} | {r.truth:.3f} | {mean} | {error} | {', '.join(r.flags)} |"
        )
    return lines


if __name__ == "__main__":
    main()

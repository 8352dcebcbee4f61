"""`infossl calibrate --n 2000 --dx 128 --dy 128`: which estimators to believe at a size, from known truths."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from infossl.report.calibration_page import HEAD, LEGEND, WORDS, entries, page

if TYPE_CHECKING:
    from estimators.calibration import Calibration
    from estimators.calibration_summary import Summary

__all__ = ["CONTINUOUS", "LABELS", "SLOW", "Calibrate"]

SLOW = ("Auto()",)  # seconds each: fewer samples, unless asked for by --with
_SLOW_REPETITIONS = 3
CONTINUOUS = (
    "Gaussian()",
    "GaussianCopula()",
    "ShrunkGaussian()",
    "CrossFittedCCA()",
    "Subsampled(KSG())",
    "Subsampled(Copula(KSG()))",
    "Subsampled(Projected(KSG(standardise=False), dims=8))",  # components beyond those that carry the data are noise
)
LABELS = (
    "Subsampled(Ross())",
    "Subsampled(Gao())",
    "Subsampled(Projected(Ross(standardise=False), dims=8))",
    "ProbeInformation()",
)


@dataclass(frozen=True)
class Calibrate:
    """Say which estimators to believe at a size: bias, scatter and coverage on laws whose truth is known.

    Draws each of about a dozen laws of these dimensions again and again, asks every estimator, and prints one line
    each with a verdict. With --out the rows are kept as they are made, and the same command goes on from them.
    """

    n: int = 2000
    """Samples, as many as you have."""

    dx: int = 2
    """Columns of x."""

    dy: int | Literal["labels"] = 2
    """Columns of y, or "labels"."""

    with_: Annotated[tuple[str, ...], tyro.conf.arg(name="with"), tyro.conf.UseAppendAction] = ()
    """An estimator as text, such as "Subsampled(KSG(k=5))"; repeat the option for several. By default a list of fast
    ones, and Auto() on 3 samples of each law, as it takes seconds."""

    repetitions: int = 10
    """Samples of each law; 100 for a coverage to within 3 points on each."""

    catalogue: bool = False
    """Measure on the named settings of `estimators.distributions`, at their own dimensions."""

    seed: int = 0
    """Of the samples."""

    workers: int = 1
    """Processes."""

    out: Path | None = None
    """Folder for calibration.md/.png/.svg, summary.csv, summary.json, rows.csv and rows.jsonl."""

    def run(self) -> list[Summary]:
        """Calibrates, prints the table, writes the files, and returns the summaries."""
        from estimators.calibration import calibrate
        from estimators.calibration_laws import laws_at
        from estimators.calibration_summary import summarise
        from estimators.distributions import catalogue

        labels = self.dy == "labels"
        chosen = [_estimator(text) for text in self.with_ or (LABELS if labels else CONTINUOUS)]
        slow = [] if self.with_ else [_estimator(text) for text in SLOW]
        if self.catalogue:
            laws = [s for s in catalogue().values() if s.law.discrete_y == labels]
        else:
            laws = laws_at(self.dx, None if self.dy == "labels" else self.dy)
        rows_file = None
        if self.out is not None:
            if self.out.exists() and not self.out.is_dir():
                raise FileExistsError(f"{self.out} is a file: choose another --out")
            rows_file = self.out / "rows.jsonl"
        done = [] if rows_file is None else _kept(rows_file)

        def keep(row: Calibration) -> None:
            if rows_file is None:
                return
            rows_file.parent.mkdir(parents=True, exist_ok=True)
            with open(rows_file, "a") as file:
                file.write(row.to_json() + "\n")

        rows: list[Calibration] = []
        for group, repetitions in (
            (chosen, self.repetitions),
            (slow, min(self.repetitions, _SLOW_REPETITIONS)),
        ):
            if group:  # the slow ones last, but shown first: they are what most people should use
                made = calibrate(
                    group,
                    laws,
                    n=self.n,
                    repetitions=repetitions,
                    seed=self.seed,
                    done=done,
                    keep=keep,
                    workers=self.workers,
                )
                rows = made + rows
        summaries = summarise(rows)
        at = "the named laws" if self.catalogue else f"{len(laws)} laws of {self.dx} + {self.dy} columns"
        print(f"{at}, n = {self.n}, {self.repetitions} samples each; numbers in nats, means over the laws\n")
        print(table(summaries))
        print(f"\n{LEGEND}")
        for summary in summaries:
            if summary.verdict.startswith("fails"):
                print(f"\n{summary.label} {summary.verdict}")
        if self.out is not None:
            _write(self.out, rows, summaries, self._command())
            print(f"\nwritten: {self.out.resolve()}")
        return summaries

    def _command(self) -> str:
        """What makes these rows again."""
        size = "--catalogue" if self.catalogue else f"--dx {self.dx} --dy {self.dy}"
        if self.catalogue and self.dy == "labels":
            size += " --dy labels"
        words = [f"infossl calibrate --n {self.n} {size}", *(f'--with "{text}"' for text in self.with_)]
        usual = {"repetitions": self.repetitions, "seed": self.seed}
        given = {f.name: f.default for f in dataclasses.fields(self) if f.name in usual}
        return " ".join(
            [*words, *(f"--{name} {usual[name]}" for name in usual if usual[name] != given[name])]
        )


def _estimator(text: str) -> Callable[..., Any]:
    from estimators import parse

    estimator = parse(text)
    if not callable(estimator):
        raise ValueError(f"{text!r} is no estimator; write a call such as 'KSG(k=5)'")
    return estimator


def _kept(path: Path) -> list[Calibration]:
    """Rows of an earlier run; a last line that a kill cut off is left out."""
    from estimators.calibration import Calibration

    if not path.exists():
        return []
    text = path.read_text()
    if text and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text)
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            rows.append(Calibration.from_json(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}; choose another --out") from None
    return rows


def table(summaries: Sequence[Summary]) -> str:
    """The summaries as aligned text: one line each, the verdict last."""
    lines = [HEAD, *map(entries, summaries)]
    widths = [max(len(cells[i]) for cells in lines) for i in range(len(HEAD))]
    words = {i for i, name in enumerate(HEAD) if name in WORDS}  # columns of words stand left, numbers right
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in lines
    )


def _write(folder: Path, rows: Sequence[Calibration], summaries: Sequence[Summary], command: str) -> None:
    from infossl.report import NothingToDraw
    from infossl.report.calibration import bias_figure, save
    from infossl.trajectory import atomic_write

    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "rows.csv", _csv(rows))
    atomic_write(folder / "summary.csv", _csv(summaries))
    content = json.dumps([dataclasses.asdict(summary) for summary in summaries], indent=2)
    atomic_write(folder / "summary.json", (content + "\n").encode())
    figure = ""
    with contextlib.suppress(NothingToDraw):  # every estimator failed on every law: the table says why
        save(bias_figure(rows), folder / "calibration")
        figure = "calibration.png"
    atomic_write(folder / "calibration.md", page(rows, summaries, command, figure).encode())


def _csv(items: Sequence[Any]) -> bytes:
    stream = io.StringIO()
    lines = [dataclasses.asdict(item) for item in items]
    writer = csv.DictWriter(stream, fieldnames=list(lines[0]))
    writer.writeheader()
    for line in lines:
        writer.writerow({k: " ".join(v) if isinstance(v, tuple) else v for k, v in line.items()})
    return stream.getvalue().encode()

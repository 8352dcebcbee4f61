"""Error of the trained, latent and discrete estimators on named truths, beside packaged peers on the same samples.

Rows are appended to `accuracy.jsonl` as they are made, and a second run goes on where the first one stopped; remove the
file to measure again. Peers are used when they can be imported, with their own settings, and left out otherwise
(`pip install benchmark-mi npeet-plus infomeasure torch-mist latentmi`; the last two ask for numpy 1 but run with 2).
All times are CPU seconds of one thread.

    python -m benchmarks.accuracy --write
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import importlib.metadata
import io
import json
import logging
import math
import os
import platform
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from threadpoolctl import threadpool_limits

from estimators import (
    CLUB,
    FLO,
    JSD,
    KSG,
    LMI,
    MINE,
    MMG,
    NWJ,
    SMILE,
    Auto,
    Discrete,
    DoE,
    Gaussian,
    InfoNCE,
    ProbeInformation,
    Ross,
)
from estimators.calibration import brief
from estimators.distributions import Distribution, MultivariateNormal, catalogue

__all__ = ["Channel", "Row", "Zipf", "main", "report"]

RESULT = Path(__file__).parent / "results" / "accuracy.md"
SEEDS = 3  # data sets of a trained estimator
DRAWS = 200  # data sets of a discrete one
HELD_OUT = 0.25  # share of the samples on which torch-mist is evaluated; its default is the training data
TRAINED_PEERS = ("torch-mist", "latentmi", "benchmark-mi InfoNCE", "benchmark-mi MINE", "benchmark-mi NWJ")
Sample = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Zipf:
    """Entropy of p_i = c / i on `symbols` symbols."""

    symbols: int

    def truth(self) -> float:
        """H(X) in nats."""
        p = self._law()
        return float(-np.sum(p * np.log(p)))

    def sample(self, n: int, seed: int) -> Sample:
        """`(x,)`."""
        return (np.random.default_rng(seed).choice(self.symbols, n, p=self._law()),)

    def _law(self) -> np.ndarray:
        p = 1 / np.arange(1, self.symbols + 1)
        return p / p.sum()


@dataclass(frozen=True)
class Channel:
    """Mutual information of a uniform symbol and its copy, which is redrawn uniformly with chance 1 - `kept`."""

    symbols: int
    kept: float

    def truth(self) -> float:
        """I(X;Y) in nats."""
        other = (1 - self.kept) / self.symbols
        same = self.kept + other
        rest = (self.symbols - 1) * other
        return math.log(self.symbols) + same * math.log(same) + (rest and rest * math.log(other))

    def sample(self, n: int, seed: int) -> Sample:
        """`(x, y)`."""
        rng = np.random.default_rng(seed)
        x, fresh = rng.integers(self.symbols, size=(2, n))
        return x, np.where(rng.random(n) < self.kept, x, fresh)


@dataclass(frozen=True)
class Case:
    """A truth, the number of samples, and (ours, peer) pairs; an empty peer has no packaged twin.

    `club` is the expectation of `CLUB` with the exact q: what that row is held against.
    """

    name: str
    law: Any
    n: int
    pairs: tuple[tuple[Any, str], ...]
    draws: int = SEEDS
    club: Callable[[], float] | None = None

    def truth(self) -> float:
        """Nats."""
        return float(self.law.truth() if self.discrete else self.law.mutual_information())

    @property
    def discrete(self) -> bool:
        """Whether it is a law of symbols, with many cheap draws."""
        return isinstance(self.law, (Zipf, Channel))

    def target(self, label: str) -> float:
        """What the estimator of that label estimates."""
        return self.club() if self.club is not None and "club" in label.lower() else self.truth()


@dataclass(frozen=True)
class Row:
    """One estimator on one data set, or on all draws of a discrete law."""

    case: str
    label: str
    peer: bool
    n: int
    seed: int
    values: tuple[float, ...] = ()
    stderrs: tuple[float, ...] = ()
    seconds: float = 0.0
    flags: tuple[str, ...] = ()
    failure: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """What was asked."""
        return self.case, self.label, self.n, self.seed

    @classmethod
    def from_json(cls, line: str) -> Row:
        """The row of a line."""
        fields = json.loads(line)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


CONTINUOUS = (
    (Gaussian(), "benchmark-mi CCA"),
    (KSG(), "npeet-plus KSG"),
    (InfoNCE(), "benchmark-mi InfoNCE"),
    (DoE(), "torch-mist doe"),
    (CLUB(), "torch-mist club"),
    (LMI(), "latentmi"),
    (MMG(), ""),
    (Auto(), ""),
    (MINE(), "benchmark-mi MINE"),
    (NWJ(), "benchmark-mi NWJ"),
    (JSD(), "torch-mist js"),
    (SMILE(), "torch-mist smile"),
    (FLO(), "torch-mist flo"),
)
LABELS = (
    (InfoNCE(), "benchmark-mi InfoNCE"),
    (DoE(), ""),
    (LMI(), ""),
    (ProbeInformation(), ""),
    (Ross(), ""),
    (Auto(), ""),
)


def _discrete(symbols: int) -> tuple[tuple[Any, str], ...]:
    return (
        (Discrete("plug-in"), "infomeasure discrete"),
        (Discrete("miller-madow"), "infomeasure miller_madow"),
        (Discrete("grassberger"), "infomeasure grassberger"),
        (Discrete("chao-shen"), "infomeasure chao_shen"),
        (Discrete("james-stein"), "infomeasure shrink"),
        (Discrete("james-stein", symbols=symbols), ""),
        (Discrete("nsb"), "infomeasure nsb"),
        (Discrete("nsb", symbols=symbols), f"infomeasure nsb, K={symbols}"),
    )


def _gaussian_club(law: MultivariateNormal) -> float:
    rho = np.broadcast_to(law.correlations, law.pairs or min(law.dx, law.dy))
    return float(np.sum(rho**2 / (1 - rho**2)))


def _sampled_club(law: Distribution, n: int = 10**6) -> float:
    x, y = law.sample(n, seed=0)
    return float(law.log_ratio(x, y).mean() - law.log_ratio(x, np.roll(y, 1, axis=0)).mean())


def cases() -> list[Case]:
    """Everything that is measured."""
    one, three = (MultivariateNormal.with_information(nats, 5, 5) for nats in (1.0, 3.0))
    named = {name: setting.law for name, setting in catalogue().items()}
    curved, heavy = named["embedding-curved-128"], named["student-5x5-df3"]
    symbols = _discrete(20)
    # The peer has one K for all three entropies, and so none that is right for I(X;Y).
    joint = (*_discrete(8)[:-1], (Discrete("nsb", symbols=8), ""))
    return [
        Case("5+5 Gaussian, 1 nat", one, 10_000, CONTINUOUS, club=lambda: _gaussian_club(one)),
        # CLUB with the exact q does not change under invertible maps of each view.
        Case("embedding-curved-128 (rank 4 in 128 + 128)", curved, 2000, CONTINUOUS, club=lambda: _gaussian_club(curved.base)),
        Case("5+5 Gaussian, 3 nats", three, 10_000, CONTINUOUS, club=lambda: _gaussian_club(three)),
        Case("student-5x5-df3 (heavy tails)", heavy, 2000, CONTINUOUS, club=lambda: _sampled_club(heavy)),
        Case("clusters-10x10 (10 labels, 10 columns)", named["clusters-10x10"], 2000, LABELS),
        Case("20-symbol Zipf law, H(X)", Zipf(20), 30, symbols, DRAWS),
        Case("20-symbol Zipf law, H(X)", Zipf(20), 100, symbols, DRAWS),
        Case("8x8 symmetric channel, I(X;Y)", Channel(8, 0.6), 60, joint, DRAWS),
        Case("8x8 symmetric channel, I(X;Y)", Channel(8, 0.6), 300, joint, DRAWS),
    ]  # fmt: skip


def packaged_peers() -> dict[str, Callable[..., float]]:
    """The peers at hand, in nats, with their own settings where nothing else is said."""
    peers: dict[str, Callable[..., float]] = {}
    with contextlib.suppress(ImportError):
        import npeet_plus

        peers["npeet-plus KSG"] = lambda x, y: float(npeet_plus.mi(x, y, k=3, base=np.e))
    with contextlib.suppress(ImportError):
        os.environ.setdefault(
            "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        )
        from bmi import estimators as bmi

        peers["benchmark-mi CCA"] = lambda x, y: float(bmi.CCAMutualInformationEstimator().estimate(x, y))
        for name in ("InfoNCE", "MINE", "NWJ"):
            kind = getattr(bmi, f"{name}Estimator")
            peers[f"benchmark-mi {name}"] = lambda x, y, kind=kind: float(
                kind(verbose=False).estimate(x, np.eye(y.max() + 1)[y] if y.ndim == 1 else y)
            )
    with contextlib.suppress(ImportError):
        from torch_mist import estimate_mi

        for name in ("doe", "club", "js", "smile", "flo"):
            peers[f"torch-mist {name}"] = lambda x, y, name=name: _mist(estimate_mi, name, x, y)
    with contextlib.suppress(ImportError):
        from latentmi import lmi

        # np.NaN, which this package still uses, went away with numpy 2.
        peers["latentmi"] = lambda x, y: _with_nan(lambda: float(np.nanmean(lmi.estimate(x, y)[0])))
    with contextlib.suppress(ImportError):
        import infomeasure

        for name in ("discrete", "miller_madow", "grassberger", "chao_shen", "shrink", "nsb"):
            peers[f"infomeasure {name}"] = lambda *z, name=name: _infomeasure(infomeasure, z, approach=name)
        peers["infomeasure nsb, K=20"] = lambda *z: _infomeasure(infomeasure, z, approach="nsb", K=20)
    return peers


def _mist(estimate_mi: Callable[..., Any], name: str, x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float32), y.astype(np.float32)
    m = round(len(x) * (1 - HELD_OUT))
    held_out = (x[m:], y[m:])
    return float(
        estimate_mi(data=(x[:m], y[:m]), test_data=held_out, estimator=name, verbose=False, logger=False)
    )


def _infomeasure(package: Any, z: Sample, **settings: Any) -> float:
    measure = package.entropy if len(z) == 1 else package.mutual_information
    return float(measure(*z, base="e", **settings))


def _with_nan(run: Callable[[], float]) -> float:
    with mock.patch.object(np, "NaN", np.nan, create=True):
        return run()


@contextlib.contextmanager
def _fixed(seed: int) -> Iterator[None]:
    """Silence, and the global generators from which two of the peers take their randomness."""
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def measured(cache: Path, only: str = "", seeds: int = SEEDS) -> list[Row]:
    """Every row; those of an earlier run are kept. The first data set of everything comes first."""
    rows = [Row.from_json(line) for line in cache.read_text().splitlines()] if cache.exists() else []
    done = {row.key for row in rows}
    peers = packaged_peers()
    tasks = [
        (case, seed, estimator, label)
        for case in cases()
        for ours, peer in case.pairs
        for estimator, label in ((ours, brief(ours)), (peers.get(peer), peer))
        for seed in range(_seeds(case, label, seeds))
        if estimator is not None and label and only in f"{case.name} {label}"
    ]
    with cache.open("a") as file:
        for case, seed, estimator, label in sorted(tasks, key=lambda task: _turn(*task)):
            if (case.name, label, case.n, seed) in done:
                continue
            row = measure(case, seed, estimator, label)
            rows.append(row)
            file.write(json.dumps(dataclasses.asdict(row)) + "\n")
            file.flush()
    return rows


def _seeds(case: Case, peer: str, seeds: int) -> int:
    """Data sets: a peer that trains gets one."""
    return 1 if case.discrete or peer.startswith(TRAINED_PEERS) else seeds


def _turn(case: Case, seed: int, estimator: Any, label: str) -> tuple[int, int]:
    """Quick ones first, on one data set of everything before the second; what takes half a minute is last."""
    slow = isinstance(estimator, (MINE, NWJ, JSD, SMILE, FLO)) or label.startswith(TRAINED_PEERS)
    return (2 * (seed > 0) + (slow and case.n >= 10_000), seed)


def measure(case: Case, seed: int, estimator: Callable[..., Any], label: str) -> Row:
    """One row."""
    data = [case.law.sample(case.n, seed=1000 * seed + i) for i in range(case.draws if case.discrete else 1)]
    peer = label in {name for _, name in case.pairs}
    values, errors, flags, failure = [], [], set(), ""
    start = time.process_time()
    with _fixed(seed):
        for sample in data:
            try:
                found = estimator(*sample)
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"[:200]
                continue
            value = found if peer else found.value
            if not math.isfinite(value):
                failure = f"the value is {value}"
                continue
            values.append(float(value))
            if not peer:
                flags |= set(found.flags)
                errors += [] if found.stderr is None else [float(found.stderr)]
    seconds = (time.process_time() - start) / len(data)
    return Row(
        case.name, label, peer, case.n, seed, tuple(values), tuple(errors), seconds, tuple(sorted(flags)), failure
    )  # fmt: skip


def report(rows: Iterable[Row], all_cases: Iterable[Case]) -> list[str]:
    """The tables as Markdown."""
    lines: list[str] = []
    by_key: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        by_key.setdefault((row.case, row.n, row.label), []).append(row)
    for case in all_cases:
        found = {label: r for (name, n, label), r in by_key.items() if (name, n) == (case.name, case.n)}
        if found:
            lines += ["", *(_draws if case.discrete else _trained)(case, found)]
    return lines


def _trained(case: Case, found: dict[str, list[Row]]) -> list[str]:
    lines = [
        f"## {case.name}: truth {case.truth():.3f} nats, N = {case.n:,}",
        "",
        "| estimator | target | value ± sd | sets | error | stderr | flags | CPU s | peer | value ± sd | sets | error | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for ours, peer in case.pairs:
        label = brief(ours)
        if label not in found:
            continue
        own, other = found[label], found.get(peer, [])
        name, target = peer, case.target(label)
        if not peer:
            name = _closest(found, case)
            other = found.get(name, [])
            name = f"*{name}*" if name else ""
        errors = [e for row in own for e in row.stderrs]
        stderr = f"{_rms(errors):.3f}" if errors else ""
        flags = ", ".join(sorted({flag for row in own for flag in row.flags}))
        lines.append(
            f"| `{label}` | {target:.3f} | {_value(own)} | {_error(own, target)} | {stderr} | {flags} | {_seconds(own)} "
            f"| {name} | {_value(other)} | {_error(other, target)} | {_seconds(other)} |"
        )
    return lines


def _draws(case: Case, found: dict[str, list[Row]]) -> list[str]:
    truth = case.truth()
    lines = [
        f"## {case.name}: truth {truth:.4f} nats, n = {case.n}",
        "",
        "| estimator | bias | sd | rmse | stderr | ms | peer | bias | sd | rmse | ms | closer on, draws |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for ours, peer in case.pairs:
        label = brief(ours)
        if label not in found:
            continue
        own, other = found[label][0], found.get(peer, [None])[0]
        stderr = f"{_rms(own.stderrs):.3f}" if own.stderrs else ""
        theirs = " | | | | |"
        if other is not None and other.failure and not other.values:
            theirs = f" {other.failure} | | | | |"
        elif other is not None:
            theirs = f" {_scatter(other, truth)} | {1000 * other.seconds:.2f} | {_wins(own, other, truth)} |"
        lines.append(
            f"| `{label}` | {_scatter(own, truth)} | {stderr} | {1000 * own.seconds:.2f} | {peer} |{theirs}"
        )
    return lines


def _closest(found: dict[str, list[Row]], case: Case) -> str:
    """The peer with the smallest error here: chosen in hindsight, where none has the same method."""
    errors = {
        label: abs(float(np.mean(values)) - case.truth())
        for label, rows in found.items()
        if rows[0].peer and "club" not in label and (values := [v for row in rows for v in row.values])
    }
    return min(errors, key=lambda label: errors[label]) if errors else ""


def _value(rows: list[Row]) -> str:
    values = [v for row in rows for v in row.values]
    if not values:
        return next((row.failure for row in rows), "") + " |"
    sd = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    failed = f" of {len(rows)}" if len(values) < len(rows) else ""
    return f"{np.mean(values):.3f}{sd} | {len(values)}{failed}"


def _error(rows: list[Row], target: float) -> str:
    values = [v for row in rows for v in row.values]
    return f"{np.mean(values) - target:+.3f}" if values else ""


def _seconds(rows: list[Row]) -> str:
    return f"{np.mean([row.seconds for row in rows]):.1f}" if rows else ""


def _rms(values: Iterable[float]) -> float:
    return math.sqrt(float(np.mean(np.square(list(values)))))


def _scatter(row: Row, truth: float) -> str:
    off = np.asarray(row.values) - truth
    return f"{off.mean():+.3f} | {off.std(ddof=1):.3f} | {_rms(off):.3f}"


def _wins(own: Row, other: Row, truth: float) -> str:
    """On how many of the shared draws each is closer; ties to rounding count for neither."""
    if len(own.values) != len(other.values):
        return f"{len(other.values)} values of {len(own.values)}"
    ours, theirs = (np.abs(np.asarray(row.values) - truth) for row in (own, other))
    if np.allclose(own.values, other.values, rtol=0, atol=1e-6):
        return "the same numbers"
    return f"ours {np.sum(ours < theirs - 1e-9)}, theirs {np.sum(theirs < ours - 1e-9)}"


NOTES = """
Every row of a section sees the same data sets. Error: mean less target, in nats. stderr: what the estimator reports, root
mean square over the data sets. `sets`: data sets; what takes long has the first one alone, and then no scatter: hold
a difference between such a row and a mean over three against the sd of its neighbours.

- `CLUB` estimates another quantity than I(X;Y): with the exact q(y|x) its expectation is I(X;Y) plus the divergence of
  p(x)p(y) from p(x,y). That number is its target here, ours and the peer's: sum of rho^2 / (1 - rho^2) for normal laws and
  their embeddings, which it is invariant under; from 10^6 samples and the exact density ratio for the Student law.
- A peer in *italics* has another method: where no package has the same one, the peer with the smallest error in that section
  is shown, chosen in hindsight.
- Settings are the defaults on both sides. benchmark-mi: up to 10,000 steps, stopped and evaluated on one and the same half of
  the samples, of which it reports the largest value seen; labels are one-hot encoded for it. torch-mist: `hidden_dims=[128]`,
  up to 5,000 steps; evaluated on a quarter of the samples held out, as its default is to evaluate on the training data.
  latentmi: half for training, the other half both stops the training and gives the value. npeet-plus: k = 3.
- infomeasure: an alphabet size K where it takes one and it is right; for I(X;Y) its one K would serve both X and (X, Y), so
  that row has no peer. Its `grassberger` is the formula of 1988, ours that of 2003. Its `nsb` integrates over beta up to
  log K only, and is NaN at n = 300. Discrete sections: {draws} draws each; the last column counts on how many of them one
  is closer.
""".strip()


def main() -> None:
    """Measures what is missing and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="part of the name of a truth and a label, or of either")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="data sets of the trained estimators")
    parser.add_argument("--report", action="store_true", help="measure nothing, use the rows that are there")
    parser.add_argument("--write", action="store_true", help=f"also write {RESULT.name}")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # the peers say much
    RESULT.parent.mkdir(exist_ok=True)
    cache = RESULT.with_suffix(".jsonl")
    with threadpool_limits(1):
        import torch

        torch.set_num_threads(1)
        if options.report:
            rows = [Row.from_json(line) for line in cache.read_text().splitlines()]
        else:
            rows = measured(cache, options.only, options.seeds)
    head = [
        "# Error of the trained, latent and discrete estimators on named truths",
        "",
        f"{datetime.date.today()}, {os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}. "
        f"Command: `python -m benchmarks.accuracy --write`. Versions: {_versions()}.",
        "",
        NOTES.format(draws=DRAWS),
    ]
    text = "\n".join([*head, *report(rows, cases())]) + "\n"
    sys.stdout.write(text)
    if options.write:
        RESULT.write_text(text)


def _versions() -> str:
    found = []
    for name in (
        *("numpy", "torch", "jax", "benchmark-mi", "npeet-plus", "torch-mist", "latentmi", "infomeasure"),
    ):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


if __name__ == "__main__":
    main()

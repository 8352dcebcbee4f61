r"""Collapse by name, from the rows of a run: what an encoder that gave up looks like in quantities that are measured anyway.

A role's outputs z of dimension d at one step are in

* **complete collapse** if all directions agree, uniformity \(\log E \exp(-2 \|\bar z_i - \bar z_j\|^2) > -0.04\); as
  \(E \|\bar z_i - \bar z_j\|^2 = 2 d \sigma^2\) with \(\sigma\) the root mean square standard deviation of unit vectors, this
  is where \(\sigma\) falls below a tenth of \(1 / \sqrt d\), its value for directions uniform on the sphere;
* or if their root mean square standard deviation \(\sqrt{\mathrm{tr}\, \mathrm{Cov}(z) / d} < 0.05\), for the embeddings of
  objectives that are not free of scale: these ask for a spread of about 1;
* or if they are constant to working precision;
* **dimensional collapse** if their effective rank, RankMe, is less than 4 % of the way from 1 to its ceiling min(n, d);
* **no invariance**, of embeddings z alone, if two views of an image are more than 0.7 times as far apart on the sphere as
  views of different images: the terms against collapse have won, and z may be spread over all dimensions and say nothing of
  what views share. This is what VICReg becomes with weights (1, 100, 100) in the normalisation of `preset="eb_jepa"`.

What pools tokens carries the same positions in every image: its directions agree from the first step on without any
collapse. The first and the fourth verdict on h are given only where uniformity, or RankMe - 1, has also fallen to less than a
quarter of the most that was measured before.

The limits hold the healthy runs of this package apart from those without what keeps them from collapsing
(`tests/test_training_collapse.py`); like any limit on a path they are no theorem. An untrained network is not judged: with
running statistics from few batches, embeddings agree without any collapse.

References:
    Chen & He, 2021, *Exploring Simple Siamese Representation Learning*, section 4.1, for the standard deviation of unit vectors.
    Jing, Vincent, LeCun & Tian, 2022, *Understanding Dimensional Collapse in Contrastive Self-supervised Learning*.
    Wang & Isola, 2020, *Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere*.
    Garrido, Balestriero, Najman & LeCun, 2023, *RankMe*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infossl.trajectory import Row

__all__ = ["COMPLETE", "DIMENSIONAL", "UNALIGNED", "Collapse", "collapse_at", "collapses"]

COMPLETE, DIMENSIONAL, UNALIGNED = "complete collapse", "dimensional collapse", "no invariance"

_ROLES = ("h", "z")
_WARM = (
    30  # steps after which running statistics with momentum 0.1 have forgotten where they began, up to 4 %
)
_LEARNT = 100  # steps in which views should have come together
_UNIFORMITY, _SPREAD, _RANK, _APART = -0.04, 0.05, 0.04, 0.7
_FALLEN = 0.25


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """A collapse that has a name.

    Arguments:
        role: what collapsed, `"h"` or `"z"`.
        name: `COMPLETE`, `DIMENSIONAL` or `UNALIGNED`.
        step: where it was seen.
        since: the first step of the unbroken stretch of measurements in which it was seen.
        evidence: the number that says so, in words.
    """

    role: str
    name: str
    step: int
    since: int
    evidence: str

    def __str__(self) -> str:
        return f"{self.name} of {self.role} since step {self.since}: {self.evidence}"


def collapse_at(rows: Iterable[Row], step: int, *, scale_free: bool = True) -> dict[str, tuple[str, str]]:
    """Name and evidence for each role that is in collapse at a step; a role that is not judged or well is left out.

    Arguments:
        rows: of a run.
        step: steps below 30 are not judged, and invariance not below 100.
        scale_free: whether the objective is; if not, a spread of z near 0 is a collapse too.
    """
    found: dict[str, tuple[str, str]] = {}
    if step < _WARM:
        return found
    until = [row for row in rows if row.step <= step]
    for role in _ROLES:
        path = [row for row in until if row.role == role]
        now = {row.quantity: row for row in path if row.step == step}
        verdict = _verdict(now, path, embedding=role == "z", scale_free=scale_free)
        if verdict is not None and (step >= _LEARNT or verdict[0] != UNALIGNED):
            found[role] = verdict
    return found


def _verdict(
    rows: Mapping[str, Row], path: list[Row], *, embedding: bool, scale_free: bool
) -> tuple[str, str] | None:
    spread, rank = rows.get("log tr Cov"), rows.get("RankMe")
    if spread is not None and "collapsed" in spread.flags:
        return COMPLETE, "it is constant to working precision"
    agreement = rows.get("uniformity")
    fallen = embedding or _fallen(agreement, path, 0.0)
    if agreement is not None and agreement.value is not None and agreement.value > _UNIFORMITY and fallen:
        return COMPLETE, f"uniformity {agreement.value:.4f} > {_UNIFORMITY}: all directions agree"
    d = None if rank is None else rank.diagnostics.get("d")
    if embedding and not scale_free and d and spread is not None and spread.value is not None:
        size = math.sqrt(math.exp(spread.value) / d)
        if size < _SPREAD:
            return COMPLETE, f"root mean square standard deviation {size:.4f} < {_SPREAD}"
    if rank is not None and rank.value is not None and rank.ceiling is not None and rank.ceiling > 1:
        limit = 1 + _RANK * (rank.ceiling - 1)
        if rank.value < limit and (embedding or _fallen(rank, path, 1.0)):
            return DIMENSIONAL, f"RankMe {rank.value:.2f} < {limit:.2f}, of {rank.ceiling:.0f} dimensions"
    apart = rows.get("alignment")
    if embedding and apart is not None and apart.value is not None:
        share = apart.value / apart.diagnostics.get("null_mean", math.inf)
        if share > _APART:
            return (
                UNALIGNED,
                f"views of an image are {share:.2f} > {_APART} times as far apart as those of different images",
            )
    return None


def _fallen(row: Row | None, path: list[Row], least: float) -> bool:
    """Whether a quantity is less than a quarter as far from its least magnitude as it was at its largest."""
    if row is None or row.value is None:
        return False
    seen = [abs(r.value) - least for r in path if r.quantity == row.quantity and r.value is not None]
    return abs(row.value) - least < _FALLEN * max(seen)


def collapses(rows: Iterable[Row], *, scale_free: bool = True) -> tuple[Collapse, ...]:
    """The collapses that a run is in at its last measured step, each with the step since when it has been so.

    Example:
        >>> def row(step, value):
        ...     return Row(step=step, layer="projector", role="z", quantity="uniformity", unit="1", value=value)
        >>> [str(c) for c in collapses([row(30, -1.0), row(100, -0.03), row(300, -0.01)])]
        ['complete collapse of z since step 100: uniformity -0.0100 > -0.04: all directions agree']
    """
    rows = list(rows)
    steps = sorted({row.step for row in rows if row.role in _ROLES})
    verdicts = {step: collapse_at(rows, step, scale_free=scale_free) for step in steps}
    found = []
    for role, (name, evidence) in (verdicts[steps[-1]] if steps else {}).items():
        before = [step for step in steps if role not in verdicts[step]]
        since = next(step for step in steps if step > max(before, default=-1))
        found.append(Collapse(role=role, name=name, step=steps[-1], since=since, evidence=evidence))
    return tuple(found)

"""Data roles: which sample trained the encoder, fitted the probe and evaluated the bound.

A bound is a statement about how samples were used, so that a number computed from leaked data is not a loose
bound but no bound. Rows are compared by content: a leak is refused before anything is computed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
from array_api_compat import is_torch_array

from estimators.protocols import Array
from infossl.bounds.result import Assumption, Status

__all__ = ["Roles", "Sample", "require_disjoint", "row_hashes"]

Drawn = Literal["at random", "undeclared"]


def row_hashes(x: Array) -> tuple[str, ...]:
    """One content hash per row of `x: (n, ...)`, of the values as float64.

    Equal values hash alike whatever their dtype and the shape of a row, so that a uint8 image and its flat
    float copy are one image. Scaling or normalising changes the values: hash the same stage of the data for
    every sample, the raw inputs say.

    Raises:
        TypeError: if `x` is no array or lives on another device than the CPU.
        ValueError: if `x` has no row axis.
    """
    if not hasattr(x, "shape"):
        raise TypeError(
            f"x must be an array (n, ...) of inputs, got {type(x).__name__}; use numpy.asarray(x)"
        )
    if is_torch_array(x):
        if x.device.type != "cpu":
            raise TypeError(f"x of shape {tuple(x.shape)} is on device {str(x.device)!r}; pass x.cpu()")
        x = x.detach().numpy()
    if x.ndim < 1:
        raise ValueError(f"x has shape {tuple(x.shape)}: expected (n, ...), one row per sample")
    # Adding 0.0 makes -0.0 and 0.0 one value.
    rows = np.ascontiguousarray(np.asarray(x, dtype=np.float64).reshape(len(x), -1)) + 0.0
    return tuple(hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in rows)


@dataclass(frozen=True)
class Sample:
    """A named sample, known by the content hashes of its rows.

    Arguments:
        name: what a reader calls it, such as `"digits train"`.
        hashes: one per row, from `row_hashes`; empty for an encoder that was never trained.
        labels_used: whether its labels were used in the role that it plays.
        drawn: `"at random"` if its rows are independent draws of the law that the bound speaks about, or a
            random part of such draws; a split by time, by writer or by hand is not.

    Raises:
        ValueError: if `drawn` is neither of the two.

    Example:
        >>> import numpy as np
        >>> sample = Sample.of("train", np.arange(6.0).reshape(3, 2))
        >>> str(sample), sample.n
        ('train (3 rows, labels not used, drawing undeclared)', 3)
    """

    name: str
    hashes: tuple[str, ...]
    labels_used: bool = False
    drawn: Drawn = "undeclared"

    def __post_init__(self) -> None:
        if self.drawn not in get_args(Drawn):
            raise ValueError(
                f"drawn = {self.drawn!r} of sample {self.name!r} must be one of {get_args(Drawn)}"
            )

    @classmethod
    def of(cls, name: str, x: Array, *, labels_used: bool = False, drawn: Drawn = "undeclared") -> Sample:
        """The sample whose rows are `x: (n, ...)`; see `row_hashes` for what counts as equal."""
        return cls(name, row_hashes(x), labels_used, drawn)

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.hashes)

    def overlap(self, other: Sample) -> int:
        """How many rows of this sample are also in the other."""
        theirs = set(other.hashes)
        return sum(h in theirs for h in self.hashes)

    def __str__(self) -> str:
        labels = "labels used" if self.labels_used else "labels not used"
        drawn = "drawn at random" if self.drawn == "at random" else "drawing undeclared"
        return f"{self.name} ({self.n} rows, {labels}, {drawn})"


def require_disjoint(first: Sample, second: Sample, why: str) -> None:
    """Raises `ValueError` if the two samples share a row."""
    shared = first.overlap(second)
    if shared:
        raise ValueError(
            f"{shared} of the {first.n} rows of {first.name!r} are also in {second.name!r}: {why}; "
            "remove those rows from one of the two samples"
        )


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Who did what. A leak cannot be written down: the evaluation sample must be disjoint from all others.

    Arguments:
        encoder: the sample that trained the encoder.
        probe: the labelled sample that fitted the probe.
        pool: the sample whose features make up the unlabelled pool of a bound that has one; for augmented
            views, the images that they were made from.
        evaluation: the sample that the error is measured on.

    Raises:
        ValueError: if the evaluation sample shares a row with another.

    Example:
        >>> import numpy as np
        >>> train = Sample.of("train", np.eye(3))
        >>> Roles(evaluation=Sample.of("test", np.eye(3)[:1]), encoder=train)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: 1 of the 1 rows of 'test' are also in 'train': ...
    """

    encoder: Sample | None = None
    probe: Sample | None = None
    pool: Sample | None = None
    evaluation: Sample | None = None

    def __post_init__(self) -> None:
        if self.evaluation is None:
            return
        for role in ("encoder", "probe", "pool"):
            sample = getattr(self, role)
            if sample is not None:
                require_disjoint(self.evaluation, sample, f"the evaluation sample must be new to the {role}")

    def require_rows(self, **rows: int) -> None:
        """Raises `ValueError` where a declared sample has another number of rows than the arrays at hand."""
        for role, n in rows.items():
            sample = getattr(self, role)
            if sample is not None and sample.n != n:
                raise ValueError(
                    f"roles.{role} is {sample.name!r} with {sample.n} rows, but its arrays have {n}: "
                    "declare the sample that the features were computed from"
                )

    def describe(self) -> dict[str, str]:
        """One text per role, `"undeclared"` where nothing is known."""
        return {f.name: str(getattr(self, f.name) or "undeclared") for f in fields(self)}

    def evaluation_is_new(self) -> Assumption:
        """Whether the evaluation sample is known to be new to the encoder and the probe."""
        declared = None not in (self.encoder, self.probe, self.evaluation)
        return Assumption(
            "the evaluation sample is disjoint from those that trained the encoder and fitted the probe",
            "holds by construction" if declared else "assumed",
        )

    def evaluation_is_random(self) -> Assumption:
        """Whether the evaluation sample is declared as random draws."""
        random = self.evaluation is not None and self.evaluation.drawn == "at random"
        return Assumption(
            "the evaluation samples are independent draws of the law that the error speaks about",
            "holds by construction" if random else "assumed",
        )

    def labelled_is_free_of_pool(self) -> Assumption:
        """Whether the labelled sample is disjoint from the pool, all of it, or some part of it."""
        status: Status = "assumed"
        if self.probe is not None and self.pool is not None:
            shared = self.probe.overlap(self.pool)
            if shared == 0 or set(self.probe.hashes) == set(self.pool.hashes):
                status = "holds by construction"
        return Assumption(
            "the labelled sample is independent of the pool, all of it, or a uniformly random part of it",
            status,
        )

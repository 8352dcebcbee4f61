"""`infossl estimate x.npy [y.npy] --with "KSG(k=5)"`: one estimator on arrays from files."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

import estimators
from estimators import parse
from infossl.trajectory import plain_json

__all__ = ["Estimate", "load_array"]


@dataclass(frozen=True)
class Estimate:
    """Entropy of one array or mutual information of two, from .npy, .npz or .csv files.

    Rows are samples. An integer vector is a discrete variable. A member of an archive is chosen as
    `file.npz:name`. Prints one line that says the value, its unit, its bound direction and its flags.
    """

    arrays: tyro.conf.Positional[tuple[str, ...]]
    """x, or x and y: files with one row per sample."""

    with_: Annotated[str, tyro.conf.arg(name="with")] = ""
    """The estimator as text, such as "Subsampled(KSG(k=5))"; by default Gaussian()."""

    continuous: bool = False
    """Take integer vectors as measurements, not as a discrete variable."""

    json: bool = False
    """Print all fields as JSON."""

    bits: bool = False
    """Print the value in bits as well."""

    def run(self) -> estimators.Estimate:
        """Estimates, prints, and returns the `Estimate`."""
        if not 1 <= len(self.arrays) <= 2:
            raise ValueError(
                f"give one file for an entropy or two for a mutual information, not {len(self.arrays)}"
            )
        estimator: Callable[..., estimators.Estimate] = parse(self.with_ or "Gaussian()")
        arrays = [load_array(name) for name in self.arrays]
        if self.continuous:
            arrays = [array.astype(float) if array.dtype.kind in "biu" else array for array in arrays]
        _require_arity(estimator, len(arrays))
        estimate = estimator(*arrays)
        if self.json:
            print(json.dumps(plain_json(estimate.to_dict())))
        else:
            print(estimate)
            if self.bits:
                print(f"{estimate.bits:.4f} bits")
            for flag in estimate.flags:
                print(f"  {flag}: {estimators.FLAGS[flag]}")
        return estimate


def _require_arity(estimator: Any, given: int) -> None:
    """Raises `ValueError` where the estimator takes another number of samples, through its wrappers."""
    if not callable(estimator):
        raise ValueError(f"{estimator!r} is no estimator; write a call such as 'KSG(k=5)'")
    inner = estimator
    while hasattr(inner, "inner"):
        inner = inner.inner
    parameters = inspect.signature(inner).parameters.values()
    samples = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    least = sum(p.default is p.empty for p in samples)
    if given < least:
        raise ValueError(f"{estimator!r} measures two samples: give a second file")
    if given > len(samples):
        raise ValueError(f"{estimator!r} measures one sample: leave out the second file")


def load_array(name: str) -> np.ndarray:
    """Reads an array `(n, d)` or `(n,)` from `.npy`, `.npz` (`file.npz:member`) or `.csv`; never a pickle.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no plain array of numbers; the mend is named.
    """
    path, _, member = name.partition(".npz:")
    file = Path(path + ".npz" if member else name)
    if not file.exists():
        raise FileNotFoundError(f"no file {file}")
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                names = sorted(archive.files)
                if not member and len(names) != 1:
                    raise ValueError(f"it holds {', '.join(names)}: choose one as {file}:{names[0]}")
                if member and member not in names:
                    raise ValueError(f"it has no member {member!r}, only {', '.join(names)}")
                return archive[member or names[0]]
        if file.suffix == ".npy":
            return np.load(file, allow_pickle=False)
        if file.suffix == ".csv":
            return _csv(file)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"cannot read {file}: {error}") from None
    raise ValueError(f"cannot read {file}: its ending is {file.suffix!r}; .npy, .npz and .csv are known")


def _csv(file: Path) -> np.ndarray:
    import pandas as pd

    table = pd.read_csv(file, header=None)
    if table.map(lambda value: isinstance(value, str)).iloc[0].any():  # a first line of column names
        table = pd.read_csv(file)
    text = [str(column) for column in table if not pd.api.types.is_numeric_dtype(table[column])]
    if text:
        raise ValueError(f"columns {', '.join(text)} hold text; keep numbers only")
    array = table.to_numpy()
    return array[:, 0] if array.shape[1] == 1 else array

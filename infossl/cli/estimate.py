"""`infossl estimate x.npy [y.npy] --with "KSG(k=5)"`: one estimator on arrays from files."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
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
    """Entropy of one array or mutual information of two, from .npy, .npz, .csv or .pt files.

    Rows are samples. An integer vector is a discrete variable. A member of an archive is chosen as
    `file.npz:name` or `file.pt:name`. Prints one line that says the value, its unit, its bound direction and its flags.
    """

    arrays: tyro.conf.Positional[tuple[str, ...]]
    """x, or x and y: files with one row per sample."""

    with_: Annotated[str, tyro.conf.arg(name="with")] = ""
    """The estimator as text, such as "Subsampled(KSG(k=5))", or "Panel()" for a table of several; by default
    Auto(), which chooses by held-out evidence, and Gaussian() for an entropy."""

    continuous: bool = False
    """Take integer vectors as measurements, not as a discrete variable."""

    json: bool = False
    """Print all fields as JSON."""

    bits: bool = False
    """Print the value in bits as well."""

    def run(self) -> estimators.Estimate | estimators.PanelResult:
        """Estimates, prints, and returns the `Estimate`, or the table of a panel."""
        if not 1 <= len(self.arrays) <= 2:
            raise ValueError(
                f"give one file for an entropy or two for a mutual information, not {len(self.arrays)}"
            )
        estimator: Callable[..., Any] = parse(
            self.with_ or ("Auto()" if len(self.arrays) == 2 else "Gaussian()")
        )
        arrays = [load_array(name) for name in self.arrays]
        if self.continuous:
            arrays = [array.astype(float) if array.dtype.kind in "biu" else array for array in arrays]
        _require_arity(estimator, len(arrays))
        found = estimator(*arrays)
        estimates = found.estimates if isinstance(found, estimators.PanelResult) else (found,)
        if self.json:
            for estimate in estimates:
                print(json.dumps(plain_json(estimate.to_dict())))
            return found
        print(found)
        for estimate in estimates:
            if self.bits:
                print(f"{estimate.bits:.4f} bits  [{estimate.method}]")
        for flag in dict.fromkeys(flag for estimate in estimates for flag in estimate.flags):
            print(f"  {flag}: {estimators.FLAGS[flag]}")
        return found


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
    """Reads an array `(n, d)` or `(n,)` from `.npy`, `.npz`, `.csv`, `.pt` or `.pth`; nothing in a file is ever run.

    A member of an archive or of a saved dictionary of tensors is chosen as `file.npz:name` or `file.pt:name`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no plain array of numbers; the mend is named.
    """
    file, member = Path(name), ""
    for ending in (".npz", ".pt", ".pth"):
        stem, found, rest = name.rpartition(f"{ending}:")
        if found:
            file, member = Path(stem + ending), rest
    if not file.exists():
        raise FileNotFoundError(f"no file {file}")
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                return archive[_member(archive.files, member, file)]
        if file.suffix in (".pt", ".pth"):
            return _tensor(file, member)
        if file.suffix == ".npy":
            return np.load(file, allow_pickle=False)
        if file.suffix == ".csv":
            return _csv(file)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"cannot read {file}: {error}") from None
    raise ValueError(
        f"cannot read {file}: its ending is {file.suffix!r}; .npy, .npz, .csv, .pt and .pth are known"
    )


def _member(names: Iterable[str], member: str, file: Path) -> str:
    names = sorted(names)
    if not member and len(names) != 1:
        raise ValueError(f"it holds {', '.join(names)}: choose one as {file}:{names[0] if names else 'name'}")
    if member and member not in names:
        raise ValueError(f"it has no member {member!r}, only {', '.join(names)}")
    return member or names[0]


def _tensor(file: Path, member: str) -> np.ndarray:
    """A tensor that was saved by itself or in a dictionary, such as activations by layer."""
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings(action="ignore"):  # of file formats: what matters is what comes out
            saved = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):
        raise ValueError(
            "it holds no plain tensors, or is damaged; save activations as torch.save({'h': h, 'z': z}, path)"
        ) from None
    if isinstance(saved, dict):
        tensors = {str(key): value for key, value in saved.items() if isinstance(value, torch.Tensor)}
        saved = tensors[_member(tensors, member, file)]
    if not isinstance(saved, torch.Tensor):
        raise ValueError(f"it holds a {type(saved).__name__}, not a tensor or a dictionary of tensors")
    saved = saved.detach()
    return (saved.float() if saved.dtype in (torch.bfloat16, torch.float16) else saved).numpy()


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

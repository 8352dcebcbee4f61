"""`Row` and `Trajectory`: the tidy, append-only table that every measurement ends in.

On disk a trajectory is JSON lines, one row a line. Rows of one step are appended in one write and synced, so
a process killed at any moment leaves whole rows and at most one torn last line, which readers pass over.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators import Estimate

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Row", "Trajectory", "atomic_write", "plain_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured number: where it was taken, the `Estimate`, what it cost, or why it failed.

    Arguments:
        run: name of the run.
        step: optimizer steps done when it was measured; `epoch` likewise.
        layer: module name of the tap, or `"input"` and `"loss"` for numbers that belong to no layer.
        role: what the layer is in the theory: `"block1"`, `"h"`, `"z"`, `"x"`, ...
        branch: `"student"`, `"target"` or `""`.
        view: what went in: `"clean"` inputs, or the `"augmented"` views.
        pool: how the activation became one row per sample.
        split: which samples: `"held-out"`, `"train"` or `"all"`.
        channel: what makes the number finite, see `infossl.channels`; `""` where nothing is to declare.
        seed: seed of the run.
        seconds: time the measurement took; outside every promise of equality.
        error: why the measurement failed; then `value` is `None`.

    The remaining fields are those of `estimators.Estimate`.
    """

    run: str = ""
    step: int
    epoch: float | None = None
    layer: str
    role: str = ""
    branch: str = ""
    view: str = ""
    pool: str = ""
    split: str = ""
    channel: str = ""
    value: float | None = None
    quantity: str
    unit: str = "nats"
    n: int = 0
    method: str = ""
    bound: str = "none"
    stderr: float | None = None
    interval: tuple[float, float] | None = None
    level: float | None = None
    ceiling: float | None = None
    flags: tuple[str, ...] = ()
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    seed: int | None = None
    seconds: float | None = None
    error: str | None = None

    @classmethod
    def of(cls, estimate: Estimate, **where: Any) -> Row:
        """A row from an estimate and the fields that say where it was taken."""
        return cls(**estimate.to_dict(), **where)

    def estimate(self) -> Estimate:
        """The `Estimate` inside; raises `ValueError` for an error row."""
        if self.value is None:
            raise ValueError(f"{self.quantity} at step {self.step} failed: {self.error}")
        names = {f.name for f in fields(Estimate)}
        return Estimate(**{k: v for k, v in asdict(self).items() if k in names})

    def to_json(self) -> str:
        """One line of JSON. Infinities and NaN, which JSON lacks, are written as strings."""
        return json.dumps({k: plain_json(v) for k, v in asdict(self).items()}, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Row:
        """The row that `to_json` wrote; fields of other versions are ignored."""
        data = json.loads(line)
        known = {k: v for k, v in data.items() if k in _FIELDS}
        for key in ("value", "stderr", "ceiling", "level", "seconds", "epoch"):
            if isinstance(known.get(key), str):
                known[key] = float(known[key])
        if known.get("interval") is not None:
            low, high = known["interval"]
            known["interval"] = (float(low), float(high))
        known["flags"] = tuple(known.get("flags") or ())
        known["diagnostics"] = {k: float(v) for k, v in (known.get("diagnostics") or {}).items()}
        return cls(**known)


_FIELDS = {f.name for f in fields(Row)}


def plain_json(value: Any) -> Any:
    """The value with infinities and NaN, which JSON lacks, as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [plain_json(v) for v in value]
    if isinstance(value, Mapping):
        return {k: plain_json(v) for k, v in value.items()}
    return value


def atomic_write(path: Path, data: bytes) -> None:
    """Replaces a file in one step: a reader sees the old content or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


class Trajectory:
    """An append-only table of `Row`s, in memory and, given a path, on disk.

    Example:
        >>> t = Trajectory()
        >>> t.append([Row(step=0, layer="encoder", role="h", quantity="RankMe", unit="1", value=3.0)])
        >>> t.select(role="h").to_pandas()["value"].tolist()
        [3.0]
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, rows: Iterable[Row] = ()) -> None:
        self.path = None if path is None else Path(path)
        self.torn = False
        self._rows = list(rows)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trajectory:
        """Reads `trajectory.jsonl`, or the one inside a run folder. A torn last line is passed over.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if a line before the last cannot be read; the line number is named.
        """
        path = Path(path)
        if path.is_dir():
            path = path / "trajectory.jsonl"
        if not path.exists():
            raise FileNotFoundError(f"no trajectory at {path}; a run folder holds trajectory.jsonl")
        rows, lines, torn = [], path.read_bytes().split(b"\n"), False
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                rows.append(Row.from_json(line.decode()))
            except (ValueError, TypeError) as error:
                if number == len(lines):  # no newline after it: the write was cut short
                    torn = True
                    break
                raise ValueError(f"{path}, line {number} is not a row: {error}") from None
        found = cls(path, rows)
        found.torn = torn
        return found

    def append(self, rows: Iterable[Row]) -> None:
        """Adds rows; on disk they are one write, synced before this returns."""
        rows = list(rows)
        self._rows.extend(rows)
        if self.path is None or not rows:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a+b") as file:
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                raise ValueError(f"{self.path} ends in a torn line; call cut(step) before appending")
            file.write("".join(row.to_json() + "\n" for row in rows).encode())
            file.flush()
            os.fsync(file.fileno())

    def cut(self, step: int) -> None:
        """Drops every row past `step`, in memory and on disk (a torn last line too): what a resume does first."""
        self._rows = [row for row in self._rows if row.step <= step]
        self.torn = False
        if self.path is not None and self.path.exists():
            atomic_write(self.path, "".join(row.to_json() + "\n" for row in self._rows).encode())

    def select(self, where: Callable[[Row], bool] | None = None, /, **equal: Any) -> Trajectory:
        """The rows whose fields equal the given values (a tuple means any of them) and satisfy `where`."""

        def fits(row: Row) -> bool:
            for key, wanted in equal.items():
                value = getattr(row, key)
                if not (value in wanted if isinstance(wanted, (tuple, set, list)) else value == wanted):
                    return False
            return where is None or where(row)

        return Trajectory(rows=[row for row in self._rows if fits(row)])

    def to_pandas(self) -> pd.DataFrame:
        """The table as a `DataFrame`, one column per field of `Row`."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self._rows], columns=[f.name for f in fields(Row)])

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        steps = sorted({row.step for row in self._rows})
        span = f"steps {steps[0]}..{steps[-1]}" if steps else "empty"
        where = "" if self.path is None else f", {self.path}"
        return f"Trajectory({len(self._rows)} rows, {span}{where})"

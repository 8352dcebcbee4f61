"""Reading a run folder for a report; every part may be missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infossl.bounds.result import BoundReport
from infossl.trajectory import Trajectory

__all__ = ["RunFolder", "read_run"]


@dataclass(frozen=True)
class RunFolder:
    """What a run left behind: its description, its table and its bounds."""

    path: Path
    meta: Mapping[str, Any]
    trajectory: Trajectory
    bounds: tuple[BoundReport, ...] = field(default=())

    @property
    def name(self) -> str:
        """The run's own name, or that of its folder."""
        return str(self.meta.get("run") or self.path.resolve().name)

    def section(self, key: str) -> Mapping[str, Any]:
        """A nested part of `run.json`; empty where it is missing or no mapping."""
        value = self.meta.get(key)
        return value if isinstance(value, Mapping) else {}

    def seconds(self, key: str) -> float | None:
        """`train_seconds` or `measure_seconds` of `run.json`."""
        value = self.section("timing").get(key)
        return float(value) if isinstance(value, (int, float)) else None


def read_run(path: Path) -> RunFolder:
    """Reads `run.json`, `trajectory.jsonl` and `bounds.jsonl`; those that are missing are empty.

    Raises:
        FileNotFoundError: if the folder holds none of them.
        ValueError: if one of them cannot be read; the file is named.
    """
    path = Path(path)
    files = {name: path / name for name in ("run.json", "trajectory.jsonl", "bounds.jsonl")}
    if not any(file.exists() for file in files.values()):
        raise FileNotFoundError(f"{path} is no run folder: it has none of {', '.join(files)}")
    meta: Any = {}
    if files["run.json"].exists():
        try:
            meta = json.loads(files["run.json"].read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{files['run.json']} is not JSON: {error}") from None
        if not isinstance(meta, dict):
            raise ValueError(f"{files['run.json']} must hold a JSON object, got {type(meta).__name__}")
    table = Trajectory.load(path) if files["trajectory.jsonl"].exists() else Trajectory()
    bounds = []
    if files["bounds.jsonl"].exists():
        lines = files["bounds.jsonl"].read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                bounds.append(BoundReport.from_json(line))
            except (ValueError, TypeError, KeyError) as error:
                if number == len(lines):  # no newline after it: the write was cut short
                    break
                raise ValueError(f"{files['bounds.jsonl']}, line {number} is no bound: {error}") from None
    return RunFolder(path, meta, table, tuple(bounds))

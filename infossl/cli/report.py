"""`infossl report RUN`: figures and one HTML page from the tables of a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """Write figures (PNG and SVG) and report.html from run folders.

    Several runs, such as several seeds, are drawn in the same figures. The same folders give the same report.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, each with a trajectory.jsonl."""

    out: Path | None = None
    """Where the report goes; by default into the run folder, or, for several, into the folder that holds the first."""

    def run(self) -> Path:
        """Writes the report, prints where it is, and returns the path."""
        from infossl.report import write_report

        page = write_report(self.runs, self.out)
        print(f"report: {page.resolve()}")
        return page

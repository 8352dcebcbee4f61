"""infossl: information-theory analysis for self-supervised learning.

Attach estimators to a training run with `watch`, record layers with `record`, measure arrays with the
`estimators` package, check bounds with `check_bounds`, and read it all in the report of a run folder.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infossl.bounds import check_bounds as check_bounds
    from infossl.cli.job import train as train
    from infossl.monitor import watch as watch
    from infossl.probe_set import ProbeSet as ProbeSet
    from infossl.recording import record as record
    from infossl.report import write_report as write_report
    from infossl.trajectory import Trajectory as Trajectory

__version__ = "0.1.0"

_HOME = {
    "ProbeSet": "infossl.probe_set",
    "Trajectory": "infossl.trajectory",
    "check_bounds": "infossl.bounds",
    "record": "infossl.recording",
    "train": "infossl.cli.job",
    "watch": "infossl.monitor",
    "write_report": "infossl.report",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    # Resolved when first used, so that `infossl --help` and a notebook that needs one function start at once.
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'infossl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

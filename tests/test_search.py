"""How the neighbour search shares its work, and what it says while it compiles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from estimators._search import _shared

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("least", [1, 7, 1000])
@pytest.mark.parametrize("total", [1, 5, 16, 1000])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_item_is_worked_on_once(workers: int, total: int, least: int) -> None:
    blocks: list[tuple[int, int]] = []
    _shared(lambda first, last: blocks.append((first, last)), total, workers, least)
    blocks.sort()
    assert [i for first, last in blocks for i in range(first, last)] == list(range(total))
    assert len(blocks) <= 8 * workers
    assert len(blocks) == min(workers, total) or min(b - a for a, b in blocks) >= least


@pytest.mark.parametrize("bad", [0, 99])
def test_an_error_in_a_thread_reaches_the_caller(bad: int) -> None:
    def work(first: int, last: int) -> None:
        if first <= bad < last:
            raise ValueError("from a thread")

    with pytest.raises(ValueError, match="from a thread"):
        _shared(work, 100, 2)


def test_compilation_is_announced_once_on_a_machine(tmp_path: Path) -> None:
    code = (
        "import numpy as np; from estimators._search import count; z = np.arange(9.0)[:, None];"
        "print(count(z, np.full(9, 1.5), False).sum())"
    )
    said = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert run.stdout == "16\n", run.stderr
        said.append(run.stderr)
    assert said[0].count("compiling") == 1
    assert said[1] == ""

"""Trajectory: crash-safe appends, exact round trips, cutting for a resume."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time

import pytest

from estimators import Estimate
from infossl.trajectory import Row, Trajectory

ESTIMATE = Estimate(
    value=-0.01,
    quantity="I(Z;Y)",
    n=7,
    method="Gaussian(corrected=True)",
    bound="lower",
    stderr=0.5,
    interval=(-1.0, math.inf),
    ceiling=2.0,
    flags=("ties", "saturated"),
    diagnostics={"d": 3.0, "null_mean": -math.inf},
)


def row(step: int, **changes) -> Row:
    return Row.of(
        ESTIMATE, **({"step": step, "layer": "encoder", "role": "h", "run": "a", "seed": 3} | changes)
    )


def test_a_row_survives_json_exactly():
    assert Row.from_json(row(4).to_json()) == row(4)
    assert row(4).estimate() == ESTIMATE


def test_an_error_row_has_no_estimate():
    failed = Row(step=1, layer="x", quantity="H(Z)", error="ValueError: no")
    assert Row.from_json(failed.to_json()) == failed
    with pytest.raises(ValueError, match="failed: ValueError: no"):
        failed.estimate()


def test_append_and_load(tmp_path):
    trajectory = Trajectory(tmp_path / "run" / "trajectory.jsonl")
    trajectory.append([row(0), row(0)])
    trajectory.append([row(5)])
    loaded = Trajectory.load(tmp_path / "run")
    assert loaded.rows == trajectory.rows
    assert [r.step for r in loaded] == [0, 0, 5]
    assert "steps 0..5" in repr(loaded)


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_torn_last_line_is_passed_over_and_cut_mends_it(tmp_path, kept):
    path = tmp_path / "trajectory.jsonl"
    Trajectory(path).append([row(0), row(1)])
    line = row(2).to_json()
    with open(path, "a") as file:
        file.write(line[: max(1, int(kept * len(line)))])
    loaded = Trajectory.load(path)
    assert [r.step for r in loaded] == [0, 1]
    with pytest.raises(ValueError, match="torn line"):
        loaded.append([row(3)])
    loaded = Trajectory.load(path)
    loaded.cut(0)
    loaded.append([row(3)])
    assert [r.step for r in Trajectory.load(path)] == [0, 3]


def test_damage_elsewhere_is_an_error_that_names_the_line(tmp_path):
    path = tmp_path / "trajectory.jsonl"
    path.write_text("not json\n" + row(1).to_json() + "\n")
    with pytest.raises(ValueError, match="line 1 is not a row"):
        Trajectory.load(path)
    with pytest.raises(FileNotFoundError, match=r"trajectory\.jsonl"):
        Trajectory.load(tmp_path / "nowhere")


def test_select_and_pandas():
    trajectory = Trajectory(rows=[row(0), row(1, role="z"), row(2, role="z")])
    assert [r.step for r in trajectory.select(role="z")] == [1, 2]
    assert [r.step for r in trajectory.select(step=(0, 2))] == [0, 2]
    assert [r.step for r in trajectory.select(lambda r: r.step > 0, role="z")] == [1, 2]
    table = trajectory.to_pandas()
    assert table["value"].tolist() == [-0.01] * 3
    assert {"channel", "ceiling", "flags", "seconds", "error"} <= set(table.columns)


def _append_for_ever(path: str) -> None:
    trajectory = Trajectory(path)
    for step in range(10**6):
        trajectory.append([row(step) for _ in range(20)])


@pytest.mark.parametrize("delay", [0.05, 0.11, 0.23])
def test_a_process_killed_while_appending_leaves_a_readable_file(tmp_path, delay):
    path = tmp_path / "trajectory.jsonl"
    process = multiprocessing.get_context("spawn").Process(target=_append_for_ever, args=(str(path),))
    process.start()
    while not path.exists():
        time.sleep(0.01)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    loaded = Trajectory.load(path)
    assert len(loaded) >= 1
    assert [r.step for r in loaded] == sorted(r.step for r in loaded)
    loaded.cut(0)
    assert len(Trajectory.load(path)) == 20

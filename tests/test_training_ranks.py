"""The loop on two processes is the loop on one: losses, weights, rows, checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import training_ranks
from training_ranks import CASES, run


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("ranks")
    script = Path(training_ranks.__file__)
    environment = os.environ | {"PYTHONPATH": str(script.parent.parent), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, str(script), str(folder), str(rank)], env=environment)
        for rank in (0, 1)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    return folder, [torch.load(folder / f"rank{rank}.pt") for rank in (0, 1)]


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_what_one_process_trains(ranks, case: str) -> None:
    alone = run(case, None)
    _, (zero, one) = ranks
    assert_close(zero[case]["weights"], alone["weights"])
    assert all(
        torch.equal(value, one[case]["weights"][name]) for name, value in zero[case]["weights"].items()
    )
    assert zero[case]["last"] == pytest.approx(alone["last"], rel=1e-3)
    assert (zero[case]["rows"], one[case]["rows"]) == (alone["rows"], 0)  # rank 0 alone measures


def test_accumulation_works_on_ranks(ranks) -> None:
    assert_close(ranks[1][0]["parts"]["weights"], run("BYOL()", None, accumulate=2)["weights"])


def test_a_run_on_ranks_resumes_exactly(ranks) -> None:
    _, found = ranks
    for rank in found:
        for name, value in rank["VICReg()"]["weights"].items():
            assert torch.equal(rank["resumed"]["weights"][name], value)


def test_a_batch_that_cannot_be_dealt_is_refused(ranks) -> None:
    for rank in ranks[1]:
        assert "batch_size = 15 must be a multiple of accumulate * ranks = 1 * 2" in rank["refused"]


def test_rank_zero_alone_writes(ranks) -> None:
    folder, _ = ranks
    names = sorted(path.name for path in (folder / "BYOL()/checkpoints").iterdir())
    assert names == ["step-00000004.pt", "step-00000004.sha256", "step-00000006.pt", "step-00000006.sha256"]

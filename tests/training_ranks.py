"""One rank of a two-process training run; `python training_ranks.py FOLDER RANK` meets the other in a file of the folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny_run import CONFIG, TinyMonitor, tiny_data
from torch import nn

from infossl.distributed import initialised
from infossl.methods import ijepa
from infossl.training import Recipe, fit

# SGD: Adam would divide by gradients near zero and make differences of the last digit large.
SETTINGS = {"steps": 6, "batch_size": 16, "optimizer": "SGD()", "lr": 0.02, "checkpoint_every": 4}
CASES = ("VICReg()", "BYOL()", "DINO()", "ijepa")


def method_of(case: str) -> nn.Module:
    if case == "ijepa":
        return ijepa(8, patch=2, width=16, depth=1, heads=2, predictor_width=8, predictor_depth=1)
    chosen = Recipe(objective=case, channels=(4, 8), strides=(1, 2), hidden=(8, 8))
    return chosen.build(tiny_data())


def run(case: str, folder: Path | None, *, resume: bool = False, **settings) -> dict[str, object]:
    method = method_of(case)
    config = replace(CONFIG, **{**SETTINGS, **settings})
    monitor = TinyMonitor(method, None if folder is None else folder / "trajectory.jsonl")
    result = fit(method, tiny_data(), config, out=folder, monitor=monitor, resume=resume, progress=False)
    return {"weights": method.state_dict(), "last": dict(result.last), "rows": len(monitor.trajectory)}


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    found: dict[str, object] = {}
    with initialised(device="cpu", timeout=60, init_method=f"file://{folder}/meet", rank=rank, size=2):
        for case in CASES:
            found[case] = run(case, folder / case)
        found["parts"] = run("BYOL()", None, accumulate=2)
        if rank == 0:
            (folder / "VICReg()/checkpoints/step-00000006.pt").unlink()
        torch.distributed.barrier()
        found["resumed"] = run("VICReg()", folder / "VICReg()", resume=True)
        try:
            run("VICReg()", None, batch_size=15)
        except ValueError as error:
            found["refused"] = str(error)
    torch.save(found, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

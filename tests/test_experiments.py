"""Every study runs at a small size through the same code as the full one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

STUDIES = Path(__file__).resolve().parents[1] / "experiments"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"study_{name}", STUDIES / name / "run.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_content_and_style(tmp_path):
    study = load("content_and_style")
    settings = study.Study(
        objectives=("VICReg()",), seeds=(0,), steps=2, runs=tmp_path / "runs", out=tmp_path
    )
    table = study.main(settings)
    assert (tmp_path / "results.md").read_text() == table + "\n"
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert table.count("VICReg()") == 2
    assert study.main(settings) == table  # complete runs are found, not repeated


def test_positions_are_those_of_the_evaluation_inputs():
    study = load("content_and_style")
    data = study.recipe("cluttered-digits").load()
    fit_position, position = study.positions(data)
    assert fit_position.shape == (1000, 2)
    assert position.shape == (797, 2)
    # The brightest region lies where the digit was put: the centre of mass follows the position.
    image = data.evaluation()[1][:, 0].clamp(min=0).double()
    grid = torch.linspace(-1, 1, 24, dtype=torch.float64)
    mass = image.sum((1, 2))
    centre = torch.stack([(image.sum(1) * grid).sum(1) / mass, (image.sum(2) * grid).sum(1) / mass], 1)
    for axis in (0, 1):
        assert torch.corrcoef(torch.stack([centre[:, axis], position[:, axis]]))[0, 1] > 0.7


def test_every_study_has_claim_command_and_result():
    for folder in STUDIES.iterdir():
        if folder.is_dir():
            text = (folder / "README.md").read_text()
            assert all(word in text for word in ("**Claim.**", "**Command**", "**Result**")), folder
            assert (folder / "results.md").exists(), folder

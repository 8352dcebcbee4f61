"""What the documents tell people to type works: every Python block runs, every command and link exists."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def surroundings(tmp_path, monkeypatch) -> dict:
    """What a reader has at hand: a model of their own, data, an optimizer."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    images, labels = torch.rand(120, 1, 6, 6), torch.arange(120) % 4

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 12))
            self.projector = torch.nn.Linear(12, 6)

        def forward(self, x):
            return self.projector(self.backbone(x))

    model = Model()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 5))
    return {
        "images": images,
        "labels": labels,
        "augment": lambda batch, generator: batch + 0.1 * torch.randn(batch.shape, generator=generator),
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
        "loader": images.split(40),
        "loss": lambda model, batch: model(batch).square().mean(),
        "x": x,
        "y": x + rng.standard_normal((600, 5)),
    }


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split("\n")[0])
def test_python_blocks_run(code, surroundings, tmp_path):
    exec(code, surroundings)
    if "watch" in code:
        assert (tmp_path / "runs/mine/report.html").exists()
        rows = surroundings["monitor"].trajectory
        assert {r.role for r in rows} == {"h", "z", "x"}
        assert not [r.error for r in rows if r.error]


def test_there_are_python_blocks():
    assert len(blocks("python")) == 2
    assert len(blocks("python")[0].strip().split("\n")) <= 12  # "ten lines that attach to your own loop"


def test_commands_name_real_commands_and_settings():
    from dataclasses import fields

    from infossl.cli.calibrate import Calibrate
    from infossl.cli.estimate import Estimate
    from infossl.cli.report import Report
    from infossl.cli.train import Train

    settings = {"train": Train, "report": Report, "estimate": Estimate, "calibrate": Calibrate}
    commands = [line for block in blocks("sh") for line in block.split("\n") if line.startswith("infossl ")]
    assert {line.split()[1] for line in commands} == set(settings)
    for line in commands:
        known = {f.name.strip("_").replace("_", "-") for f in fields(settings[line.split()[1]])}
        assert set(re.findall(r"--([a-z-]+)", line)) <= known, line


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"demo", "test", "slow", "studies", "lint"} <= targets
    assert set(re.findall(r"^make ([a-z]+)", README, flags=re.MULTILINE)) <= targets


def test_links_lead_somewhere():
    for path in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "ARCHITECTURE.md",
        *ROOT.glob("experiments/*/README.md"),
    ]:
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / link).exists(), (path.name, link)


def test_contributing_is_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 60

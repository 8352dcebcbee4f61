"""The study of margins runs at a small size through the same code as the full one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from test_experiments import load
from torch import nn


@pytest.fixture(scope="module")
def study():
    return load("method_margins")


def test_a_small_study_writes_its_table_and_goes_on_where_it_was(study, tmp_path) -> None:
    methods = ("VICReg", "BYOL", "DINO", "SIGReg")
    settings = study.Study(
        data=("digits",), methods=methods, seeds=(0,), small=True, runs=tmp_path / "runs", out=tmp_path
    )
    text = study.main(settings)
    assert (tmp_path / "results.md").read_text() == text + "\n"
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert all(f"| {name} | 2 | 1 |" in text for name in methods)
    assert "scored once on test (n=797)" in text
    path = tmp_path / "runs" / "runs.jsonl"
    lines = path.read_text().splitlines()
    assert len(lines) == 4
    row = json.loads(lines[0])
    assert row["after"] != row["before"]
    path.write_text("\n".join([*lines[:3], lines[3][:50]]))  # stopped while it wrote
    assert len(study.table_of(path)) == 3
    assert "| SIGReg | not run |" in study.main(replace(settings, finished=True))
    assert len(study.run_all(settings)) == 4
    assert len(study.table_of(path)) == 4


def test_other_settings_are_other_runs(study, monkeypatch) -> None:
    key = study.key_of("digits", "VICReg", 0, 300)
    assert key == study.key_of("digits", "VICReg", 0, 300)
    others = [
        ("digits", "VICReg", 1, 300),
        ("digits", "VICReg", 0, 2),
        ("cluttered-digits", "VICReg", 0, 300),
    ]
    assert all(study.key_of(*other) != key for other in others)
    monkeypatch.setitem(study.METHODS, "VICReg", study.Setting(objective="VICReg()", lr=1e-3))
    assert study.key_of("digits", "VICReg", 0, 300) != key


def test_every_method_is_built_for_both_data_sets(study) -> None:
    for data in study.ENCODERS:
        for name in study.METHODS:
            method = study.method_of(study.setting_of(data, name), data, seed=0)
            assert callable(method.training_step), (data, name)


def test_statistics_are_those_of_the_training_images_and_weights_stay(study) -> None:
    data = study.DATA["digits"]()
    method = study.method_of(study.METHODS["VICReg"], "digits", seed=0)
    copied = study.with_statistics(method, data)
    assert all(torch.equal(a, b) for a, b in zip(method.parameters(), copied.parameters(), strict=True))
    first, norm = copied.encoder.blocks[0][0], copied.encoder.blocks[0][1]
    out = first(data.train_x)
    torch.testing.assert_close(norm.running_mean, out.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, out.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
    norm = method.encoder.blocks[0][1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert not bool(norm.running_mean.any())


def test_the_effective_rank_of_equal_directions_is_their_number(study) -> None:
    z = torch.cat([torch.eye(6), -torch.eye(6)])
    assert study.effective_rank(z) == pytest.approx(6, rel=1e-9)
    assert study.effective_rank(z[:, :1] * torch.ones(1, 4)) == pytest.approx(1, rel=1e-6)
    assert study.effective_rank(torch.ones(5, 3)) == 1

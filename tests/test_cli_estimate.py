"""`infossl estimate`: saved activations, the default estimator, and a panel."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from estimators import Auto, PanelResult
from infossl.cli import main
from infossl.cli.estimate import Estimate, load_array


@pytest.fixture
def files(tmp_path, rng):
    x = rng.standard_normal((300, 2))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", x + rng.standard_normal((300, 2)))
    return tmp_path


def test_activations_saved_by_torch(tmp_path):
    h, z = torch.randn(20, 3), torch.randn(20, 2, dtype=torch.bfloat16)
    torch.save({"h": h, "z": z, "step": 3}, tmp_path / "layers.pt")
    torch.save(h, tmp_path / "h.pth")
    assert np.array_equal(load_array(f"{tmp_path}/layers.pt:h"), h.numpy())
    assert np.array_equal(load_array(f"{tmp_path}/layers.pt:z"), z.float().numpy())
    assert np.array_equal(load_array(f"{tmp_path}/h.pth"), h.numpy())
    with pytest.raises(ValueError, match="it holds h, z: choose one as"):
        load_array(f"{tmp_path}/layers.pt")


class _Runs:
    def __reduce__(self):
        return (print, ("code of a file was run",))


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    (tmp_path / "bad.pt").write_bytes(pickle.dumps(_Runs()))
    torch.save(torch.zeros(3), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:100])
    for name in ("bad.pt", "cut.pt"):
        with pytest.raises(ValueError, match="holds no plain tensors, or is damaged"):
            load_array(f"{tmp_path}/{name}")
    assert "was run" not in capsys.readouterr().out


def test_two_arrays_are_measured_by_the_recommended_estimator(files, capsys):
    found = Estimate((f"{files}/x.npy", f"{files}/y.npy")).run()
    assert found == Auto()(np.load(files / "x.npy"), np.load(files / "y.npy"))
    assert "[Auto(" in capsys.readouterr().out


def test_a_panel_prints_as_a_table(files, capsys):
    command = [
        "estimate",
        f"{files}/x.npy",
        f"{files}/y.npy",
        "--with",
        "Panel((Gaussian(), KSG()), times=2)",
    ]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "estimator" in out
    assert len([line for line in out.splitlines() if line.startswith(("Gaussian", "KSG"))]) == 2
    assert isinstance(Estimate((f"{files}/x.npy", f"{files}/y.npy"), with_=command[-1]).run(), PanelResult)
    assert main([*command, "--json"]) == 0
    assert capsys.readouterr().out.count('"method"') == 2

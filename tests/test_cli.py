"""The command line: the main job at a small size, and every mistake in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from infossl.bounds import read_bounds
from infossl.cli import main
from infossl.cli.estimate import load_array
from infossl.cli.job import train
from infossl.training.families import METHODS
from infossl.trajectory import Trajectory

SMALL = {"steps": 12, "per_decade": 2, "measure": "light", "checkpoint_every": 2}
SMALL_ARGUMENTS = ["--steps", "12", "--per-decade", "2", "--measure", "light", "--checkpoint-every", "2"]

MEASURED = (
    *("H(Z)", "H(PZ)", "I(Z;Z')", "I(X;Z)", "I(Z;Y)", "accuracy(linear)", "accuracy(kNN)"),
    *("RankMe", "alignment", "uniformity", "log tr Cov"),
)


def rows_of(folder) -> list[str]:
    """Rows without the time they took, which is outside every promise of equality."""
    from dataclasses import replace

    return [replace(row, seconds=None, run="").to_json() for row in Trajectory.load(folder)]


def weights_of(folder) -> dict:
    last = sorted((folder / "checkpoints").glob("*.pt"))[-1]
    return torch.load(last, weights_only=True)["method"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(out=tmp_path_factory.mktemp("runs") / "unbroken", **SMALL)


def test_a_run_folder_is_plain_truth(run):
    names = {path.name for path in run.iterdir()}
    assert {"run.json", "trajectory.jsonl", "bounds.jsonl", "checkpoints", "figures", "report.html"} <= names
    about = json.loads((run / "run.json").read_text())
    assert about["config"]["steps"] == 12
    assert about["timing"]["measure_seconds"] > 0
    assert about["versions"]["torch"] == torch.__version__


def test_a_run_measures_every_layer_at_log_spaced_steps(run):
    trajectory = Trajectory.load(run)
    assert [r.error for r in trajectory if r.error] == []
    assert sorted({r.step for r in trajectory}) == [0, 1, 3, 10, 12]
    for quantity in MEASURED:
        roles = {r.role for r in trajectory.select(quantity=quantity, step=12)}
        assert {"block1", "block2", "h", "z"} <= roles, quantity
    assert {r.quantity for r in trajectory.select(layer="loss")} >= {"loss/total", "loss/invariance"}


def test_the_monitor_leaves_the_weights_bit_identical(run, tmp_path):
    alone = train(out=tmp_path / "alone", **{**SMALL, "measure": "none"})
    assert all(torch.equal(v, weights_of(run)[k]) for k, v in weights_of(alone).items())
    assert (alone / "report.html").exists()


def test_a_run_checks_its_bounds(run):
    reports = read_bounds(run / "bounds.jsonl")
    verdicts = {report.name: report.verdict for report in reports}
    # The recipes were chosen with a look at these images: no claim is certified on them.
    assert verdicts["test-set bound"] == "estimated-consistent"
    assert len(reports) == 3
    assert {v for name, v in verdicts.items() if "VICReg" in name} <= {"vacuous", "not-applicable"}


def test_reporting_again_gives_the_same_bytes(run, capsys):
    before = {p.name: p.read_bytes() for p in [run / "report.html", *(run / "figures").iterdir()]}
    assert main(["report", str(run)]) == 0
    assert "report.html" in capsys.readouterr().out
    assert {p.name: p.read_bytes() for p in [run / "report.html", *(run / "figures").iterdir()]} == before


def test_the_command_is_the_function(run, tmp_path, capsys):
    arguments = ["train", "--out", str(tmp_path / "again"), *SMALL_ARGUMENTS]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "linear probe on h" in printed
    assert "raw pixels" in printed
    assert rows_of(tmp_path / "again") == rows_of(run)
    assert all(torch.equal(v, weights_of(run)[k]) for k, v in weights_of(tmp_path / "again").items())


@pytest.mark.parametrize("fraction", [0.3, 0.8])
def test_a_killed_run_resumes_to_the_same_weights_and_rows(run, tmp_path, fraction):
    folder = tmp_path / "killed"
    arguments = ["train", "--out", str(folder), *SMALL_ARGUMENTS]
    code = (  # slowed down, so that the kill falls between two checkpoints
        "import torch; torch.set_num_threads(1)\n"
        "from infossl.training import loop; import time, sys\n"
        "original = loop._Run.update\n"
        "def slow(self): time.sleep(0.3); return original(self)\n"
        "loop._Run.update = slow\n"
        f"from infossl.cli import main; main({arguments!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    target = 3 if fraction < 0.5 else 10
    deadline = time.time() + 60
    while time.time() < deadline:
        if (folder / "trajectory.jsonl").exists() and any(r.step >= target for r in Trajectory.load(folder)):
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with open(folder / "trajectory.jsonl", "a") as file:
        file.write('{"run": "torn')
    assert main(["train", "--resume", str(folder)]) == 0
    assert rows_of(folder) == rows_of(run)
    assert all(torch.equal(v, weights_of(run)[k]) for k, v in weights_of(folder).items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "either --out RUN"),
        (["train", "--out", "{tmp}/a", "--per-decade", "0"], "per_decade = 0 must be at least 1"),
        (["train", "--out", "{tmp}/x.npy"], "is a file"),
        (["train", "--resume", "{tmp}/a", "--steps", "3"], "leave out steps"),
        (["estimate", "{tmp}/x.npy", "--with", "KSG(k=5)"], "two samples: give a second file"),
        (
            ["estimate", "{tmp}/x.npy", "{tmp}/x.npy", "--with", "KozachenkoLeonenko()"],
            "one sample: leave out",
        ),
        (["estimate", "{tmp}/x.npy", "--with", "5"], "is no estimator"),
        (["train", "--out", "{tmp}/a", "--objective", "VICregg()"], "did you mean VICReg"),
        (
            ["train", "--out", "{tmp}/a", "--objective", "DINO()", "--method", "IJEPA()"],
            "or the method CentredD",
        ),
        (
            ["train", "--out", "{tmp}/a", "--method", "IJEPA(patch=3)"],
            "does not divide views of 8x8; use 1 or 2",
        ),
        (["train", "--out", "{tmp}/a", "--accumulate", "2"], "use accumulate=1 with a smaller batch_size"),
        (["train", "--out", "{tmp}/a", "--batch-size", "1001"], "use at most 1000"),
        (["train", "--out", "{tmp}/a", "--optimizer", "LARC()"], "did you mean LARS"),
        (["train", "--out", "{tmp}/a", "--data", "mnist"], "known names: cluttered-digits, digits, Arrays"),
        (["train", "--resume", "{tmp}/nowhere"], "is no run folder"),
        (["report", "{tmp}/nowhere"], "no run folder"),
        (["estimate", "{tmp}/nowhere.npy"], "no file"),
        (["estimate", "{tmp}/x.npy", "--with", "KGS()"], "did you mean KSG"),
        (["estimate", "{tmp}/x.npy", "{tmp}/x.npy", "{tmp}/x.npy"], "one file for an entropy or two"),
        (["estimate", "{tmp}/x.npy", "{tmp}/y.npy", "--with", "KSG()"], "discrete variable"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, capsys, rng):
    np.save(tmp_path / "x.npy", rng.standard_normal((50, 2)))
    np.save(tmp_path / "y.npy", rng.integers(0, 3, 50))
    assert main([a.format(tmp=tmp_path) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--objective", "BYOL()", "--accumulate", "5", "--amp"],
        ["--objective", "SimSiam()", "--optimizer", "SGD()", "--lr", "0.05", "--deterministic"],
        ["--objective", "BarlowTwins()", "--optimizer", "LARS(trust=0.02)", "--lr", "0.2", "--channels-last"],
        ["--objective", "SwAV()", "--data", "Digits(train=900)"],
        ["--objective", "DINO()"],
        ["--objective", "SIGReg()"],
        ["--method", "IJEPA(depth=1, width=16)"],
    ],
)
def test_every_family_runs_end_to_end_and_resumes(arguments, tmp_path, capsys):
    """A resume from the checkpoint before the last is what a kill between the two leads to."""
    folder = tmp_path / "run"
    common = ["--steps", "4", "--checkpoint-every", "2", "--measure", "none", "--batch-size", "50"]
    assert main(["train", "--out", str(folder), *common, *arguments]) == 0
    about = json.loads((folder / "run.json").read_text())
    assert about["recipe"]["method"].partition("(")[0] in METHODS
    assert about["recipe"]["fit"]["batch_size"] == 50
    assert (folder / "report.html").exists()
    before = weights_of(folder)
    (folder / "checkpoints/step-00000004.pt").write_bytes(b"cut short")
    assert main(["train", "--resume", str(folder)]) == 0
    assert "truncated or damaged" in json.loads((folder / "run.json").read_text())["refused"][0]
    after = weights_of(folder)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.slow
def test_i_jepa_is_measured_and_reported(tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = ["--method", "IJEPA(depth=1)", "--steps", "1", "--per-decade", "1", "--batch-size", "50"]
    assert main(["train", "--out", str(folder), *arguments]) == 0
    rows = Trajectory.load(folder)
    assert {row.role for row in rows} >= {"block1", "h", "context", "prediction", "target", "x"}
    assert [row.error for row in rows if row.error] == []
    recipe = json.loads((folder / "run.json").read_text())["recipe"]
    assert recipe["method"].startswith("IJEPA(patch=2, width=64, depth=1, heads=4")
    assert recipe["objective"] == "SmoothL1(beta=1.0)"


def test_a_collapse_is_in_the_summary_by_name(run, tmp_path, capsys):
    from infossl.cli.job import outcome

    about = json.loads((run / "run.json").read_text())
    assert about["collapse"] == []
    found = {
        "role": "z",
        "name": "complete collapse",
        "step": 12,
        "since": 3,
        "evidence": "all directions agree",
    }
    (tmp_path / "run.json").write_text(json.dumps(about | {"collapse": [found]}))
    assert "complete collapse of z since step 3: all directions agree" in outcome(tmp_path)
    assert "collapse" not in outcome(run)


def test_help_for_training_lists_everything_that_can_be_named(capsys):
    from infossl.data import DATA, DATA_SETS
    from infossl.training import RECIPES
    from infossl.training.families import ALL_OBJECTIVES
    from infossl.training.optimizers import OPTIMIZERS

    with pytest.raises(SystemExit):
        main(["train", "--help"])
    lines = capsys.readouterr().out.splitlines()
    for name in (*METHODS, *ALL_OBJECTIVES, *DATA, *DATA_SETS, *OPTIMIZERS, *RECIPES):
        described = [line for line in lines if line.startswith(f"  {name} ") and len(line.split()) > 2]
        assert len(described) >= 1, name
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    assert "objectives" not in capsys.readouterr().out


def test_a_run_is_not_overwritten_by_accident(run, tmp_path, capsys):
    assert main(["train", "--out", str(run), "--steps", "1"]) == 2
    assert "--resume" in capsys.readouterr().err
    (tmp_path / "precious.txt").write_text("thesis")
    assert main(["train", "--out", str(tmp_path), "--overwrite", "--steps", "1"]) == 2
    assert (tmp_path / "precious.txt").exists()


def test_estimate_equals_python(tmp_path, capsys, rng):
    from estimators import parse

    x = rng.standard_normal((300, 2))
    y = x + rng.standard_normal((300, 2))
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "a.npz", first=y, second=x)
    np.savetxt(tmp_path / "y.csv", y, delimiter=",", header="a,b", comments="")
    expected = parse("KSG(k=5)")(x, y)
    for second in ("a.npz:first", "y.csv"):
        assert (
            main(
                ["estimate", str(tmp_path / "x.npy"), str(tmp_path / second), "--with", "KSG(k=5)", "--json"]
            )
            == 0
        )
        assert json.loads(capsys.readouterr().out)["value"] == pytest.approx(expected.value, abs=1e-12)
    assert main(["estimate", str(tmp_path / "x.npy"), "--bits"]) == 0
    out = capsys.readouterr().out
    assert "H(X) <=" in out
    assert "bits" in out


def test_files_that_are_no_arrays_of_numbers(tmp_path):
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "short.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "text.csv").write_text("1,a\n2,b\n")
    (tmp_path / "x.txt").write_text("1")
    np.savez(tmp_path / "two.npz", a=np.zeros(2), b=np.zeros(2))
    for name, message in (
        ("object.npy", "cannot read"),
        ("short.npy", "cannot read"),
        ("text.csv", "hold text"),
        ("x.txt", r"\.npy, \.npz, \.csv, \.pt and \.pth are known"),
        ("two.npz", "choose one as"),
        ("two.npz:c", "no member 'c'"),
    ):
        with pytest.raises(ValueError, match=message):
            load_array(str(tmp_path / name))


@pytest.mark.parametrize(
    "command", [["--help"], ["train", "--help"], ["report", "--help"], ["estimate", "--help"]]
)
def test_help_names_every_command_and_setting(command):
    done = subprocess.run(
        [sys.executable, "-m", "infossl", *command], capture_output=True, text=True, check=True
    )
    words = ("train", "report", "estimate") if len(command) == 1 else ("--help",)
    assert all(word in done.stdout for word in words)

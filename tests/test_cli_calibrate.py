"""`infossl calibrate`: a small run, going on from a cut-off one, and mistakes in one line."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from estimators.calibration import Calibration
from infossl.cli import main
from infossl.report import NothingToDraw
from infossl.report.calibration import bias_figure, coverage_figure, save

SMALL = ["calibrate", "--n", "200", "--dx", "2", "--dy", "2", "--repetitions", "3"]
FAST = ["--with", "Gaussian()", "--with", "Subsampled(Gaussian(corrected=False))"]


def read(folder) -> list[Calibration]:
    return [Calibration.from_json(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("calibration") / "out"
    assert main([*SMALL, *FAST, "--out", str(out)]) == 0
    return out


def test_the_help_lists_the_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "calibrate" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["calibrate", "--help"])
    text = capsys.readouterr().out
    assert all(option in text for option in ("--with", "--dx", "--repetitions", "--out"))


def test_a_small_run_with_the_default_estimators(capsys):
    assert main(["calibrate", "--n", "100", "--dx", "1", "--dy", "1", "--repetitions", "2"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("9 laws of 1 + 1 columns, n = 100, 2 samples each")
    assert "Subsampled(Copula(KSG()))" in text


def test_labels(capsys):
    assert main([*SMALL[:5], "--dy", "labels", "--repetitions", "2", "--with", "Ross()"]) == 0
    assert "Ross()" in capsys.readouterr().out


def test_what_a_run_writes(folder):
    rows = read(folder)
    assert len(rows) == 26
    with open(folder / "rows.csv") as file:
        table = list(csv.DictReader(file))
    assert [float(line["bias"]) for line in table] == [row.bias for row in rows]
    summary = json.loads((folder / "summary.json").read_text())
    assert [line["label"] for line in summary] == ["Gaussian()", "Subsampled(Gaussian(corrected=False))"]
    assert summary[0]["bias"] == pytest.approx(np.mean([r.bias for r in rows if r.label == "Gaussian()"]))
    assert (folder / "calibration.png").stat().st_size > 20_000
    assert "<svg" in (folder / "calibration.svg").read_text()


def test_a_cut_off_run_goes_on_and_ends_the_same(folder, tmp_path, capsys):
    lines = (folder / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_text("".join(lines[:20]) + lines[20][:50])
    assert main([*SMALL, *FAST, "--out", str(tmp_path)]) == 0
    again = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    assert again[:20] == lines[:20]  # kept, with the seconds they took
    assert [r.mean for r in read(tmp_path)] == [r.mean for r in read(folder)]
    capsys.readouterr()
    (tmp_path / "rows.jsonl").write_text("nonsense\n")
    assert main([*SMALL, *FAST, "--out", str(tmp_path)]) == 2
    assert "line 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--with", "KGS()"], "did you mean KSG"),
        (["--with", "5"], "is no estimator"),
        (["--dx", "0"], "dx must be at least 1"),
        (["--n", "1"], "n must be an int of at least 2"),
        (["--repetitions", "1"], "repetitions must be"),
        (["--with", "KSG()", "--with", "KSG(k=3)"], "more than once"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert main(["calibrate", "--dy", "1", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_out_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main([*SMALL, "--out", str(tmp_path / "taken")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_all_failing_is_said_and_drawn_nowhere(tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*SMALL, "--with", "KSG(k=500)", "--out", str(out)]) == 0
    assert "fails on all" in capsys.readouterr().out
    assert not (out / "calibration.png").exists()


# -- figures -------------------------------------------------------------------------------------------------


def test_the_bias_figure_shows_every_row(folder):
    rows = read(folder)
    ax = bias_figure(rows)
    texts = [text.get_text() for text in ax.texts]
    assert len(texts) == len(rows)
    furthest = max(rows, key=lambda row: abs(row.bias))
    assert any(text.startswith(f"{furthest.bias:+.2f}".replace("-", "−")) for text in texts)
    assert "n = 200" in ax.get_xlabel()
    assert any("≤" in label.get_text() for label in ax.get_yticklabels())  # a truth that is an upper bound


def test_the_coverage_figure_draws_what_the_rows_say(folder):
    rows = read(folder)
    ax = coverage_figure(rows)
    marks = sorted(float(c.lines[0].get_xdata()[0]) for c in ax.containers)
    assert marks == pytest.approx(sorted(100 * row.covers_expectation for row in rows))


def test_figures_are_the_same_each_time_and_refuse_an_empty_table(folder, tmp_path):
    for name in ("a", "b"):
        save(bias_figure(read(folder)), tmp_path / name)
    for ending in ("png", "svg"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    for draw in (bias_figure, coverage_figure):
        with pytest.raises(NothingToDraw):
            draw([])

"""`infossl calibrate`: a small run, going on from a cut-off one, and mistakes in one line."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
import shlex

import numpy as np
import pytest
import tyro

from estimators.calibration import Calibration
from estimators.calibration_summary import side, silent, summarise
from infossl.cli import main
from infossl.cli.calibrate import Calibrate
from infossl.report import NothingToDraw
from infossl.report.calibration import bias_figure, coverage_figure, save
from infossl.report.calibration_page import page

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
    assert "Auto()" in text  # refuses 100 samples, and the table says so
    assert "fails on all" in text
    assert text.index("Auto()") < text.index("Gaussian()")


def test_slow_estimators_of_the_default_list_see_fewer_samples(monkeypatch, tmp_path):
    monkeypatch.setattr("infossl.cli.calibrate.SLOW", ("Gaussian(corrected=False)",))
    monkeypatch.setattr("infossl.cli.calibrate.CONTINUOUS", ("Gaussian()",))
    assert main([*SMALL[:-1], "4", "--out", str(tmp_path)]) == 0
    asked = {row.label: row.asked for row in read(tmp_path)}
    assert asked == {"Gaussian(corrected=False)": 3, "Gaussian()": 4}
    rows = read(tmp_path)
    assert "4 repetitions (3 of Gaussian(corrected=False))" in bias_figure(rows).get_title(loc="left")
    page = (tmp_path / "calibration.md").read_text()
    assert "infossl calibrate --n 200 --dx 2 --dy 2 --repetitions 4\n" in page
    again = main([*SMALL[:-1], "4", "--out", str(tmp_path)])
    assert again == 0
    assert read(tmp_path) == rows  # nothing was made twice


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


def test_the_page_has_the_command_and_every_law(folder):
    text = (folder / "calibration.md").read_text()
    command = re.search(r"```sh\ninfossl (.*)\n```", text).group(1)
    assert shlex.split(command) == [
        "calibrate",
        "--n",
        "200",
        "--dx",
        "2",
        "--dy",
        "2",
        *FAST,
        "--repetitions",
        "3",
    ]
    assert "](calibration.png)" in text
    lines = [
        line.split(" | ") for line in text.split("## Every law")[1].splitlines() if line.startswith("| ")
    ]
    assert len(lines) == 2 + 13
    rows = {(row.law, row.label): row for row in read(folder)}
    for line in lines[2:]:
        assert line[3].startswith(f"{rows[line[1], 'Gaussian()'].bias:+.2f} ± ")
    assert "](" not in page(read(folder), [], "none")  # no figure


def test_the_command_of_a_page_is_read_again():
    for given in (
        Calibrate(dy="labels", seed=3),
        Calibrate(catalogue=True),
        Calibrate(n=50, with_=("KSG(k=5)",)),
    ):
        words = shlex.split(given._command())[2:]
        assert tyro.cli(Calibrate, args=words) == dataclasses.replace(given, out=None)


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
    counts = [text for text in texts if " of " in text]
    assert len(texts) - len(counts) == len(rows)
    assert counts == [f"{summary.right} of {summary.laws}" for summary in summarise(rows)]
    for row, patch in zip(rows, ax.patches, strict=True):
        red, _, blue, _ = patch.get_facecolor()
        shade = 0 if abs(red - blue) < 0.02 else math.copysign(1, red - blue)
        assert shade == side(row), (row.law, row.label)  # no bounds among these


def test_what_is_wrong_without_a_flag_is_framed(folder):
    rows = [dataclasses.replace(row, flagged=0.0) for row in read(folder)]
    for shown in (rows, [dataclasses.replace(row, flagged=1.0) for row in rows]):
        framed = [
            patch.get_linewidth() > 1.5 and patch.get_edgecolor()[3] > 0
            for patch in bias_figure(shown).patches
        ]
        assert framed == [silent(row) for row in shown]
    assert any(silent(row) for row in rows)


def test_the_figure_says_size_and_bounds_of_the_truth(folder):
    rows = read(folder)
    ax = bias_figure(rows)
    texts = [text.get_text() for text in ax.texts]
    furthest = max(rows, key=lambda row: abs(row.bias))
    assert any(text.startswith(f"{furthest.bias:+.2f}".replace("-", "−")) for text in texts)
    assert "n = 200" in ax.get_title(loc="left")
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

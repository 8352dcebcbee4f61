"""The guide to the estimators: its code runs, and every number, flag and name in it is what the package says."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from test_contract import CONTRACT, samples

from estimators import ESTIMATORS, FLAGS
from estimators.calibration import Calibration
from estimators.calibration_summary import silent, summarise
from infossl.cli.calibrate import CONTINUOUS, LABELS, SLOW, Calibrate
from infossl.cli.estimate import Estimate
from infossl.report.calibration_page import page

DOCS = Path(__file__).resolve().parents[1] / "docs"
GUIDE = (DOCS / "estimators.md").read_text()
SIZES = {
    "4": "--dx 4 --dy 4",
    "128": "--dx 128 --dy 128",
    "labels": "--dx 128 --dy labels --repetitions 3",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)


def table(header: str) -> list[list[str]]:
    """Cells of the rows of the table with this header."""
    lines = GUIDE[GUIDE.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def stored(size: str) -> list[Calibration]:
    name = "calibration.jsonl" if size == "coverage" else f"calibration_{size}.jsonl"
    return [Calibration.from_json(line) for line in (DOCS / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def ran() -> dict:
    """The names that all Python blocks of the guide leave, run one after the other."""
    names: dict = {}
    for code in blocks("python"):
        exec(code, names)
    return names


def test_the_guide_is_short_and_its_links_lead_somewhere():
    assert len(GUIDE.splitlines()) <= 250
    for link in set(re.findall(r"\]\(([^)#:]+)\)", GUIDE)):
        assert (DOCS / link).exists(), link


# -- code ----------------------------------------------------------------------------------------------------


def test_the_first_steps(ran):
    assert abs(ran["default"].value - 0.862) < 0.15
    assert ran["panel"].disagreement
    assert ran["panel"]["Gaussian"].value < 0.5 < 0.75 < ran["panel"]["InfoNCE"].value


def test_numbers_that_stand_in_no_table(ran):
    def near(label: str, law: str, bias: float) -> None:
        """The guide's bias, give or take 4 standard errors of the mean of 5 and of that of 10."""
        found, sd, _ = ran["measured"][label, law]
        assert abs(found - bias) <= 4 * sd * (1 / 5 + 1 / 10) ** 0.5 + 0.005, (label, found)

    near("KSG()", "high-1x1-10nats", -3.67)
    near("LocalNonUniformity()", "high-1x1-10nats", 0.01)
    near("GeometricKNN()", "high-1x1-10nats", -0.15)
    near("Student()", "student-5x5-df3", -0.01)
    near("GaussianCopula()", "student-5x5-df3", -0.31)
    near("Copula(Gao())", "zero-inflated-3x3", -0.10)
    near("Gao()", "zero-inflated-1x1", -0.13)
    near("Copula(Gao())", "zero-inflated-1x1", 0.0)
    near("KozachenkoLeonenko()", "uniform-channel-0.75", -0.01)
    near("Gaussian()", "uniform-channel-0.75", 0.17)
    assert ran["measured"]["Gao()", "zero-inflated-1x1"][2] == ()  # wrong, and no flag says so


def test_channels_and_conditions(ran):
    low, high = ran["certain"]
    assert low < ran["expected"].value < high
    assert (round(low, 1), round(high, 1)) == pytest.approx((3.4, 5.6), abs=0.2)
    assert {bound: e.bound for (_, bound), e in ran["sides"].items()} == {"lower": "lower", "upper": "upper"}
    for sigma, low, high in ((1.0, 5.0, 6.0), (0.5, 6.9, 20.0)):
        lower, upper = ran["sides"][sigma, "lower"], ran["sides"][sigma, "upper"]
        assert lower.value < 8 * np.log1p(1 / sigma**2) < upper.value
        assert abs(lower.value - low) < 4 * lower.stderr + 0.05
        assert abs(upper.value - high) < 4 * upper.stderr + 0.05
    assert abs(ran["given"].value) < 0.06 < ran["plain"].value


def test_labels_and_width(ran):
    for method, value in (("plug-in", 0.53), ("grassberger", 0.03)):
        found = ran["counted"][method]
        assert abs(np.mean(found) - value) < 4 * np.std(found) / 50**0.5 + 0.01, method
    assert ran["wide"].value > 2.5


def test_the_wrapped_estimate_has_what_the_guide_reads(ran):
    estimate = ran["estimate"]
    assert estimate.level == 0.9
    assert estimate.interval[0] < estimate.value < estimate.interval[1]
    assert estimate.diagnostics["p_value"] == pytest.approx(0.05)


def test_traps(ran):
    normal, neighbours = ran["manifold"].values()
    assert normal.value > 8 > 2 > neighbours.value > 1.4
    assert "non-gaussian" in normal.flags
    assert 2.4 < ran["capped"].value <= ran["capped"].ceiling == pytest.approx(2.77, abs=0.01)
    assert "saturated" in ran["capped"].flags
    assert abs(ran["once"].value - 0.51) < 0.08
    assert ran["twice"].value == pytest.approx(1.3, abs=0.1)
    assert "duplicates" in ran["twice"].flags


def test_commands_name_real_settings():
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    settings = {"estimate": Estimate, "calibrate": Calibrate}
    assert {line.split()[1] for line in commands} == set(settings)
    for line in commands:
        known = {f.name.strip("_").replace("_", "-") for f in fields(settings[line.split()[1]])}
        assert set(re.findall(r"--([a-z-]+)", line)) <= known, line


# -- numbers -------------------------------------------------------------------------------------------------


def quoted() -> list[tuple[str, str, float, str]]:
    found = re.findall(r"`([^`]+)` on \*([^*]+)\*: ([+−][\d.]+) \[\[(\w+)\]", GUIDE)
    return [(label, law, float(bias.replace("−", "-")), size) for label, law, bias, size in found]


def test_quoted_numbers_are_those_of_the_tables():
    assert len(quoted()) >= 30
    rows = {(size, row.label, row.law): row for size in SIZES for row in stored(size)}
    for label, law, bias, size in quoted():
        assert rows[size, label, law].bias == pytest.approx(bias, abs=0.00501), (size, label, law)


@pytest.mark.parametrize("size", SIZES)
def test_the_tables_are_those_of_their_rows(size):
    """After a change of the page, the same command with an --out that holds these rows as rows.jsonl writes it again."""
    rows = stored(size)
    listed = LABELS if size == "labels" else CONTINUOUS
    assert list(dict.fromkeys(row.label for row in rows)) == [*SLOW, *listed]
    text = page(rows, summarise(rows), f"infossl calibrate --n 2000 {SIZES[size]}", f"calibration_{size}.png")
    assert (DOCS / f"calibration_{size}.md").read_text() == text


def test_silent_failures_are_counted_right():
    count = sum(silent(row) for row in stored("4") if row.label == "Subsampled(KSG())")
    assert f"{count} of 13 for `Subsampled(KSG())`" in GUIDE


def test_quoted_coverage():
    rows = stored("coverage")

    def shares(start: str) -> list[float]:
        chosen = [r for r in rows if r.label.startswith(start) and r.covers_expectation is not None]
        return [100 * r.covers_expectation for r in chosen]

    line = {cells[0].split()[0].strip("`()"): cells[2] for cells in table("| wrapper | adds |")}
    subsampled = [
        100 * r.covers_expectation
        for r in rows
        if r.label.startswith("Subsampled(") and r.kind != "independent" and r.covers_expectation is not None
    ]
    mean = sum(subsampled) / len(subsampled)
    assert f"{min(subsampled):.1f} % to {max(subsampled):.1f} %, {mean:.1f} %" in line["Subsampled"]
    extrapolated = shares("Extrapolated(")
    assert f"{min(extrapolated):.1f} % to {max(extrapolated):.1f} %" in line["Extrapolated"]
    worst, *_ = sorted(shares("Gaussian()"))
    assert f"{worst:.1f} %" in line["Gaussian"]


# -- completeness --------------------------------------------------------------------------------------------


def test_every_flag_is_explained():
    rows = table("| flag | it says |")
    assert [(cells[0].strip("`"), cells[1]) for cells in rows] == list(FLAGS.items())
    assert all(cells[2] for cells in rows)


def test_every_estimator_is_listed_once():
    names = [cells[0].strip("`") for cells in table("| name | family |")]
    assert sorted(names) == sorted(ESTIMATORS)
    assert all(all(cells) for cells in table("| name | family |"))


def test_bounds_are_those_that_the_estimates_claim():
    said = {cells[0].strip("`"): cells[3] for cells in table("| name | family |")}
    for estimator, kind in CONTRACT.items():
        name = type(estimator).__name__
        if name != "Auto" and "inner" not in said[name]:
            bound = estimator(*samples(kind)).bound
            assert bound in said[name], (estimator, kind, bound)


def test_names_in_the_guide_exist():
    known = {*ESTIMATORS, "Panel", "PanelResult"}
    for name in set(re.findall(r"`([A-Z][A-Za-z]*)(?:\(|`)", GUIDE)):
        assert name in known, name

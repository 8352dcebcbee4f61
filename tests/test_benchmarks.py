"""The accuracy table: truths, resuming, and the numbers in its rows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks.accuracy import Case, Channel, Row, Zipf, report
from estimators import Discrete, Gaussian
from estimators.distributions import MultivariateNormal

ZIPF = Case("zipf", Zipf(4), 50, ((Discrete(), "plug"),), draws=3)


@pytest.mark.parametrize("kept", [0.0, 0.6, 1.0])
def test_the_information_of_a_channel_is_that_of_its_table(kept: float) -> None:
    table = kept * np.eye(8) / 8 + (1 - kept) * np.ones((8, 8)) / 64
    seen = table > 0
    expected = np.sum(table[seen] * np.log(table[seen] * 64))
    assert Channel(8, kept).truth() == pytest.approx(expected, abs=1e-12)


def test_the_entropy_of_a_zipf_law() -> None:
    p = np.array([6, 3, 2]) / 11
    assert Zipf(3).truth() == pytest.approx(-np.sum(p * np.log(p)))


@pytest.mark.parametrize("law", [Zipf(20), Channel(8, 0.6)])
def test_many_samples_have_the_truth(law: Zipf | Channel) -> None:
    found = Discrete("miller-madow")(*law.sample(100_000, seed=1))
    assert found.stderr is not None
    assert abs(found.value - law.truth()) < 4 * found.stderr


def test_the_target_of_club_is_not_the_information() -> None:
    law = MultivariateNormal(0.8)
    case = Case("normal", law, 100, (), club=lambda: accuracy._gaussian_club(law))
    assert case.target("CLUB()") == pytest.approx(0.64 / 0.36)
    assert case.target("torch-mist club") == pytest.approx(0.64 / 0.36)
    assert case.target("Gaussian()") == case.truth()


def test_the_sampled_target_of_club_is_the_closed_one() -> None:
    law = MultivariateNormal(0.6)
    assert (
        abs(accuracy._sampled_club(law, 10**5) - accuracy._gaussian_club(law)) < 4 * 0.0048
    )  # sd over 30 seeds


def test_a_second_run_measures_nothing_again(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    normal = Case("normal", MultivariateNormal(0.8), 200, ((Gaussian(), "twin"), (Discrete(), "absent")))
    broken = Case("broken", MultivariateNormal(0.8), 200, ((Discrete(), ""),))
    monkeypatch.setattr(accuracy, "cases", lambda: [ZIPF, normal, broken])
    monkeypatch.setattr(accuracy, "packaged_peers", lambda: {"twin": lambda x, y: Gaussian()(x, y).value})
    first = accuracy.measured(tmp_path / "rows.jsonl", seeds=2)
    of_normal = [row for row in first if row.case == "normal"]
    assert {(row.label, row.seed) for row in of_normal if not row.failure} == {
        (label, seed) for label in ("Gaussian()", "twin") for seed in range(2)
    }
    ours, twin = ([row for row in of_normal if row.label == label] for label in ("Gaussian()", "twin"))
    assert [row.values for row in ours] == [row.values for row in twin]  # the same samples
    assert all("TypeError" in row.failure for row in first if row.case == "broken")
    assert len(next(row for row in first if row.case == "zipf").values) == 3
    monkeypatch.setattr(accuracy, "measure", lambda *_: pytest.fail("measured again"))
    assert accuracy.measured(tmp_path / "rows.jsonl", seeds=2) == first


def test_a_row_of_draws_holds_bias_scatter_and_who_is_closer() -> None:
    truth = ZIPF.truth()
    own = Row("zipf", "Discrete()", False, 50, 0, (truth + 0.1, truth - 0.1, truth + 0.3), (0.2, 0.2, 0.2))
    peer = Row("zipf", "plug", True, 50, 0, (truth + 0.2, truth - 0.2, truth + 0.1))
    line = report([own, peer], [ZIPF])[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:4] == ["+0.100", "0.200", "0.191"]  # rmse: sqrt(0.11 / 3)
    assert cells[4] == "0.200"
    assert cells[7:10] == ["+0.033", "0.208", "0.173"]  # rmse: sqrt(0.09 / 3)
    assert cells[-1] == "ours 2, theirs 1"


def test_a_trained_row_without_a_twin_stands_beside_the_closest_peer() -> None:
    law = MultivariateNormal.with_information(1.0)
    case = Case("normal", law, 9, ((Gaussian(), ""), (Discrete(), "near"), (Discrete("nsb"), "far")))
    rows = [
        *(Row("normal", "Gaussian()", False, 9, s, (1.0 + 0.1 * s,), (0.05,)) for s in range(3)),
        Row("normal", "near", True, 9, 0, (0.9,), seconds=2.0),
        Row("normal", "far", True, 9, 0, (1.5,)),
    ]
    cells = [cell.strip() for cell in report(rows, [case])[-1].strip("|").split("|")]
    assert cells[:6] == ["`Gaussian()`", "1.000", "1.100 ± 0.100", "3", "+0.100", "0.050"]
    assert cells[8:] == ["*near*", "0.900", "1", "-0.100", "2.0"]

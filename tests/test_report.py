from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from synthetic_run import CHANNEL, KSG, STEPS, N, synthetic_bounds, synthetic_rows, write_synthetic_run

from infossl.report import (
    NothingToDraw,
    accuracy,
    bounds_figure,
    curves,
    information_plane,
    loss_terms,
    method_comparison,
    overhead,
    write_report,
)
from infossl.report._limits import reach, spread
from infossl.report._names import family, short_method
from infossl.report._numbers import counts, number, plus_minus
from infossl.report._sections import in_words
from infossl.report._style import step_ticks
from infossl.report._table import as_runs, last_rows, role_order, series
from infossl.trajectory import Row, Trajectory

FEW = (0, 16, 1600)


@pytest.fixture(scope="module")
def one() -> Trajectory:
    return Trajectory(rows=synthetic_rows(0))


@pytest.fixture(scope="module")
def two(one: Trajectory) -> list[Trajectory]:
    return [one, Trajectory(rows=synthetic_rows(1))]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_synthetic_run(tmp_path_factory.mktemp("report") / "run", 0, FEW))


def texts(ax: Axes) -> str:
    """Everything written anywhere on the figure of `ax`."""
    return "\n".join(t.get_text() for t in ax.figure.findobj(Text) if t.get_text())


def marked(ax: Axes, gid: str) -> list:
    return [line for line in ax.lines if line.get_gid() == gid]


def row(quantity: str = "I(Z;Y)", value: float | None = 1.0, step: int = 0, **fields) -> Row:
    fields = {"layer": "encoder", "role": "h", "method": "KSG(k=3)", "n": 100, "run": "r", "seed": 0} | fields
    return Row(quantity=quantity, value=value, step=step, **fields)


def folder_of(path: Path, rows: list[Row], **meta) -> Path:
    path.mkdir(parents=True)
    Trajectory(path / "trajectory.jsonl").append(rows)
    if meta:
        (path / "run.json").write_text(json.dumps(meta))
    return path


# --- reading the table -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "core", "label"),
    [
        ("KSG(k=3)", "KSG", "KSG"),
        (KSG, "KSG", "KSG (permutation null, projected to 4)"),
        ("Subsampled(inner=Gaussian(corrected=True), parts=10)", "Gaussian", "Gaussian (subsampled error)"),
        ("my measure, version 2", "my measure, version 2", "my measure, version 2"),
        ("", "unnamed", "unnamed"),
        ("f(((", "f", "f"),
    ],
)
def test_short_method(method: str, core: str, label: str) -> None:
    assert family(method) == core
    assert short_method(method) == label


def test_roles_go_by_depth_whatever_the_order_of_the_rows() -> None:
    rows = [row(role=r, layer=r) for r in ("z", "block10", "h", "other", "block2", "x")]
    assert list(role_order(rows)) == ["x", "block2", "block10", "other", "h", "z"]


def test_layers_without_roles_lose_what_all_their_names_share() -> None:
    rows = [row(role="", layer=f"backbone.encoder.layer.{i}.output.dense") for i in (0, 1, 10)]
    names = [s.name for s in series(as_runs(Trajectory(rows=rows)), "I(Z;Y)")]
    assert names == ["layer.0", "layer.1", "layer.10"]


def test_taps_of_one_role_are_named_by_what_differs() -> None:
    rows = [row(branch="student"), row(branch="target")]
    names = [s.name for s in series(as_runs(Trajectory(rows=rows)), "I(Z;Y)")]
    assert names == ["h (student)", "h (target)"]


def test_runs_are_told_apart_by_seed_by_name_or_by_number() -> None:
    def labels(*keys: tuple[str, int | None]) -> list[str]:
        return [run.label for run in as_runs([Trajectory(rows=[row(run=r, seed=s)]) for r, s in keys])]

    assert labels(("a", 0), ("a", 1)) == ["seed 0", "seed 1"]
    assert labels(("a", 0), ("b", 0)) == ["a", "b"]
    assert labels(("a", 0), ("a", 0)) == ["a #1", "a #2"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.inf, "∞"),
        (math.nan, "NaN"),
        (-1.23456, "−1.235"),
        (1e-6, "1.00e−06"),
        (-2.5e5, "−2.50e+05"),
        (0.00043, "0.00043"),
        (0.0, "0.000"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (2.284404853961471, 0.007734414681043503, "2.284 ± 0.008"),
        (-341.039, 0.296, "−341.04 ± 0.30"),
        (2.24, 0.035, "2.24 ± 0.04"),
        (1.0, 0.0, "1.00 ± 0.00"),
        (3e-9, 2e-10, "3.00e−09 ± 2.00e−10"),
        (1.0, math.inf, "1.00 ± ∞"),
    ],
)
def test_a_value_and_its_error_have_the_same_decimals(value: float, error: float, text: str) -> None:
    assert " ± ".join(plus_minus(value, error)) == text


def test_sample_sizes_that_were_not_recorded_are_left_out() -> None:
    assert counts([row(n=0)]) == ""
    assert counts([row(n=0), row(n=7), row(n=9)]) == "n = 7 to 9"
    ax = curves(
        Trajectory(rows=[row(n=0, step=s, method="training loop", split="held-out") for s in (0, 1)]),
        "I(Z;Y)",
    )
    assert "training loop, held-out" in texts(ax)
    assert "n = 0" not in texts(ax)


@pytest.mark.parametrize("last", [0, 1, 2, 3, 9, 10, 34, 35, 100, 1600, 2200, 5000, 25_000])
def test_ticks_end_at_the_last_step_and_do_not_crowd_it(last: int) -> None:
    ticks = step_ticks(last)
    assert ticks[0] == 0
    assert ticks[-1] == last
    assert all(b >= 3.5 * a for a, b in pairwise(ticks[1:]))


def test_names_are_spread_no_farther_than_needed() -> None:
    places = spread([0.0, 5.0, 5.1, 5.2, 50.0], 2.0, -1.0, 51.0)
    assert places[0] == 0.0
    assert places[-1] == 50.0
    assert places[2] == pytest.approx(5.1)
    assert [b - a for a, b in pairwise(places[1:4])] == pytest.approx([2.0, 2.0])
    assert spread([9.0, 9.0, 9.0], 3.0, 0.0, 10.0) == [4.0, 7.0, 10.0]


def test_a_far_level_does_not_stretch_an_axis() -> None:
    assert reach([2.0, 3.0], [0.0, 3.4]) == (2.0, 3.4)


def test_settings_that_follow_the_data_have_one_last_row() -> None:
    def noise(sigma: float, step: int, **fields) -> Row:
        return row(
            "I(X;Z)", sigma, step, method=f"KolchinskyTracey(sigma={sigma})", channel=CHANNEL, **fields
        )

    rows = [
        noise(0.1, 0),
        noise(0.3, 5),
        noise(0.7, 9),
        row(step=9, method="KSG(k=3)"),
        row(step=9, method="KSG(k=5)"),
    ]
    rows += [row("H(Z)", 1.5, 5), row("H(Z)", None, 9, error="ValueError: no")]
    kept = last_rows(as_runs(Trajectory(rows=rows))[0])
    assert [r.method for r in kept] == ["KolchinskyTracey(sigma=0.7)", "KSG(k=3)", "KSG(k=5)", "KSG(k=3)"]
    assert kept[-1].value == 1.5  # a failure at the end does not hide the last value


# --- figures -----------------------------------------------------------------------------------------------------


def test_plane_says_what_it_shows(one: Trajectory) -> None:
    ax = information_plane(one)
    assert "I(X;Z), lower bound  [nats]" in ax.get_xlabel()
    assert CHANNEL in ax.get_xlabel()
    assert "I(Z;Y), lower bound  [nats]" in ax.get_ylabel()
    written = texts(ax)
    for words in (
        "KolchinskyTracey",
        "ProbeInformation",
        f"n = {N}",
        "log n = 6.11 nats",
        "H(Y) = 2.30 nats",
    ):
        assert words in written
    for layer in ("block1", "block2", "block3", "h", "z", "x (raw inputs)", "start", "end"):
        assert layer in written.split("\n")
    assert "optimizer step (log scale)" in written
    assert len(marked(ax, "ceiling")) == 2


def test_plane_in_bits_converts_values_and_ceilings(one: Trajectory) -> None:
    ax = information_plane(one, unit="bits")
    assert f"log n = {math.log2(N):.2f} bits" in texts(ax)
    assert "[bits]" in ax.get_xlabel()
    nats, bits = (
        marked(information_plane(one, roles=["h"], unit=u), "measured")[0] for u in ("nats", "bits")
    )
    assert bits.get_xdata()[0] == pytest.approx(nats.get_xdata()[0] / math.log(2))


def test_plane_of_views_has_the_critics_ceiling_and_the_null(one: Trajectory) -> None:
    ax = information_plane(one, y="I(Z;Z')")
    assert "log K = 4.85 nats" in texts(ax)
    assert len(marked(ax, "null")) == 1
    assert "InfoNCE" in texts(ax)
    assert "KSG" in texts(information_plane(one, y="I(Z;Z')", y_method="KSG"))


def test_saturated_points_are_hollow_and_others_are_not() -> None:
    rows = [row("I(X;Z)", 3.0 + s, s, flags=("saturated",) if s else ()) for s in (0, 5)]
    rows += [row("I(Z;Y)", 1.0 + s, s) for s in (0, 5)]
    table = Trajectory(rows=rows)
    for ax in (information_plane(table), curves(table, "I(X;Z)")):
        assert [m.get_markerfacecolor() for m in marked(ax, "saturated")] == ["white"]
        assert len(marked(ax, "measured")) == 1
        assert marked(ax, "measured")[0].get_markerfacecolor() != "white"
        assert "saturated" in texts(ax).split("\n")


def test_several_seeds_are_drawn_apart(one: Trajectory, two: list[Trajectory]) -> None:
    def paths(ax: Axes) -> int:
        return sum(isinstance(c, LineCollection) and c.get_array() is not None for c in ax.collections)

    assert paths(information_plane(one)) == 5
    assert paths(information_plane(two)) == 10
    ax = curves(two, "I(Z;Y)", roles=["h"])
    assert {"seed 0", "seed 1"} <= set(texts(ax).split("\n"))
    drawn = [line for line in ax.lines if len(line.get_xdata()) == len(STEPS) and line.get_linestyle() == "-"]
    assert len(drawn) == 2
    assert {m.get_marker() for m in marked(ax, "measured")} == {"o", "s"}


def test_plane_needs_both_quantities_at_one_step() -> None:
    table = Trajectory(rows=[row("I(X;Z)", 3.0, 0), row("I(Z;Y)", 1.0, 7)])
    with pytest.raises(NothingToDraw, match="same step"):
        information_plane(table)


def test_layer_names_do_not_overlap(two: list[Trajectory]) -> None:
    ax = information_plane(two, y="I(Z;Z')")
    ax.figure.draw_without_rendering()
    names = [t for t in ax.texts if t.get_gid() in {"layer-name", "reference-label"}]
    boxes = [t.get_window_extent().shrunk(0.9, 0.8) for t in names]
    clashes = [
        (names[i].get_text(), names[j].get_text())
        for i in range(len(boxes))
        for j in range(i)
        if boxes[i].overlaps(boxes[j])
    ]
    assert not clashes


def test_curves_show_step_zero_ceiling_null_and_reference(one: Trajectory) -> None:
    ax = curves(one, "I(Z;Z')", method="InfoNCE")
    assert ax.get_xscale() == "symlog"
    assert ax.get_xlim()[0] < 0
    assert "log K = 4.85" in texts(ax).split("\n")
    assert len(marked(ax, "null")) == 1
    assert len(marked(curves(one, "I(Z;Y)"), "reference")) == 1  # raw inputs


def test_a_ceiling_far_above_the_data_is_told_in_words() -> None:
    table = Trajectory(rows=[row(value=0.01 * (s + 1), step=s, ceiling=50.0) for s in range(3)])
    ax = curves(table, "I(Z;Y)")
    assert not marked(ax, "ceiling")
    assert "above the axis: H(Y) = 50.00 nats" in texts(ax)
    assert ax.get_ylim()[1] < 1


def test_a_null_far_below_the_data_is_told_in_words() -> None:
    rows = [row(value=2.0 + 0.1 * s, step=s, diagnostics={"null_mean": 0.0}) for s in range(3)]
    ax = curves(Trajectory(rows=rows), "I(Z;Y)")
    assert not marked(ax, "null")
    assert "below the axis: null (mean) 0.00 nats" in texts(ax)
    assert ax.get_ylim()[0] > 1.9
    near = [row(value=0.02 + 0.1 * s, step=s, diagnostics={"null_mean": 0.0}) for s in range(3)]
    ax = curves(Trajectory(rows=near), "I(Z;Y)")
    assert len(marked(ax, "null")) == 1
    assert "null (mean)" in texts(ax).split("\n")


@pytest.mark.parametrize("draw", [lambda t: curves(t, "I(Z;Y)"), accuracy, loss_terms, method_comparison])
def test_names_at_the_lines_overlap_neither_each_other_nor_the_axes(one: Trajectory, draw) -> None:
    ax = draw(one)
    ax.figure.draw_without_rendering()
    names = [t for t in ax.texts if t.get_gid() == "line-name"]
    assert len(names) > 3
    boxes = [t.get_window_extent() for t in names]
    assert all(box.x0 > ax.get_window_extent().x1 for box in boxes)
    assert all(box.x1 <= ax.figure.bbox.x1 for box in boxes)
    shrunk = [box.shrunk(1.0, 0.85) for box in boxes]
    assert not any(shrunk[i].overlaps(shrunk[j]) for i in range(len(shrunk)) for j in range(i))


def test_lines_differ_in_more_than_colour(one: Trajectory) -> None:
    ax = curves(one, "I(Z;Y)")
    assert len({m.get_marker() for m in marked(ax, "measured")}) == 5


def test_the_axes_keep_most_of_the_width(one: Trajectory) -> None:
    for ax in (method_comparison(one), curves(one, "I(Z;Y)"), accuracy(one)):
        assert ax.get_position().width > 0.5


def test_an_estimator_far_beyond_the_others_does_not_flatten_them() -> None:
    def table(top: float) -> Trajectory:
        return Trajectory(
            rows=[row("I(Z;Z')", v * (1 + s), s, role="z", method=m)
                  for s in (0, 1) for m, v in (("Gaussian()", top), ("KSG(k=3)", 1.0))]
        )  # fmt: skip

    assert method_comparison(table(30.0)).get_yscale() == "log"
    assert method_comparison(table(2.0)).get_yscale() == "linear"
    assert method_comparison(table(-30.0)).get_yscale() == "linear"


def test_curves_of_pure_numbers_ignore_bits(one: Trajectory) -> None:
    values = [
        marked(curves(one, "RankMe", roles=["h"], unit=u), "measured")[0].get_ydata().tolist()
        for u in ("nats", "bits")
    ]
    assert values[0] == values[1]
    with pytest.raises(ValueError, match="'nats' or 'bits'"):
        curves(one, "RankMe", unit="bans")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: curves(t, "I(Q;R)"), r"I\(Q;R\) was not measured"),
        (
            lambda t: curves(t, "I(Z;Z')", method="MINE"),
            "not measured by MINE; the table has Gaussian, InfoNCE, KSG",
        ),
        (lambda t: curves(t, "I(Z;Y)", roles=["blok"]), "blok; the table has x, block1"),
        (lambda t: method_comparison(t, role="q"), "at q; the table has"),
        (lambda t: accuracy(t, role="q"), "no accuracy was measured at q"),
    ],
)
def test_messages_name_what_there_is(one: Trajectory, call, message: str) -> None:
    with pytest.raises(NothingToDraw, match=message):
        call(one)


def test_method_comparison_gives_each_estimator_its_ceiling(one: Trajectory) -> None:
    ax = method_comparison(one, "I(Z;Z')", "z")
    written = texts(ax)
    for words in (
        "Gaussian",
        "InfoNCE, lower bound",
        "KSG (permutation null, projected to 4)",
        "log K = 4.85",
    ):
        assert words in written
    (ceiling,) = marked(ax, "ceiling")
    colours = {line.get_color() for line in ax.lines if len(line.get_xdata()) == len(STEPS)}
    assert ceiling.get_color() in colours


def test_accuracy_stands_beside_raw_inputs_and_the_untrained_encoder(one: Trajectory) -> None:
    ax = accuracy(one)
    raw = [r.value for r in one if r.quantity == "accuracy(linear)" and r.role == "x"]
    untrained = [r.value for r in one if r.quantity == "accuracy(linear)" and r.role == "h" and r.step == 0]
    heights = [line.get_ydata()[0] for line in marked(ax, "reference")]
    assert raw[0] in heights
    assert untrained[0] in heights
    assert "chance 0.10" in texts(ax)


def test_loss_terms_and_overhead(one: Trajectory) -> None:
    assert {"total", "invariance", "variance", "covariance"} <= set(texts(loss_terms(one)).split("\n"))
    ax = overhead(one, 41.0)
    assert {"training", "I(Z;Z') by InfoNCE", "I(Z;Z') by KSG", "41.0 s"} <= set(texts(ax).split("\n"))
    assert "training" not in texts(overhead(one)).split("\n")
    with pytest.raises(NothingToDraw):
        overhead(Trajectory(rows=[row()]))


def test_bounds_figure_has_both_sides_and_every_class() -> None:
    reports = synthetic_bounds()
    assert len({r.verdict for r in reports}) == 5
    written = texts(bounds_figure(reports))
    for r in reports:
        assert f"{r.verdict}:  measured {number(r.lhs)},  bound {number(r.rhs)}" in written
    with pytest.raises(NothingToDraw):
        bounds_figure([])


def test_plots_draw_on_given_axes(two: list[Trajectory]) -> None:
    figure = Figure(figsize=(12, 10), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    calls = (
        information_plane,
        lambda t, ax: curves(t, "I(X;Z)", ax=ax),
        method_comparison,
        loss_terms,
        accuracy,
        overhead,
    )
    for call, ax in zip(calls, axes, strict=True):
        assert call(two, ax=ax) is ax
    for _ in range(3):  # no legend or label squeezes them when the layout is executed again
        figure.draw_without_rendering()
    assert min(ax.get_position().width for ax in axes) > 0.12


def test_error_rows_and_infinite_values_are_passed_over() -> None:
    rows = [
        row(step=0, value=None, error="ValueError: no"),
        row(step=1, value=-math.inf),
        row(step=2, value=0.5, stderr=math.inf),
        row(step=3, value=0.7, interval=(0.1, math.inf), ceiling=math.inf),
    ]
    ax = curves(Trajectory(rows=rows), "I(Z;Y)")
    assert marked(ax, "measured")[0].get_xdata().tolist() == [2, 3]
    with pytest.raises(NothingToDraw, match="all 2 rows"):
        curves(Trajectory(rows=rows[:2]), "I(Z;Y)")


def test_importing_and_plotting_leave_matplotlib_as_it_was() -> None:
    code = """
import sys
import infossl.report
assert "matplotlib" not in sys.modules
import matplotlib

def settings():  # asking for "backend" would choose one
    return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}

before = settings()
backend = matplotlib.rcParams._get_backend_or_none()
from synthetic_run import synthetic_rows
from infossl.trajectory import Trajectory
infossl.report.information_plane(Trajectory(rows=synthetic_rows(0, (0, 5))))
try:
    infossl.report.curves(Trajectory(), "I(X;Z)")
except ValueError:
    pass
assert settings() == before
assert matplotlib.rcParams._get_backend_or_none() == backend
assert "matplotlib.pyplot" not in sys.modules
"""
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- the page ----------------------------------------------------------------------------------------------------


class Checker(HTMLParser):
    """Collects tags and attributes, and whether every element is closed."""

    VOID = frozenset({"meta", "br", "link", "img", "hr", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_leads_with_the_key_numbers(page: Path) -> None:
    text = page.read_text()
    rows = Trajectory.load(page.parent).rows

    def value(quantity: str, role: str, step: int) -> float:
        return next(r.value for r in rows if (r.quantity, r.role, r.step) == (quantity, role, step))

    head = text[: text.index("<nav")]
    for role, step in (("h", STEPS[-1]), ("h", 0), ("x", 0)):
        assert f"{100 * value('accuracy(linear)', role, step):.1f}\u00a0%" in head
    assert f"{value('I(Z;Y)', 'h', STEPS[-1]):.2f} ± 0.04 nats" in head
    assert f"{value('I(X;Z)', 'h', STEPS[-1]):.2f} to" in head
    assert f"43\u00a0%" in head  # noqa: F541  17.5 s of measuring beside 41 s of training
    assert (
        text.index("Information planes</h2>") < text.index("Final numbers</h2>") < text.index("Bounds</h2>")
    )
    for report in synthetic_bounds():
        assert f'class="verdict {report.verdict}"' in text
    assert "probe did not converge" in text
    assert "within reach of the ceiling" in text


def test_the_page_is_well_formed_and_needs_nothing_from_outside(page: Path) -> None:
    text = page.read_text()
    checker = Checker(text)
    assert checker.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(checker.tags)
    assert "http" not in text
    assert "@import" not in text
    links = [v for k, v in checker.attributes if k in {"href", "src", "xlink:href"}]
    identifiers = [v for k, v in checker.attributes if k == "id"]
    assert links
    assert all(v.startswith(("#", "data:image/png;base64,")) for v in links)
    assert {v[1:] for v in links if v.startswith("#")} <= set(identifiers)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(identifiers)
    assert len(identifiers) == len(set(identifiers))
    assert "$" not in text.replace("$$", "")


def test_the_figures_are_saved_as_png_and_svg(page: Path) -> None:
    stems = [{f.stem for f in (page.parent / "figures").glob(f"*.{kind}")} for kind in ("png", "svg")]
    assert stems[0] == stems[1]
    assert "information-plane-i-x-z-i-z-y" in stems[0]
    assert len(stems[0]) == page.read_text().count("<figure>")


def test_the_same_folder_gives_the_same_bytes_in_another_process(page: Path) -> None:
    def content() -> dict[str, bytes]:
        return {f.name: f.read_bytes() for f in [page, *(page.parent / "figures").iterdir()]}

    before = content()
    page.unlink()
    code = "import sys; from infossl.report import write_report; write_report(sys.argv[1])"
    environment = os.environ | {"PYTHONHASHSEED": "123", "PYTHONPATH": str(Path(__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", code, str(page.parent)], env=environment, check=True)
    after = content()
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []


def test_figures_that_are_no_longer_drawn_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    rows = [row(q, 1.0 + s, s) for q in ("I(Z;Y)", "RankMe", "H(Z)") for s in (0, 2)]
    page = write_report(folder_of(tmp_path / "run", rows))
    figures = page.parent / "figures"
    own = [figures / "mine.png", figures / "notes.txt"]
    for file in own:
        file.write_text("mine")
    write_report(page.parent, page.parent / "second.html")
    table = page.parent / "trajectory.jsonl"
    table.unlink()
    Trajectory(table).append([r for r in rows if r.quantity == "I(Z;Y)"])
    write_report(page.parent)
    assert (figures / "rankme.png").exists()  # the second page still has it
    write_report(page.parent, page.parent / "second.html")
    assert {f.name for f in figures.iterdir()} == {
        "i-z-y.png", "i-z-y.svg", "index.json", "mine.png", "notes.txt",
    }  # fmt: skip
    (figures / "index.json").write_text(json.dumps({"report.html": ["../trajectory", 3, "i-z-y"], "x": 1}))
    write_report(page.parent)
    (figures / "index.json").write_text("[")
    write_report(page.parent)
    assert table.exists()
    assert all(file.read_text() == "mine" for file in own)


def test_the_page_says_what_compares_with_what_and_what_it_cost(page: Path) -> None:
    text = page.read_text()
    assert text.count("I(Z;Y) of the noiseless layer") == 2  # the caption, and what a screen reader hears
    assert "no test of the data-processing inequality" in text
    critics = sum(r.seconds for r in Trajectory.load(page.parent) if r.method.startswith("InfoNCE"))
    assert f"Of that the trained critics (InfoNCE) took {critics:.1f} s." in text
    assert "Estimators took 17.5 s, 43\u00a0% of 41.0 s of training." in text


def test_text_from_the_table_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('$x$')</script>\"&"
    rows = [
        row(q, 1.0 + s, s, layer=evil, role="", run=evil, method=evil, channel=evil, split=evil, pool=evil)
        for q in ("I(X;Z)", "I(Z;Y)", evil)
        for s in (0, 3)
    ]
    rows.append(row(evil, None, 0, layer=evil, role="", error=evil))
    page = write_report(
        folder_of(tmp_path / "run", rows, run=evil, config={evil: {evil: evil}}, data={"name": evil})
    )
    text = page.read_text()
    checker = Checker(text)
    assert "script" not in checker.tags
    assert checker.open == []
    assert "&lt;script&gt;" in text


def test_several_runs_share_one_page(tmp_path: Path) -> None:
    rows = [[row("I(Z;Y)", 1.0 + s, s, seed=seed) for s in (0, 2)] for seed in (3, 4)]
    folders = [folder_of(tmp_path / str(i), r, run="pair") for i, r in enumerate(rows)]
    page = write_report(folders, tmp_path / "together")
    assert page == tmp_path / "together" / "report.html"
    text = page.read_text()
    assert "seed 3" in text
    assert "seed 4" in text
    assert write_report(folders).parent == tmp_path.resolve()
    assert write_report(folders[0], tmp_path / "x.html").name == "x.html"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "the table has no finished measurement"),
        ([row(value=None, error="ValueError: broken <b>")], "ValueError: broken &lt;b&gt;"),
        ([row("RankMe", 3.0, 0, unit="1")], "I(X;Z) was not measured"),
        ([row("I(X;Z)", 3.0), row("I(Z;Y)", 1.0)], "Bounds: none were checked"),
        ([row("my measure", 1.5, unit="1", method="")], "Other measurements"),
        ([row("H(Z)", -math.inf, flags=("rank-deficient",))], "−∞ nats"),
    ],
)
def test_missing_pieces_cost_a_line_and_nothing_else(tmp_path: Path, rows: list[Row], expected: str) -> None:
    page = write_report(folder_of(tmp_path / "run", rows, run="r"))
    text = page.read_text()
    assert expected in text
    assert "Not shown</h2>" in text
    assert Checker(text).open == []


def test_a_run_without_labels_has_no_label_figures(tmp_path: Path) -> None:
    rows = [r for r in synthetic_rows(0, FEW) if r.quantity in {"I(X;Z)", "I(Z;Z')"} and r.role in {"h", "z"}]
    text = write_report(folder_of(tmp_path / "run", rows)).read_text()
    assert "I(Z;Y) was not measured" in text
    assert "Read-outs</h2>" not in text
    assert "Information planes</h2>" in text


def test_torn_last_lines_are_passed_over_and_others_are_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", [row()])
    bounds = folder / "bounds.jsonl"
    bounds.write_text(synthetic_bounds()[0].to_json() + '\n{"name": "cut')
    assert "test-set bound" in write_report(folder).read_text()
    bounds.write_text('{"name": "cut\n' + synthetic_bounds()[0].to_json() + "\n")
    with pytest.raises(ValueError, match="line 1 is no bound"):
        write_report(folder)
    bounds.unlink()
    (folder / "run.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"run\.json must hold a JSON object, got list"):
        write_report(folder)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run folder"):
        write_report(tmp_path)
    with pytest.raises(ValueError, match="empty sequence"):
        write_report([])
    with pytest.raises(ValueError, match="'nats' or 'bits'"):
        write_report(tmp_path, unit="bytes")


def test_every_class_of_bound_has_its_own_sentence() -> None:
    sentences = [in_words(b) for b in synthetic_bounds()]
    assert len(set(sentences)) == 5
    assert "probability at least 0.95" in sentences[0]
    assert "optimisation error" in sentences[1]
    assert "says nothing" in sentences[2]

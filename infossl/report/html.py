"""`write_report`: one page that shows a run, from its files alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from infossl.report import figures
from infossl.report._folder import RunFolder, read_run
from infossl.report._markup import Section, esc, figure
from infossl.report._names import LAYERLESS
from infossl.report._pictures import Gallery
from infossl.report._sections import (
    MEANING,
    bounds_body,
    configuration,
    final_numbers,
    missing_section,
    warnings_body,
)
from infossl.report._summary import headline_role, meta_line, runs_of, summary
from infossl.report._table import UNITS, Run, families
from infossl.trajectory import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_report"]

_INFORMATION = ("I(Z;Y)", "I(X;Z)", "I(Z;Z')", "H(Z)", "H(PZ)")
_GEOMETRY = ("RankMe", "alignment", "uniformity", "log tr Cov")
_READOUTS = ("accuracy(linear)", "accuracy(kNN)", "accuracy(online-linear)")

_CAPTIONS = {
    "I(X;Z)": "I(X;Z), what each layer keeps of the input through the declared channel; the band spans the two certain sides.",
    "I(Z;Y)": "I(Z;Y), what each layer holds about the label.",
    "I(Z;Z')": "I(Z;Z'), what two random views of one image share at each layer.",
    "H(Z)": "H(Z), entropy of a Gaussian with the same covariance: an upper bound. Its scale is that of the activations, "
    "so layers of different width do not compare.",
    "H(PZ)": "H(PZ), entropy of a low-dimensional projection by nearest neighbours.",
    "RankMe": "RankMe, the effective rank of the embeddings.",
    "alignment": "Alignment, the distance between two views of one image: lower is more invariant.",
    "uniformity": "Uniformity, the spread over the sphere: lower is more uniform.",
    "log tr Cov": "log tr Cov, the scale of the activations. Where it moves, so does everything measured under absolute noise.",
    "accuracy(online-linear)": "Accuracy of the linear probe that is trained along with the encoder.",
}


def write_report(
    run: Path | str | Sequence[Path | str], out: Path | str | None = None, *, unit: str = "nats"
) -> Path:
    """Writes `figures/` (PNG and SVG) and a self-contained `report.html` from one run folder, or from several.

    The page needs no network and no scripts. The same files give the same bytes.

    Arguments:
        run: a run folder with any of `run.json`, `trajectory.jsonl`, `bounds.jsonl`; or several, drawn together.
        out: the page, or a folder for it; by default `report.html` inside the run folder, or beside the first of
            several. `figures/` lies next to the page.
        unit: `"nats"` or `"bits"`.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: if a folder is no run folder.
        ValueError: if no folder is given, a file cannot be read, or `unit` is unknown.
    """
    if unit not in UNITS:
        raise ValueError(f"unit = {unit!r} must be 'nats' or 'bits'")
    paths = [Path(run)] if isinstance(run, (str, Path)) else [Path(p) for p in run]
    if not paths:
        raise ValueError("run is an empty sequence; give at least one run folder")
    folders = [read_run(path) for path in paths]
    page = _destination(paths, None if out is None else Path(out))
    gallery = Gallery(page.parent / "figures")
    runs = runs_of(folders)
    missing: list[str] = []
    sections = _sections(folders, runs, unit, gallery, missing)
    left_out = missing_section(missing)
    if left_out is not None:
        sections.append(left_out)
    names = list(dict.fromkeys(folder.name for folder in folders))
    text = Template(files("infossl.report").joinpath("template.html").read_text(encoding="utf-8")).substitute(
        title=esc(", ".join(names)),
        meta=meta_line(folders, runs),
        summary=summary(folders, runs, unit),
        contents="".join(f'<a href="#{s.anchor}">{s.title}</a>' for s in sections),
        sections="\n".join(
            f'<section id="{s.anchor}"><h2>{s.title}</h2>\n{s.body}</section>' for s in sections
        ),
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(page, text.encode())
    return page


def _destination(paths: Sequence[Path], out: Path | None) -> Path:
    if out is None:
        return (paths[0] if len(paths) == 1 else paths[0].resolve().parent) / "report.html"
    return out if out.suffix.lower() in {".html", ".htm"} else out / "report.html"


def _sections(
    folders: Sequence[RunFolder], runs: Sequence[Run], unit: str, gallery: Gallery, missing: list[str]
) -> list[Section]:
    tables = [folder.trajectory for folder in folders]
    rows = [row for run in runs for row in run.rows]
    role = headline_role(runs)
    measured = {row.quantity for row in rows}
    sections: list[Section] = []

    def show(name: str, caption: str, draw: Callable[[], Axes]) -> str:
        try:
            return figure(gallery.add(name, draw), caption)
        except figures.NothingToDraw as reason:
            missing.append(f"{name}: {reason}")
            return ""

    def section(anchor: str, title: str, *pictures: str, intro: str = "", wide: bool = False) -> None:
        found = "".join(pictures)
        if found:
            style = "figures wide" if wide else "figures"
            sections.append(Section(anchor, title, f'{intro}<div class="{style}">{found}</div>'))

    planes = []
    for y, words in (("I(Z;Y)", "the label"), ("I(Z;Z')", "the other view")):
        caption = (
            f"Left to right: what a layer keeps of the input. Bottom to top: what it holds about {words}. Colour and arrows "
            "follow training from the cross to the large marker; dashed lines are ceilings, hollow markers are saturated."
        )
        planes.append(
            show(
                f"information plane I(X;Z) {y}",
                caption,
                partial(figures.information_plane, tables, y=y, unit=unit),
            )
        )
    section("plane", "Information planes", *planes, wide=True)

    missing += [f"{q}: not measured" for q in _INFORMATION if q not in measured]
    curves = [
        show(q, _CAPTIONS[q], partial(figures.curves, tables, q, unit=unit))
        for q in _INFORMATION
        if q in measured
    ]
    section("curves", "Information along training", *curves)

    compared = []
    if len(families(rows, "I(Z;Z')")) > 1:
        for at in dict.fromkeys((role, "z")):
            caption = (
                f"The same quantity at {at} by different estimators, each with its own ceiling. Where they part, do not "
                "quote one alone."
            )
            if any(at in (r.role, r.layer) for r in rows):
                draw = partial(figures.method_comparison, tables, "I(Z;Z')", at, unit=unit)
                compared.append(show(f"estimators I(Z;Z') at {at}", caption, draw))
    section("estimators", "Estimators compared", *compared)

    geometry = [
        show(q, _CAPTIONS[q], partial(figures.curves, tables, q, unit=unit))
        for q in _GEOMETRY
        if q in measured
    ]
    section("geometry", "Geometry of the representation", *geometry)

    readouts = []
    if measured & set(_READOUTS[:2]):
        caption = f"Accuracy on {role}, beside the same read-out of raw inputs and of the untrained encoder."
        readouts.append(show(f"accuracy at {role}", caption, partial(figures.accuracy, tables, role)))
        for q in _READOUTS[:2]:
            if q in measured:
                name = q.removeprefix("accuracy(").removesuffix(")")
                readouts.append(show(q, f"{name} accuracy, all layers.", partial(figures.curves, tables, q)))
    if _READOUTS[2] in measured:
        readouts.append(
            show(_READOUTS[2], _CAPTIONS[_READOUTS[2]], partial(figures.curves, tables, _READOUTS[2]))
        )
    section("accuracy", "Read-outs", *readouts)

    caption = "The objective and its terms before weighting."
    section("loss", "Objective", show("loss terms", caption, partial(figures.loss_terms, tables)))

    known = {*_INFORMATION, *_GEOMETRY, *_READOUTS}
    others = [
        q for q in dict.fromkeys(r.quantity for r in rows) if q not in known and not q.startswith("loss/")
    ]
    more = [
        show(q, f"{q}, all layers.", partial(figures.curves, tables, q, unit=unit))
        for q in others
        if any(r.layer not in LAYERLESS for r in rows if r.quantity == q)
    ]
    section("more", "Other measurements", *more)

    numbers = final_numbers(runs, unit, opened=(role, "z"))
    if numbers:
        note = (
            "<p>The last value of each measurement. A number after ± is its standard error; hover over or long-press a "
            "method for its full settings.</p>"
        )
        sections.append(Section("numbers", "Final numbers", note + numbers))
    else:
        missing.append("Final numbers: the table has no finished measurement")
    _bounds(folders, runs, sections, missing, show)

    seconds = [folder.seconds("train_seconds") for folder in folders]
    per_run = seconds if len(seconds) == len(runs) else None
    caption = "Seconds spent on each quantity, beside the training itself."
    section("time", "Time", show("time", caption, partial(figures.overhead, tables, per_run)))

    sections.append(Section("warnings", "Warnings", warnings_body(runs)))
    sections.append(Section("meaning", "What these numbers mean and do not mean", MEANING))
    settings = configuration(folders)
    if settings:
        sections.append(Section("configuration", "Configuration and versions", settings))
    else:
        missing.append("Configuration and versions: run.json is missing or empty")
    return sections


def _bounds(
    folders: Sequence[RunFolder],
    runs: Sequence[Run],
    sections: list[Section],
    missing: list[str],
    show: Callable[[str, str, Callable[[], Axes]], str],
) -> None:
    labels = (
        [run.label for run in runs] if len(runs) == len(folders) else [folder.path.name for folder in folders]
    )
    bounds = [(label, b) for label, folder in zip(labels, folders, strict=True) for b in folder.bounds]
    if not bounds:
        missing.append("Bounds: none were checked")
        return
    caption = (
        "Both sides of every bound as a share of its trivial value; at or beyond 1 a bound says nothing new."
    )
    picture = show("bounds", caption, partial(figures.bounds_figure, [b for _, b in bounds]))
    body = (f'<div class="figures wide">{picture}</div>' if picture else "") + bounds_body(bounds)
    sections.append(Section("bounds", "Bounds", body))

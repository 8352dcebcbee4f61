"""`write_report`: one page that shows a run, from its files alone."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from tqdm.auto import tqdm

from infossl.bounds.result import BoundReport
from infossl.report._folder import RunFolder, read_run
from infossl.report._markup import Section, esc, figure
from infossl.report._pictures import Gallery
from infossl.report._plan import INFORMATION, Group, plan
from infossl.report._sections import (
    MEANING,
    bounds_body,
    configuration,
    final_numbers,
    missing_section,
    warnings_body,
)
from infossl.report._summary import cost_in_words, headline_role, meta_line, runs_of, summary
from infossl.report._table import UNITS, NothingToDraw, Run
from infossl.trajectory import atomic_write

__all__ = ["write_report"]


def write_report(
    run: Path | str | Sequence[Path | str], out: Path | str | None = None, *, unit: str = "nats"
) -> Path:
    """Writes `figures/` (PNG and SVG) and a self-contained `report.html` from one run folder, or from several.

    The page needs no network and no scripts. The same files give the same bytes. Figures that an earlier report of
    the same page wrote and this one does not draw are removed; other files stay.

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
    gallery = Gallery(page.parent / "figures", page.name)
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


def _drawn(groups: Sequence[Group], gallery: Gallery, missing: list[str]) -> dict[str, str]:
    """The figures of every section as HTML, by its anchor; reasons for those that are not drawn go to `missing`."""
    found: dict[str, str] = {}
    everything = [(group, picture) for group in groups for picture in group.pictures]
    for group, picture in tqdm(everything, desc="figures", unit="figure", disable=None, leave=False):
        try:
            shown = figure(gallery.add(picture.name, picture.draw), picture.caption)
        except NothingToDraw as reason:
            missing.append(f"{picture.name}: {reason}")
            continue
        found[group.anchor] = found.get(group.anchor, "") + shown
    gallery.close()
    wide = {group.anchor: " wide" if group.wide else "" for group in groups}
    return {anchor: f'<div class="figures{wide[anchor]}">{body}</div>' for anchor, body in found.items()}


def _sections(
    folders: Sequence[RunFolder], runs: Sequence[Run], unit: str, gallery: Gallery, missing: list[str]
) -> list[Section]:
    groups = plan(folders, runs, unit)
    pictures = _drawn(groups, gallery, missing)
    measured = {row.quantity for run in runs for row in run.rows}
    missing += [f"{q}: not measured" for q in INFORMATION if q not in measured]
    bodies = dict(pictures)
    bounds = _labelled(folders, runs)
    if bounds:
        bodies["bounds"] = pictures.get("bounds", "") + bounds_body(bounds)
    else:
        missing.append("Bounds: none were checked")
    if "time" in pictures:
        bodies["time"] = cost_in_words(folders, runs) + pictures["time"]
    sections = [Section(g.anchor, g.title, bodies[g.anchor]) for g in groups if g.anchor in bodies]

    numbers = final_numbers(runs, unit, opened=(headline_role(runs), "z"))
    if numbers:
        note = (
            "<p>The last value of each measurement. A number after ± is its standard error; hover over or long-press a "
            "method for its full settings.</p>"
        )
        before = [i for i, s in enumerate(sections) if s.anchor in {"bounds", "time"}]
        sections.insert(
            before[0] if before else len(sections), Section("numbers", "Final numbers", note + numbers)
        )
    else:
        missing.append("Final numbers: the table has no finished measurement")
    sections.append(Section("warnings", "Warnings", warnings_body(runs)))
    sections.append(Section("meaning", "What these numbers mean and do not mean", MEANING))
    settings = configuration(folders)
    if settings:
        sections.append(Section("configuration", "Configuration and versions", settings))
    else:
        missing.append("Configuration and versions: run.json is missing or empty")
    return sections


def _labelled(folders: Sequence[RunFolder], runs: Sequence[Run]) -> list[tuple[str, BoundReport]]:
    """Every bound with the name of its run."""
    labels = (
        [run.label for run in runs] if len(runs) == len(folders) else [folder.path.name for folder in folders]
    )
    return [(label, b) for label, folder in zip(labels, folders, strict=True) for b in folder.bounds]

"""The head of the report: the few numbers that a reader looks for first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from infossl.report._folder import RunFolder
from infossl.report._markup import esc
from infossl.report._names import family, unit_name
from infossl.report._numbers import number, plus_minus
from infossl.report._table import Point, Run, as_runs, choose, families, point, roles_of
from infossl.trajectory import Row

__all__ = ["cost", "cost_in_words", "headline_role", "meta_line", "summary"]

_CRITICS = frozenset({"InfoNCE", "MINE", "NWJ", "JSD", "SMILE", "FLO", "DoE", "CLUB"})
_LEVELS = {
    "full": "With measure = full a critic is trained at every layer and step, and there are permutation nulls; measure = light "
    "leaves both out and reads fewer samples.",
    "light": "With measure = light there are closed forms, nearest neighbours and probes on fewer samples; measure = full adds "
    "trained critics and permutation nulls and takes several times as long.",
}


def headline_role(runs: Sequence[Run]) -> str:
    """The layer that the summary speaks of: the representation h, or else the deepest one."""
    roles = [role for role in roles_of(row for run in runs for row in run.rows) if role != "x"]
    return "h" if "h" in roles else roles[-1] if roles else ""


def meta_line(folders: Sequence[RunFolder], runs: Sequence[Run]) -> str:
    """Data, length, seeds and what was measured, as HTML."""
    first = folders[0]
    steps = [row.step for run in runs for row in run.rows]
    seeds = sorted({row.seed for run in runs for row in run.rows if row.seed is not None})
    data = first.section("data").get("name") or (
        first.meta.get("data") if isinstance(first.meta.get("data"), str) else ""
    )
    parts = [
        f"data: {data}" if data else "",
        f"{max(steps)} optimizer steps, measured at {len(set(steps))} of them"
        if steps
        else "no measurements",
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" if seeds else "",
        f"measure = {first.meta['measure']}" if first.meta.get("measure") else "",
        f"commit {str(first.meta['commit'])[:12]}" if first.meta.get("commit") else "",
    ]
    return " · ".join(esc(part) for part in parts if part)


def cost(folder: RunFolder) -> tuple[float | None, float | None]:
    """Seconds of training and of measuring; the latter from the rows where `run.json` does not say."""
    train, measure = folder.seconds("train_seconds"), folder.seconds("measure_seconds")
    if measure is None:
        spent = [row.seconds for row in folder.trajectory if row.seconds is not None]
        measure = sum(spent) if spent else None
    return train, measure


def cost_in_words(folders: Sequence[RunFolder], runs: Sequence[Run]) -> str:
    """What the estimators took beside the training, how much of it the trained critics, and what a cheaper run leaves out."""
    sentences = []
    matched = len(runs) == len(folders)
    names = [run.label for run in runs] if matched else [folder.path.name for folder in folders]
    for folder, label in zip(folders, names, strict=True):
        train, measure = cost(folder)
        if measure is None:
            continue
        beside = f", {100 * measure / train:.0f}\u00a0% of {train:.1f} s of training" if train else ""
        who = f"{label}: estimators" if len(folders) > 1 else "Estimators"
        sentences.append(f"{who} took {measure:.1f} s{beside}.")
        rows = [row for row in folder.trajectory if row.seconds is not None]
        critics = sum(row.seconds or 0.0 for row in rows if family(row.method) in _CRITICS)
        if critics and rows:
            kinds = " and ".join(
                dict.fromkeys(family(r.method) for r in rows if family(r.method) in _CRITICS)
            )
            sentences.append(f"Of that the trained critics ({kinds}) took {critics:.1f} s.")
    levels = {str(folder.meta.get("measure") or "") for folder in folders}
    sentences += [text for name, text in _LEVELS.items() if name in levels]
    return f"<p>{esc(' '.join(sentences))}</p>" if sentences else ""


def summary(folders: Sequence[RunFolder], runs: Sequence[Run], unit: str) -> str:
    """One paragraph and a row of tiles, as HTML; what was not measured is left out."""
    role = headline_role(runs)
    sentences: list[str] = []
    tiles: list[tuple[str, str]] = []

    trained = _each(runs, lambda rows: _at_end(rows, "accuracy(linear)", role))
    if trained:
        beside = []
        untrained = _each(runs, lambda rows: _at_start(rows, "accuracy(linear)", role))
        raw = _each(runs, lambda rows: _at_end(rows, "accuracy(linear)", "x"))
        if untrained:
            beside.append(f"{_joined(untrained, _percent)} for the untrained encoder")
        if raw:
            beside.append(f"{_joined(raw, _percent)} for raw inputs")
        text = f"At the end of training a linear read-out of {role} is right on {_joined(trained, _percent)} of the samples"
        sentences.append(text + (f", against {' and '.join(beside)}." if beside else "."))
        against = [f"untrained {_joined(untrained, _percent)}"] if untrained else []
        against += [f"raw inputs {_joined(raw, _percent)}"] if raw else []
        tiles.append((_joined(trained, _percent), f"linear accuracy on {role}; " + ", ".join(against)))

    label = _each(runs, lambda rows: _at_end(rows, "I(Z;Y)", role, unit))
    if label:
        top = label[0].ceiling
        of = f" of at most {plus_minus(top, _error(label[0]))[0]}" if top is not None else ""
        name = unit_name(label[0].row, unit)
        least = "at least " if label[0].row.bound == "lower" else ""
        sentences.append(
            f"{role} holds {least}{_joined(label, _spread)} {name}{of} about the label (I(Z;Y), {family(label[0].row.method)})."
        )
        errors = [plus_minus(p.value, _error(p))[1] for p in label if _error(p)]
        tiles.append(
            (
                f"{'≥ ' if least else ''}{_joined(label, lambda p: plus_minus(p.value, _error(p))[0])} {name}",
                f"I(Z;Y) at {role}"
                + (f", standard error {' · '.join(errors)}" if errors else "")
                + of.replace(" of", ","),
            )
        )

    kept = _each(runs, lambda rows: _at_end(rows, "I(X;Z)", role, unit))
    if kept:
        name = unit_name(kept[0].row, unit)
        certain = " (two certain sides)" if kept[0].row.interval and kept[0].row.level is None else ""
        channel = f" through {kept[0].row.channel}" if kept[0].row.channel else ""
        sentences.append(
            f"About the input it keeps {_joined(kept, _sides)} {name}{certain}{channel}, I(X;Z)."
        )
        ceiling = f", ceiling {number(kept[0].ceiling, 2)}" if kept[0].ceiling is not None else ""
        tiles.append((f"{_joined(kept, _sides)} {name}", f"I(X;Z) at {role}{ceiling}"))

    shares, seconds = [], []
    for folder in folders:
        train, measure = cost(folder)
        if measure is not None:
            beside_training = (
                f" ({100 * measure / train:.0f}\u00a0% of {train:.1f} s of training)" if train else ""
            )
            seconds.append(f"{measure:.1f} s{beside_training}")
            shares.append(f"{100 * measure / train:.0f}\u00a0%" if train else f"{measure:.1f} s")
    if seconds:
        sentences.append(f"Measuring took {'; '.join(seconds)}.")
        of = "estimators' time, as a share of training" if "%" in shares[0] else "estimators' time"
        tiles.append((" · ".join(shares), of))

    if len(runs) > 1:
        sentences.append(
            f"Values separated by a dot are the runs in order: {', '.join(run.label for run in runs)}."
        )
    text = " ".join(sentences) or "The table holds no finished measurement that the summary could quote."
    boxes = "".join(
        f'<div class="tile"><b>{esc(value)}</b><span>{esc(what)}</span></div>' for value, what in tiles
    )
    return f"<p>{esc(text)}</p>" + (f'<div class="tiles">{boxes}</div>' if boxes else "")


def _each(runs: Sequence[Run], pick: Callable[[Sequence[Row]], Point | None]) -> list[Point]:
    return [p for run in runs if (p := pick(run.rows)) is not None]


def _candidates(rows: Sequence[Row], quantity: str, role: str) -> list[Row]:
    here = [row for row in rows if row.quantity == quantity and role in (row.role, row.layer)]
    if not families(here, quantity):
        return []
    chosen = choose(here, quantity)
    here = [
        row
        for row in here
        if row.value is not None and abs(row.value) < float("inf") and family(row.method) == chosen
    ]
    return [row for row in here if row.split == "held-out"] or here


def _at_end(rows: Sequence[Row], quantity: str, role: str, unit: str = "nats") -> Point | None:
    here = _candidates(rows, quantity, role)
    return point(max(here, key=lambda row: row.step), unit) if here else None


def _at_start(rows: Sequence[Row], quantity: str, role: str) -> Point | None:
    here = [row for row in _candidates(rows, quantity, role) if row.step == 0]
    later = any(row.step > 0 for row in rows)
    return point(here[0]) if here and later else None


def _joined(points: Sequence[Point], text: Callable[[Point], str]) -> str:
    return " · ".join(
        dict.fromkeys(text(p) for p in points) if len(points) == 1 else [text(p) for p in points]
    )


def _percent(p: Point) -> str:
    return f"{100 * p.value:.1f}\u00a0%"


def _error(p: Point) -> float:
    """The standard error in the display unit; 0 where there is none."""
    if p.row.stderr is None or p.row.interval is not None or p.high is None:
        return 0.0
    return p.high - p.value


def _spread(p: Point) -> str:
    return " ± ".join(plus_minus(p.value, _error(p))[: 2 if _error(p) else 1])


def _sides(p: Point) -> str:
    if p.row.interval is None or p.low is None or p.high is None:
        return number(p.value, 2)
    return f"{number(p.low, 2)} to {number(p.high, 2)}"


def runs_of(folders: Sequence[RunFolder]) -> list[Run]:
    """All runs of all folders, named apart."""
    return as_runs([folder.trajectory for folder in folders])

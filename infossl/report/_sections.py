"""The tables and the prose of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from estimators import FLAGS
from infossl.bounds.result import BoundReport
from infossl.report._folder import RunFolder
from infossl.report._markup import Section, definitions, details, esc, flattened, table
from infossl.report._names import ceiling_name, short_method, tap_name, unit_name
from infossl.report._numbers import number, plus_minus
from infossl.report._table import UNITS, Run, last_rows
from infossl.trajectory import Row

__all__ = ["MEANING", "bounds_body", "configuration", "final_numbers", "warnings_body"]

_DIRECTION = {"lower": "lower", "upper": "upper", "none": ""}

MEANING = """
<ul>
<li>For a deterministic encoder with continuous outputs I(X;Z) is infinite. Every finite number here belongs to the
channel declared beside it; another noise level gives another number, and only numbers through the same channel compare.</li>
<li>I(X;Z) is of the layer seen through the declared noise. I(Z;Y) and I(Z;Z') are of the noiseless layer, which keeps more:
I(Z;Y) above I(X;Z) does not contradict the data-processing inequality, which speaks of one and the same channel.</li>
<li>A <em>lower bound</em> says that the truth is at least this much, an <em>upper bound</em> at most. I(Z;Y) from a
probe is what that probe could read, so a low value may be the probe's fault. An <em>estimate</em> promises no direction.</li>
<li>No estimate can pass its <em>ceiling</em>: log n, or log K for a critic with K candidates. A hollow marker or the flag
<em>saturated</em> means that the ceiling was reached; the truth may be any larger number.</li>
<li>The <em>null</em> is what the same estimator reports when the pairing is shuffled. A value inside the null is no
evidence of dependence, however large it looks.</li>
<li>Error bars are the scatter from the samples at hand. They hold neither an estimator's bias nor the differences between
training seeds; seeds are drawn apart for that reason.</li>
<li>A projected estimate is of the projection. It can miss information that lives in other directions.</li>
<li>A path that moves left in the information plane may compress or, under an absolute noise level, only shrink: compare
with log&nbsp;tr&nbsp;Cov first. Compression is not in itself evidence of better generalisation.</li>
<li>A bound that is <em>vacuous</em> or <em>estimated</em> is a comparison of numbers, not a guarantee. Only
<em>certified</em> is one.</li>
</ul>
"""


def final_numbers(runs: Sequence[Run], unit: str, opened: Sequence[str] = ()) -> str:
    """The last value of everything that was measured, by layer; the layers of the roles `opened` are unfolded."""
    several = len(runs) > 1
    head = [("quantity", False), *([("run", False)] if several else []), ("value", True), ("method and channel", False),
            ("ceiling", True), ("null", True), ("n", True), ("flags", False)]  # fmt: skip
    groups: dict[tuple[str, str], list[tuple[Run, Row]]] = {}
    for run in runs:
        for row in last_rows(run):
            where = tap_name(row) + (f" · {row.layer}" if row.role and row.layer != row.role else "")
            extra = ", ".join(part for part in (row.branch, row.pool and f"pool {row.pool}") if part)
            groups.setdefault((row.role, f"{where} ({extra})" if extra else where), []).append((run, row))
    if not groups:
        return ""
    last = {run.label: max(row.step for row in run.rows) for run in runs}
    parts = []
    for (role, where), entries in groups.items():
        body = []
        order = {q: i for i, q in enumerate(dict.fromkeys(r.quantity for run in runs for r in run.rows))}
        for run, row in sorted(entries, key=lambda e: order[e[1].quantity]):
            body.append(_number_row(row, run.label if several else None, unit, last[run.label]))
        show = role in opened or len(groups) == 1
        parts.append(details(where, table(head, body, kind="numbers"), opened=show))
    return "".join(parts)


def _number_row(row: Row, label: str | None, unit: str, last: int) -> str:
    factor = UNITS[unit] if row.unit == "nats" else 1.0

    def show(value: float | None) -> str:
        return number(None if value is None else value * factor)

    if row.value is not None and row.stderr is not None:
        value = " ± ".join(plus_minus(row.value * factor, row.stderr * factor, 3))
    else:
        value = show(row.value)
    value = esc(f"{value} {unit_name(row, unit)}".rstrip())
    if row.interval is not None:
        certain = f"{row.level:.0%} in " if row.level is not None else "between "
        sides = f"{certain}{show(row.interval[0])} and {show(row.interval[1])}"
        value += f'<span class="note">{esc(sides)}</span>'
    ceiling = ""
    if row.ceiling is not None:
        height = f"{row.ceiling:g}" if row.unit == "1" else show(row.ceiling)
        ceiling = f"{ceiling_name(row)} = {height}".removeprefix("ceiling = ")
    direction = _DIRECTION.get(row.bound, row.bound)
    notes = [
        f"{direction} bound" if direction else "",
        row.split if row.split != "held-out" else "",
        f"step {row.step}" if row.step != last else "",
    ]
    where = "".join(f'<span class="note">{esc(note)}</span>' for note in notes if note)
    flags = " ".join(f'<span class="flag" title="{esc(FLAGS.get(f, ""))}">{esc(f)}</span>' for f in row.flags)
    method = f'<abbr title="{esc(row.method)}">{esc(short_method(row.method))}</abbr>' if row.method else ""
    channel = f'<span class="note">{esc(row.channel)}</span>' if row.channel else ""
    return (
        f"<tr><td>{esc(row.quantity)}{where}</td>"
        + (f'<td class="tag">{esc(label)}</td>' if label is not None else "")
        + f'<td class="num">{value}</td><td class="method">{method}{channel}</td><td class="num">{esc(ceiling)}</td>'
        f'<td class="num">{_null(row, factor)}</td><td class="num">{row.n or ""}</td><td>{flags}</td></tr>'
    )


def _null(row: Row, factor: float) -> str:
    """The null's 95th percentile, or its mean where there is none, and the p-value."""
    facts = row.diagnostics
    parts = []
    if "null_q95" in facts:
        parts.append(f"95 % below {number(facts['null_q95'] * factor)}")
    elif "null_mean" in facts:
        what = "chance" if row.quantity.startswith("accuracy") else "mean"
        parts.append(f"{what} {number(facts['null_mean'] * factor)}")
    if "p_value" in facts:
        parts.append(f"p = {number(facts['p_value'])}")
    return "<br>".join(esc(part) for part in parts)


def bounds_body(bounds: Sequence[tuple[str, BoundReport]]) -> str:
    """Every bound with its class, one sentence in plain words, its terms and its assumptions."""
    several = len({label for label, _ in bounds}) > 1
    head = [("bound", False), *([("run", False)] if several else []), ("class", False), ("measured", True),
            ("bound value", True), ("trivial", True), ("in plain words", False)]  # fmt: skip
    rows = []
    for label, b in bounds:
        rows.append(
            f"<tr><td>{esc(b.name)}</td>"
            + (f"<td>{esc(label)}</td>" if several else "")
            + f'<td><span class="verdict {esc(b.verdict)}">{esc(b.verdict)}</span></td>'
            f'<td class="num">{esc(number(b.lhs))}</td><td class="num">{esc(number(b.rhs))}</td>'
            f'<td class="num">{esc(number(b.trivial))}</td><td>{esc(in_words(b))}{_fine_print(b)}</td></tr>'
        )
    return table(head, rows, kind="verdicts")


def in_words(b: BoundReport) -> str:
    """One sentence that says what the class of this bound means for it."""
    lhs, rhs, trivial = number(b.lhs), number(b.rhs), number(b.trivial)
    if b.verdict == "certified":
        risk = f" with probability at least {1 - b.delta:g}" if b.delta else ""
        return (
            f"What is bounded is at most {rhs}{risk}; every term is exact or a confidence bound, and nothing is "
            "merely assumed."
        )
    if b.verdict == "estimated-consistent":
        left_out = f"; left out: {', '.join(b.left_out)}" if b.left_out else ""
        return (
            f"The measured {lhs} lies below the estimated right-hand side {rhs}, as the statement says, but terms are "
            f"estimated, left out or assumed, so this guarantees nothing{left_out}."
        )
    if b.verdict == "estimated-violated":
        return (
            f"The measured {lhs} lies above the right-hand side {rhs}: a term is underestimated, an assumption "
            "fails, or the statement does not hold here."
        )
    if b.verdict == "vacuous":
        return f"The right-hand side {rhs} is no smaller than {trivial}, which holds without any theorem: it says nothing here."
    broken = [f"“{a.text}”" for a in b.assumptions if a.status == "violated"]
    return (
        f"The statement does not apply here: {' and '.join(broken)} does not hold, so its two sides are shown for "
        "reference only."
    )


def _fine_print(b: BoundReport) -> str:
    parts = [f"<p>{esc(b.statement)}</p>"]
    facts: list[tuple[object, object]] = [
        ("what is bounded", b.object), ("measured how", b.lhs_how), ("kind", b.kind), ("source", b.source),
        ("step", b.step), ("delta", b.delta),
    ]  # fmt: skip
    facts += [(f"term: {name}", number(value, 4)) for name, value in b.terms.items()]
    facts += [(f"sample: {name}", role) for name, role in b.roles.items()]
    facts += [(f"assumption, {a.status}", a.text) for a in b.assumptions]
    facts += [("left out", name) for name in b.left_out]
    parts.append(definitions((k, v) for k, v in facts if v not in (None, "")))
    return details("statement, terms and assumptions", "".join(parts))


def warnings_body(runs: Sequence[Run]) -> str:
    """Flags with what they mean and where they were raised; measurements that failed."""
    flagged: dict[str, list[Row]] = {}
    failed: list[tuple[str, Row]] = []
    for run in runs:
        for row in run.rows:
            for flag in row.flags:
                flagged.setdefault(flag, []).append(row)
            if row.error is not None or row.value is None:
                failed.append((run.label, row))
    parts = []
    if flagged:
        order = {flag: i for i, flag in enumerate(FLAGS)}
        rows = [
            f'<tr><td><span class="flag">{esc(flag)}</span></td><td>{esc(FLAGS.get(flag, "not in the vocabulary"))}</td>'
            f'<td class="num">{len(hits)}</td><td>{esc(_where(hits))}</td></tr>'
            for flag, hits in sorted(
                flagged.items(), key=lambda item: (order.get(item[0], len(order)), item[0])
            )
        ]
        parts.append(
            table([("flag", False), ("what it says", False), ("rows", True), ("where", False)], rows)
        )
    if failed:
        rows = [
            f"<tr><td>{esc(label)}</td><td>{esc(tap_name(row))}</td><td>{esc(row.quantity)}</td>"
            f'<td><abbr title="{esc(row.method)}">{esc(short_method(row.method) if row.method else "")}</abbr></td>'
            f'<td class="num">{row.step}</td><td>{esc(row.error or "no value")}</td></tr>'
            for label, row in failed
        ]
        head = [
            ("run", False),
            ("layer", False),
            ("quantity", False),
            ("method", False),
            ("step", True),
            ("why", False),
        ]
        count = f"{len(failed)} measurement{'s' if len(failed) > 1 else ''} failed; training went on"
        parts.append(details(count, table(head, rows), opened=len(failed) <= 10))
    return "".join(parts) or "<p>No flag was raised and no measurement failed.</p>"


def _where(rows: Sequence[Row]) -> str:
    places: dict[str, dict[str, None]] = {}
    for row in rows:
        places.setdefault(
            f"{row.quantity} by {short_method(row.method)}" if row.method else row.quantity, {}
        )[row.role or row.layer] = None
    shown = [f"{what} at {', '.join(roles)}" for what, roles in places.items()]
    return "; ".join(shown[:4]) + (f"; and {len(shown) - 4} more" if len(shown) > 4 else "")


def configuration(folders: Sequence[RunFolder]) -> str:
    """Settings, versions, data and probe set of every run, folded away."""
    parts = []
    for folder in folders:
        name = f" of {folder.path.name}" if len(folders) > 1 else ""
        for key, title in (("config", "configuration"), ("versions", "versions"), ("data", "data"), ("probe", "probe set"),
                           ("timing", "timing"), ("summary", "summary written by the run")):  # fmt: skip
            value = folder.meta.get(key)
            if isinstance(value, Mapping) and value:
                parts.append(details(f"{title}{name}", definitions(flattened(value))))
            elif value:
                parts.append(details(f"{title}{name}", definitions([(key, value)])))
        other = [(k, v) for k, v in folder.meta.items() if k in ("run", "commit", "measure") and v]
        if other:
            parts.append(details(f"run{name}", definitions(other)))
    return "".join(parts)


def missing_section(reasons: Sequence[str]) -> Section | None:
    """What the report has no data for, one line each."""
    if not reasons:
        return None
    lines = "".join(f'<li class="missing">{esc(reason)}</li>' for reason in dict.fromkeys(reasons))
    return Section("not-shown", "Not shown", f"<ul>{lines}</ul>")

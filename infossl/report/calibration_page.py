"""A calibration in words: the verdict on each estimator, and a page that also has every law."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estimators.calibration import Calibration
    from estimators.calibration_summary import Summary

__all__ = ["HEAD", "LEGEND", "WORDS", "entries", "page"]

HEAD = (
    *("estimator", "right on", "silent", "rmse", "sd", "holds mean", "holds truth", "flagged"),
    *("worst bias on", "s each", "verdict"),
)
WORDS = ("estimator", "worst bias on", "verdict")
LEGEND = """\
right on     laws with a bias within 0.1 nats or 10 % of the truth, give or take 3 standard errors
silent       laws that are wrong although most of their estimates carry no flag; a lower bound may be low
rmse, sd     root mean square distance from the truth, and scatter of one estimate [nats]
holds ...    share of the intervals (nominal 90 %) that hold the estimator's own mean, or the truth
flagged      share of the estimates that carry a flag
s each       elapsed time of one estimate; on a busy machine it says little"""


def entries(s: Summary) -> tuple[str, ...]:
    """The cells of one summary, in the order of `HEAD`."""

    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        s.label,
        f"{s.right} of {s.laws + s.failed}",
        *(str(s.silent), number(s.rmse, ".3f"), number(s.sd, ".3f")),
        *(number(s.covers_expectation, ".0%"), number(s.covers_truth, ".0%"), number(s.flagged, ".0%")),
        f"{s.worst_bias:+.2f} {s.worst}" if s.worst_bias is not None else "-",
        number(s.seconds, ".3f"),
        "fails on all" if s.verdict.startswith("fails") else s.verdict,
    )


def page(rows: Sequence[Calibration], summaries: Sequence[Summary], command: str, figure: str = "") -> str:
    """Markdown: the command, the figure, the verdicts, and the bias on every law.

    Arguments:
        rows: of `calibrate`.
        summaries: of `summarise(rows)`.
        command: what made them.
        figure: file of `bias_figure(rows)` beside the page; none is shown without.
    """
    shown = [i for i, name in enumerate(HEAD) if name != "s each"]  # times belong to a machine, not to a page
    verdicts = [[HEAD[i] for i in shown], *([entries(s)[i] for i in shown] for s in summaries)]
    laws, labels = (
        list(dict.fromkeys(row.law for row in rows)),
        list(dict.fromkeys(row.label for row in rows)),
    )
    cells = {(row.law, row.label): row for row in rows}
    one = {row.law: row for row in rows}
    every = [["kind", "law", "truth", *(f"`{label}`" for label in labels)]]
    every += [
        [one[law].kind, law, f"{'' if one[law].exact else '≤ '}{one[law].truth:.2f}"]
        + [_cell(cells.get((law, label))) for label in labels]
        for law in laws
    ]
    legend = [text for text in LEGEND.splitlines() if not text.startswith("s each")]
    parts = [
        "# Calibration",
        "Estimates on samples of laws whose mutual information is known. All numbers are in nats.",
        f"```sh\n{command}\n```",
        f"![estimate less truth, one cell for each law and estimator]({figure})" if figure else "",
        "## Verdicts",
        _markdown([[f"`{v[0]}`", *v[1:]] if k else v for k, v in enumerate(verdicts)]),
        "\n".join(f"- **{text[:13].strip()}**: {text[13:]}" for text in legend),
        "## Every law",
        "Mean of the estimate less the truth, ± standard deviation of one estimate; `!` where most estimates carry a flag.",
        _markdown(every),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cell(row: Calibration | None) -> str:
    if row is None:
        return ""
    if row.bias is None:
        return "refused"
    spread = "" if row.sd is None else f" ± {row.sd:.2f}"
    return f"{row.bias:+.2f}{spread}" + (" !" if (row.flagged or 0.0) >= 0.5 else "")


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = lines
    rule = ["---" if name in (*WORDS, "kind", "law") else "---:" for name in head]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rest))

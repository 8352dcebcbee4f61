"""Which figures a report shows, in which order and with which captions; nothing is drawn here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from infossl.report import figures
from infossl.report._folder import RunFolder
from infossl.report._names import LAYERLESS
from infossl.report._summary import headline_role
from infossl.report._table import Run, families
from infossl.trajectory import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Group", "Picture", "plan"]


class Picture(NamedTuple):
    """One figure of the page: its name, its caption and the call that draws it."""

    name: str
    caption: str
    draw: Callable[[], Axes]


class Group(NamedTuple):
    """The figures of one section."""

    anchor: str
    title: str
    pictures: list[Picture]
    wide: bool = False


INFORMATION = ("I(Z;Y)", "I(X;Z)", "I(Z;Z')", "H(Z)", "H(PZ)")
_GEOMETRY = ("RankMe", "alignment", "uniformity", "log tr Cov")
_READOUTS = ("accuracy(linear)", "accuracy(kNN)", "accuracy(online-linear)")

_CAPTIONS = {
    "I(X;Z)": "I(X;Z), what each layer keeps of the input when it is read through the declared noise; the truth lies "
    "between the solid and the dotted line.",
    "I(Z;Y)": "I(Z;Y), what each layer holds about the label, read without any noise.",
    "I(Z;Z')": "I(Z;Z'), what two random views of one image share at each layer, read without added noise.",
    "H(Z)": "H(Z), entropy of a Gaussian with the same covariance: an upper bound. Its scale is that of the activations, "
    "so layers of different width do not compare.",
    "H(PZ)": "H(PZ), entropy of a low-dimensional projection by nearest neighbours.",
    "RankMe": "RankMe, the effective rank of the embeddings.",
    "alignment": "Alignment, the distance between two views of one image: lower is more invariant.",
    "uniformity": "Uniformity, the spread over the sphere: lower is more uniform.",
    "log tr Cov": "log tr Cov, the scale of the activations. Where it moves, so does everything measured under absolute noise.",
    "accuracy(linear)": "Accuracy of a linear read-out at every layer.",
    "accuracy(kNN)": "Accuracy of a nearest-neighbour read-out at every layer.",
    "accuracy(online-linear)": "Accuracy of the linear probe that is trained along with the encoder.",
}


def plan(folders: Sequence[RunFolder], runs: Sequence[Run], unit: str) -> list[Group]:
    """The figures of every section, in the order of the page."""
    tables = [folder.trajectory for folder in folders]
    rows = [row for run in runs for row in run.rows]
    role = headline_role(runs)
    measured = dict.fromkeys(row.quantity for row in rows)

    def curves(quantities: Sequence[str], unit: str = unit) -> list[Picture]:
        return [
            Picture(q, _CAPTIONS.get(q, f"{q}, all layers."), partial(figures.curves, tables, q, unit=unit))
            for q in quantities
            if q in measured
        ]

    planes = [
        Picture(
            f"information plane I(X;Z) {y}",
            _plane_caption(rows, y, words),
            partial(figures.information_plane, tables, y=y, unit=unit),
        )
        for y, words in (("I(Z;Y)", "the label"), ("I(Z;Z')", "the other view"))
    ]
    compared = [
        Picture(
            f"estimators I(Z;Z') at {at}",
            f"The same quantity at {at} by different estimators, each with its own ceiling (dashed, in its colour). Where "
            "they part, do not quote one alone.",
            partial(figures.method_comparison, tables, "I(Z;Z')", at, unit=unit),
        )
        for at in dict.fromkeys((role, "z"))
        if len(families(rows, "I(Z;Z')")) > 1 and any(at in (r.role, r.layer) for r in rows)
    ]
    readouts = curves(_READOUTS)
    if any(q in measured for q in _READOUTS[:2]):
        caption = f"Accuracy on {role}, beside the same read-out of raw inputs and of the untrained encoder."
        readouts.insert(0, Picture(f"accuracy at {role}", caption, partial(figures.accuracy, tables, role)))
    loss = Picture(
        "loss terms", "The objective and its terms before weighting.", partial(figures.loss_terms, tables)
    )
    known = {*INFORMATION, *_GEOMETRY, *_READOUTS}
    layered = dict.fromkeys(r.quantity for r in rows if r.layer not in LAYERLESS)
    others = [q for q in layered if q not in known and not q.startswith("loss/")]
    bounds = [bound for folder in folders for bound in folder.bounds]
    verdicts = Picture(
        "bounds",
        "Both sides of every bound as a share of its trivial value; at or beyond 1 a bound says nothing new.",
        partial(figures.bounds_figure, bounds),
    )
    seconds = [folder.seconds("train_seconds") for folder in folders]
    time = Picture(
        "time",
        "Seconds spent on each quantity, beside the training itself.",
        partial(figures.overhead, tables, seconds if len(seconds) == len(runs) else None),
    )
    return [
        Group("plane", "Information planes", planes, wide=True),
        Group("curves", "Information along training", curves(INFORMATION)),
        Group("estimators", "Estimators compared", compared),
        Group("geometry", "Geometry of the representation", curves(_GEOMETRY)),
        Group("accuracy", "Read-outs", readouts),
        Group("loss", "Objective", [loss]),
        Group("more", "Other measurements", curves(others)),
        Group("bounds", "Bounds", [verdicts] if bounds else [], wide=True),
        Group("time", "Time", [time]),
    ]


def _plane_caption(rows: Sequence[Row], y: str, words: str) -> str:
    channels = list(dict.fromkeys(r.channel for r in rows if r.quantity == "I(X;Z)" and r.channel))
    noise = f"the declared noise, {' / '.join(channels)}" if channels else "the declared noise"
    return (
        f"Left to right: what a layer keeps of the input. Bottom to top: what it holds about {words}. Colour and arrows "
        "follow training from the cross to the large marker; dashed lines are ceilings, hollow markers are saturated. "
        f"The two axes are different channels: I(X;Z) is of the layer seen through {noise}, {y} of the noiseless layer. "
        "Comparing their heights is therefore no test of the data-processing inequality."
    )

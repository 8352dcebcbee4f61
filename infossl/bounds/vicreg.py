r"""The generalization bound for VICReg, as a tracker of the terms that can be computed.

For an encoder f trained on a pool of pairs \((x_i^+, x_i^{++})_{i \le m}\) that share a class, a labelled
sample \((x_i, y_i)_{i \le n}\), and the minimum-norm least-squares heads \(W_S\) on the labelled sample and
\(W^*\) on the pool with its labels,

.. math:: E \|W_S f(x) - y\| \le c\, I + \frac{2}{\sqrt m} \|P_{\bar Z} \bar Y\|_F
   + \frac{1}{\sqrt n} \|P_Z Y\|_F + \text{concentration}, \qquad
   I = \frac{1}{m} \sum_i \|f(x_i^+) - f(x_i^{++})\|, \quad c = \|W_S - W^*\|_2,

with \(P_Z\) the projector on the samples' directions that no linear function of the features reaches.

Derivation. By the triangle inequality \(E\|W_S f - y\| \le E\|W^* f - y\| + E\|(W_S - W^*) f\|\). Within a
class, \(\|(W_S - W^*) f(x)\| \le \|(W_S - W^*) f(x_i)\| + c \|f(x) - f(x_i)\|\) with x and x_i independent
given the class, whence \(c\,I\). On the labelled sample \(\|(W_S - W^*) f(x_i)\|\) is at most the sum of both
heads' residuals; the mean residual of \(W_S\) is at most \(\|P_Z Y\|_F / \sqrt n\) by Jensen. That of \(W^*\)
appears twice, each time at most \(\|P_{\bar Z} \bar Y\|_F / \sqrt m\) up to concentration. The factor c makes
the right side independent of the scale of f, which the version with coefficient 1 is not.

References:
    Shwartz-Ziv, Balestriero, Kawaguchi, Rudner & LeCun, 2023, *An information theory perspective on
    variance-invariance-covariance regularization*, arXiv 2303.00633. The constants are derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from estimators._samples import as_labels, as_numpy, paired
from estimators.protocols import Array
from infossl.bounds.least_squares import RANK_TOLERANCE, LeastSquares, least_squares
from infossl.bounds.result import Assumption, BoundReport, Status
from infossl.bounds.roles import Roles, require_disjoint

__all__ = ["VICRegTerms", "one_hot", "same_class_pairs", "vicreg_bound", "vicreg_split_bound", "vicreg_terms"]

_SOURCE = "arXiv 2303.00633; constants derived here (version with c = ||W_S - W*||_2)"
_OBJECT = "E||W_S f(x) - y||, one-hot y, the least-squares head on the labelled sample"
_CLASS_SHIFT = "kappa_S sum_y |p(y) - p_hat(y)| (class proportions)"
_LEFT_OUT = (
    "2 c R_m(F) / sqrt(m) (complexity of the encoders)",
    "4 R_m(W o F) / sqrt(m) (complexity of heads on encoders)",
    "c (tau sqrt(ln(./delta) / 2m) + tau' sqrt(ln(./delta) / 2n)) (concentration of the invariance)",
    "2 kappa sqrt(ln(./delta) / 2m) + kappa' sqrt(ln(./delta) / 2n) (concentration of the residuals)",
    _CLASS_SHIFT,
)
_LEFT_OUT_SPLIT = (
    "c (tau sqrt(ln(./delta) / 2m) + tau' sqrt(ln(./delta) / 2n)) (concentration of the invariance)",
    "kappa sqrt(ln(./delta) / 2m) (concentration of the residual of W*)",
    _CLASS_SHIFT,
)


@dataclass(frozen=True)
class VICRegTerms:
    """The computable parts of the bound; `rhs` is their sum.

    Arguments:
        labelled_residual: `||P_Z Y||_F / sqrt(n)`, the head's root mean square residual on its own sample.
        pool_residual: `||P_Z Y||_F / sqrt(m)` on the pool, before its factor 2. Without the pool's labels,
            its largest possible value.
        projector_norm: `||P_Z||_F = sqrt(m - rank)` on the pool. It needs no labels, and nothing but the rank
            is in it: a nearly collapsed pool may have full rank, so read it beside `effective_rank`.
        labelled_rank: rank of the labelled features.
        pool_rank: rank of the pool's features.
        effective_rank: exponential of the entropy of the pool's normalised singular values.
        c: `||W_S - W*||_2`. Without the pool's labels, `||W_S||_2` plus the largest possible `||W*||_2`.
        invariance: mean distance within pairs.
        pool_labels_known: whether `pool_residual` and `c` are exact or those largest values.
    """

    labelled_residual: float
    pool_residual: float
    projector_norm: float
    labelled_rank: int
    pool_rank: int
    effective_rank: float
    c: float
    invariance: float
    pool_labels_known: bool

    @property
    def rhs(self) -> float:
        """`c I + 2 pool_residual + labelled_residual`."""
        return self.c * self.invariance + 2 * self.pool_residual + self.labelled_residual

    def to_dict(self) -> dict[str, float]:
        """The addends under the names of the formula, then what they are made of."""
        return {
            "c * invariance": self.c * self.invariance,
            "2 * pool_residual": 2 * self.pool_residual,
            "labelled_residual": self.labelled_residual,
            "c": self.c,
            "invariance": self.invariance,
            "projector_norm": self.projector_norm,
            "labelled_rank": float(self.labelled_rank),
            "pool_rank": float(self.pool_rank),
            "effective_rank": self.effective_rank,
        }


def one_hot(codes: np.ndarray, classes: int) -> np.ndarray:
    """Rows of the identity: `(n,)` codes below `classes` to `(n, classes)`."""
    return np.eye(classes)[codes]


def same_class_pairs(labels: Array, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Indices `(i, j)` of pairs of different samples of one class, each sample once on either side.

    Every class is put in random order and each member paired with the next one around. Members of a class
    are then independent given the class whenever the samples are. Classes of one member give no pair.

    Arguments:
        labels: integers `(n,)`.
        seed: of the random order.

    Raises:
        TypeError: if `labels` is not an integer vector.
        ValueError: if no class has two members.

    Example:
        >>> import numpy as np
        >>> i, j = same_class_pairs(np.array([0, 1, 0, 1, 2]))
        >>> i.tolist(), j.tolist()
        ([0, 1, 2, 3], [2, 3, 0, 1])
    """
    codes = as_labels(labels, "labels", min_classes=1)
    rng = np.random.default_rng(seed)
    partner = np.arange(len(codes))
    for code in range(codes.max() + 1):
        members = rng.permutation(np.flatnonzero(codes == code))
        partner[members] = np.roll(members, 1)
    first = np.flatnonzero(partner != np.arange(len(codes)))
    if not len(first):
        raise ValueError(
            f"labels of shape {codes.shape}: no class has two members, so there are no same-class pairs"
        )
    return first, partner[first]


def vicreg_terms(
    z: np.ndarray,
    y: np.ndarray,
    pool: np.ndarray,
    pool_y: np.ndarray | None,
    first: np.ndarray,
    second: np.ndarray,
    *,
    rank_tolerance: float = RANK_TOLERANCE,
) -> VICRegTerms:
    r"""The terms of the bound from features, in float64 and without anything of size n x n.

    Without the pool's labels the two terms that need them take their largest values for one-hot labels:
    \(\|P \bar Y\|_F \le \sqrt m\) (0 if the pool's features have rank m) and
    \(\|W^*\|_2 \le \sqrt m / \sigma_{\min}\).

    Arguments:
        z: features of the labelled sample.
        y: their one-hot labels.
        pool: features of the pool's first views.
        pool_y: their one-hot labels, if known.
        first: features of the first members of the pairs.
        second: features of the second members.
        rank_tolerance: singular values below this share of the largest count as zero.

    Shapes:
        `z`: `(n, d)`; `y`: `(n, r)`; `pool`: `(m, d)`; `pool_y`: `(m, r)`; `first`, `second`: `(pairs, d)`.
    """
    head = least_squares(z, y, rank_tolerance)
    return _assemble(
        head, len(z), _pool_head(pool, pool_y, rank_tolerance), len(pool), pool_y is not None, first, second
    )


def _pool_head(pool: np.ndarray, pool_y: np.ndarray | None, rank_tolerance: float) -> LeastSquares:
    # Without labels only the singular values are read.
    return least_squares(pool, np.zeros((len(pool), 1)) if pool_y is None else pool_y, rank_tolerance)


def _assemble(
    head: LeastSquares,
    n: int,
    best: LeastSquares,
    m: int,
    labels_known: bool,
    first: np.ndarray,
    second: np.ndarray,
) -> VICRegTerms:
    s = best.singular_values
    if not labels_known:
        pool_residual = 1.0 if best.rank < m else 0.0
        c = _spectral(head.weights) + (math.sqrt(m) / float(s[-1]) if best.rank else 0.0)
    else:
        pool_residual = best.residual / math.sqrt(m)
        c = _spectral(head.weights - best.weights)
    shares = s / s.sum() if best.rank else np.ones(1)
    return VICRegTerms(
        labelled_residual=head.residual / math.sqrt(n),
        pool_residual=pool_residual,
        projector_norm=math.sqrt(m - best.rank),
        labelled_rank=head.rank,
        pool_rank=best.rank,
        effective_rank=float(np.exp(-np.sum(shares * np.log(shares)))) if best.rank else 0.0,
        c=c,
        invariance=_mean_norm(first - second),
        pool_labels_known=labels_known,
    )


def vicreg_bound(
    features: Array,
    labels: Array,
    pool: Array,
    held_out: Array,
    held_out_labels: Array,
    *,
    pool_labels: Array | None = None,
    second_views: Array | None = None,
    pairs: Literal["class", "augmentation"] = "class",
    one_law: Status = "assumed",
    rank_tolerance: float = RANK_TOLERANCE,
    roles: Roles | None = None,
    seed: int = 0,
    step: int | None = None,
) -> BoundReport:
    r"""The computable terms of the VICReg bound beside the measured residual on held-out samples.

    .. math:: E \|W_S f(x) - y\| \le \|W_S - W^*\|_2\, I + \frac{2}{\sqrt m} \|P_{\bar Z} \bar Y\|_F
       + \frac{1}{\sqrt n} \|P_Z Y\|_F + \text{concentration}

    The concentration terms are named in `left_out`, so the result is never `certified`. The head that answers
    nothing, W = 0, has residual 1 on one-hot labels: that is the trivial value, and because the residual of a
    linear head enters three times the right side is below it only if that residual is below 1/3.

    `pairs="class"` draws pairs of different samples of one class from the pool. `pairs="augmentation"` takes
    two views of one image, as training does: smaller, but the derivation needs two images that are
    independent given their class, which two views of one image are not. That assumption is therefore
    `violated`, and the result a proxy to follow along training.

    Arguments:
        features: of the labelled sample that fits the head.
        labels: their classes.
        pool: features of the unlabelled pool, first views.
        held_out: features that the left side is measured on.
        held_out_labels: their classes.
        pool_labels: classes of the pool, known on benchmarks. Needed for class pairs.
        second_views: features of the pool's second views. Needed for augmentation pairs.
        pairs: which pairs the invariance is taken over.
        one_law: how far labelled, pool and held-out inputs are known to follow one law. First views that are
            augmented while the others are clean follow it only approximately.
        rank_tolerance: singular values below this share of the largest count as zero. The derivation
            holds for any two linear heads, so a larger share gives a right side that is as valid: smaller c,
            larger residuals.
        roles: which sample did what; a leak into the evaluation sample is refused when it is built.
        seed: of the same-class pairs.
        step: optimizer steps done, if it belongs to a run.

    Shapes:
        `features`: `(n, d)`; `pool`, `second_views`: `(m, d)`; `held_out`: `(k, d)`; labels: integers.

    Raises:
        TypeError: if features are no arrays of numbers on the CPU, or labels no integer vectors.
        ValueError: for NaN, wrong shapes, unequal n or d, one class only, missing labels or second views, or
            declared samples whose rows are not those of the arrays.

    References:
        Shwartz-Ziv et al., 2023, arXiv 2303.00633.

    Example:
        >>> import numpy as np
        >>> y = np.arange(60) % 2
        >>> z = np.eye(2)[y]
        >>> print(vicreg_bound(z[:20], y[:20], z[20:40], z[40:], y[40:], pool_labels=y[20:40]))
        VICReg, class pairs: 0.0000 <= 0.0000 (estimated-consistent; trivial 1.0000)
    """
    if pairs not in ("class", "augmentation"):
        raise ValueError(f"pairs = {pairs!r} must be 'class' or 'augmentation'")
    roles = roles or Roles()
    z, bar, test = as_numpy(features, "features"), as_numpy(pool, "pool"), as_numpy(held_out, "held_out")
    _same_dimension(features=z, pool=bar, held_out=test)
    roles.require_rows(probe=len(z), pool=len(bar), evaluation=len(test))
    named = [("labels", labels, z, 2), ("held_out_labels", held_out_labels, test, 1)]
    if pool_labels is not None:
        named.append(("pool_labels", pool_labels, bar, 2))
    (y, test_y, *known), classes = _shared_codes(*named)
    bar_y = known[0] if known else None
    if pairs == "class":
        if bar_y is None:
            raise ValueError(
                "pairs = 'class' needs pool_labels (m,); without them only pairs = 'augmentation' can be"
            )
        i, j = same_class_pairs(bar_y, seed)
        first, second = bar[i], bar[j]
    else:
        if second_views is None:
            raise ValueError(
                "pairs = 'augmentation' needs second_views (m, d), the features of the pool's other views"
            )
        first, second = bar, as_numpy(second_views, "second_views")
        paired(first, second, ("pool", "second_views"))
        _same_dimension(pool=bar, second_views=second)
    targets, bar_targets = one_hot(y, classes), None if bar_y is None else one_hot(bar_y, classes)
    head, best = least_squares(z, targets, rank_tolerance), _pool_head(bar, bar_targets, rank_tolerance)
    terms = _assemble(head, len(z), best, len(bar), bar_y is not None, first, second)
    errors = np.linalg.norm(test @ head.weights - one_hot(test_y, classes), axis=1)
    report = BoundReport(
        name=f"VICReg, {pairs} pairs",
        statement=(
            "E||W_S f(x) - y|| <= c I + (2/sqrt m) ||P_pool Y_pool||_F + (1/sqrt n) ||P_S Y_S||_F "
            "+ concentration, c = ||W_S - W*||_2"
        ),
        source=_SOURCE,
        kind="high-probability",
        object=_OBJECT,
        lhs=float(errors.mean()),
        lhs_how=f"mean residual norm of the least-squares head on {len(test)} held-out samples",
        rhs=terms.rhs,
        terms=terms.to_dict() | {"lhs_stderr": _stderr(errors), "pairs": float(len(first))},
        trivial=1.0,
        assumptions=(
            _PAIRS[pairs],
            Assumption("labelled, pool and held-out inputs follow one law", one_law),
            roles.labelled_is_free_of_pool(),
            roles.evaluation_is_new(),
        ),
        roles=roles.describe(),
        rhs_exact=False,
        left_out=_LEFT_OUT
        if terms.pool_labels_known
        else (*_LEFT_OUT, "the pool's labels (largest values taken)"),
        step=step,
    )
    return replace(report, plain=_in_words(report, len(test)))


_PAIRS = {
    "class": Assumption(
        "the two members of a pair are independent given their class", "holds by construction"
    ),
    "augmentation": Assumption(
        "the two members of a pair are independent given their class (two views of one image are not)",
        "violated",
    ),
}


def vicreg_split_bound(
    features: Array,
    labels: Array,
    pool: Array,
    pool_labels: Array,
    held_out: Array,
    held_out_labels: Array,
    *,
    rank_tolerance: float = RANK_TOLERANCE,
    roles: Roles | None = None,
    seed: int = 0,
    step: int | None = None,
) -> BoundReport:
    r"""Leading terms of the sample-split version, for an encoder frozen on other data.

    The pool is split at random in two halves. \(W^*\) is fitted on the first half A; its residual and the
    same-class pairs are averaged on the second half B, so that encoder and \(W^*\) are fixed where they are
    averaged: no complexity term remains, only those in `left_out`, of order \(1/\sqrt n\) and \(1/\sqrt m\),

    .. math:: E \|W_S f(x) - y\| \le \frac{1}{|B|} \sum_{B} \|W^* f(x) - y\|
       + \frac{1}{n} \sum_{i \le n} \|(W_S - W^*) f(x_i)\| + \|W_S - W^*\|_2\, I_B + \dots

    The second sum is computed, where the other version bounds it by the residuals of both heads.

    Arguments:
        features: of the labelled sample that fits the head.
        labels: their classes.
        pool: features of labelled data that is split into the halves A and B.
        pool_labels: their classes.
        held_out: features that the left side is measured on.
        held_out_labels: their classes.
        rank_tolerance: singular values below this share of the largest count as zero.
        roles: which sample did what.
        seed: of the split and the pairs.
        step: optimizer steps done, if it belongs to a run.

    Shapes:
        `features`: `(n, d)`; `pool`: `(m, d)` with m >= 4; `held_out`: `(k, d)`; labels: integers.

    Raises:
        TypeError: as `vicreg_bound`.
        ValueError: as `vicreg_bound`; and if two of the declared samples of encoder, probe and pool share a
            row: then nothing of this version holds.

    References:
        Shwartz-Ziv et al., 2023, arXiv 2303.00633; the split is derived here.
    """
    roles = roles or Roles()
    for one, other in ((roles.encoder, roles.probe), (roles.encoder, roles.pool), (roles.probe, roles.pool)):
        if one is not None and other is not None:
            require_disjoint(one, other, "the sample-split version needs three samples without a common row")
    z, bar = as_numpy(features, "features"), as_numpy(pool, "pool", min_n=4)
    test = as_numpy(held_out, "held_out")
    _same_dimension(features=z, pool=bar, held_out=test)
    roles.require_rows(probe=len(z), pool=len(bar), evaluation=len(test))
    (y, test_y, bar_y), classes = _shared_codes(
        ("labels", labels, z, 2),
        ("held_out_labels", held_out_labels, test, 1),
        ("pool_labels", pool_labels, bar, 2),
    )
    order = np.random.default_rng(seed).permutation(len(bar))
    a, b = order[: len(bar) // 2], order[len(bar) // 2 :]
    head = least_squares(z, one_hot(y, classes), rank_tolerance)
    best = least_squares(bar[a], one_hot(bar_y[a], classes), rank_tolerance)
    i, j = same_class_pairs(bar_y[b], seed)
    difference = head.weights - best.weights
    residual = _mean_norm(bar[b] @ best.weights - one_hot(bar_y[b], classes))
    disagreement, c, invariance = (
        _mean_norm(z @ difference),
        _spectral(difference),
        _mean_norm(bar[b][i] - bar[b][j]),
    )
    errors = np.linalg.norm(test @ head.weights - one_hot(test_y, classes), axis=1)
    frozen = None not in (roles.encoder, roles.probe, roles.pool)
    report = BoundReport(
        name="VICReg, sample split",
        statement=(
            "E||W_S f(x) - y|| <= mean_B ||W* f(x) - y|| + mean_S ||(W_S - W*) f(x)|| + c I_B "
            "+ concentration, W* fitted on A, c = ||W_S - W*||_2"
        ),
        source=_SOURCE.replace("version with", "sample-split version with"),
        kind="high-probability",
        object=_OBJECT,
        lhs=float(errors.mean()),
        lhs_how=f"mean residual norm of the least-squares head on {len(test)} held-out samples",
        rhs=residual + disagreement + c * invariance,
        terms={
            "residual of W*": residual,
            "disagreement": disagreement,
            "c * invariance": c * invariance,
            "c": c,
            "invariance": invariance,
            "lhs_stderr": _stderr(errors),
            "pairs": float(len(i)),
        },
        trivial=1.0,
        assumptions=(
            _PAIRS["class"],
            Assumption("labelled, pool and held-out inputs follow one law", "assumed"),
            Assumption(
                "the encoder is frozen and its data share no row with the labelled sample or the pool",
                "holds by construction" if frozen else "assumed",
            ),
            roles.evaluation_is_new(),
        ),
        roles=roles.describe(),
        rhs_exact=False,
        left_out=_LEFT_OUT_SPLIT,
        step=step,
    )
    return replace(report, plain=_in_words(report, len(test)))


def _spectral(w: np.ndarray) -> float:
    return float(np.linalg.norm(w, 2))


def _mean_norm(rows: np.ndarray) -> float:
    return float(np.linalg.norm(rows, axis=1).mean())


def _stderr(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def _same_dimension(**arrays: np.ndarray) -> None:
    if len({a.shape[1] for a in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise ValueError(f"features of one encoder need the same number of columns, got {shapes}")


def _shared_codes(*named: tuple[str, Array, np.ndarray, int]) -> tuple[list[np.ndarray], int]:
    """Checks labels against their features and codes all of them by one list of classes."""
    raw = []
    for name, y, z, min_classes in named:
        as_labels(y, name, min_classes=min_classes)
        paired(y, z, (name, f"the features of {name}"))
        raw.append(np.asarray(y))
    classes = np.unique(np.concatenate(raw))
    return [np.searchsorted(classes, y) for y in raw], len(classes)


def _in_words(report: BoundReport, n: int) -> str:
    sides = (
        f"the terms that can be computed add up to {report.rhs:.2f}, and the probe's mean residual on {n} "
        f"new samples is {report.lhs:.2f}"
    )
    return {
        "not-applicable": f"A proxy to follow along training, no bound: {sides}, "
        "but two views of one image are not two independent images of a class.",
        "estimated-violated": f"Here {sides}: the terms left out are what matters.",
        "vacuous": f"Here {sides}; a probe that answers nothing has 1, so the bound promises nothing.",
    }.get(report.verdict, f"Here {sides}: consistent, though the concentration terms are left out.")

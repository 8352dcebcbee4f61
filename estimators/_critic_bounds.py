"""What a critic is trained on, stopped by and valued with: one `Bound` for each variational estimator.

Critic and bound are independent: every function here takes any `Critic`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from estimators._critics import Critic
from estimators._training import shared

__all__ = [
    "BOUNDS",
    "Bound",
    "Samples",
    "Scored",
    "Sums",
    "dv_score",
    "infonce_score",
    "jsd_mean",
    "mine_objective",
    "nwj_score",
    "pair_sums",
]

_PAIRS = 1 << 14  # pairs of a joint critic held at once: their hidden units stay in the cache
_PASSES = 8  # random partitions of the test part into InfoNCE batches
_SHIFTS = 4  # unmatched partners of a sample when a joint critic is trained on pairs
_VALIDATION_SHIFTS = 32  # and when it is validated
_MOMENTUM = 0.9  # of the running mean in the denominator of MINE's gradient


class Samples(NamedTuple):
    """Paired samples `(n, dx)` and `(n, dy)`."""

    x: Tensor
    y: Tensor


class Scored(NamedTuple):
    """A bound on given samples, for every training."""

    value: Tensor  # (S,)
    influence: Tensor  # (S, n): first-order effect of each sample, mean 0; the variance of value is var / n
    effective: Tensor | None = None  # (S,): effective number of weights of the unmatched pairs


class Bound(NamedTuple):
    """A bound of a given critic, as functions of its flat parameters `(S, P)`."""

    initial: Callable[[list[int]], Tensor]
    objective: Callable[[Tensor, Tensor, Tensor], Tensor]  # of a batch x, y; maximised
    validate: Callable[[Tensor], Tensor]
    score: Callable[[Tensor, Samples], Scored]
    ceiling: float
    margin: float = 0.0  # below the ceiling, where the value already is saturated
    quadratic: bool = True  # the cost of a value, in samples


class _Build(Protocol):
    def __call__(
        self, critic: Critic, validation: Samples, n_test: int, batch: int, seed: int, tau: float
    ) -> Bound: ...


# -- pieces --------------------------------------------------------------------------------------------------


def _normal(scores: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Scores raised to 60 below the largest: e^-60 adds nothing, and subnormal weights are ten times slower."""
    return scores.clamp(min=scores.detach().amax(dim, keepdim=True) - 60)


def _log_mean(others: Tensor, count: int) -> Tensor:
    """log E e^f over the unmatched pairs, `(S,)`."""
    dims = tuple(range(1, others.ndim))
    return _normal(others, dims).logsumexp(dims) - math.log(count * others.shape[-1])


def _limited_exp(t: Tensor) -> Tensor:
    """exp(t), continued as a line above t = 1: one batch whose mean weight explodes must not undo the training."""
    return torch.where(t < 1, t.clamp(max=1).exp(), math.e * t)


def jsd_mean(matched: Tensor, others: Tensor, count: int) -> Tensor:
    """2 log 2 - E log(1 + e^-f) - E' log(1 + e^f): twice the Jensen-Shannon bound, 0 for a critic that says nothing."""
    unmatched = softplus(others).sum(tuple(range(1, others.ndim))) / (count * others.shape[-1])
    return 2 * math.log(2) - softplus(-matched).mean(-1) - unmatched


class Sums(NamedTuple):
    """Statistics of the scores of all pairs, in float64."""

    matched: Tensor  # (S, n)
    rows: Tensor  # (S, n): log of the sum of e^f over the other y
    columns: Tensor  # (S, n): log of the sum of e^f over the other x
    squares: Tensor  # (S,): log of the sum of e^2f


def pair_sums(
    critic: Critic, flat: Tensor, samples: Samples, *, clip: float = math.inf, baseline: Tensor | None = None
) -> Sums:
    """Matched scores, and sums of weights over all n (n - 1) unmatched pairs, a block of rows at a time.

    Arguments:
        clip: unmatched scores are clipped to [-clip, clip].
        baseline: `(S, n)`, subtracted from every score of x_i.
    """
    a, b = critic.embeddings(flat, *shared(flat, *samples))
    count, n = a.shape[:2]
    chunk = max(1, (_PAIRS if critic.kind == "joint" else 1 << 20) // n)
    rows, squares, matched = [], [], []
    columns = torch.full((count, n), -math.inf, dtype=torch.float64, device=a.device)
    for start in range(0, n, chunk):
        scores = critic.matrix(flat, a[:, start : start + chunk], b)
        if baseline is not None:
            scores = scores - baseline[:, start : start + chunk, None]
        own = torch.arange(start, start + scores.shape[1], device=a.device)
        matched.append(scores[:, own - start, own].double())
        if math.isfinite(clip):
            scores = scores.clamp(-clip, clip)
        scores[:, own - start, own] = -math.inf
        rows.append(scores.logsumexp(-1).double())
        squares.append((2 * scores).logsumexp(-1).double())
        columns = torch.logaddexp(columns, scores.logsumexp(-2).double())
    return Sums(torch.cat(matched, 1), torch.cat(rows, 1), columns, torch.cat(squares, 1).logsumexp(-1))


def dv_score(sums: Sums) -> Scored:
    """Donsker-Varadhan bound with all unmatched pairs."""
    f, n = sums.matched, sums.matched.shape[1]
    log_sum = sums.rows.logsumexp(-1, keepdim=True)
    value = f.mean(-1) - log_sum[:, 0] + math.log(n * (n - 1))
    # Delta method: a sample enters the mean of weights once as a row and once as a column.
    influence = f - n * ((sums.rows - log_sum).exp() + (sums.columns - log_sum).exp())
    return Scored(value, _centred(influence), _effective(sums))


def nwj_score(sums: Sums, constant: Tensor) -> Scored:
    """Nguyen-Wainwright-Jordan bound of the critic f + `constant` + 1, with all unmatched pairs."""
    f, n = sums.matched, sums.matched.shape[1]
    c = constant.double()[:, None] - math.log(n - 1)
    rows, columns = (sums.rows + c).exp(), (sums.columns + c).exp()
    value = f.mean(-1) + constant.double() + 1 - rows.mean(-1)
    return Scored(value, _centred(f - rows - columns), _effective(sums))


def _effective(sums: Sums) -> Tensor:
    return (2 * sums.rows.logsumexp(-1) - sums.squares).exp()


def _centred(influence: Tensor) -> Tensor:
    return influence - influence.mean(-1, keepdim=True)


def infonce_score(
    critic: Critic, flat: Tensor, samples: Samples, batch: int, passes: int, seed: int
) -> Scored:
    """InfoNCE averaged over `passes` random partitions of the samples into batches of one size."""
    a, b = critic.embeddings(flat, *shared(flat, *samples))
    count, n = a.shape[:2]
    blocks = n // batch
    generator = torch.Generator("cpu").manual_seed(seed)
    total = torch.zeros(count, n, dtype=torch.float64, device=a.device)
    value = torch.zeros(count, dtype=torch.float64, device=a.device)
    seen = torch.zeros(n, dtype=torch.float64, device=a.device)
    for _ in range(passes):
        order = torch.randperm(n, generator=generator, device="cpu")[: blocks * batch].to(a.device)
        for rows in order.reshape(blocks, batch):
            scores = torch.cat(
                [
                    critic.matrix(flat, part, b[:, rows])
                    for part in a[:, rows].split(max(1, _PAIRS // batch), dim=1)
                ]
                if critic.kind == "joint"
                else [critic.matrix(flat, a[:, rows], b[:, rows])],
                dim=1,
            )
            norm = scores.logsumexp(-1)
            positive = scores.diagonal(dim1=-2, dim2=-1)
            local = (positive - norm).double() + math.log(batch)
            # A sample enters as a row of its own and as a negative of every other row.
            mass = (scores - norm[..., None]).exp().sum(-2) - (positive - norm).exp()
            value += local.sum(-1)
            total[:, rows] += local - mass
            seen[rows] += 1
    return Scored(value / (passes * blocks * batch), _centred(total / seen.clamp(min=1)))


def mine_objective(
    critic: Critic, shifts: int, momentum: float
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Donsker-Varadhan with a running mean in the denominator of its gradient (Belghazi et al., 2018)."""
    running: Tensor | None = None

    def objective(flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        nonlocal running
        matched, others, count = critic.pairs(flat, *critic.embeddings(flat, x, y), shifts)
        log_z = _log_mean(others, count)
        now = log_z.detach()
        old = now if running is None else running
        running = torch.logaddexp(old + math.log(momentum), now + math.log1p(-momentum))
        return matched.mean(-1) - (log_z - running).exp()

    return objective


def _validation_pairs(critic: Critic, flat: Tensor, validation: Samples) -> tuple[Tensor, Tensor, int]:
    return critic.pairs(flat, *critic.embeddings(flat, *shared(flat, *validation)), _VALIDATION_SHIFTS)


def _validate_dv(critic: Critic, validation: Samples) -> Callable[[Tensor], Tensor]:
    def validate(flat: Tensor) -> Tensor:
        matched, others, count = _validation_pairs(critic, flat, validation)
        return (matched.mean(-1) - _log_mean(others, count)).double()

    return validate


def _constant(critic: Critic, flat: Tensor, validation: Samples) -> Tensor:
    """-log E e^f on the validation part: the constant that makes the bound of the critic largest there."""
    _, others, count = _validation_pairs(critic, flat, validation)
    return -_log_mean(others, count)


def _most_pairs(n: int) -> float:
    return math.log(n * (n - 1))


# -- bounds --------------------------------------------------------------------------------------------------


def _infonce(critic: Critic, validation: Samples, n_test: int, batch: int, seed: int, tau: float) -> Bound:
    def objective(flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        scores = critic.matrix(flat, *critic.embeddings(flat, x, y))
        return (scores.diagonal(dim1=-2, dim2=-1) - _normal(scores, -1).logsumexp(-1)).mean(-1)

    size = min(batch, n_test)
    part = min(size, len(validation.x))
    return Bound(
        critic.initial,
        objective,
        lambda flat: infonce_score(critic, flat, validation, part, passes=1, seed=0).value,
        lambda flat, samples: infonce_score(critic, flat, samples, size, _PASSES, seed),
        math.log(size),
        margin=1.0,
        quadratic=False,
    )


def _mine(critic: Critic, validation: Samples, n_test: int, batch: int, seed: int, tau: float) -> Bound:
    return Bound(
        critic.initial,
        mine_objective(critic, _SHIFTS, _MOMENTUM),
        _validate_dv(critic, validation),
        lambda flat, samples: dv_score(pair_sums(critic, flat, samples)),
        _most_pairs(n_test),
    )


def _nwj(critic: Critic, validation: Samples, n_test: int, batch: int, seed: int, tau: float) -> Bound:
    def objective(flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        matched, others, count = critic.pairs(flat, *critic.embeddings(flat, x, y), _SHIFTS)
        return matched.mean(-1) + 1 - _limited_exp(_log_mean(others, count))

    return Bound(
        critic.initial,
        objective,
        _validate_dv(critic, validation),
        lambda flat, samples: nwj_score(
            pair_sums(critic, flat, samples), _constant(critic, flat, validation)
        ),
        _most_pairs(n_test),
    )


def _jsd(critic: Critic, validation: Samples, n_test: int, batch: int, seed: int, tau: float) -> Bound:
    def objective(flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return jsd_mean(*critic.pairs(flat, *critic.embeddings(flat, x, y), _SHIFTS))

    return Bound(
        critic.initial,
        objective,
        _validate_dv(critic, validation),
        lambda flat, samples: nwj_score(
            pair_sums(critic, flat, samples), _constant(critic, flat, validation)
        ),
        _most_pairs(n_test),
    )


def _smile(critic: Critic, validation: Samples, n_test: int, batch: int, seed: int, tau: float) -> Bound:
    jsd = _jsd(critic, validation, n_test, batch, seed, tau)
    return jsd._replace(score=lambda flat, samples: dv_score(pair_sums(critic, flat, samples, clip=tau)))


def _flo(critic: Critic, validation: Samples, n_test: int, batch: int, seed: int, tau: float) -> Bound:
    # u(x, y) = v(x, y) - f(x, y): no loss of generality, and the best v is log E' e^f(x, y'), free of the scale of f.
    second = Critic("joint", critic.dx, critic.dy, critic.hidden, critic.layers, critic.embed)
    size = sum(math.prod(shape) for shape in critic.shapes())

    def baseline(flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        own = flat[:, size:]
        return second.matched(own, *second.embeddings(own, x, y))

    def pairs(flat: Tensor, x: Tensor, y: Tensor, shifts: int) -> tuple[Tensor, Tensor, int]:
        own = flat[:, :size]
        matched, others, count = critic.pairs(own, *critic.embeddings(own, x, y), shifts)
        v = baseline(flat, x, y)
        return matched - v, others - v[:, None], count

    def objective(flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        matched, others, count = pairs(flat, x, y, _SHIFTS)
        return matched.mean(-1) + 1 - _limited_exp(_log_mean(others, count))

    def on_validation(flat: Tensor) -> tuple[Tensor, Tensor]:
        x, y = shared(flat, *validation)
        matched, others, count = pairs(flat, x, y, _VALIDATION_SHIFTS)
        return matched.mean(-1), _log_mean(others, count)

    def validate(flat: Tensor) -> Tensor:
        matched, log_z = on_validation(flat)
        return (matched - log_z).double()

    def score(flat: Tensor, samples: Samples) -> Scored:
        v = baseline(flat, *shared(flat, *samples))
        return nwj_score(pair_sums(critic, flat[:, :size], samples, baseline=v), -on_validation(flat)[1])

    def initial(seeds: list[int]) -> Tensor:
        return torch.cat([critic.initial(seeds), second.initial([seed + 2 for seed in seeds])], dim=1)

    return Bound(initial, objective, validate, score, _most_pairs(n_test))


BOUNDS: dict[str, _Build] = {
    "InfoNCE": _infonce,
    "MINE": _mine,
    "NWJ": _nwj,
    "JSD": _jsd,
    "SMILE": _smile,
    "FLO": _flo,
}
"""How each is built, by the name of its estimator."""

"""Critic networks, their trainer and their scoring in torch, for several independent trainings at once.

All trainings run as batched matrix products on one flat parameter matrix `(S, P)`: row s is one training, so
an early-stopped copy is `flat[s].clone()` and Adam is a few element-wise operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Critic",
    "Scored",
    "Training",
    "infonce_objective",
    "isolated",
    "mine_objective",
    "score_dv",
    "score_infonce",
    "train",
    "validate_dv",
    "validate_infonce",
]

_PAIRS = 1 << 14  # pairs of a joint critic held at once: their hidden units stay in the cache


def _layers(sizes: list[int]) -> list[tuple[int, ...]]:
    return [shape for a, b in pairwise(sizes) for shape in ((a, b), (b,))]


@dataclass(frozen=True)
class Critic:
    """A function f(x, y) with ReLU layers: `separable`, g(x) . h(y), or `joint`, one network of both.

    The parameters are not kept here but passed as one flat matrix `(S, P)`.
    """

    kind: str
    dx: int
    dy: int
    hidden: int
    layers: int
    embed: int

    def shapes(self) -> list[tuple[int, ...]]:
        """Weights `(in, out)` and biases `(out,)`, in the order of the flat matrix."""
        if self.kind == "joint":
            # The first layer of a network of (x, y) is a sum, so it is computed per sample and not per pair.
            inner = [self.hidden] * self.layers
            return [(self.dx, self.hidden), (self.dy, self.hidden), (self.hidden,), *_layers([*inner, 1])]
        hidden = [self.hidden] * self.layers
        # A linear path beside the hidden layers: linear dependence, the easiest to learn, is learnt first.
        return [
            shape
            for d in (self.dx, self.dy)
            for shape in [(d, self.embed), *_layers([d, *hidden, self.embed])]
        ]

    def initial(self, seeds: list[int]) -> Tensor:
        """He-normal weights and zero biases `(S, P)`; output layers start small, and with them the scores."""
        rows = []
        for seed in seeds:
            generator = torch.Generator("cpu").manual_seed(seed)
            parts = [
                torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
                * math.sqrt(2 / shape[0])
                if len(shape) == 2
                else torch.zeros(shape, dtype=torch.float32, device="cpu")
                for shape in self.shapes()
            ]
            for k in self._last():
                parts[k] = parts[k] * 0.3
            rows.append(torch.cat([part.reshape(-1) for part in parts]))
        return torch.stack(rows)

    def _last(self) -> list[int]:
        half = len(self.shapes()) // 2
        return [-2] if self.kind == "joint" else [0, half - 2, half, -2]

    def _unpack(self, flat: Tensor) -> list[Tensor]:
        shapes = self.shapes()
        parts = flat.split([math.prod(shape) for shape in shapes], dim=1)
        return [part.reshape(len(flat), -1, shape[-1]) for part, shape in zip(parts, shapes, strict=True)]

    def embeddings(self, flat: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What depends on one sample only: `(S, n, e)` for x and for y."""
        parts = self._unpack(flat)
        if self.kind == "joint":
            return torch.baddbmm(parts[2], x, parts[0]), y @ parts[1]
        half = len(parts) // 2
        return _skip(x, parts[:half]) / math.sqrt(self.embed), _skip(y, parts[half:])

    def matrix(self, flat: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Scores of all pairs `(S, ..., m, n)` from embeddings `(S, ..., m, e)` and `(S, ..., n, e)`."""
        if self.kind == "separable":
            return a @ b.mT
        return self._head(flat, a[..., :, None, :] + b[..., None, :, :])

    def moments(self, flat: Tensor, a: Tensor, b: Tensor, shifts: int) -> tuple[Tensor, Tensor]:
        """E f over matched pairs and log E exp f over others, `(S,)` each.

        The others are all unmatched pairs if separable, circular shifts of y against x if joint.
        """
        n = a.shape[-2]
        if self.kind == "separable":
            scores = self.matrix(flat, a, b)
            matched = scores.diagonal(dim1=-2, dim2=-1)
            others = torch.diagonal_scatter(scores, torch.full_like(matched, -math.inf), dim1=-2, dim2=-1)
            return matched.mean(-1), _normal(others, (-2, -1)).logsumexp((-2, -1)) - math.log(n * (n - 1))
        shifts = min(shifts, n - 1)
        rolled = torch.stack([b.roll(-shift, dims=1) for shift in range(shifts + 1)], dim=1)
        scores = self._head(flat, a[:, None] + rolled)
        return scores[:, 0].mean(-1), _normal(scores[:, 1:], (-2, -1)).logsumexp((-2, -1)) - math.log(
            n * shifts
        )

    def _head(self, flat: Tensor, first: Tensor) -> Tensor:
        hidden = _mlp(first.relu().flatten(1, -2), self._unpack(flat)[3:])
        return hidden.reshape(first.shape[:-1])


def _skip(x: Tensor, parts: list[Tensor]) -> Tensor:
    return x @ parts[0] + _mlp(x, parts[1:])


def _mlp(x: Tensor, parts: list[Tensor]) -> Tensor:
    for k in range(0, len(parts), 2):
        x = torch.baddbmm(parts[k + 1], x if k == 0 else x.relu(), parts[k])
    return x


class Training(NamedTuple):
    """Best weights of every training and how it got there."""

    flat: Tensor  # (S, P), the weights with the best validation score
    validation: list[float]  # the best validation score; -inf if the training diverged
    steps: int
    converged: bool


def train(
    critic: Critic,
    objective: Callable[[Tensor, Tensor, Tensor], Tensor],
    validate: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    *,
    seeds: list[int],
    batch: int,
    steps: int,
    every: int,
    patience: int,
    lr: float,
    shrink: float,
    decay: float,
    progress: bool,
) -> Training:
    """Adam with early stopping on a validation score; the weights that are kept are real copies.

    Arguments:
        critic: the architecture.
        objective: `(flat, a, b) -> (S,)`, what is maximised on a batch.
        validate: `flat -> (S,)`, higher is better.
        x: training samples `(n, dx)`.
        y: training samples `(n, dy)`.
        seeds: one for each training; it fixes the initial weights and the batches.
        batch: samples of a step, at most n.
        steps: largest number of steps.
        every: steps between validations.
        patience: validations without improvement after which a training ends.
        lr: learning rate of Adam.
        shrink: decoupled weight decay, as a multiple of `lr`.
        decay: of the running mean of the weights, which is what is validated and kept.
        progress: a progress bar on a terminal.
    """
    flat = critic.initial(seeds).to(x.device)
    mean, first, second = flat.clone(), torch.zeros_like(flat), torch.zeros_like(flat)
    with torch.no_grad():
        best, best_score = flat.clone(), validate(flat)
    alive, finite = [True] * len(seeds), [True] * len(seeds)
    since = [0] * len(seeds)
    batches = _batches(len(x), min(batch, len(x)), seeds, x.device)
    bar = _bar(steps, progress)
    step = 0
    while step < steps and any(alive):
        step += 1
        index = next(batches)
        flat.requires_grad_(True)
        a, b = critic.embeddings(flat, x[index], y[index])
        (gradient,) = torch.autograd.grad(-objective(flat, a, b).sum(), flat)
        flat = flat.detach()
        first.lerp_(gradient, 0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = (second / (1 - 0.999**step)).sqrt_().add_(1e-8)
        flat.mul_(1 - lr * shrink).addcdiv_(first, scale, value=-lr / (1 - 0.9**step))
        mean.lerp_(flat, max(1 - decay, 1 / (step + 1)))
        bar.update(1)
        if step % every == 0 or step == steps:
            with torch.no_grad():
                scores = validate(mean)
            for s, (score, previous) in enumerate(zip(scores.tolist(), best_score.tolist(), strict=True)):
                if not alive[s]:
                    continue
                since[s] += 1
                if not math.isfinite(score):
                    finite[s] = alive[s] = False
                elif score > previous:
                    best[s], best_score[s], since[s] = mean[s].clone(), score, 0
                elif since[s] >= patience:
                    alive[s] = False
    bar.close()
    validation = [v if ok else -math.inf for v, ok in zip(best_score.tolist(), finite, strict=True)]
    return Training(best, validation, step, not any(alive))


def _batches(n: int, batch: int, seeds: list[int], device: torch.device) -> Iterator[Tensor]:
    """Row numbers `(S, batch)`: passes without replacement, each training in its own order."""
    generators = [torch.Generator("cpu").manual_seed(seed + 1) for seed in seeds]
    while True:
        order = torch.stack([torch.randperm(n, generator=g, device="cpu") for g in generators]).to(device)
        for start in range(0, n - batch + 1, batch):
            yield order[:, start : start + batch]


class _Silent:
    def update(self, n: int) -> None: ...
    def close(self) -> None: ...


def _bar(steps: int, progress: bool):
    if not progress:
        return _Silent()
    from tqdm import tqdm

    return tqdm(total=steps, desc="critic", unit="step", leave=False, disable=None)


def infonce_objective(critic: Critic) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """InfoNCE of a batch, up to a constant."""

    def objective(flat: Tensor, a: Tensor, b: Tensor) -> Tensor:
        scores = critic.matrix(flat, a, b)
        return (scores.diagonal(dim1=-2, dim2=-1) - _normal(scores, -1).logsumexp(-1)).mean(-1)

    return objective


def _normal(scores: Tensor, dim: int | tuple[int, int]) -> Tensor:
    """Scores raised to 60 below the largest: e^-60 adds nothing, and subnormal weights are ten times slower."""
    return scores.clamp(min=scores.detach().amax(dim, keepdim=True) - 60)


def mine_objective(
    critic: Critic, shifts: int, momentum: float
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Donsker-Varadhan with a running mean in the denominator of its gradient (Belghazi et al., 2018)."""
    running: Tensor | None = None

    def objective(flat: Tensor, a: Tensor, b: Tensor) -> Tensor:
        nonlocal running
        matched, log_z = critic.moments(flat, a, b, shifts)
        now = log_z.detach()
        old = now if running is None else running
        running = torch.logaddexp(old + math.log(momentum), now + math.log1p(-momentum))
        return matched - (log_z - running).exp()

    return objective


def validate_infonce(critic: Critic, x: Tensor, y: Tensor, batch: int) -> Callable[[Tensor], Tensor]:
    """InfoNCE on held-out samples, always the same partition."""
    return lambda flat: score_infonce(critic, flat, x, y, batch, passes=1, seed=0).value


def validate_dv(critic: Critic, x: Tensor, y: Tensor, shifts: int) -> Callable[[Tensor], Tensor]:
    """Donsker-Varadhan on held-out samples."""

    def score(flat: Tensor) -> Tensor:
        matched, log_z = critic.moments(flat, *critic.embeddings(flat, *_shared(flat, x, y)), shifts)
        return (matched - log_z).double()

    return score


def _shared(flat: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The same samples for every training, without copies."""
    return x.expand(len(flat), -1, -1), y.expand(len(flat), -1, -1)


@contextmanager
def isolated(device: str) -> Iterator[None]:
    """Gradients on, autocast off, whatever the caller has set."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        yield


class Scored(NamedTuple):
    """A bound on given samples, for every training."""

    value: Tensor  # (S,)
    influence: Tensor  # (S, n): first-order effect of each sample, mean 0; the variance of value is var / n
    effective: Tensor | None = None  # (S,): effective number of Donsker-Varadhan weights


def score_infonce(
    critic: Critic, flat: Tensor, x: Tensor, y: Tensor, batch: int, passes: int, seed: int
) -> Scored:
    """InfoNCE averaged over `passes` random partitions of the samples into batches of one size."""
    a, b = critic.embeddings(flat, *_shared(flat, x, y))
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
    influence = total / seen.clamp(min=1)
    return Scored(value / (passes * blocks * batch), influence - influence.mean(-1, keepdim=True))


def score_dv(critic: Critic, flat: Tensor, x: Tensor, y: Tensor) -> Scored:
    """Donsker-Varadhan bound with all n (n - 1) unmatched pairs."""
    a, b = critic.embeddings(flat, *_shared(flat, x, y))
    count, n = a.shape[:2]
    chunk = max(1, (_PAIRS if critic.kind == "joint" else 1 << 20) // n)
    rows, squares, positive = [], [], []
    columns = torch.full((count, n), -math.inf, dtype=torch.float64, device=a.device)
    for start in range(0, n, chunk):
        scores = critic.matrix(flat, a[:, start : start + chunk], b)
        own = torch.arange(start, start + scores.shape[1], device=a.device)
        at = own - start
        positive.append(scores[:, at, own].double())
        scores[:, at, own] = -math.inf
        rows.append(scores.logsumexp(-1).double())
        squares.append((2 * scores).logsumexp(-1).double())
        columns = torch.logaddexp(columns, scores.logsumexp(-2).double())
    f, row, square = torch.cat(positive, 1), torch.cat(rows, 1), torch.cat(squares, 1)
    log_sum = row.logsumexp(-1, keepdim=True)
    value = f.mean(-1) - log_sum[:, 0] + math.log(n * (n - 1))
    # Delta method: a sample enters the mean of weights once as a row and once as a column.
    influence = f - n * ((row - log_sum).exp() + (columns - log_sum).exp())
    return Scored(
        value, influence - influence.mean(-1, keepdim=True), (2 * log_sum[:, 0] - square.logsumexp(-1)).exp()
    )

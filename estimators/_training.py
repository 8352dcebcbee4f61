"""One trainer for everything that is fitted by gradient, for several independent trainings at once.

All trainings run as batched matrix products on one flat parameter matrix `(S, P)`: row s is one training, so
an early-stopped copy is `flat[s].clone()` and Adam is a few element-wise operations. Beside it: what anything that
trains needs before (split, scales, one-hot labels) and after (which trainings count, mean and error over them).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from array_api_compat import is_torch_array
from torch import Tensor

from estimators._samples import as_labels, as_samples, drop_constant_columns, is_discrete, stream
from estimators.protocols import Array

__all__ = [
    "Parts",
    "Pooled",
    "Training",
    "codes_of",
    "device_type",
    "isolated",
    "kept",
    "pooled",
    "scaled",
    "seeds_of",
    "shared",
    "split",
    "train",
    "variable",
]

_MIN_PART = 16  # samples that every part of the split must have


class Training(NamedTuple):
    """Best weights of every training and how it got there."""

    flat: Tensor  # (S, P), the weights with the best validation score
    validation: list[float]  # the best validation score; -inf if the training diverged
    steps: int
    converged: bool


def train(
    initial: Callable[[list[int]], Tensor],
    objective: Callable[..., Tensor],
    validate: Callable[[Tensor], Tensor],
    samples: tuple[Tensor, ...],
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
    label: str = "critic",
) -> Training:
    """Adam with early stopping on a validation score; the weights that are kept are real copies.

    Arguments:
        initial: `seeds -> (S, P)`, the first weights.
        objective: `(flat, *batch) -> (S,)`, what is maximised; each entry of a batch is `(S, b, ...)`.
        validate: `flat -> (S,)`, higher is better.
        samples: tensors `(n, ...)` of one n; a batch takes the same rows of each.
        seeds: one for each training; it fixes the initial weights and the batches.
        batch: samples of a step; at most n are used.
        steps: largest number of steps.
        every: steps between validations.
        patience: validations without improvement after which a training ends.
        lr: learning rate of Adam.
        shrink: decoupled weight decay, as a multiple of `lr`.
        decay: of the running mean of the weights, which is what is validated and kept.
        progress: a progress bar on a terminal.
        label: what the bar calls it.
    """
    n, device = len(samples[0]), samples[0].device
    flat = initial(seeds).to(device)
    mean, first, second = flat.clone(), torch.zeros_like(flat), torch.zeros_like(flat)
    with torch.no_grad():
        best, best_score = flat.clone(), validate(flat)
    alive, finite = [True] * len(seeds), [True] * len(seeds)
    since = [0] * len(seeds)
    batches = _batches(n, min(batch, n), seeds, device)
    bar = _bar(steps, progress, label)
    step = 0
    while step < steps and any(alive):
        step += 1
        index = next(batches)
        flat.requires_grad_(True)
        (gradient,) = torch.autograd.grad(-objective(flat, *(z[index] for z in samples)).sum(), flat)
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


def _bar(steps: int, progress: bool, label: str):
    if not progress:
        return _Silent()
    from tqdm import tqdm

    return tqdm(total=steps, desc=label, unit="step", leave=False, disable=None)


@contextmanager
def isolated(device: str) -> Iterator[None]:
    """Gradients on, autocast off, whatever the caller has set."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        yield


def shared(flat: Tensor, *samples: Tensor) -> tuple[Tensor, ...]:
    """The same samples `(S, n, ...)` for every training, without copies."""
    return tuple(z.expand(len(flat), *z.shape) for z in samples)


def seeds_of(seed: int, count: int) -> list[int]:
    """One seed for each of `count` trainings."""
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(count)]


# -- samples -------------------------------------------------------------------------------------------------


def device_type(x: Array, y: Array) -> str:
    """Kind of device that holds both, such as `"cpu"`.

    Raises:
        TypeError: if they are on different devices.
    """
    devices = {str(z.device) if is_torch_array(z) else "cpu" for z in (x, y)}
    if len(devices) > 1:
        raise TypeError(f"x and y are on different devices {sorted(devices)}; move one of them with .to(...)")
    kind = devices.pop().split(":")[0]
    if kind == "meta":
        raise TypeError("x and y are on device 'meta', which holds no values; pass the data")
    return kind


def variable(x: Array, name: str) -> tuple[Tensor, int]:
    """A float64 tensor without constant columns, and how many were dropped; labels are one-hot encoded."""
    if is_discrete(x):
        return torch.nn.functional.one_hot(codes_of(x, name)).to(torch.float64), 0
    x, dropped = drop_constant_columns(as_samples(x, name), name)
    # Not as_tensor, which would move an array to the caller's default device.
    return x if is_torch_array(x) else torch.from_numpy(x), dropped


def codes_of(y: Array, name: str) -> Tensor:
    """Labels as codes 0..C-1, on the device of `y`."""
    if is_torch_array(y) and y.device.type != "cpu":
        values, codes = torch.unique(y, return_inverse=True)
        if len(values) < 2:
            raise ValueError(f"{name} of shape {tuple(y.shape)} has 1 distinct value; at least 2 are needed")
        return codes
    return torch.from_numpy(as_labels(y, name))


class Parts(NamedTuple):
    """Row numbers of a three-way split."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(n: int, *, validation: float, test: float, seed: int) -> Parts:
    """Random disjoint parts: `validation` and `test` are shares of n, the rest is for training.

    Raises:
        ValueError: if a part would hold fewer than 16 samples.
    """
    sizes = int(n * validation), int(n * test)
    rest = n - sum(sizes)
    if min(rest, *sizes) < _MIN_PART:
        least = math.ceil((_MIN_PART + 1) / min(validation, test, 1 - validation - test))
        raise ValueError(
            f"n = {n} samples split into {rest} for training, {sizes[0]} for validation and {sizes[1]} for the test, "
            f"but each part needs at least {_MIN_PART}: use n >= {least} samples or other shares"
        )
    order = stream(seed, "split").permutation(n)
    return Parts(order[:rest], order[rest : rest + sizes[0]], order[rest + sizes[0] :])


def scaled(x: Tensor, rows: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
    """Columns with mean 0 and standard deviation 1 on `rows`, so that nothing leaks from the other parts."""
    part = x[torch.as_tensor(rows, device=x.device)]
    centre, reach = part.mean(0), x.abs().amax(0)
    # The range is divided out first, so that squares neither overflow nor vanish; a column may be constant on `rows`.
    reach = torch.where(reach > 0, reach, torch.ones_like(reach))
    spread = ((part - centre) / reach).square().mean(0).sqrt() * reach
    return ((x - centre) / torch.where(spread > reach * 2.0**-44, spread, reach)).to(dtype)


# -- several trainings, one number ---------------------------------------------------------------------------


def kept(validation: np.ndarray) -> np.ndarray:
    """Trainings that count: validation scores that are finite and not below a tenth of a best one above 0.1 nats."""
    finite = np.isfinite(validation)
    best = np.max(validation, where=finite, initial=-math.inf)
    return finite & ((validation >= 0.1 * best) | (best <= 0.1))


class Pooled(NamedTuple):
    """The mean over trainings."""

    value: float
    stderr: float
    spread: float | None  # between trainings; None for a single one


def pooled(values: np.ndarray, influence: np.ndarray) -> Pooled:
    """Mean over trainings, with the scatter of the samples they share and of the trainings themselves.

    Arguments:
        values: `(S,)`.
        influence: `(S, n)`, first-order effect of each sample on each value.
    """
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    scatter = float(influence.mean(axis=0).std()) / math.sqrt(influence.shape[1])
    return Pooled(float(values.mean()), math.hypot(scatter, (spread or 0.0) / math.sqrt(len(values))), spread)

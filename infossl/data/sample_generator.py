"""Random numbers keyed by (seed, epoch, sample, view): what an image draws does not depend on its batch or rank."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Generator", "SampleGenerator", "normal", "per_sample", "philox", "uniform"]

_ROUNDS = 10
_MULTIPLIERS, _WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF


def philox(counter: Sequence[Tensor | int], key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10: four random 32-bit words for each counter, as int64 in [0, 2^32).

    A bijection of the counter for each key, so that different counters never share their words. Integer arithmetic alone:
    every device gives the same bits.

    Arguments:
        counter: four words in [0, 2^32); tensors broadcast against each other.
        key: two words in [0, 2^32).

    References:
        Salmon, Moraes, Dror & Shaw, 2011, *Parallel random numbers: as easy as 1, 2, 3*.

    Example:
        >>> [hex(int(word)) for word in philox((torch.tensor(0), 0, 0, 0), (0, 0))]
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = torch.broadcast_tensors(*_tensors(counter))
    k0, k1 = key
    for _ in range(_ROUNDS):
        # The 64-bit products wrap around in int64, which leaves their bits right; masks undo the sign.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32 & _LOW) ^ c1 ^ k0, p1 & _LOW, (p0 >> 32 & _LOW) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


def _tensors(counter: Sequence[Tensor | int]) -> list[Tensor]:
    device = next((c.device for c in counter if isinstance(c, Tensor)), torch.device("cpu"))
    return [torch.as_tensor(c, dtype=torch.int64, device=device) for c in counter]


class SampleGenerator:
    """One stream of random numbers for each sample, named by (seed, epoch, sample, view).

    Stands where augmentations take a `torch.Generator`, and like one it moves on with every draw. Row i of a draw is a
    function of the seed, the epoch, `ids[i]`, the view and the draws before it: of nothing else in the batch.

    Arguments:
        seed: in [0, 2^64).
        ids: what names each sample, `(n,)` integers in [0, 2^32): indices into the data set, not batch positions.
        epoch: pass over the data; `view`: number of the view.

    Raises:
        ValueError: if a number is out of its range, or ids are not `(n,)` integers.

    Example:
        >>> whole = SampleGenerator(0, torch.arange(6), epoch=1).uniform((2,))
        >>> half = SampleGenerator(0, torch.tensor([4, 5]), epoch=1).uniform((2,))
        >>> torch.equal(whole[4:], half)
        True
    """

    def __init__(self, seed: int, ids: Tensor, *, epoch: int = 0, view: int = 0) -> None:
        for name, value, bits in (("seed", seed, 64), ("epoch", epoch, 32), ("view", view, 32)):
            if not 0 <= value < 2**bits:
                raise ValueError(f"{name} = {value} must be in [0, 2^{bits})")
        ids = torch.as_tensor(ids)
        if ids.ndim != 1 or ids.is_floating_point() or ids.dtype == torch.bool:
            raise ValueError(f"ids must be integers (n,), got {ids.dtype} of shape {tuple(ids.shape)}")
        if ids.device.type == "cpu" and len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) <= _LOW:
            raise ValueError("ids must be in [0, 2^32): give the index of each sample in its data set")
        self.seed, self.ids, self.epoch, self.view = seed, ids.long(), epoch, view
        self.block = 0

    def __len__(self) -> int:
        return len(self.ids)

    def for_view(self, view: int) -> SampleGenerator:
        """The streams of another view of the same samples, from their start."""
        return SampleGenerator(self.seed, self.ids, epoch=self.epoch, view=view)

    def words(self, count: int, device: torch.device | str | None = None) -> Tensor:
        """`count` random 32-bit words for each sample, `(n, count)`, int64."""
        blocks = -(-count // 4)
        ids = self.ids.to(device or self.ids.device)
        counter = torch.arange(self.block, self.block + blocks, device=ids.device)
        self.block += blocks
        four = philox((counter, self.view, self.epoch, ids[:, None]), (self.seed & _LOW, self.seed >> 32))
        return torch.stack(four, dim=-1).reshape(len(ids), -1)[:, :count]

    def uniform(
        self,
        shape: tuple[int, ...] = (),
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Uniform numbers in [0, 1), `(n, *shape)`: multiples of 2^-53 in float64 and of 2^-24 otherwise."""
        count = math.prod(shape)
        if dtype == torch.float64:
            high, low = self.words(2 * count, device).reshape(-1, count, 2).unbind(-1)
            draws = ((high << 21) | (low >> 11)).to(dtype) * 2.0**-53
        else:
            draws = ((self.words(count, device) >> 8).float() * 2.0**-24).to(dtype)
        return draws.reshape(-1, *shape)

    def normal(
        self,
        shape: tuple[int, ...] = (),
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Standard normal numbers `(n, *shape)`, by the transform of Box & Muller (1958)."""
        radius, angle = self.uniform((2, *shape), dtype, device).unbind(1)
        return torch.sqrt(-2 * torch.log1p(-radius)) * torch.cos(2 * math.pi * angle)


Generator = torch.Generator | SampleGenerator
"""What augmentations draw from."""


def per_sample(generator: Generator, n: int) -> SampleGenerator:
    """One stream per sample: those of a `SampleGenerator`, or streams that a `torch.Generator` seeds and moves on from.

    Raises:
        ValueError: if the streams are not n.
    """
    if isinstance(generator, SampleGenerator):
        if len(generator) != n:
            raise ValueError(
                f"the generator has {len(generator)} samples and the batch {n}: both need the same n"
            )
        return generator
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    return SampleGenerator(int(seed), torch.arange(n))


def uniform(shape: tuple[int, ...], low: float, high: float, like: Tensor, generator: Generator) -> Tensor:
    """Uniform numbers in [low, high) of the dtype and device of `like`; axis 0 of `shape` is the samples."""
    if isinstance(generator, SampleGenerator):
        draws = per_sample(generator, shape[0]).uniform(shape[1:], like.dtype, like.device)
    else:
        draws = torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)
    return draws * (high - low) + low


def normal(shape: tuple[int, ...], like: Tensor, generator: Generator) -> Tensor:
    """Standard normal numbers of the dtype and device of `like`; axis 0 of `shape` is the samples."""
    if isinstance(generator, SampleGenerator):
        return per_sample(generator, shape[0]).normal(shape[1:], like.dtype, like.device)
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)

"""Batch normalisation by the statistics of the global batch, on CPU and GPU."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from infossl.distributed.collectives import all_pieces, summed
from infossl.distributed.world import world

__all__ = ["SyncBatchNorm", "synchronised"]

M = TypeVar("M", bound=nn.Module)

_CONVERTED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def synchronised(module: M) -> M:
    """Makes every batch normalisation inside one of the global batch; returns the module.

    In place, and by the class alone: parameters, buffers, names in the state dict, hooks and an optimizer that knows them
    stay what they are. In one process nothing is changed.

    Raises:
        TypeError: for a batch normalisation of another class, which would go on with the statistics of its rank.

    Example:
        >>> list(synchronised(nn.Sequential(nn.BatchNorm1d(2))).state_dict())
        ['0.weight', '0.bias', '0.running_mean', '0.running_var', '0.num_batches_tracked']
    """
    if world().size == 1:
        return module
    for name, part in module.named_modules():
        if type(part) in _CONVERTED:
            part.__class__ = SyncBatchNorm
        elif isinstance(part, _BatchNorm) and not isinstance(part, SyncBatchNorm):
            raise TypeError(
                f"{name or 'module'} is a {type(part).__name__}: known are BatchNorm1d, 2d and 3d; another class may do more "
                "than normalise, so put one of these in its place"
            )
    return module


class SyncBatchNorm(_BatchNorm):
    r"""`BatchNorm1d`, `2d` and `3d` whose mean, variance and running statistics are those of the rows of all ranks.

    .. math:: \mu = \frac{1}{n} \sum_r n_r \mu_r \qquad
       \sigma^2 = \frac{1}{n} \sum_r n_r \left( \sigma_r^2 + (\mu_r - \mu)^2 \right)

    Ranks may have different numbers of rows. There is one exchange in the forward and one in the backward pass; in evaluation
    mode there is none, and a monitor may run on any rank. Statistics are in float32 at least, whatever the autocast.

    Shapes:
        `(N, C)` or `(N, C, ...)` to the same.

    Raises:
        ValueError: for another number of channels, or no rows on this rank.

    References:
        Ioffe & Szegedy, 2015, *Batch Normalization*. Chan, Golub & LeVeque, 1983, *Algorithms for Computing the
        Sample Variance*, The American Statistician 37, 242-247.

    Example:
        >>> SyncBatchNorm(2, affine=False)(torch.tensor([[0.0, 1.0], [2.0, 5.0]])).sign()
        tensor([[-1., -1.],
                [ 1.,  1.]])
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise ValueError(f"input has shape {tuple(input.shape)}: expected (N, {self.num_features}, ...)")

    def forward(self, input: Tensor) -> Tensor:
        if world().size == 1 or not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        if not input.numel():
            raise ValueError(f"input has shape {tuple(input.shape)}: each rank needs at least one row")
        y, mean, variance, n = _Normalise.apply(input, self.weight, self.bias, self.eps)
        if self.running_mean is not None and self.running_var is not None:
            self._move(mean, variance * (n / (n - 1)))
        normalised: Tensor = y
        return normalised

    @torch.no_grad()
    def _move(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class _Normalise(torch.autograd.Function):
    """`(x, weight, bias, eps)` to y, mean, variance and n; the last three are for running statistics."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = _wide(x)
        variance, mean = torch.var_mean(wide, _rows(x), correction=0)
        count = torch.full_like(mean, x.numel() // x.shape[1])
        # In float64: counts are exact, and means far from 0 lose nothing.
        counts, means, variances = all_pieces(torch.stack([count, mean, variance]).double()).unbind(dim=1)
        n = counts.sum(0)[0]  # stays on the device: a number would make the GPU wait at every layer
        mean = (counts * means).sum(0) / n
        variance = (counts * (variances + (means - mean).square())).sum(0) / n
        centre, scale = mean.to(wide.dtype), (variance + eps).rsqrt().to(wide.dtype)
        ctx.save_for_backward(x, weight, centre, scale)
        ctx.n = n
        y = (wide - _along(centre, x)) * _along(scale if weight is None else scale * weight, x)
        y = y if bias is None else y + _along(bias, x)
        ctx.mark_non_differentiable(mean, variance, n)
        return y.to(x.dtype), mean, variance, n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, weight, centre, scale = ctx.saved_tensors
        grad, deviation = _wide(grad), _wide(x) - _along(centre, x)
        sums = torch.stack([grad.sum(_rows(x)), (grad * deviation).sum(_rows(x))])
        mean, slope = (summed(sums.double()) / ctx.n).to(grad.dtype)
        inner = grad - _along(mean, x) - deviation * _along(slope * scale.square(), x)
        dx = inner * _along(scale if weight is None else scale * weight, x)
        # Of the rows of this rank: gradients of parameters are averaged after the backward pass, like all others.
        needs_weight, needs_bias = ctx.needs_input_grad[1:3]
        dweight = (sums[1] * scale).to(weight.dtype) if needs_weight else None
        return dx.to(x.dtype), dweight, sums[0].to(weight.dtype) if needs_bias else None, None


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _rows(x: Tensor) -> list[int]:
    """All axes but that of channels."""
    return [0, *range(2, x.ndim)]


def _along(channels: Tensor, x: Tensor) -> Tensor:
    """`(C,)` to where it meets the channels of x."""
    return channels.view(1, -1, *[1] * (x.ndim - 2))

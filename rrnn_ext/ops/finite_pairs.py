"""Finite sums between all pairs of units, S_L = A + A^2 + .. + A^L, by doubling: S_{2m} = S_m + A^m S_m.

Their derivative in a direction E is the upper right block of S_L([[A, E], [0, A]]). It is made by the same doubling,
which keeps that block alone beside S_m and A^m: three products where the sum has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rrnn_ext.ops._matrices import block_triangular
from rrnn_ext.ops._registration import Differentiable, derivatives_of, fold_batch, python_op


@python_op
def finite_pairs(a: Tensor, hops: int) -> Tensor:
    """S_hops of (..., n, n), in O(log hops) products."""
    return _in_range(_sum_by_doubling, a.contiguous(), hops=hops)


def _sum_by_doubling(a: Tensor, hops: int) -> Tensor:
    total = power = a
    for place in reversed(range(hops.bit_length() - 1)):
        total = total + power @ total
        power = power @ power
        if hops >> place & 1:
            total = a + a @ total
            power = a @ power
    return total.clone()


@python_op
def finite_pairs_slope(a: Tensor, direction: Tensor, hops: int) -> Tensor:
    """The derivative of S_hops in a direction, (..., n, n)."""
    return _in_range(_slope_by_doubling, a.contiguous(), direction.contiguous(), hops=hops)


def _slope_by_doubling(a: Tensor, direction: Tensor, hops: int) -> Tensor:
    total = power = a
    d_total = d_power = direction
    for place in reversed(range(hops.bit_length() - 1)):
        d_total = d_total + d_power @ total + power @ d_total
        total = total + power @ total
        d_power = d_power @ power + power @ d_power
        power = power @ power
        if hops >> place & 1:
            d_total = direction + direction @ total + a @ d_total
            total = a + a @ total
            d_power = direction @ power + a @ d_power
            power = a @ power
    return d_total.clone()


def _in_range(function: Callable[..., Tensor], *matrices: Tensor, hops: int) -> Tensor:
    """``function`` in float64 where float32 overflows on the way to it, which only the CPU can see without waiting."""
    result = function(*matrices, hops=hops)
    is_float32 = result.dtype == torch.float32 and not result.is_cuda
    if is_float32 and not bool(result.isfinite().all()) and all(bool(each.isfinite().all()) for each in matrices):
        return function(*(each.double() for each in matrices), hops=hops).float()
    return result


@torch.library.register_fake("rrnn_ext::finite_pairs")
def _finite_pairs_fake(a: Tensor, hops: int) -> Tensor:
    return a.new_empty(a.shape)


@torch.library.register_fake("rrnn_ext::finite_pairs_slope")
def _finite_pairs_slope_fake(a: Tensor, direction: Tensor, hops: int) -> Tensor:
    return a.new_empty(a.shape)


@derivatives_of(finite_pairs)
class _Sum(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        a, ctx.hops = inputs
        ctx.save_for_backward(a)
        ctx.save_for_forward(a)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (a,) = ctx.saved_tensors
        return finite_pairs_slope(a.mT, grad, ctx.hops), None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_a: Tensor, _: Any) -> Tensor:
        (a,) = saved
        return finite_pairs_slope(a, d_a, ctx.hops)

    @staticmethod
    def vmap(info: Any, in_dims: Any, a: Tensor, hops: int) -> Any:
        (folded,), unfold = fold_batch(info.batch_size, in_dims[:1], (a,), (2,))
        return unfold(finite_pairs(folded, hops)), 0


@derivatives_of(finite_pairs_slope)
class _Slope(Differentiable):
    """Linear in the direction; its derivatives by A are those of graphs of twice the units."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        *tensors, ctx.hops = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        a, direction = ctx.saved_tensors
        n = a.shape[-1]
        beside = torch.zeros_like(grad)
        corner = torch.cat([torch.cat([beside, grad], -1), torch.cat([beside, beside], -1)], -2)
        slope = finite_pairs_slope(block_triangular(a, direction).mT, corner, ctx.hops)
        return slope[..., :n, :n] + slope[..., n:, n:], slope[..., :n, n:], None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_a: Tensor | None, d_direction: Tensor | None, _: Any) -> Tensor:
        a, direction = saved
        n = a.shape[-1]
        d_a = torch.zeros_like(a) if d_a is None else d_a
        d_direction = torch.zeros_like(a) if d_direction is None else d_direction
        doubled = block_triangular(a, direction), block_triangular(d_a, d_direction)
        return finite_pairs_slope(*doubled, ctx.hops)[..., :n, n:].clone()  # a tangent may not be a view

    @staticmethod
    def vmap(info: Any, in_dims: Any, a: Tensor, direction: Tensor, hops: int) -> Any:
        pair, unfold = fold_batch(info.batch_size, in_dims[:2], (a, direction), (2, 2))
        return unfold(finite_pairs_slope(*pair, hops)), 0

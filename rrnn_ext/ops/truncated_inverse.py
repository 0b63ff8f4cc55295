"""Finite sums by factorisation, the truncated inverse (I - A)^{-1} (I - A^L) B = sum_{m < L} A^m B.

Its derivatives are truncated inverses too, of the block matrices that rrnn_ext.ops.finite_walks explains, so none of
them is less accurate than the value is.

On CUDA, where PyTorch factorises a batch by routines that wait for the device and cannot be captured, the same sum is
made by doubling: A^(L/2), which the truncated inverse needs too, is all that has n^3 operations then.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrnn_ext.infinite.convergence import norm_of
from rrnn_ext.infinite.margins import POWER_ROUNDINGS
from rrnn_ext.infinite.operands import DenseOperand
from rrnn_ext.infinite.solve import by_factorisation, solve
from rrnn_ext.ops._matrices import block_triangular, identity
from rrnn_ext.ops._registration import Differentiable, derivatives_of, fold_batch, python_op
from rrnn_ext.ops.product import product

_ADVICE = 'I - alpha * weight_hh is singular or nearly so; use method="series", which finite hops always allow'


@python_op
def truncated_inverse(a: Tensor, b: Tensor, hops: int) -> Tensor:
    """sum_{m < hops} A^m B for (b, n, n) and (b, n, c), or without the batch. On the CPU it raises
    ResolventConditionError where I - A is singular or nearly so, which on CUDA is like any other."""
    if a.dim() == 2:
        return truncated_inverse(a.unsqueeze(0), b.unsqueeze(0), hops).squeeze(0)
    if a.numel() == 0 or b.numel() == 0:
        return b.clone(memory_format=torch.contiguous_format)

    def right(operand: DenseOperand) -> tuple[Tensor, Tensor]:
        a = operand.matrix
        half = torch.linalg.matrix_power(a, hops // 2)
        other = half @ a if hops % 2 else half
        start = b.to(a.dtype)
        sizes = start.abs()
        beyond = half.abs() @ (other.abs() @ sizes)
        noise = POWER_ROUNDINGS * torch.finfo(a.dtype).eps * (sizes + hops * beyond)
        given = sizes.isfinite().all(-2, keepdim=True)
        return start - half @ (other @ start), torch.where(
            given, noise.nan_to_num(nan=torch.inf, posinf=torch.inf), torch.nan
        )

    if a.is_cuda:
        return sum_by_doubling(a, b.to(a.dtype), hops)
    return solve(DenseOperand(a, a.double), right, by_factorisation, float(norm_of(a).max()), _ADVICE).contiguous()


def sum_by_doubling(a: Tensor, b: Tensor, hops: int) -> Tensor:
    """The same by S_{2m} = S_m + A^m S_m and S_{m+1} = B + A S_m, S_1 = B, in O(log hops) products."""
    a = a.contiguous()  # the order of a sum is that of memory
    total, power = b.clone(memory_format=torch.contiguous_format), a
    for place in reversed(range(hops.bit_length() - 1)):
        total = total + power @ total
        is_odd = hops >> place & 1
        if is_odd:
            total = b + a @ total
        if place:
            power = power @ power
            power = a @ power if is_odd else power
    return total


@torch.library.register_fake("rrnn_ext::truncated_inverse")
def _truncated_inverse_fake(a: Tensor, b: Tensor, hops: int) -> Tensor:
    return b.new_empty(b.shape)


@derivatives_of(truncated_inverse)
class _TruncatedInverse(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        *tensors, ctx.hops = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        a, b = ctx.saved_tensors
        n = a.shape[-1]
        lower = torch.cat([torch.zeros_like(a), identity(a)], -2)
        doubled = truncated_inverse(block_triangular(a.mT, product(grad, b.mT)), lower, ctx.hops)
        return doubled[..., :n, :], truncated_inverse(a.mT, grad, ctx.hops), None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_a: Tensor | None, d_b: Tensor | None, _: Any) -> Tensor:
        a, b = saved
        d_a = torch.zeros_like(a) if d_a is None else d_a
        d_b = torch.zeros_like(b) if d_b is None else d_b
        doubled = truncated_inverse(block_triangular(a, d_a), torch.cat([d_b, b], -2), ctx.hops)
        return doubled[..., : a.shape[-1], :].clone()  # a tangent may not be a view

    @staticmethod
    def vmap(info: Any, in_dims: Any, a: Tensor, b: Tensor, hops: int) -> Any:
        pair, unfold = fold_batch(info.batch_size, in_dims[:2], (a, b), (2, 2))
        return unfold(truncated_inverse(*pair, hops)), 0

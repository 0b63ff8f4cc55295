"""Sums over all walks: solves with I - A once convergence is certain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext._arguments import Graph
from rrnn_ext._convergence import block_of_walks, check_convergence
from rrnn_ext._ops import fold_batch


_BLOCK_HOPS = 64
_MAX_BLOCKS = 20_000


def _one_minus(a: Tensor) -> Tensor:
    return torch.eye(a.shape[-1], dtype=a.dtype, device=a.device) - a


def _factorised(a: Tensor, b: Tensor) -> Tensor:
    """(I - A)^{-1} B; NaN where A has a NaN or an infinity."""
    return torch.linalg.solve_ex(_one_minus(a), b)[0] + 0 * a.sum((-2, -1), keepdim=True)


def _summed(a: Tensor, b: Tensor) -> Tensor:
    """B + A B + A^2 B + ... until what is left out is below rounding.

    By blocks of hops: where they shrink by a factor q from one to the next, the rest is at most q / (1 - q) of the
    last. (The size of a single term says nothing: signed terms can vanish and come back.)
    """
    total, size, vectors = torch.zeros_like(b), torch.inf, b
    for _ in range(_MAX_BLOCKS):
        block, vectors = block_of_walks(a, vectors, _BLOCK_HOPS)
        total = total + block
        last, size = size, float(block.abs().sum())
        ratio = size / last if last < torch.inf else 1.0
        rounding = torch.finfo(a.dtype).eps * float(total.abs().sum()) / 4
        if not size * ratio > rounding * (1 - ratio):  # NaN ends the sum too
            return total
    raise RuntimeError(
        f'method="series" did not reach rounding within {_MAX_BLOCKS * _BLOCK_HOPS} hops; use method="inverse"'
    )


@torch.library.custom_op("rrnn_ext::all_walks", mutates_args=())
def _all_walks_op(a: Tensor, b: Tensor, alpha: Tensor, nonnegative: bool, series: bool) -> Tensor:
    """sum_m A^m B for (b, n, n) and (b, n, c), or without the batch. Raises ResolventDivergenceError."""
    check_convergence(a if a.dim() == 3 else a[None], alpha, nonnegative)
    if a.numel() == 0 or b.numel() == 0:
        return b.clone()
    return _summed(a, b) if series else _factorised(a, b)


@_all_walks_op.register_fake
def _(a: Tensor, b: Tensor, alpha: Tensor, nonnegative: bool, series: bool) -> Tensor:
    return torch.empty_like(b)


class _AllWalks(Function):
    @staticmethod
    def forward(a, b, alpha, nonnegative, series):  # type: ignore[no-untyped-def, override]
        return _all_walks_op(a, b, alpha, nonnegative, series)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        a, _, _, _, ctx.series = inputs
        ctx.save_for_backward(a, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        a, x = ctx.saved_tensors
        # PyTorch's own differentiable solve: convergence is known by now. The two ways agree to rounding.
        adjoint = torch.linalg.solve_ex(_one_minus(a.mT), grad)[0] if a.numel() and grad.numel() else grad
        return adjoint @ x.mT, adjoint, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        pair, unfold = fold_batch(info.batch_size, in_dims[:3], args[:3], (2, 2, 0))
        return unfold(_AllWalks.apply(*pair, *args[3:])), 0


class _AllPairs(Function):
    """(I - A)^{-1}, whose gradient takes two products: grad A = Q' G Q'."""

    @staticmethod
    def forward(a, alpha, nonnegative, series):  # type: ignore[no-untyped-def, override]
        eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand_as(a)
        return _all_walks_op(a, eye, alpha, nonnegative, series)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        (walks,) = ctx.saved_tensors
        return walks.mT @ grad @ walks.mT, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        pair, unfold = fold_batch(info.batch_size, in_dims[:2], args[:2], (2, 0))
        return unfold(_AllPairs.apply(*pair, *args[2:])), 0


def resolvent_sum(graph: Graph, rectify: bool, series: bool) -> Tensor:
    """R (..., o, i) of all walks; raises ResolventDivergenceError where they have no sum."""
    weight_hh, weight_in, weight_out, _, _, alpha, given_alpha, *_ = graph
    phi = torch.abs if rectify else _same
    a = alpha * phi(weight_hh)
    options = torch.as_tensor(given_alpha, dtype=a.dtype), rectify, series
    if weight_in is None and weight_out is None:
        return _AllPairs.apply(a, *options) - torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    if weight_out is None or (weight_in is not None and weight_in.shape[-1] <= weight_out.shape[-2]):
        assert weight_in is not None
        walks = _AllWalks.apply(a, alpha * phi(weight_in), *options)
        return walks if weight_out is None else (alpha * phi(weight_out)) @ walks
    walks = _AllWalks.apply(a.mT, (alpha * phi(weight_out)).mT, *options).mT
    return walks if weight_in is None else walks @ (alpha * phi(weight_in))


def _same(weight: Tensor) -> Tensor:
    return weight

"""A single hop of vectors through a sparse matrix, and what the gradient of its stored values takes of it.

The two are closed under differentiation: whatever is made of hops has derivatives of any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from rrnn_ext.ops import native
from rrnn_ext.ops._registration import Differentiable, derivatives_of

Indices: TypeAlias = Sequence[Tensor]  # crow, columns, t_crow, t_columns and t_from, as the schema says

sparse_hop = native.sparse_hop.default
sparse_hop_gradient = native.sparse_hop_gradient.default


@torch.library.register_fake("rrnn_ext::sparse_hop")
def _sparse_hop_fake(values: Tensor, *rest: Any) -> Tensor:
    vectors: Tensor = rest[5]
    return vectors.new_empty(vectors.shape)


@torch.library.register_fake("rrnn_ext::sparse_hop_gradient")
def _sparse_hop_gradient_fake(values: Tensor, *rest: Any) -> Tensor:
    return values.new_empty(values.shape)


def transposed(values: Tensor, indices: Indices) -> tuple[Tensor, ...]:
    """The arguments of the hop through the transposed matrix."""
    crow, columns, t_crow, t_columns, t_from = indices
    numbers = torch.arange(t_from.shape[0], dtype=t_from.dtype, device=t_from.device)
    back = torch.empty_like(t_from).index_copy(0, t_from.long(), numbers)
    return values.index_select(0, t_from), t_crow, t_columns, crow, columns, back


def _moved(values: Tensor, tangent: Tensor, alpha: float, rectify: bool) -> Tensor:
    """The derivative of the values of A = alpha phi(W) in the direction of a tangent of W."""
    return alpha * (values.sign() * tangent if rectify else tangent)


def _added(parts: list[Tensor], like: Tensor) -> Tensor:
    return sum(parts[1:], parts[0]) if parts else torch.zeros_like(like)


def one_by_one(op: Any, info: Any, in_dims: Sequence[int | None], arguments: Sequence[Any]) -> Any:
    """The vmap of an op of one graph: a call for each."""
    results = []
    for index in range(info.batch_size):
        own = [each if at is None else each.select(at, index) for each, at in zip(arguments, in_dims, strict=True)]
        results.append(op(*own))
    if isinstance(results[0], Tensor):
        return torch.stack(results), 0
    stacked = tuple(torch.stack(each) for each in zip(*results, strict=True))
    return stacked, (0,) * len(stacked)


@derivatives_of(sparse_hop)
class _SparseHop(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        values, *indices, vectors, ctx.alpha, ctx.rectify = inputs
        ctx.save_for_backward(values, *indices, vectors)
        ctx.save_for_forward(values, *indices, vectors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        values, *indices, vectors = ctx.saved_tensors
        of_values = sparse_hop_gradient(values, *indices, grad, vectors, ctx.alpha, ctx.rectify)
        of_vectors = sparse_hop(*transposed(values, indices), grad, ctx.alpha, ctx.rectify)
        return of_values, None, None, None, None, None, of_vectors, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_values: Tensor | None, *rest: Any) -> Any:
        values, *indices, vectors = saved
        d_vectors: Tensor | None = rest[5]
        parts = []
        if d_values is not None:
            parts.append(sparse_hop(_moved(values, d_values, ctx.alpha, ctx.rectify), *indices, vectors, 1.0, False))
        if d_vectors is not None:
            parts.append(sparse_hop(values, *indices, d_vectors, ctx.alpha, ctx.rectify))
        return _added(parts, vectors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return one_by_one(sparse_hop, info, in_dims, args)


@derivatives_of(sparse_hop_gradient)
class _SparseHopGradient(Differentiable):
    """Of a sign, nothing is left to differentiate: the values matter through it alone."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        values, *indices, left, right, ctx.alpha, ctx.rectify = inputs
        ctx.save_for_backward(values, *indices, left, right)
        ctx.save_for_forward(values, *indices, left, right)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        values, *indices, left, right = ctx.saved_tensors
        moved = _moved(values, grad, ctx.alpha, ctx.rectify)
        of_left = sparse_hop(moved, *indices, right, 1.0, False)
        of_right = sparse_hop(*transposed(moved, indices), left, 1.0, False)
        return None, None, None, None, None, None, of_left, of_right, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, *rest: Any) -> Any:
        values, *indices, left, right = saved
        d_left, d_right = rest[6:8]
        parts = []
        if d_left is not None:
            parts.append(sparse_hop_gradient(values, *indices, d_left, right, ctx.alpha, ctx.rectify))
        if d_right is not None:
            parts.append(sparse_hop_gradient(values, *indices, left, d_right, ctx.alpha, ctx.rectify))
        return _added(parts, values)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return one_by_one(sparse_hop_gradient, info, in_dims, args)

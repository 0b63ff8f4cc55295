"""Sums over all walks through a sparse matrix: solves with I - A, once convergence is certain.

rrnn_ext.infinite.proof_by_products has the proofs, and rrnn_ext.infinite.solve says how far the sums are right.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrnn_ext.infinite.operands import DenseOperand
from rrnn_ext.infinite.proof_by_products import norm_of
from rrnn_ext.infinite.solve import by_factorisation, by_products, solve
from rrnn_ext.infinite.sweeps import by_sweeps
from rrnn_ext.ops._registration import Differentiable, derivatives_of, python_op
from rrnn_ext.ops.sparse_hop import one_by_one, sparse_hop, sparse_hop_gradient, transposed
from rrnn_ext.sparse.convergence import prove_convergence
from rrnn_ext.sparse.operand import SparseOperand

_ADVICE = "take a smaller alpha or a finite number of hops"
_TOGETHER = 2**22  # numbers of the vectors that are solved for at a time
_FEW_UNITS = 256  # up to which a dense A is factorised: above that nothing of size n x n is made


@torch.library.register_fake("rrnn_ext::sparse_infinite_walks_components")
def _components_fake(crow: Tensor, columns: Tensor) -> Tensor:
    return crow.new_empty(crow.shape[0] - 1)


@torch.library.register_fake("rrnn_ext::sparse_infinite_walks_sweep")
@torch.library.register_fake("rrnn_ext::sparse_infinite_walks_polynomial")
def _sweeps_fake(values: Tensor, crow: Tensor, columns: Tensor, vectors: Tensor, *_: Any) -> Tensor:
    return vectors.new_empty(vectors.shape)


def columns_together(units: int) -> int:
    """How many vectors of so many units are solved for at a time."""
    return max(16, _TOGETHER // max(1, units))


@python_op
def sparse_infinite_walks(
    values: Tensor,
    crow: Tensor,
    columns: Tensor,
    t_crow: Tensor,
    t_columns: Tensor,
    t_from: Tensor,
    vectors: Tensor,
    alpha: Tensor,
    rectify: bool,
    proved: bool,
) -> Tensor:
    """sum_m A^m B for vectors B (n, c) and A = alpha phi(W), alpha () in float64; W as in the schema of sparse_hop.

    Raises ResolventDivergenceError, unless it was ``proved`` to converge, and ResolventConditionError.
    """
    indices, factor = (crow, columns, t_crow, t_columns, t_from), float(alpha)
    operand = SparseOperand(values, indices, factor, rectify)
    if not proved:
        prove_convergence(operand, indices, factor, rectify)
    poison = operand.poison()
    if vectors.numel() == 0 or not bool(poison.isfinite()):
        return (vectors + poison).contiguous()
    parts = [_solution(operand, part) for part in vectors.split(columns_together(operand.units), -1)]
    return parts[0].contiguous() if len(parts) == 1 else torch.cat(parts, -1)


def _solution(operand: SparseOperand, vectors: Tensor) -> Tensor:
    norm = norm_of(operand)
    if operand.units <= _FEW_UNITS:
        dense = DenseOperand(operand.dense(), lambda: operand.in_float64().dense())
        return solve(dense, lambda wide: (vectors.to(wide.dtype), None), by_factorisation, norm, _ADVICE)
    by_iteration = by_products if vectors.is_cuda else by_sweeps  # a sweep is no work for a GPU
    return solve(operand, lambda wide: (vectors.to(wide.dtype), None), by_iteration, norm, _ADVICE)


@torch.library.register_fake("rrnn_ext::sparse_infinite_walks")
def _fake(values: Tensor, *rest: Any) -> Tensor:
    vectors: Tensor = rest[5]
    return vectors.new_empty(vectors.shape)


@derivatives_of(sparse_infinite_walks)
class _SparseInfiniteWalks(Differentiable):
    """X = B + A X: with Y = B-bar + A' Y, the gradient of A is Y X' where values are stored, that of B is Y."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        *graph, _, alpha, ctx.rectify, _ = inputs
        ctx.save_for_backward(*graph, alpha, output)
        ctx.save_for_forward(*graph, alpha, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        values, *indices, alpha, x = ctx.saved_tensors
        adjoint = sparse_infinite_walks(*transposed(values, indices), grad, alpha, ctx.rectify, proved=True)
        by_edge = sparse_hop_gradient(values, *indices, adjoint, x, 1.0, ctx.rectify)
        of_values = alpha.to(values.dtype) * by_edge
        of_alpha = (by_edge.double() * values).sum().to(alpha.device)
        return of_values, None, None, None, None, None, adjoint, of_alpha, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_values: Tensor | None, *rest: Any) -> Any:
        values, *indices, alpha, x = saved
        d_vectors, d_alpha = rest[5:7]
        moved = torch.zeros_like(x) if d_vectors is None else d_vectors
        if d_values is not None:
            slope = values.sign() * d_values if ctx.rectify else d_values
            moved = moved + alpha.to(x.dtype) * sparse_hop(slope, *indices, x, 1.0, False)
        if d_alpha is not None:
            moved = moved + d_alpha.to(x.dtype) * sparse_hop(values, *indices, x, 1.0, ctx.rectify)
        return sparse_infinite_walks(values, *indices, moved, alpha, ctx.rectify, proved=True)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return one_by_one(sparse_infinite_walks, info, in_dims, args)

"""Sums over all walks through a matrix whose rows lie on several ranks: by iteration, once convergence is proved."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext.infinite.operands import Mirrored
from rrnn_ext.infinite.proof_by_products import Cycles, norm_of, prove_by_products
from rrnn_ext.infinite.solve import by_products, solve
from rrnn_ext.ops._matrices import phi
from rrnn_ext.ops.infinite_walks import ADVICE
from rrnn_ext.sharded.blocks import outer_product
from rrnn_ext.sharded.operand import RowOperand
from rrnn_ext.sharded.rows import Rows
from rrnn_ext.sharded.walks import RowWalks, refuse_second_derivatives


def infinite_row_walks(walks: RowWalks) -> Tensor:
    """sum_m P_m, (o, i), the same on every rank; ``hops`` and what tells one hop from another count for nothing.

    Raises ResolventDivergenceError and ResolventConditionError, on every rank.
    """
    inputs, outputs, rows, alpha = walks.inputs, walks.outputs, walks.rows, walks.alpha
    from_inputs = outputs is None or (inputs is not None and inputs.shape[1] <= outputs.shape[1])
    start, other = (inputs, outputs) if from_inputs else (outputs, inputs)
    assert start is not None
    vectors = alpha * _AllRows.apply(rows, phi(start, walks.rectify))
    sums = _Solved.apply(walks, from_inputs, walks.own, vectors, alpha if isinstance(alpha, Tensor) else None)
    if other is not None:
        part = phi(other, walks.rectify).mT @ _Own.apply(rows, sums)
        sums = alpha * _Total.apply(rows, part)
    return sums if from_inputs else sums.mT


class _Solved(Function):
    """X = B + A X, or with A' where it is not ``forwards``: with Y = B-bar + A' Y, the gradient of A is Y X', that of B
    is Y."""

    @staticmethod
    def forward(
        ctx: Any, walks: RowWalks, forwards: bool, own: Tensor, vectors: Tensor, alpha: Tensor | None
    ) -> Tensor:
        operand = RowOperand(walks.rows, own, float(walks.alpha), walks.rectify, vectors.dtype)
        prove_by_products(operand, _as_one, float(walks.alpha), walks.rectify)
        sums = _solution(operand, vectors, forwards)
        ctx.walks, ctx.forwards, ctx.operand = walks, forwards, operand
        ctx.save_for_backward(own, vectors, alpha, sums)
        return sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        refuse_second_derivatives()
        walks: RowWalks = ctx.walks
        own, vectors, alpha, sums = ctx.saved_tensors
        adjoint = _solution(ctx.operand, grad, not ctx.forwards)
        left, right = (adjoint, sums) if ctx.forwards else (sums, adjoint)
        of_own = of_alpha = None
        if ctx.needs_input_grad[2]:
            of_own = outer_product(own, walks.rows.own(left), right, float(walks.alpha), walks.rectify)
        if ctx.needs_input_grad[4]:  # A X is X - B
            of_alpha = ((adjoint.double() * (sums - vectors)).sum() / float(walks.alpha)).to(alpha)
        return None, None, of_own, adjoint, of_alpha


def _as_one(operand: RowOperand) -> Cycles:
    """All units as one component: which of them reach one another no rank knows."""
    return Cycles(torch.zeros(operand.units, dtype=torch.int64, device=operand.poison().device), operand)


def _solution(operand: RowOperand, vectors: Tensor, forwards: bool) -> Tensor:
    """NaN where A or a vector is."""
    norm, poison = norm_of(operand), operand.poison()
    if vectors.numel() == 0 or not bool(poison.isfinite()):
        return vectors + poison
    oriented: Any = operand if forwards else Mirrored(operand)
    return solve(oriented, lambda wide: (vectors.to(wide.dtype), None), by_products, norm, ADVICE)


class _AllRows(Function):
    """All rows of what each rank has its own of."""

    @staticmethod
    def forward(ctx: Any, rows: Rows, own: Tensor) -> Tensor:
        ctx.rows = rows
        return rows.gather(own)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        refuse_second_derivatives()
        return None, ctx.rows.own(grad)


class _Own(Function):
    """This rank's rows of what is the same on every rank. Its gradient has parts on all of them."""

    @staticmethod
    def forward(ctx: Any, rows: Rows, vectors: Tensor) -> Tensor:
        ctx.rows = rows
        return rows.own(vectors).clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        refuse_second_derivatives()
        return None, ctx.rows.gather(grad)


class _Total(Function):
    """The sum over ranks, which is the same on every rank, and so is its gradient: that of each part."""

    @staticmethod
    def forward(ctx: Any, rows: Rows, part: Tensor) -> Tensor:
        return rows.total(part)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        refuse_second_derivatives()
        return None, grad

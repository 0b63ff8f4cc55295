"""Sums over all walks: solves with I - A once convergence is certain. rrnn_ext.infinite.solve says how far
they are right."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrnn_ext._call import Call, given_apart
from rrnn_ext.infinite import deferred
from rrnn_ext.infinite.convergence import Source, norm_of, prove_convergence, shrinking_power, source_of
from rrnn_ext.infinite.operands import DenseOperand
from rrnn_ext.infinite.solve import by_factorisation, by_series, solve
from rrnn_ext.infinite.unseen import Inverse
from rrnn_ext.ops._matrices import identity, phi
from rrnn_ext.ops._registration import Differentiable, derivatives_of, fold_batch, python_op
from rrnn_ext.ops.product import product

ADVICE = "take a smaller alpha or a finite number of hops"


@python_op
def infinite_walks(
    a: Tensor, b: Tensor, weights: Tensor, alpha: Tensor, nonnegative: bool, series: bool, proved: bool
) -> Tensor:
    """sum_m A^m B for (b, n, n) and (b, n, c), or without the batch, where A was made of ``weights`` and ``alpha``, ()
    or (b,) in float64.

    Raises ResolventDivergenceError, unless it was ``proved`` to converge, and ResolventConditionError. On CUDA it is
    NaN instead, and a series too is an inverse: how many hops it needs, only its values could tell.
    """
    return _sum(a, b, Source(weights, alpha, nonnegative), series, proved)


@python_op
def infinite_walks_of_edges(
    a: Tensor, weights: Tensor, alpha: Tensor, nonnegative: bool, series: bool, proved: bool
) -> Tensor:
    """A + A^2 + .., likewise, which is not (I - A)^{-1} - I: small walks would drown in the 1."""
    return _sum(a, None, Source(weights, alpha, nonnegative), series, proved)


def _sum(a: Tensor, b: Tensor | None, source: Source, series: bool, proved: bool) -> Tensor:
    if a.dim() == 2:
        start = None if b is None else b.unsqueeze(0)
        one = source._replace(weights=source.weights.unsqueeze(0))
        return _sum(a.unsqueeze(0), start, one, series, proved).squeeze(0)
    a = a.contiguous()  # the order of a sum is that of memory
    if a.is_cuda and a.numel():
        return _sum_unseen(a, b, proved).contiguous()
    proof = None if proved and not series else prove_convergence(a, source)
    start = identity(a) if b is None else b
    if a.numel() == 0 or start.numel() == 0:
        return start.clone(memory_format=torch.contiguous_format)
    make_solver = by_series(*shrinking_power(a, proof, source.nonnegative)) if series and proof else by_factorisation
    norm = float((norm_of(a) if proof is None else proof.norm).max())
    return solve(
        DenseOperand(a, source.in_float64),
        lambda wide: (start.to(wide.dtype), None),
        make_solver,
        norm,
        ADVICE,
        (lambda wide, x: without_the_empty_walk(wide.matrix, x)) if b is None else (lambda wide, x: x),
    ).contiguous()


def without_the_empty_walk(a: Tensor, inverse: Tensor) -> Tensor:
    """A (I - A)^{-1}: the inverse but for its diagonal, where 1 taken off would leave little of small walks."""
    return torch.diagonal_scatter(inverse, (a * inverse.mT).sum(-1), dim1=-2, dim2=-1)


def _sum_unseen(a: Tensor, b: Tensor | None, proved: bool) -> Tensor:
    """The same without a look at any value; NaN where it was not proved to converge."""
    inverse = Inverse(a)
    if not proved:
        deferred.note(inverse.known)
    return inverse.walks if b is None else inverse.solve(b)


@torch.library.register_fake("rrnn_ext::infinite_walks")
def _fake(a: Tensor, b: Tensor, *_: Any) -> Tensor:
    return a.new_empty(b.shape)


@torch.library.register_fake("rrnn_ext::infinite_walks_of_edges")
def _of_edges_fake(a: Tensor, *_: Any) -> Tensor:
    return a.new_empty(a.shape)


@derivatives_of(infinite_walks)
class _InfiniteWalks(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        a, _, weights, alpha, *ctx.options, _ = inputs
        ctx.save_for_backward(a, weights, alpha, output)
        ctx.save_for_forward(a, weights, alpha, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        a, weights, alpha, x = ctx.saved_tensors
        adjoint = infinite_walks(a.mT, grad, weights.mT, alpha, *ctx.options, proved=True)
        return product(adjoint, x.mT), adjoint, None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_a: Tensor | None, d_b: Tensor | None, *_: Any) -> Any:
        a, weights, alpha, x = saved
        moved = torch.zeros_like(x) if d_b is None else d_b
        moved = moved if d_a is None else moved + product(d_a, x)
        return infinite_walks(a, moved, weights, alpha, *ctx.options, proved=True)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        folded, unfold = fold_batch(info.batch_size, in_dims[:4], args[:4], (2, 2, 2, 0))
        return unfold(infinite_walks(*folded, *args[4:])), 0


@derivatives_of(infinite_walks_of_edges)
class _InfiniteWalksOfEdges(Differentiable):
    """R = (I - A)^{-1} A, whose derivatives are products with Q = I + R: grad A = Q' G Q', dR = Q dA Q."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (walks,) = ctx.saved_tensors
        return between(walks.mT, grad, walks.mT), None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_a: Tensor, *_: Any) -> Any:
        (walks,) = saved
        return between(walks, d_a, walks)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        folded, unfold = fold_batch(info.batch_size, in_dims[:3], args[:3], (2, 2, 0))
        return unfold(infinite_walks_of_edges(*folded, *args[3:])), 0


def between(left: Tensor, middle: Tensor, right: Tensor) -> Tensor:
    """(I + L) M (I + R)."""
    half = middle + product(left, middle)
    return half + product(half, right)


def infinite_sum(call: Call) -> Tensor:
    """R (..., o, i) of all walks; raises ResolventDivergenceError where they have no sum."""
    weight_hh, weight_in, weight_out = call[:3]
    alpha, rectify = call.alpha, call.rectify
    a = alpha * phi(weight_hh, rectify)
    # The ops differentiate by neither of the source: derivatives go through A.
    source = source_of(weight_hh, alpha, *given_apart(call), rectify)
    how = {"series": call.method == "series", "proved": False}
    if weight_in is None and weight_out is None:
        return infinite_walks_of_edges(a, *source, **how)
    if weight_out is None or (weight_in is not None and weight_in.shape[-1] <= weight_out.shape[-2]):
        assert weight_in is not None
        walks = infinite_walks(a, alpha * phi(weight_in, rectify), *source, **how)
        return walks if weight_out is None else product(alpha * phi(weight_out, rectify), walks)
    assert weight_out is not None
    mirrored = source._replace(weights=source.weights.mT)
    walks = infinite_walks(a.mT, (alpha * phi(weight_out, rectify)).mT, *mirrored, **how).mT
    return walks if weight_in is None else product(walks, alpha * phi(weight_in, rectify))

"""The infinite sum between inputs and outputs: both ends' solutions from one proof and one factorisation, of which the
sum, and later its gradient, are thin products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrnn_ext._call import Call, given_apart
from rrnn_ext.infinite import deferred
from rrnn_ext.infinite.convergence import Source, prove_convergence, source_of
from rrnn_ext.infinite.operands import DenseOperand
from rrnn_ext.infinite.solve import both_by_factorisation, solve_both_ends
from rrnn_ext.infinite.unseen import Inverse
from rrnn_ext.ops._matrices import phi
from rrnn_ext.ops._registration import Differentiable, derivatives_of, fold_batch, python_op
from rrnn_ext.ops.hop import hop_gradient
from rrnn_ext.ops.infinite_walks import ADVICE, infinite_walks
from rrnn_ext.ops.product import product


@python_op
def infinite_pathways(
    weight_hh: Tensor,
    sources: Tensor,
    targets: Tensor,
    alpha: float,
    rectify: bool,
    given_hh: Tensor | None,
    given_alpha: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """R = C (I - A)^{-1} B (b, o, i) of weight_hh (b, n, n), sources B (b, n, i) and targets C (b, o, n); and
    X = (I - A)^{-1} B (b, n, i), Y = (I - A')^{-1} C' (b, n, o).

    ``given_hh`` and ``given_alpha`` are what a tensor alpha was given with, as it is in the weights then. Raises
    ResolventDivergenceError and ResolventConditionError; on CUDA all of it is NaN instead where the sum was not proved
    to converge.
    """
    if weight_hh.is_cuda and weight_hh.numel():
        x, y = _both_unseen(weight_hh, sources, targets, alpha, rectify)
    else:
        a = _scaled(weight_hh, alpha, rectify).contiguous()  # the order of a sum is that of memory
        source = source_of(weight_hh, alpha, given_hh, given_alpha, rectify)
        x, y = _both(a, sources, targets, source)
    by_inputs = sources.shape[-1] <= targets.shape[-2]
    walks = product(targets.to(x.dtype), x) if by_inputs else product(y.mT, sources.to(y.dtype))
    # LAPACK's solutions lie column by column.
    return walks.to(weight_hh.dtype), x.to(weight_hh.dtype).contiguous(), y.to(weight_hh.dtype).contiguous()


def _scaled(weight_hh: Tensor, alpha: float, rectify: bool) -> Tensor:
    """alpha phi(W), or W itself where that is the same: a copy of a large one takes a while."""
    weights = phi(weight_hh, rectify)
    return weights if alpha == 1 else alpha * weights


def _both(a: Tensor, sources: Tensor, targets: Tensor, source: Source) -> tuple[Tensor, Tensor]:
    proof = prove_convergence(a, source)
    if a.numel() == 0 or sources.numel() == 0 or targets.numel() == 0:
        return torch.zeros_like(sources), torch.zeros_like(targets.mT)
    norm = float(proof.norm.max())
    return solve_both_ends(DenseOperand(a, source.in_float64), sources, targets.mT, both_by_factorisation, norm, ADVICE)


def _both_unseen(
    weight_hh: Tensor, sources: Tensor, targets: Tensor, alpha: float, rectify: bool
) -> tuple[Tensor, Tensor]:
    """The same without a look at any value; NaN where it was not proved to converge."""
    inverse = Inverse(weight_hh, alpha, rectify)
    deferred.note(inverse.known)
    return inverse.solve(sources), inverse.solve_transposed(targets.mT)


@torch.library.register_fake("rrnn_ext::infinite_pathways")
def _infinite_pathways_fake(
    weight_hh: Tensor, sources: Tensor, targets: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    batch, inputs, outputs = weight_hh.shape[:1], sources.shape[-1], targets.shape[-2]
    x, y = sources.new_empty(sources.shape), targets.new_empty((*batch, targets.shape[-1], outputs))
    return sources.new_empty((*batch, outputs, inputs)), x, y


@derivatives_of(infinite_pathways)
class _InfinitePathways(Differentiable):
    """dR = Y' dA X + Y' dB + dC X."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        weight_hh, sources, targets, ctx.alpha, ctx.rectify, given_hh, given_alpha = inputs
        _, x, y = output
        ctx.mark_non_differentiable(x, y)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight_hh, sources, targets, given_hh, given_alpha, x, y)
        ctx.save_for_forward(weight_hh, sources, targets, given_hh, given_alpha, x, y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> Any:
        if grad is None:
            return (None,) * 7
        weight_hh, sources, targets, given_hh, given_alpha, x, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # a derivative of this gradient may be wanted
            x, y = _differentiable(ctx, weight_hh, sources, targets, given_hh, given_alpha)
        of_sources, of_targets = product(y, grad), product(grad, x.mT)
        by_inputs = sources.shape[-1] <= targets.shape[-2]
        left, right = (of_sources.mT, x.mT) if by_inputs else (y.mT, of_targets)
        of_hh = hop_gradient(weight_hh, left, right, ctx.alpha, ctx.rectify)
        return of_hh, of_sources, of_targets, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, *tangents: Any) -> Any:
        weight_hh, *_ = saved
        d_hh, d_sources, d_targets, *_ = tangents
        x, y = _differentiable(ctx, *saved[:5])
        moved = []
        if d_hh is not None:
            d_a = ctx.alpha * (weight_hh.sign() * d_hh if ctx.rectify else d_hh)
            moved.append(product(product(y.mT, d_a), x))
        if d_sources is not None:
            moved.append(product(y.mT, d_sources))
        if d_targets is not None:
            moved.append(product(d_targets, x))
        return sum(moved[1:], moved[0]), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        weight_hh, sources, targets, alpha, rectify, given_hh, given_alpha = args
        tensors = weight_hh, sources, targets, given_hh, given_alpha
        folded, unfold = fold_batch(info.batch_size, (*in_dims[:3], *in_dims[5:]), tensors, (2, 2, 2, 2, 0))
        return tuple(map(unfold, infinite_pathways(*folded[:3], alpha, rectify, *folded[3:]))), (0, 0, 0)


def _differentiable(
    ctx: Any,
    weight_hh: Tensor,
    sources: Tensor,
    targets: Tensor,
    given_hh: Tensor | None,
    given_alpha: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """X and Y, differentiable any number of times."""
    source = source_of(weight_hh, ctx.alpha, given_hh, given_alpha, ctx.rectify)
    mirrored = source._replace(weights=source.weights.mT)
    a = ctx.alpha * phi(weight_hh, ctx.rectify)
    x = infinite_walks(a, sources, *source, series=False, proved=True)
    y = infinite_walks(a.mT, targets.mT, *mirrored, series=False, proved=True)
    return x, y


def infinite_transfer(call: Call) -> Tensor:
    """R (..., o, i) of all walks from inputs to outputs; raises ResolventDivergenceError where they have no sum."""
    weight_hh, weight_in, weight_out = call[:3]
    assert weight_in is not None
    assert weight_out is not None
    alpha, rectify = call.alpha, call.rectify
    graph = weight_hh, alpha * phi(weight_in, rectify), alpha * phi(weight_out, rectify)
    if not call.batch:
        graph = weight_hh.unsqueeze(0), graph[1].unsqueeze(0), graph[2].unsqueeze(0)
    walks = infinite_pathways(*graph, alpha, rectify, *given_apart(call))[0]
    return walks if call.batch else walks.squeeze(0)

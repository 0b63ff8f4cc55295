"""The rectified infinite sum of graphs with one input and one output: x and y, its solutions from both ends, by
iteration where that settles it, by factorisation where it does not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrnn_ext._call import Call, given_apart
from rrnn_ext._modes import is_batched
from rrnn_ext.infinite import deferred
from rrnn_ext.infinite.convergence import source_of
from rrnn_ext.ops import native
from rrnn_ext.ops._registration import Differentiable, derivatives_of, fold_batch, python_op
from rrnn_ext.ops.infinite_pathways import infinite_pathways
from rrnn_ext.ops.infinite_walks import infinite_walks


@torch.library.register_fake("rrnn_ext::pathway")
def _pathway_fake(weight_hh: Tensor, sources: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    return sources.new_empty(sources.shape), targets.new_empty(targets.shape), sources.new_empty(sources.shape[:1])


@torch.library.register_fake("rrnn_ext::pathway_backward")
def _pathway_backward_fake(scale: Tensor, weight_hh: Tensor, x: Tensor, y: Tensor, alpha: float) -> Tensor:
    return weight_hh.new_empty(weight_hh.shape)


@python_op
def pathway_sum(
    weight_hh: Tensor,
    sources: Tensor,
    targets: Tensor,
    alpha: float,
    given_hh: Tensor | None,
    given_alpha: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The sum (b,), x and y (b, n) of weight_hh (b, n, n), sources and targets (b, n).

    ``given_hh`` and ``given_alpha`` are what a tensor alpha was given with, as it is in the weights then. Raises
    ResolventDivergenceError and ResolventConditionError; on CUDA the sum is NaN instead, also where the iteration does
    not settle it.
    """
    x, y, found = native.pathway(weight_hh, sources, targets, alpha)
    if found.is_cuda:
        deferred.note(found)
    elif not bool(found.all()):
        ends = sources.unsqueeze(-1), targets.unsqueeze(-2)
        _, x, y = infinite_pathways(weight_hh, *ends, alpha, True, given_hh, given_alpha)
        x, y = x.squeeze(-1), y.squeeze(-1)
    return alpha**2 * (targets * x).sum(-1), x, y


@torch.library.register_fake("rrnn_ext::pathway_sum")
def _pathway_sum_fake(
    weight_hh: Tensor, sources: Tensor, targets: Tensor, *alphas: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return sources.new_empty(sources.shape[:1]), sources.new_empty(sources.shape), targets.new_empty(targets.shape)


def _solutions(
    weight_hh: Tensor,
    sources: Tensor,
    targets: Tensor,
    alpha: float,
    given_hh: Tensor | None,
    given_alpha: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """x = (I - A)^{-1} u and y = (I - A)^{-T} v by factorisation, differentiable any number of times."""
    source = source_of(weight_hh, alpha, given_hh, given_alpha, nonnegative=True)
    mirrored = source._replace(weights=source.weights.mT)
    a = alpha * weight_hh.abs()
    x = infinite_walks(a, sources.unsqueeze(-1), *source, series=False, proved=True)
    y = infinite_walks(a.mT, targets.unsqueeze(-1), *mirrored, series=False, proved=True)
    return x.squeeze(-1), y.squeeze(-1)


@derivatives_of(pathway_sum)
class _PathwaySum(Differentiable):
    """With c = alpha^2, the gradients by u and v are c y and c x, and that by A is c y x'."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        weight_hh, sources, targets, ctx.alpha, given_hh, given_alpha = inputs
        _, x, y = output
        ctx.mark_non_differentiable(x, y)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight_hh, sources, targets, given_hh, given_alpha, x, y)
        ctx.save_for_forward(weight_hh, sources, targets, given_hh, given_alpha, x, y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> Any:
        if grad is None:
            return (None,) * 6
        weight_hh, sources, targets, given_hh, given_alpha, x, y = ctx.saved_tensors
        alpha = ctx.alpha
        if torch.is_grad_enabled():  # a derivative of this gradient may be wanted
            x, y = _solutions(weight_hh, sources, targets, alpha, given_hh, given_alpha)
            scale = (alpha**2 * grad).unsqueeze(-1)
            by_edge = (scale * y).unsqueeze(-1) * x.unsqueeze(-2)
            return alpha * weight_hh.sign() * by_edge, scale * y, scale * x, None, None, None
        batched = is_batched(grad)
        scale = alpha**2 * (torch.ones_like(x[..., 0]) if batched else grad)
        of_hh, per_unit = native.pathway_backward(scale, weight_hh, x, y, alpha), scale.unsqueeze(-1)
        of_sources, of_targets = per_unit * y, per_unit * x
        if batched:
            upstream = grad.unsqueeze(-1)
            of_hh, of_sources, of_targets = upstream.unsqueeze(-1) * of_hh, upstream * of_sources, upstream * of_targets
        return of_hh, of_sources, of_targets, None, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, *tangents: Any) -> Any:
        weight_hh, sources, targets, given_hh, given_alpha, *_ = saved
        d_hh, d_sources, d_targets, *_ = tangents
        x, y = _solutions(weight_hh, sources, targets, ctx.alpha, given_hh, given_alpha)
        moved = []
        if d_hh is not None:
            d_a = ctx.alpha * weight_hh.sign() * d_hh
            moved.append((y.unsqueeze(-1) * d_a * x.unsqueeze(-2)).sum((-2, -1)))
        if d_sources is not None:
            moved.append((y * d_sources).sum(-1))
        if d_targets is not None:
            moved.append((x * d_targets).sum(-1))
        return ctx.alpha**2 * torch.stack(moved).sum(0), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        weight_hh, sources, targets, alpha, given_hh, given_alpha = args
        tensors = weight_hh, sources, targets, given_hh, given_alpha
        folded, unfold = fold_batch(info.batch_size, (*in_dims[:3], *in_dims[4:]), tensors, (2, 1, 1, 2, 0))
        return tuple(map(unfold, pathway_sum(*folded[:3], alpha, *folded[3:]))), (0, 0, 0)


def pathway_penalty(call: Call) -> Tensor:
    """The rectified sum of each graph."""
    weight_hh, weight_in, weight_out = call[:3]
    assert weight_in is not None
    assert weight_out is not None
    graph = weight_hh, weight_in.squeeze(-1), weight_out.squeeze(-2)
    if not call.batch:
        graph = weight_hh.unsqueeze(0), graph[1].unsqueeze(0), graph[2].unsqueeze(0)
    value = pathway_sum(*graph, call.alpha, *given_apart(call))[0]
    return value if call.batch else value.squeeze(0)

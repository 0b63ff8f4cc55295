"""Walks through a network that runs: at each step another matrix, all of them left-scaled weights.

Going back from the outputs, hop m takes what reads the state to what reads the state one step before,

    P_m = alpha^e (u_m X_m) U,       X_{m+1} = alpha (W' (d_m X_m) + k_m X_m) + B_{m+1},        X_0 = B_0,

with gains d_m and u_m for each row of the stacked weights of all gates, carries k_m for each unit, and B what enters
(the read-out at the first hop; in a stack, what the layer above reads at each). A chain from the inputs would be
another one for each hop. A state may have several parts, such as the h and c of an LSTM; the weights read the first.

Native kernels make values and first derivatives; what may be differentiated again is rrnn_ext.ops._driven_by_hops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rrnn_ext._modes import is_batched, transforming
from rrnn_ext.ops import native
from rrnn_ext.ops._driven_by_hops import DrivenWalks, gradients_by_hops, moved_by_hops, walks_by_hops
from rrnn_ext.ops._matrices import of_weight, walk_size_derivative
from rrnn_ext.ops._registration import Differentiable, derivatives_of
from rrnn_ext.ops.sparse_hop import one_by_one

_walks = native.driven_walks.default
_walks_backward = native.driven_walks_backward.default
_penalty = native.driven_walks_penalty.default
_penalty_backward = native.driven_walks_penalty_backward.default


class DrivenPenalty(NamedTuple):
    """What the ops of penalties take, likewise. hop_weights weigh the norms of the hops where per_hop."""

    weight_hh: Tensor
    weight_ih: Tensor
    entering: Tensor
    gains: Tensor
    input_gains: Tensor | None
    carries: Tensor | None
    hop_weights: Tensor | None
    pair_weights: Tensor | None  # (w, i)
    alpha: float
    edges: int
    per_hop: bool
    norm: int  # a Norm

    @property
    def walks(self) -> DrivenWalks:
        """The walks whose sizes make the penalty."""
        return DrivenWalks(*self[:6], None if self.per_hop else self.hop_weights, *self[8:11])


def _shapes(walks: DrivenWalks, keep: bool) -> tuple[Tensor, Tensor]:
    hops, networks, parts, _ = walks.gains.shape
    width, units = walks.entering.shape[-2:]
    found = walks.gains.new_empty(hops if walks.per_hop else 1, networks, width, walks.weight_ih.shape[1])
    return found, walks.gains.new_empty((hops, parts, networks, width, units) if keep else (0,))


def _gradient_shapes(walks: DrivenWalks, of_gains: bool) -> tuple[Tensor, ...]:
    return tuple(
        walks.gains.new_empty((0,) if each is None or (at >= 3 and not of_gains) else each.shape)
        for at, each in enumerate(walks.tensors)
    )


@torch.library.register_fake("rrnn_ext::driven_walks")
def _walks_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
    *of_walks, keep = arguments
    return _shapes(DrivenWalks(*of_walks), keep)


@torch.library.register_fake("rrnn_ext::driven_walks_backward")
def _walks_backward_fake(grad_walks: Tensor, chain: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    *of_walks, of_gains = arguments
    return _gradient_shapes(DrivenWalks(*of_walks), of_gains)


@torch.library.register_fake("rrnn_ext::driven_walks_penalty")
def _penalty_fake(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    *of_penalty, keep = arguments
    walks = DrivenPenalty(*of_penalty).walks
    return walks.gains.new_empty(()), *_shapes(walks, keep)


@torch.library.register_fake("rrnn_ext::driven_walks_penalty_backward")
def _penalty_backward_fake(grad_value: Tensor, walks: Tensor, chain: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    *of_penalty, of_gains = arguments
    return _gradient_shapes(DrivenPenalty(*of_penalty).walks, of_gains)


@derivatives_of(_walks)
class _Walks(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *of_walks, _ = inputs
        ctx.options = of_walks[7:]
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*of_walks[:7], output[1])
        ctx.save_for_forward(*of_walks[:7], output[1])

    @staticmethod
    def backward(ctx: Any, grad_walks: Tensor | None, _: Any) -> Any:
        if grad_walks is None:
            return (None,) * 11
        *tensors, chain = ctx.saved_tensors
        walks = DrivenWalks(*tensors, *ctx.options)
        if torch.is_grad_enabled() or is_batched(grad_walks):  # derivatives of this, or many of these at once
            return *_present(gradients_by_hops(walks, grad_walks), walks, of_gains=True), *(None,) * 5
        of_gains = any(ctx.needs_input_grad[3:6])
        gradients = _walks_backward(grad_walks, chain, *walks, of_gains)
        return *_present(gradients, walks, of_gains), *(None,) * 5

    @staticmethod
    def tangent(ctx: Any, saved: Any, *tangents: Any) -> Any:
        return moved_by_hops(DrivenWalks(*saved[:-1], *ctx.options), tangents[:6]), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return one_by_one(_walks, info, in_dims, args)


def _present(gradients: Sequence[Tensor | None], walks: DrivenWalks, of_gains: bool) -> tuple[Tensor | None, ...]:
    """None for what was not given, and for gains that have no gradient."""
    return tuple(
        None if given is None or (at >= 3 and not of_gains) else gradient
        for at, (gradient, given) in enumerate(zip(gradients, walks.tensors, strict=True))
    )


@derivatives_of(_penalty)
class _Penalty(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *of_penalty, _ = inputs
        _, walks, chain = output
        ctx.options = of_penalty[8:]
        ctx.mark_non_differentiable(walks, chain)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*of_penalty[:8], walks, chain)
        ctx.save_for_forward(*of_penalty[:8], walks, chain)

    @staticmethod
    def backward(ctx: Any, grad_value: Tensor | None, *_: Any) -> Any:
        if grad_value is None:
            return (None,) * 13
        *tensors, walks, chain = ctx.saved_tensors
        penalty = DrivenPenalty(*tensors, *ctx.options)
        return *_penalty_gradients(penalty, grad_value, walks, chain, any(ctx.needs_input_grad[3:6])), *(None,) * 7

    @staticmethod
    def tangent(ctx: Any, saved: Any, *tangents: Any) -> Any:
        penalty = DrivenPenalty(*saved[:-2], *ctx.options)
        moved = moved_by_hops(penalty.walks, tangents[:6])
        factors = _factors(penalty)
        moved = moved if factors is None else of_weight(moved, factors)
        slope = _slope(penalty, walks_by_hops(penalty.walks))
        return (slope * moved).sum() / penalty.gains.shape[1], None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return one_by_one(_penalty, info, in_dims, args)


def _factors(penalty: DrivenPenalty) -> Tensor | None:
    """Of the size of each of the walks (terms, k, w, i)."""
    factors = penalty.pair_weights
    if penalty.per_hop and penalty.hop_weights is not None:
        terms = penalty.hop_weights.view(-1, 1, 1, 1)
        factors = terms if factors is None else terms * factors
    return factors


def _slope(penalty: DrivenPenalty, walks: Tensor) -> Tensor:
    """The derivative of the sum of the networks' penalties by each of their walks, differentiable."""
    factors = _factors(penalty)
    if factors is None:
        return walk_size_derivative(walks, penalty.norm)
    return factors * walk_size_derivative(of_weight(walks, factors), penalty.norm)


def _penalty_gradients(
    penalty: DrivenPenalty, grad_value: Tensor, walks: Tensor, chain: Tensor, of_gains: bool
) -> tuple[Tensor | None, ...]:
    own = penalty.walks
    if torch.is_grad_enabled():  # a derivative of this gradient may be wanted
        slope = grad_value / own.gains.shape[1] * _slope(penalty, walks_by_hops(own))
        return _present(gradients_by_hops(own, slope), own, of_gains=True)
    if is_batched(grad_value):  # many upstream gradients at once: is_grads_batched
        gradients = _penalty_backward(own.gains.new_ones(()), walks, chain, *penalty, of_gains)
        gradients = [grad_value.reshape((1,) * each.dim()) * each for each in gradients]
    else:
        gradients = _penalty_backward(grad_value, walks, chain, *penalty, of_gains)
    return _present(gradients, own, of_gains)


def _wants_gradients(tensors: Sequence[Tensor | None]) -> bool:
    if not torch.is_grad_enabled():
        return False
    return any(each is not None and each.requires_grad for each in tensors)


def walk_sums(walks: DrivenWalks) -> Tensor:
    """The walks (terms, k, w, i): each P_m where ``per_hop``, else their weighted sum."""
    found: Tensor = _walks(*walks, transforming(walks.weight_hh) or _wants_gradients(walks.tensors))[0]
    return found


def walk_penalty(penalty: DrivenPenalty) -> Tensor:
    """The mean over the networks of their penalties, ()."""
    keep = transforming(penalty.weight_hh) or _wants_gradients(penalty.walks.tensors)
    value: Tensor = _penalty(*penalty, keep)[0]
    return value

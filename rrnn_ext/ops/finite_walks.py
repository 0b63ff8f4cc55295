"""Derivatives and vmap of finite walks: the sums of walks and their penalty, from ops to differentiable functions.

Derivatives of derivatives need no formula of their own. With A = alpha phi(W), B = alpha phi(U), C = alpha phi(V), the
derivative of C A^m B in a direction (dA, dB, dC) is a walk of the same length through a graph of twice the units,

    [C, dC] [[A, dA], [0, A]]^m [[dB], [B]],

and so the native kernels make tangents, second derivatives and all further ones (Mathias 1996, "A chain rule for matrix
functions and applications", for the block matrix).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from rrnn_ext._modes import is_batched
from rrnn_ext._options import cannot_cancel
from rrnn_ext.ops import native
from rrnn_ext.ops._matrices import block_triangular, identity, phi, sums_of_sides, walk_size_derivative
from rrnn_ext.ops._registration import Differentiable, derivatives_of, fold_batch

Tangents: TypeAlias = tuple[Tensor | None, Tensor | None, Tensor | None]  # of the weights; None: it does not move

_walk_sums = native.finite_walks.default
_walk_sums_backward = native.finite_walks_backward.default
_walk_penalty = native.finite_walks_penalty.default
_walk_penalty_backward = native.finite_walks_penalty_backward.default
_CPU, _CUDA = (torch._C.DispatchKeySet(key) for key in (torch._C.DispatchKey.CPU, torch._C.DispatchKey.CUDA))


class WalkArguments(NamedTuple):
    """What the ops of sums take, in the order of their schemas. A side must be given; (hops,) or (b, hops) factors."""

    weight_hh: Tensor
    weight_in: Tensor | None
    weight_out: Tensor | None
    hop_weights: Tensor | None
    alpha: float
    hops: int
    rectify: bool
    per_hop: bool


class PenaltyArguments(NamedTuple):
    """What the ops of penalties take, likewise."""

    weight_hh: Tensor
    weight_in: Tensor | None
    weight_out: Tensor | None
    hop_weights: Tensor | None
    pair_weights: Tensor | None
    alpha: float
    hops: int
    rectify: bool
    per_hop: bool
    norm: int  # a Norm


def _present(gradients: Sequence[Tensor], weights: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    return tuple(None if weight is None else gradient for gradient, weight in zip(gradients, weights, strict=True))


class _Doubled:
    """The graph of twice the units whose walks are the derivative of those of ``walks`` in the direction ``tangents``,
    and the way back from its gradients."""

    def __init__(self, walks: WalkArguments, tangents: Tangents) -> None:
        weights, alpha, rectify = walks[:3], walks.alpha, walks.rectify
        self.units = walks.weight_hh.shape[-1]
        self.slopes: list[Any] = [alpha * (1 if weight is None or not rectify else weight.sign()) for weight in weights]
        self.given = [weight is not None for weight in weights]
        edges = [None if weight is None else alpha * phi(weight, rectify) for weight in weights]
        moved = [
            None if weight is None else torch.zeros_like(weight) if tangent is None else slope * tangent
            for weight, tangent, slope in zip(weights, tangents, self.slopes, strict=True)
        ]
        a, d_a = edges[0], moved[0]
        assert a is not None
        assert d_a is not None
        eye = identity(a)
        b, d_b = (eye, torch.zeros_like(a)) if weights[1] is None else (edges[1], moved[1])
        c, d_c = (eye, torch.zeros_like(a)) if weights[2] is None else (edges[2], moved[2])
        assert b is not None and d_b is not None and c is not None and d_c is not None  # noqa: PT018
        self.walks = WalkArguments(
            weight_hh=block_triangular(a, d_a),
            weight_in=torch.cat([d_b, b], -2),
            weight_out=torch.cat([c, d_c], -1),
            hop_weights=walks.hop_weights,
            alpha=1.0,
            hops=walks.hops,
            rectify=False,
            per_hop=walks.per_hop,
        )

    def gradients(self, of_graph: Sequence[Tensor]) -> list[Tensor | None]:
        """Of the weights, from those of the doubled graph: each weight stands where its tangent does not."""
        n = self.units
        grad_a, grad_b, grad_c = of_graph
        own = grad_a[..., :n, :n] + grad_a[..., n:, n:], grad_b[..., n:, :], grad_c[..., :n]
        return [
            slope * each if given else None for slope, each, given in zip(self.slopes, own, self.given, strict=True)
        ]


class Chain(enum.IntEnum):
    """What a forward op keeps for the gradient: vectors carried through W hop by hop, (hops, vectors, n).

    Those of the narrower side, or of both sides, the inputs' first, from which the gradient needs no further pass
    through W. Native ops know it by its number, as in csrc/common/walk_arguments.h, and do as they are told.
    """

    none = 0
    narrow = 1
    both = 2


def _chain_kind(
    weight_hh: Tensor, weight_in: Tensor | None, weight_out: Tensor | None, hop_weights: Tensor | None, per_hop: bool
) -> Chain:
    """The chain from which the gradient is made the fastest."""
    if weight_in is None or weight_out is None or hop_weights is not None or per_hop:
        return Chain.narrow
    inputs, outputs = weight_in.shape[-1], weight_out.shape[-2]
    if weight_hh.is_cuda:  # both in one pass, where the wider side is little wider
        few = 0 < inputs <= 64 and 0 < outputs <= 64
        return Chain.both if few and -16 <= inputs - outputs <= 16 else Chain.narrow
    return Chain.both if inputs == 1 and outputs == 1 else Chain.narrow


def _chain_of(walks: WalkArguments) -> Chain:
    return _chain_kind(*walks[:4], walks.per_hop)


@torch.library.register_fake("rrnn_ext::finite_walks")
def _walk_sums_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
    *of_walks, kind = arguments
    walks = WalkArguments(*of_walks)
    weight_hh, weight_in, weight_out, *_ = walks
    n, batch = weight_hh.shape[-1], weight_hh.shape[:-2]
    inputs = n if weight_in is None else weight_in.shape[-1]
    outputs = n if weight_out is None else weight_out.shape[-2]
    narrow = outputs if weight_in is None else inputs if weight_out is None else torch.sym_min(inputs, outputs)
    vectors = {Chain.none: 0, Chain.narrow: narrow, Chain.both: inputs + outputs}[kind]
    chain = weight_hh.new_empty(*batch, walks.hops, vectors, n)
    return weight_hh.new_empty(*batch, walks.hops if walks.per_hop else 1, outputs, inputs), chain


@torch.library.register_fake("rrnn_ext::finite_walks_backward")
def _walk_sums_backward_fake(
    grad_walks: Tensor, chain: Tensor, weight_hh: Tensor, *sides_and_options: Any
) -> tuple[Tensor, ...]:
    def gradient(weight: Tensor | None) -> Tensor:
        return weight_hh.new_empty(*weight_hh.shape[:-2], *((0, 0) if weight is None else weight.shape[-2:]))

    return tuple(map(gradient, (weight_hh, *sides_and_options[:2])))


@torch.library.register_fake("rrnn_ext::finite_walks_penalty")
def _walk_penalty_fake(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    *of_penalty, kind = arguments
    walks, chain = _walk_sums_fake(*_sums_of(PenaltyArguments(*of_penalty)), kind)
    return chain.new_empty(chain.shape[:-3]), walks, chain


@torch.library.register_fake("rrnn_ext::finite_walks_penalty_backward")
def _walk_penalty_backward_fake(
    grad_value: Tensor, walks: Tensor, chain: Tensor, *graph_and_options: Any
) -> tuple[Tensor, ...]:
    return _walk_sums_backward_fake(walks, chain, *graph_and_options)


@derivatives_of(_walk_sums)
class _Walks(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        weight_hh, weight_in, weight_out, hop_weights, *ctx.options, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(weight_hh, weight_in, weight_out, hop_weights, output[1])
        ctx.save_for_forward(weight_hh, weight_in, weight_out, hop_weights, output[1])

    @staticmethod
    def backward(ctx: Any, grad_walks: Tensor, _: Tensor) -> Any:
        *tensors, chain = ctx.saved_tensors
        walks = WalkArguments(*tensors, *ctx.options)
        gradients = _walk_sums_backward(grad_walks, chain, *walks)
        return *_present(gradients, walks[:3]), None, None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_hh: Tensor | None, d_in: Tensor | None, d_out: Tensor | None, *_: Any) -> Any:
        doubled = _Doubled(WalkArguments(*saved[:-1], *ctx.options), (d_hh, d_in, d_out))
        return _walk_sums(*doubled.walks, _chain_of(doubled.walks))[0], None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        graph, unfold = fold_batch(info.batch_size, in_dims[:4], args[:4], (2, 2, 2, 1))
        walks, chain = _walk_sums(*graph, *args[4:])
        return (unfold(walks), unfold(chain)), (0, 0)


@derivatives_of(_walk_sums_backward)
class _WalksBackward(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        tensors, ctx.options = inputs[:6], inputs[6:]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def second(ctx: Any, saved: Sequence[Any], tangents: Tangents) -> tuple[Tensor, list[Tensor | None]]:
        """The derivative of the walks in the direction ``tangents``, and the gradients of its product with
        grad_walks."""
        grad_walks, _, *tensors = saved
        doubled = _Doubled(WalkArguments(*tensors, *ctx.options), tangents)
        walks, chain = _walk_sums(*doubled.walks, _chain_of(doubled.walks))
        return walks, doubled.gradients(_walk_sums_backward(grad_walks, chain, *doubled.walks))

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor) -> Any:
        """What the gradients are multiplied with is a direction for the weights: <T, grad <G, P>> = <G, dP[T]>."""
        moved, gradients = _WalksBackward.second(ctx, ctx.saved_tensors, (tangents[0], tangents[1], tangents[2]))
        return moved, None, *gradients, None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_grad: Tensor | None, _: Any, *rest: Any) -> Any:
        d_hh, d_in, d_out, *_ = rest
        _, *inputs = saved
        _, gradients = _WalksBackward.second(ctx, saved, (d_hh, d_in, d_out))
        left_out = inputs[1].new_zeros((*inputs[1].shape[:-2], 0, 0))
        moved = tuple(left_out if gradient is None else gradient for gradient in gradients)
        if d_grad is None:
            return moved
        of_grad = _walk_sums_backward(d_grad, *inputs, *ctx.options)
        return tuple(a + b for a, b in zip(moved, of_grad, strict=True))

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        graph, unfold = fold_batch(info.batch_size, in_dims[:6], args[:6], (3, 3, 2, 2, 2, 1))
        return tuple(map(unfold, _walk_sums_backward(*graph, *args[6:]))), (0, 0, 0)


def walk_sums(walks: WalkArguments) -> Tensor:
    """The walks (..., terms, o, i): each P_m where ``per_hop``, else their weighted sum."""
    return _walk_sums(*walks, _chain_of(walks))[0]


@derivatives_of(_walk_penalty)
class _WalkPenalty(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        weight_hh, weight_in, weight_out, hop_weights, pair_weights, *ctx.options, _ = inputs
        _, walks, chain = output
        ctx.mark_non_differentiable(walks, chain)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight_hh, weight_in, weight_out, hop_weights, pair_weights, walks, chain)
        ctx.save_for_forward(weight_hh, weight_in, weight_out, hop_weights, pair_weights, walks, chain)

    @staticmethod
    def backward(ctx: Any, grad_value: Tensor | None, *_: Any) -> Any:
        return *_penalty_gradients(ctx, grad_value), None, None, None, None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_hh: Tensor | None, d_in: Tensor | None, d_out: Tensor | None, *_: Any) -> Any:
        penalty = PenaltyArguments(*saved[:-2], *ctx.options)
        sums = _sums_of(penalty)
        moved = walk_sums(_Doubled(sums, (d_hh, d_in, d_out)).walks)
        return (_slope(penalty, walk_sums(sums)) * _counted(penalty, moved)).sum((-3, -2, -1)), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        graph, unfold = fold_batch(info.batch_size, in_dims[:5], args[:5], (2, 2, 2, 1, 2))
        return tuple(map(unfold, _walk_penalty(*graph, *args[5:]))), (0, 0, 0)


def _sums_of(penalty: PenaltyArguments) -> WalkArguments:
    """The walks whose sizes make the penalty."""
    return WalkArguments(
        weight_hh=penalty.weight_hh,
        weight_in=penalty.weight_in,
        weight_out=penalty.weight_out,
        hop_weights=None if penalty.per_hop else penalty.hop_weights,
        alpha=penalty.alpha,
        hops=penalty.hops,
        rectify=penalty.rectify,
        per_hop=penalty.per_hop,
    )


def _counted(penalty: PenaltyArguments, walks: Tensor) -> Tensor:
    """The walks that have a weight: what has none takes no part, even where it overflows."""
    if penalty.pair_weights is not None:
        walks = torch.where(penalty.pair_weights.unsqueeze(-3) == 0, 0, walks)
    if penalty.per_hop and penalty.hop_weights is not None:
        walks = torch.where(penalty.hop_weights.unsqueeze(-1).unsqueeze(-1) == 0, 0, walks)
    return walks


def _slope(penalty: PenaltyArguments, walks: Tensor) -> Tensor:
    """The derivative of the penalty by each of the walks (..., terms, o, i), differentiable."""
    slope = walk_size_derivative(_counted(penalty, walks), penalty.norm)
    if penalty.pair_weights is not None:
        slope = penalty.pair_weights.unsqueeze(-3) * slope
    if penalty.per_hop and penalty.hop_weights is not None:
        slope = penalty.hop_weights.unsqueeze(-1).unsqueeze(-1) * slope
    return slope


def _penalty_gradients(ctx: Any, grad_value: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad_value is None:
        return None, None, None
    *arguments, walks, chain = ctx.saved_tensors
    penalty = PenaltyArguments(*arguments, *ctx.options)
    if torch.is_grad_enabled():  # a derivative of this gradient may be wanted
        return differentiable_penalty_gradients(penalty, grad_value)
    if is_batched(grad_value):  # many upstream gradients at once: is_grads_batched
        ones, scale = penalty.weight_hh.new_ones(walks.shape[:-3]), grad_value.unsqueeze(-1).unsqueeze(-1)
        one_by_one = _walk_penalty_backward(ones, walks, chain, *penalty)
        return _present([scale * gradient for gradient in one_by_one], penalty[:3])
    return _present(_walk_penalty_backward(grad_value, walks, chain, *penalty), penalty[:3])


def differentiable_penalty_gradients(penalty: PenaltyArguments, grad_value: Tensor) -> tuple[Tensor | None, ...]:
    """Of weight_hh, weight_in and weight_out, made of ops that have derivatives."""
    sums = _sums_of(penalty)
    walks, chain = _walk_sums(*sums, _chain_of(sums))
    scale = grad_value.unsqueeze(-1).unsqueeze(-1).unsqueeze(-1)
    return _present(_walk_sums_backward(scale * _slope(penalty, walks), chain, *sums), penalty[:3])


def _as_one_pathway(penalty: PenaltyArguments) -> PenaltyArguments:
    """Where walks cannot cancel, the same of the graph with all inputs as one and all outputs as one: one strength is
    carried from hop to hop for each unit. The op that makes value and gradient sees to it itself."""
    if not cannot_cancel(penalty, penalty.norm):
        return penalty
    sources, targets = sums_of_sides(*penalty[:3], penalty.alpha)
    per_hop = penalty.hop_weights is not None  # without weights nothing tells hops from one another
    return penalty._replace(weight_in=sources, weight_out=targets, per_hop=per_hop)


def penalty_by_rules(penalty: PenaltyArguments) -> Tensor:
    """The penalty of each graph, (...), by the op whose rules all that may look at it find."""
    penalty = _as_one_pathway(penalty)
    value: Tensor = _walk_penalty(*penalty, _chain_of(_sums_of(penalty)))[0]
    return value


def penalty_alone(penalty: PenaltyArguments) -> Tensor:
    """The penalty of each graph for which nobody wants a derivative, by its kernel."""
    penalty = _as_one_pathway(penalty)
    value: Tensor = _walk_penalty.redispatch(below_autograd(penalty), *penalty, Chain.none)[0]
    return value


def below_autograd(penalty: PenaltyArguments) -> Any:
    """The dispatch keys of the kernels alone, and of PyTorch's own steps before them where the memory of a tensor does
    not hold its values: a view with the other sign, zeros that are not stored."""
    keys = _CUDA if penalty.weight_hh.is_cuda else _CPU
    for tensor in penalty[:5]:
        if tensor is None:
            continue
        if tensor.is_neg():
            keys = keys.add(torch._C.DispatchKey.Negative)
        if tensor._is_zerotensor():
            keys = keys.add(torch._C.DispatchKey.ZeroTensor)
    return keys

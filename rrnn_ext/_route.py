"""Which op serves which call: one table for R, one for the penalty. The first row that fits counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from rrnn_ext._call import Call, is_between_all
from rrnn_ext._modes import transforming
from rrnn_ext._options import Norm, PenaltyOptions, cannot_cancel
from rrnn_ext.ops._matrices import identity, pair_norm, phi, sums_of_sides
from rrnn_ext.ops.all_pairs import all_pairs_penalty
from rrnn_ext.ops.finite_pairs import finite_pairs
from rrnn_ext.ops.finite_walks import PenaltyArguments, WalkArguments, walk_sums
from rrnn_ext.ops.infinite_pathways import infinite_transfer
from rrnn_ext.ops.infinite_walks import infinite_sum
from rrnn_ext.ops.pathway import pathway_penalty
from rrnn_ext.ops.penalty_value_and_grad import walk_penalty
from rrnn_ext.ops.product import product
from rrnn_ext.ops.truncated_inverse import truncated_inverse

Weights: TypeAlias = tuple[Any, Any, Any]  # weight_hh, weight_in and weight_out as a public function takes them
Rows: TypeAlias = Sequence[tuple[Callable[[Call], bool], Callable[[Call], Tensor]]]

_PLAIN = (Tensor, nn.Parameter)
_NORMS = {norm.name: int(norm) for norm in Norm}


def total(call: Call) -> Tensor:
    """R of each graph, (..., o, i)."""
    return next(make for fits, make in _TOTALS if fits(call))(call)


def penalty(call: Call) -> Tensor:
    """The penalty of each graph, (...)."""
    rows = _PENALTIES
    if cannot_cancel(call, call.norm) and not _is_finite_by_hops(call):  # whose op sees to it itself
        call, rows = _single_pathway(call), _PATHWAYS
    return next(make for fits, make in rows if fits(call))(call)


def hop_by_hop(call: Call) -> Tensor:
    """P_m of each graph, (..., hops, o, i)."""
    return walk_sums(_walk_arguments(call))


def _finite_total(call: Call) -> Tensor:
    return walk_sums(_walk_arguments(call)).squeeze(-3)


def _finite_pairs(call: Call) -> Tensor:
    """A + .. + A^hops."""
    return finite_pairs(call.alpha * phi(call.weight_hh, call.rectify), call.hops)


def _by_inverse(call: Call) -> Tensor:
    """c phi(V) (I - A)^{-1} (I - A^hops) phi(U); between all pairs A (I - A)^{-1} (I - A^hops)."""
    weight_hh, weight_in, weight_out = _with_a_side(call)
    alpha, rectify = call.alpha, call.rectify
    a = alpha * phi(weight_hh, rectify)
    start = identity(a) if weight_in is None else alpha * phi(weight_in, rectify)
    walks = truncated_inverse(a, start, call.hops)
    return walks if weight_out is None else product(alpha * phi(weight_out, rectify), walks)


def are_plain(weights: Weights) -> bool:
    """Whether nothing looks at them, and they are dense tensors of no class of their own."""
    if transforming(weights[0]):
        return False
    return all(weight is None or (type(weight) in _PLAIN and weight.layout == torch.strided) for weight in weights)


def as_given(weights: Weights, options: PenaltyOptions) -> PenaltyArguments | None:
    """The arguments of the op where it takes the weights of one graph as they are given: it checks that they fit one
    another itself, and to look at each of them once more would take as long as it does."""
    weight_hh, weight_in, weight_out = weights
    alpha, hops, rectify, per_hop, norm_name, hop_weights, pair_weights, method, reduction = options
    norm = _NORMS.get(norm_name) if type(norm_name) is str else None
    is_plain = (
        type(alpha) is float
        and 0 < alpha < math.inf
        and type(hops) is int
        and hops > 0
        and type(rectify) is bool
        and type(per_hop) is bool
        and norm is not None
        and hop_weights is None
        and pair_weights is None
        and method in ("auto", "series")
        and reduction in ("sum", "mean", "none")
        and weight_hh.dim() == 2
        and (weight_in is not None or weight_out is not None)
    )
    if not is_plain or norm is None:
        return None
    return PenaltyArguments(weight_hh, weight_in, weight_out, None, None, alpha, hops, rectify, per_hop, norm)


def is_one_op(call: Call) -> bool:
    """Whether the penalty, and its gradient by the weights as they were given, is that of one op of finite walks."""
    if isinstance(call.given_alpha, Tensor) or is_between_all(call):
        return False
    return _is_finite_by_hops(call)


def penalty_arguments(call: Call) -> PenaltyArguments:
    assert call.hops is not None
    weights, factors = _with_a_side(call), (call.hop_weights, call.pair_weights)
    return PenaltyArguments(*weights, *factors, call.alpha, call.hops, call.rectify, call.per_hop, call.norm)


def _finite_penalty(call: Call) -> Tensor:
    return walk_penalty(penalty_arguments(call))


def _norm_of_total(call: Call) -> Tensor:
    return pair_norm(total(call), call.pair_weights, call.norm)


def _walk_arguments(call: Call) -> WalkArguments:
    assert call.hops is not None
    return WalkArguments(
        *_with_a_side(call),
        hop_weights=call.hop_weights,
        alpha=call.alpha,
        hops=call.hops,
        rectify=call.rectify,
        per_hop=call.per_hop,
    )


def _with_a_side(call: Call) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The weights, with a side at least. Between all pairs, A^{m+1} = (alpha W) A^m: the first edge is the read-out."""
    weight_hh, weight_in, weight_out = call[:3]
    if weight_in is None and weight_out is None:
        weight_out = weight_hh.view_as(weight_hh)  # torch.compile wants each argument to be a tensor of its own
    return weight_hh, weight_in, weight_out


def _single_pathway(call: Call) -> Call:
    """The graph with all inputs as one and all outputs as one."""
    sources, targets = sums_of_sides(*_with_a_side(call), call.alpha)
    return call._replace(weight_in=sources, weight_out=targets, per_hop=False)


def _is_plain(call: Call) -> bool:
    """Whether it is between all pairs, and nothing tells one hop from another."""
    return is_between_all(call) and call.hop_weights is None and not call.per_hop


def _has_infinite_op(call: Call) -> bool:
    return call.hops is None and call.method == "auto"


def _is_infinite_transfer(call: Call) -> bool:
    """From inputs to outputs, both of them given, by factorisation."""
    both_given = call.weight_in is not None and call.weight_out is not None
    return call.hops is None and call.method != "series" and both_given


def _is_finite_by_hops(call: Call) -> bool:
    return call.hops is not None and call.method != "inverse" and not _is_plain(call)


def _otherwise(call: Call) -> bool:
    return True


_TOTALS: Rows = (
    (_is_infinite_transfer, infinite_transfer),
    (lambda call: call.hops is None, infinite_sum),
    (lambda call: call.method == "inverse", _by_inverse),
    (_is_plain, _finite_pairs),
    (_otherwise, _finite_total),
)
_PENALTIES: Rows = (
    (_is_finite_by_hops, _finite_penalty),
    (lambda call: is_between_all(call) and _has_infinite_op(call), all_pairs_penalty),
    (_otherwise, _norm_of_total),
)
_PATHWAYS: Rows = (  # where no walks can cancel
    (_has_infinite_op, pathway_penalty),
    (_is_finite_by_hops, _finite_penalty),
    (_otherwise, _norm_of_total),
)

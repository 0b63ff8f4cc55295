"""Who answers a public function: the ops of dense weights or those of sparse ones, or all ranks together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rrnn_ext import _route
from rrnn_ext._accumulate import by_autograd, check_leaves, check_strength, directly
from rrnn_ext._call import Call, prepare, reduced, unflatten
from rrnn_ext._modes import without_autocast
from rrnn_ext._options import PenaltyOptions, check_finite_hops
from rrnn_ext._route import Weights
from rrnn_ext.ops.penalty_value_and_grad import walk_penalty
from rrnn_ext.sharded import is_sharded, over_ranks
from rrnn_ext.sparse import route as sparse_route
from rrnn_ext.sparse.call import SparseCall, is_sparse, prepare_sparse


def penalty(weights: Weights, options: PenaltyOptions) -> Tensor:
    """:func:`rrnn_ext.resolvent_penalty`."""
    weight_hh = weights[0]
    if is_sparse(weight_hh):
        sparse = prepare_sparse(*weights, options)
        with without_autocast(sparse.values.device.type):
            return sparse_route.penalty(sparse).to(sparse.dtype)
    as_given = _route.as_given(weights, options) if _route.are_plain(weights) else None
    if as_given is not None:
        try:
            return walk_penalty(as_given)
        except RuntimeError:  # they do not fit one another: what follows says so in the user's words
            pass
    if is_sharded(*weights, options.alpha):
        return over_ranks(penalty, weights, options)
    call = prepare(*weights, options)
    with without_autocast(weight_hh.device.type):
        value = _route.penalty(call)
    return reduced(value, call, options.reduction)


def accumulate_grad(weights: Weights, options: PenaltyOptions, strength: float) -> Tensor:
    """:func:`rrnn_ext.accumulate_penalty_grad`."""
    if torch.compiler.is_compiling():  # a graph has no .grad: it breaks here, or with fullgraph=True is refused
        return torch.compiler.disable(accumulate_grad)(weights, options, strength)
    strength = check_strength(strength)
    weight_hh, weight_in, weight_out = weights
    check_leaves({"weight_hh": weight_hh, "weight_in": weight_in, "weight_out": weight_out, "alpha": options.alpha})
    value = directly(weights, strength, options)
    return by_autograd(lambda: penalty(weights, options), strength) if value is None else value


def total(weights: Weights, options: PenaltyOptions) -> Tensor:
    """:func:`rrnn_ext.resolvent`, with those of the options that it has."""
    alpha, hops, rectify = options.alpha, options.hops, options.rectify
    options = PenaltyOptions(alpha, hops, rectify, hop_weights=options.hop_weights, method=options.method)
    return _walks(total, weights, options, sparse_route.total, _route.total, 2)


def hop_by_hop(weights: Weights, options: PenaltyOptions) -> Tensor:
    """:func:`rrnn_ext.hop_decomposition`, likewise."""
    options = PenaltyOptions(options.alpha, check_finite_hops(options.hops), options.rectify, per_hop=True)
    return _walks(hop_by_hop, weights, options, sparse_route.hop_by_hop, _route.hop_by_hop, 3)


def _walks(
    function: Callable[[Weights, PenaltyOptions], Tensor],
    weights: Weights,
    options: PenaltyOptions,
    of_sparse: Callable[[SparseCall], Tensor],
    of_dense: Callable[[Call], Tensor],
    dims: int,
) -> Tensor:
    """What the function is of: matrices of walks, whose last `dims` dimensions are not the batch's."""
    if is_sparse(weights[0]):
        sparse = prepare_sparse(*weights, options)
        with without_autocast(sparse.values.device.type):
            return of_sparse(sparse).to(sparse.dtype)
    if is_sharded(*weights, options.alpha):
        return over_ranks(function, weights, options)
    call = prepare(*weights, options)
    with without_autocast(weights[0].device.type):
        return unflatten(of_dense(call), call, dims)

"""Which op serves which call of a sparse recurrent weight."""

from __future__ import annotations

from torch import Tensor

from rrnn_ext._options import Norm, cannot_cancel
from rrnn_ext.ops.sparse_walks import SparsePenalty, SparseWalks, sparse_walk_penalty, sparse_walk_sums
from rrnn_ext.sparse import infinite
from rrnn_ext.sparse.call import SparseCall


def total(call: SparseCall) -> Tensor:
    """R, (o, i)."""
    if call.hops is None:
        return _of_edges(call, infinite.total(call))
    return _of_edges(call, sparse_walk_sums(_walks(call)).squeeze(0))


def hop_by_hop(call: SparseCall) -> Tensor:
    """P_m, (hops, o, i)."""
    return _of_edges(call, sparse_walk_sums(_walks(call)))


def penalty(call: SparseCall) -> Tensor:
    """The penalty, ()."""
    if cannot_cancel(call, call.norm):
        call = _single_pathway(call)
        if call.hop_weights is not None:  # unlike strengths of walks, these may be negative
            return total(call).squeeze()
    if call.hops is None:
        value = infinite.penalty(call)
    else:
        walks = _walks(call)
        value = sparse_walk_penalty(
            SparsePenalty(*walks[:8], call.hop_weights, call.pair_weights, *walks[9:], norm=call.norm)
        )
    value = _of_edges(call, value)
    return _of_edges(call, value) if call.norm is Norm.l2 else value


def _walks(call: SparseCall) -> SparseWalks:
    assert call.hops is not None
    return SparseWalks(
        call.values,
        *call.pattern.indices,
        weight_in=call.weight_in,
        weight_out=call.weight_out,
        hop_weights=call.hop_weights,
        alpha=call.alpha,
        hops=call.hops,
        rectify=call.rectify,
        per_hop=call.per_hop,
    )


def _of_edges(call: SparseCall, value: Tensor) -> Tensor:
    return value if call.edge is None else call.edge * value


def _single_pathway(call: SparseCall) -> SparseCall:
    """The graph with all inputs as one and all outputs as one."""
    sources, targets = _as_one(call, call.weight_in, -1), _as_one(call, call.weight_out, 0)
    return call._replace(weight_in=sources.unsqueeze(-1), weight_out=targets.unsqueeze(0), per_hop=False)


def _as_one(call: SparseCall, side: Tensor | None, vectors: int) -> Tensor:
    """(n,) the strength with which a side reaches each unit. One that is left out has no edge of its own."""
    if side is None:
        return call.values.new_full((call.pattern.units,), 1 / call.alpha)
    if side.is_floating_point():
        return side.abs().sum(vectors)
    ones = call.values.new_ones(side.shape)
    return call.values.new_zeros(call.pattern.units).index_add(0, side, ones)

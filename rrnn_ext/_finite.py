"""Sums of finitely many hops, beyond what the ops do by themselves."""

from __future__ import annotations

from torch import Tensor

from rrnn_ext._arguments import Graph
from rrnn_ext.ops import finite_walks
from rrnn_ext.ops._matrices import identity, phi
from rrnn_ext.ops.finite_pairs import all_pairs_sum
from rrnn_ext.ops.product import product
from rrnn_ext.ops.truncated_inverse import truncated_inverse


def with_a_side(graph: Graph) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None, float]:
    """The arguments of the walk ops. Between all pairs, A^{m+1} = (alpha W) A^m: the first edge is the read-out."""
    weight_hh, weight_in, weight_out, hop_weights, pair_weights, alpha, *_ = graph
    if weight_in is None and weight_out is None:
        weight_out = weight_hh.view_as(weight_hh)  # torch.compile wants each argument to be a tensor of its own
    return weight_hh, weight_in, weight_out, hop_weights, pair_weights, alpha


def walk_sums(graph: Graph, hops: int, rectify: bool, per_hop: bool) -> Tensor:
    """(..., terms, o, i)."""
    weight_hh, weight_in, weight_out, hop_weights, _, alpha = with_a_side(graph)
    return finite_walks.walk_sums(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop)


def single_pathway(graph: Graph) -> Graph:
    """The graph with all inputs as one and all outputs as one: its rectified walk sum is that of all pairs."""
    weight_hh, weight_in, weight_out, alpha = graph.weight_hh, graph.weight_in, graph.weight_out, graph.alpha
    n = weight_hh.shape[-1]
    one_edge = weight_hh.new_full((*weight_hh.shape[:-2], n, 1), 1 / alpha)  # a side left out has no edge of its own
    sources = one_edge if weight_in is None else weight_in.abs().sum(-1, keepdim=True)
    if weight_out is not None:
        targets = weight_out.abs().sum(-2, keepdim=True)
    elif weight_in is None:
        targets = weight_hh.abs().sum(-2, keepdim=True)
    else:
        targets = one_edge.mT
    return graph._replace(weight_in=sources, weight_out=targets)


def all_pairs(graph: Graph, hops: int, rectify: bool) -> Tensor:
    """A + .. + A^hops."""
    return all_pairs_sum(graph.alpha * phi(graph.weight_hh, rectify), hops)


def by_inverse(graph: Graph, hops: int, rectify: bool) -> Tensor:
    """c phi(V) (I - A)^{-1} (I - A^hops) phi(U); between all pairs A (I - A)^{-1} (I - A^hops)."""
    weight_hh, weight_in, weight_out, _, _, alpha = with_a_side(graph)
    a = alpha * phi(weight_hh, rectify)
    start = identity(a) if weight_in is None else alpha * phi(weight_in, rectify)
    walks = truncated_inverse(a, start, hops)
    return walks if weight_out is None else product(alpha * phi(weight_out, rectify), walks)

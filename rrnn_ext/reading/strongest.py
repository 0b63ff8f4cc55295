"""The strongest walks of a recurrent weight, one by one: which units a pathway runs through.

>>> import torch
>>> from rrnn_ext import reading
>>> W = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.1, -0.8, 0.0]])  # 0 to 1, 1 to 2, and 0 to 2 directly
>>> found = reading.strongest_walks(W, torch.tensor([0]), torch.tensor([2]), hops=3, count=1)
>>> [[(walk.units, round(walk.weight, 3)) for walk in walks] for walks in found]
[[], [((0, 2), 0.1)], [((0, 1, 2), -0.4)]]
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import torch
from torch import Tensor


class Walk(NamedTuple):
    """A walk through units, its first one a source and its last one a target; a unit may come more than once.

    Attributes:
        units: m + 1 numbers of a walk of m edges.
        weight: the product of the weights of its edges.
        edges: those m weights, in the order of the walk.
    """

    units: tuple[int, ...]
    weight: float
    edges: tuple[float, ...]


@torch.no_grad()
def strongest_walks(
    weight_hh: Tensor, sources: Tensor, targets: Tensor, *, hops: int, count: int = 10, revisit: bool = True
) -> list[list[Walk]]:
    """The walks with the largest products of ``|weights|``, of each number of edges.

    They are exact: a table of the largest product from every unit to the targets, one for each number of edges left,
    tells how far any beginning of a walk can be brought, and a search that goes on with the best beginning first
    (A*; Hart, Nilsson & Raphael 1968) then meets the walks in the order of their strength. The table takes
    hops x edges steps and hops x n numbers, the search at most count x hops x (largest number of edges out of a unit).
    Without revisits the order is as sure, but the search also meets beginnings that the table promises too much of,
    and has no such limit: in graphs whose strongest walks go in circles it may have to look at many.

    Args:
        weight_hh: (n, n), dense or sparse CSR, CSC or COO; weight_hh[b, a] leads from unit a to unit b.
        sources, targets: int64 (units,), numbers of units, as for
            :func:`rrnn_ext.hop_decomposition`, whose P_m sums the walks of m edges.
        hops: L; the walks have 0, 1, ..., L - 1 edges.
        count: how many walks of each number of edges, at least 1.
        revisit: whether a walk may come to a unit more than once.

    Returns:
        L lists of at most ``count`` walks, the strongest first. Walks of weight 0 are none.

    Raises:
        TypeError: sources or targets are not int64.
        ValueError: weight_hh is not (n, n) or not finite; a unit is not below n; hops or count is below 1.
    """
    if weight_hh.dim() != 2 or weight_hh.shape[0] != weight_hh.shape[1]:
        raise ValueError(f"weight_hh must be (n, n), got {tuple(weight_hh.shape)}")
    n = weight_hh.shape[0]
    for name, units in (("sources", sources), ("targets", targets)):
        _check_units(name, units, n)
    for name, number in (("hops", hops), ("count", count)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    # Transposed, the edges out of a unit stand side by side; coalescing makes one edge of values at the same place.
    edges = weight_hh.detach().cpu().double().to_sparse_coo().t().coalesce()
    if not bool(edges.values().isfinite().all()):
        raise ValueError("weight_hh must be finite, got NaN or Inf among its values")
    start, end = edges.indices()
    graph = _Graph(torch.searchsorted(start, torch.arange(n + 1)), end, edges.values())
    best = reach(start, end, edges.values().abs(), targets.cpu(), n, hops)
    begins = sources.cpu().unique()
    return [_search(graph, best[: edges_left + 1], begins, count, revisit) for edges_left in range(hops)]


def reach(start: Tensor, end: Tensor, sizes: Tensor, targets: Tensor, n: int, hops: int) -> list[Tensor]:
    """The largest product of ``sizes`` from each of n units to a target, over walks of 0, 1, ..., hops - 1 edges, each
    from a ``start`` to an ``end``. Exchanged, start and end tell how sources reach each unit."""
    found = [sizes.new_zeros(n).index_fill(0, targets, 1.0)]
    for _ in range(1, hops):
        onwards = sizes * found[-1][end]
        found.append(onwards.new_zeros(n).scatter_reduce(0, start, onwards, "amax"))
    return found


class _Graph(NamedTuple):
    """The edges out of unit a lead to end[first[a]:first[a + 1]]."""

    first: Tensor
    end: Tensor
    weights: Tensor


def _check_units(name: str, units: Tensor, n: int) -> None:
    if units.dtype != torch.int64:
        raise TypeError(f"{name} must be int64 numbers of units, got {units.dtype}")
    if units.dim() != 1:
        raise ValueError(f"{name} must be (units,), got {tuple(units.shape)}")
    outside = units[(units < 0) | (units >= n)]
    if len(outside):
        raise ValueError(f"{name} must be numbers of units from 0 to {n - 1}, got {int(outside[0])}")


def _search(graph: _Graph, best: list[Tensor], sources: Tensor, count: int, revisit: bool) -> list[Walk]:
    """The best walks of len(best) - 1 edges; ``best`` is what :func:`reach` found."""
    # With revisits each way on leads to a walk as strong as its bound, so that only ``count`` of them can matter.
    most = count if revisit else None
    found: list[Walk] = []
    bounds, order = _largest(best[-1][sources], most)
    begun: tuple[float, ...] = ()
    open_walks = [(-bound, (unit,), 1.0, begun) for bound, unit in zip(bounds, sources[order].tolist(), strict=True)]
    heapq.heapify(open_walks)
    while open_walks and len(found) < count:
        _, units, weight, edges = heapq.heappop(open_walks)
        left = len(best) - len(units)
        if left == 0:
            found.append(Walk(units, weight, edges))
            continue
        onwards = slice(int(graph.first[units[-1]]), int(graph.first[units[-1] + 1]))
        ends, weights = graph.end[onwards], graph.weights[onwards]
        bounds, order = _largest(abs(weight) * weights.abs() * best[left - 1][ends], most)
        for bound, end, edge in zip(bounds, ends[order].tolist(), weights[order].tolist(), strict=True):
            if revisit or end not in units:
                heapq.heappush(open_walks, (-bound, (*units, end), weight * edge, (*edges, edge)))
    return found


def _largest(bounds: Tensor, most: int | None) -> tuple[list[float], Tensor]:
    """The ``most`` largest bounds, or all, that are not 0, and where they stand."""
    values, order = bounds.topk(len(bounds) if most is None else min(most, len(bounds)))
    kept = values > 0
    return values[kept].tolist(), order[kept]

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
import math
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext.reading.sizes import Sizes


class Walk(NamedTuple):
    """A walk through units, its first one a source and its last one a target; a unit may come more than once.

    Attributes:
        units: m + 1 numbers of a walk of m edges.
        weight: the product of the weights of its edges; 0 or infinite where float64 does not reach as far.
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
        L lists of at most ``count`` walks, the strongest first, also where their weights underflow or overflow. Walks
        with an edge of weight 0 are none.

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
    sizes = Sizes.of(edges.values())
    graph = _Graph(torch.searchsorted(start, torch.arange(n + 1, device=start.device)), end, edges.values(), sizes)
    best = reach(start, end, sizes, targets.cpu(), n, hops)
    begins = sources.cpu().unique()
    return [_search(graph, best[: edges_left + 1], begins, count, revisit) for edges_left in range(hops)]


def reach(start: Tensor, end: Tensor, sizes: Sizes, targets: Tensor, n: int, hops: int) -> list[Sizes]:
    """The largest product of ``sizes`` from each of n units to a target, over walks of 0, 1, ..., hops - 1 edges, each
    from a ``start`` to an ``end``. Exchanged, start and end tell how sources reach each unit."""
    found = [Sizes.of(sizes.fraction.new_zeros(n).index_fill(0, targets, 1.0))]
    for _ in range(1, hops):
        found.append((sizes * found[-1].at(end)).largest_by(start, n))
    return found


class _Graph(NamedTuple):
    """The edges out of unit a lead to end[first[a]:first[a + 1]]."""

    first: Tensor
    end: Tensor
    weights: Tensor
    sizes: Sizes  # of the weights


def _check_units(name: str, units: Tensor, n: int) -> None:
    if units.dtype != torch.int64:
        raise TypeError(f"{name} must be int64 numbers of units, got {units.dtype}")
    if units.dim() != 1:
        raise ValueError(f"{name} must be (units,), got {tuple(units.shape)}")
    outside = units[(units < 0) | (units >= n)]
    if len(outside):
        raise ValueError(f"{name} must be numbers of units from 0 to {n - 1}, got {int(outside[0])}")


class _Beginning(NamedTuple):
    """A walk that has begun. The first one of many is the one that may become the strongest."""

    bound: tuple[int, float]  # of the size of what it can become: exponent and fraction, less than no walk's
    units: tuple[int, ...]
    weight: tuple[float, int] = (1.0, 0)  # fraction and exponent
    edges: tuple[float, ...] = ()

    def onwards(self, bound: tuple[int, float], unit: int, edge: float) -> _Beginning:
        fraction, exponent = math.frexp(edge)
        fraction, more = math.frexp(self.weight[0] * fraction)
        weight = fraction, self.weight[1] + exponent + more
        return _Beginning(bound, (*self.units, unit), weight, (*self.edges, edge))

    def walk(self) -> Walk:
        fraction, exponent = self.weight
        weight = math.copysign(math.inf, fraction) if exponent > 1024 else math.ldexp(fraction, exponent)
        return Walk(self.units, weight, self.edges)


def _search(graph: _Graph, best: list[Sizes], sources: Tensor, count: int, revisit: bool) -> list[Walk]:
    """The best walks of len(best) - 1 edges; ``best`` is what :func:`reach` found."""
    # With revisits each way on leads to a walk as strong as its bound, so that only ``count`` of them can matter.
    most = count if revisit else None
    found: list[Walk] = []
    bounds, order = _largest(best[-1].at(sources), most)
    open_walks = [_Beginning(bound, (unit,)) for bound, unit in zip(bounds, sources[order].tolist(), strict=True)]
    heapq.heapify(open_walks)
    while open_walks and len(found) < count:
        begun = heapq.heappop(open_walks)
        left = len(best) - len(begun.units)
        if left == 0:
            found.append(begun.walk())
            continue
        onwards = slice(int(graph.first[begun.units[-1]]), int(graph.first[begun.units[-1] + 1]))
        ends, weights = graph.end[onwards], graph.weights[onwards]
        bounds, order = _largest(graph.sizes.at(onwards).times(*begun.weight) * best[left - 1].at(ends), most)
        for bound, end, edge in zip(bounds, ends[order].tolist(), weights[order].tolist(), strict=True):
            if revisit or end not in begun.units:
                heapq.heappush(open_walks, begun.onwards(bound, end, edge))
    return found


def _largest(sizes: Sizes, most: int | None) -> tuple[list[tuple[int, float]], Tensor]:
    """The ``most`` largest, or all, that are not 0, as keys that fall as they rise, and where they stand."""
    order = sizes.falling()[:most]
    kept = sizes.at(order)
    return [(-e, -f) for e, f in zip(kept.exponent.tolist(), kept.fraction.tolist(), strict=True)], order

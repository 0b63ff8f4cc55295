"""The edges that the strongest walks take: a graph small enough for a page, and what it is sure to have whole.

>>> import torch
>>> from rrnn_ext.reading.strong_edges import strong_edges
>>> W = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.1, -0.8, 0.0]])  # 0 to 1, 1 to 2, and 0 to 2 directly
>>> kept, complete = strong_edges(W.to_sparse(), torch.tensor([0]), torch.tensor([2]), lengths=range(2, 3), most=2)
>>> kept.indices().tolist()  # rows, to which they lead, above columns
[[1, 2], [0, 1]]
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.reading.sizes import Sizes
from rrnn_ext.reading.strongest import reach


@torch.no_grad()
def strong_edges(
    weights: Tensor, sources: Tensor, targets: Tensor, *, lengths: range, most: int
) -> tuple[Tensor, float]:
    """The ``most`` edges with the strongest walks through them.

    Walks of different numbers of edges are compared by their share of the strongest one of so many edges.

    Args:
        weights: (n, n), sparse COO, coalesced; weights[b, a] leads from unit a to unit b.
        sources, targets: int64 numbers of units, where walks begin and end.
        lengths: the numbers of edges of the walks.
        most: how many edges to keep.

    Returns:
        The graph of the kept edges, (n, n), sparse COO, coalesced. Edges that no such walk takes are none of them. And
        a share: of each number of edges, every walk that is stronger than this share of the strongest one is in it.
    """
    end, start = weights.indices()
    sizes = Sizes.of(weights.values())
    n, longest = weights.shape[0], max(lengths)
    onwards = reach(start, end, sizes, targets, n, longest + 1)
    from_sources = reach(end, start, sizes, sources, n, longest)
    score = torch.zeros_like(sizes.fraction)
    for length in lengths:
        strongest = onwards[length].at(sources).largest()
        if strongest.fraction > 0:
            for before in range(length):
                through = from_sources[before].at(start) * sizes * onwards[length - 1 - before].at(end)
                score = torch.maximum(score, through.share_of(strongest))
    taken = int((score > 0).sum())
    best = score.topk(min(most + 1, taken))
    kept = best.indices[:most].sort().values
    left_out = best.values[most].item() if taken > most else 0.0
    graph = torch.sparse_coo_tensor(
        weights.indices()[:, kept],
        weights.values()[kept],
        (n, n),
        device=weights.device,
        check_invariants=True,
        is_coalesced=True,
    )
    return graph, left_out

"""A network as one graph of its inputs, units and outputs, whose walks can be followed one by one.

>>> import torch
>>> from rrnn_ext import reading
>>> rnn, readout = torch.nn.RNN(2, 5), torch.nn.Linear(5, 3)
>>> graph = reading.whole_graph(rnn.weight_hh_l0, rnn.weight_ih_l0, readout.weight)
>>> graph.names[:3], graph.names[-1]
(['input 0', 'input 1', 'unit 0'], 'output 2')
>>> lag = 4  # walks of lag m have m + 2 edges: into the units, m between them, and out
>>> walks = reading.strongest_walks(graph.weights, graph.inputs, graph.outputs, hops=lag + 3, count=2)[lag + 2]
>>> [len(walk.units) for walk in walks]
[7, 7]
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class WholeGraph(NamedTuple):
    """Inputs, hidden units and outputs as N = i + n + o nodes, in this order.

    Attributes:
        weights: (N, N), sparse COO, float64; weights[b, a] leads from node a to node b.
        inputs, outputs: int64 (i,) and (o,), numbers of nodes, as :func:`rrnn_ext.reading.strongest_walks` takes them.
        names: of the nodes, "input 0", "unit 0", "output 0" and so on.
    """

    weights: Tensor
    inputs: Tensor
    outputs: Tensor
    names: list[str]


@torch.no_grad()
def whole_graph(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor) -> WholeGraph:
    """The graph whose adjacency is [[0, 0, 0], [U, W, 0], [0, V, 0]].

    Args:
        weight_hh: W, (n, n), dense or sparse.
        weight_in: U, (n, i), dense.
        weight_out: V, (o, n), dense.

    Returns:
        The graph. Of its walks, those from an input to an output of m + 2 edges are the ones that P_m of
        :func:`rrnn_ext.hop_decomposition` sums.

    Raises:
        ValueError: the shapes do not fit.
    """
    if weight_hh.dim() != 2 or weight_hh.shape[0] != weight_hh.shape[1]:
        raise ValueError(f"weight_hh must be (n, n), got {tuple(weight_hh.shape)}")
    n = weight_hh.shape[0]
    if weight_in.dim() != 2 or weight_in.shape[0] != n:
        raise ValueError(f"weight_in must be ({n}, i) to match weight_hh, got {tuple(weight_in.shape)}")
    if weight_out.dim() != 2 or weight_out.shape[1] != n:
        raise ValueError(f"weight_out must be (o, {n}) to match weight_hh, got {tuple(weight_out.shape)}")
    i, o = weight_in.shape[1], weight_out.shape[0]
    blocks = ((weight_in, i, 0), (weight_hh, i, i), (weight_out, i + n, i))
    edges = [_edges(weight, row, column) for weight, row, column in blocks]
    size = i + n + o
    weights = torch.sparse_coo_tensor(
        torch.cat([places for places, _ in edges], 1),
        torch.cat([values for _, values in edges]),
        (size, size),
        check_invariants=True,
        device="cpu",
    ).coalesce()
    counts = {"input": i, "unit": n, "output": o}
    names = [f"{kind} {number}" for kind, count in counts.items() for number in range(count)]
    return WholeGraph(weights, torch.arange(i, device="cpu"), torch.arange(i + n, size, device="cpu"), names)


def _edges(weight: Tensor, row: int, column: int) -> tuple[Tensor, Tensor]:
    """Places and values of a block whose first entry stands at (row, column)."""
    block = weight.detach().cpu().double().to_sparse_coo().coalesce()
    return block.indices() + torch.tensor([[row], [column]], device="cpu"), block.values()

"""The graph of inputs, units and outputs: its walks are those that the hops sum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import rrnn_ext
from rrnn_ext.reading import strongest_walks, whole_graph


def weights() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=generator) for shape in ((4, 4), (4, 2), (3, 4)))  # type: ignore[return-value]


@pytest.mark.parametrize("sparse", [False, True])
def test_walks_sum_to_the_hops(sparse: bool) -> None:
    weight_hh, weight_in, weight_out = weights()
    graph = whole_graph(weight_hh.to_sparse_csr() if sparse else weight_hh, weight_in, weight_out)
    found = strongest_walks(graph.weights, graph.inputs, graph.outputs, hops=5, count=10_000)
    walks = rrnn_ext.hop_decomposition(weight_hh.double(), weight_in.double(), weight_out.double(), hops=3)
    assert found[:2] == [[], []]
    for lag in range(3):
        summed = torch.zeros(3, 2, dtype=torch.float64)
        for walk in found[lag + 2]:
            source, target = (graph.names[walk.units[end]].split() for end in (0, -1))
            assert (source[0], target[0]) == ("input", "output")
            summed[int(target[1]), int(source[1])] += walk.weight
        torch.testing.assert_close(summed, walks[lag])


@pytest.mark.parametrize(
    ("at", "shape", "message"),
    [
        (0, (4, 3), r"weight_hh must be \(n, n\), got \(4, 3\)"),
        (1, (3, 2), r"weight_in must be \(4, i\) to match weight_hh, got \(3, 2\)"),
        (2, (4, 3), r"weight_out must be \(o, 4\) to match weight_hh, got \(4, 3\)"),
    ],
)
def test_refuses(at: int, shape: tuple[int, int], message: str) -> None:
    given = list(weights())
    given[at] = torch.ones(shape)
    with pytest.raises(ValueError, match=message):
        whole_graph(*given)

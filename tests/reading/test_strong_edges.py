"""The edges that strong walks take, against the list of all walks."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.sparse import coo, dense_of
from support.strategies import coordinates
from torch import Tensor

from rrnn_ext.reading.strong_edges import strong_edges

LENGTHS = range(1, 4)


def all_walks(weights: Tensor, sources: list[int], targets: list[int]) -> dict[tuple[int, ...], float]:
    n = len(weights)
    return {
        units: abs(math.prod(weights[b, a].item() for a, b in itertools.pairwise(units)))
        for length in LENGTHS
        for units in itertools.product(sources, *[range(n)] * (length - 1), targets)
    }


@given(graph=coordinates(4), most=st.integers(1, 16), ends=st.permutations(range(4)), count=st.integers(1, 4))
def test_every_walk_above_the_share_is_there(
    graph: tuple[int, Tensor, Tensor], most: int, ends: list[int], count: int
) -> None:
    n, places, values = graph
    weights = coo(n, places, values).cpu().double().coalesce()
    sources, targets = ([unit for unit in some if unit < n] for some in (ends[:count], ends[-count:]))
    begins, stops = (torch.tensor(units, dtype=torch.int64) for units in (sources, targets))
    kept, share = strong_edges(weights, begins, stops, lengths=LENGTHS, most=most)
    dense, there = dense_of(n, places, values).cpu().double(), kept.to_dense()
    assert kept.values().shape[0] <= most
    assert bool(((there == 0) | (there == dense)).all())
    walks = all_walks(dense, sources, targets)
    for length in LENGTHS:
        strongest = max((size for units, size in walks.items() if len(units) == length + 1), default=0.0)
        for units, size in walks.items():
            if len(units) == length + 1 and size > share * strongest * (1 + 1e-9):
                assert all(there[b, a] for a, b in itertools.pairwise(units))
    taken = {pair for units, size in walks.items() if size for pair in itertools.pairwise(units)}
    assert (share == 0) == (len(taken) <= most), "it says whether something was left out"


def test_weak_walks_go_first() -> None:
    weights = torch.zeros(4, 4, dtype=torch.float64)
    weights[3, 0], weights[1, 0], weights[3, 1], weights[2, 0], weights[3, 2] = 0.5, 0.9, 0.9, -0.3, 0.3
    kept, share = strong_edges(weights.to_sparse(), torch.tensor([0]), torch.tensor([3]), lengths=LENGTHS, most=3)
    assert set(zip(*kept.indices().tolist(), strict=True)) == {(3, 0), (1, 0), (3, 1)}
    assert share == pytest.approx(0.09 / 0.81)

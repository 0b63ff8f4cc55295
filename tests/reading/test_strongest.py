"""The strongest walks are those that a list of all walks has at its top."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.sparse import LAYOUTS, coo, dense_of
from support.strategies import coordinates
from torch import Tensor

import rrnn_ext
from rrnn_ext.reading import Walk, strongest_walks


def every_walk(weight_hh: Tensor, sources: list[int], targets: list[int], edges: int) -> list[Walk]:
    """All walks of so many edges, one by one, the strongest first."""
    found = []
    for units in itertools.product(range(len(weight_hh)), repeat=edges + 1):
        along = tuple(weight_hh[b, a].item() for a, b in itertools.pairwise(units))
        weight = math.prod(along)
        if units[0] in sources and units[-1] in targets and weight:
            found.append(Walk(units, weight, along))
    return sorted(found, key=lambda walk: -abs(walk.weight))


def units(n: int, seed: int, most: int = 3) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:most]


@given(graph=coordinates(5), seed=st.integers(0, 99), count=st.integers(1, 12), revisit=st.booleans())
def test_are_the_top_of_all_walks(graph: tuple[int, Tensor, Tensor], seed: int, count: int, revisit: bool) -> None:
    n, places, values = graph
    dense = dense_of(n, places, values).cpu()
    sources, targets = units(n, seed), units(n, seed + 1)
    found = strongest_walks(coo(n, places, values), sources, targets, hops=4, count=count, revisit=revisit)
    for edges, walks in enumerate(found):
        expected = every_walk(dense, sources.tolist(), targets.tolist(), edges)
        if not revisit:
            expected = [walk for walk in expected if len(set(walk.units)) == edges + 1]
        assert [abs(walk.weight) for walk in walks] == [abs(walk.weight) for walk in expected[:count]]
        assert len(set(walks)) == len(walks)
        assert set(walks) <= set(expected)


@pytest.mark.parametrize("layout", ["dense", *LAYOUTS])
def test_all_of_them_sum_to_the_hops(layout: str) -> None:
    generator = torch.Generator().manual_seed(0)
    weight_hh = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    sources, targets = torch.tensor([4, 0]), torch.tensor([1, 0, 5])
    given_as = weight_hh if layout == "dense" else LAYOUTS[layout](weight_hh)
    found = strongest_walks(given_as, sources, targets, hops=4, count=10_000)
    identity = torch.eye(6, dtype=torch.float64)
    walks = rrnn_ext.hop_decomposition(weight_hh, identity[:, sources], identity[targets], hops=4)
    assert [len(each) for each in found] == [1, 6, 36, 216]
    sums = torch.tensor([sum(walk.weight for walk in each) for each in found], dtype=torch.float64)
    torch.testing.assert_close(sums, walks.sum((1, 2)))
    for each in found:
        assert [abs(walk.weight) for walk in each] == sorted((abs(walk.weight) for walk in each), reverse=True)


def graph_of(n: int, *edges: tuple[int, int, float]) -> Tensor:
    weight_hh = torch.zeros(n, n)
    for start, end, weight in edges:
        weight_hh[end, start] = weight
    return weight_hh


def test_a_detour_of_strong_edges_beats_a_short_cut_that_begins_stronger() -> None:
    weight_hh = graph_of(5, (0, 1, 0.9), (1, 4, 0.1), (0, 2, 0.3), (2, 4, -0.8), (0, 3, 0.2), (3, 4, 0.2))
    (_, direct, through) = strongest_walks(weight_hh, torch.tensor([0]), torch.tensor([4]), hops=3, count=2)
    assert direct == []
    assert [walk.units for walk in through] == [(0, 2, 4), (0, 1, 4)]
    assert [walk.weight for walk in through] == pytest.approx([-0.24, 0.09])


def test_one_strong_end_beats_many_weak_ones() -> None:
    weight_hh = graph_of(6, (0, 1, 0.9), (0, 2, 0.8), (1, 3, 0.4), (1, 4, 0.4), (1, 5, 0.4), (2, 3, 0.9))
    found = strongest_walks(weight_hh, torch.tensor([0]), torch.tensor([3, 4, 5]), hops=3, count=1)
    assert [walk.units for walk in found[2]] == [(0, 2, 3)]


def test_a_circle_hides_no_weak_way_on() -> None:
    weight_hh = graph_of(4, (0, 1, 0.9), (1, 0, 0.9), (0, 3, 0.9), (1, 2, 0.1), (2, 3, 0.1))
    ends = torch.tensor([0]), torch.tensor([3])
    assert strongest_walks(weight_hh, *ends, hops=4, count=1)[3][0].units == (0, 1, 0, 3)
    assert strongest_walks(weight_hh, *ends, hops=4, count=1, revisit=False)[3][0].units == (0, 1, 2, 3)


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**40, 2.0**-1000, 2.0**1000])
@pytest.mark.parametrize("revisit", [False, True])
def test_the_scale_of_the_weights_does_not_matter(scale: float, revisit: bool) -> None:
    """The walks are the same, though their weights leave what float64 can hold."""
    hops, ends = 60 if revisit else 5, (torch.tensor([0]), torch.tensor([1, 2]))
    weight_hh = torch.randn(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64) / 2
    expected = strongest_walks(weight_hh, *ends, hops=hops, count=3, revisit=revisit)
    found = strongest_walks(scale * weight_hh, *ends, hops=hops, count=3, revisit=revisit)
    assert [[walk.units for walk in walks] for walks in found] == [[walk.units for walk in walks] for walks in expected]
    for edges, (walks, plain) in enumerate(zip(found, expected, strict=True)):
        for walk, own in zip(walks, plain, strict=True):
            exact = Fraction(own.weight) * Fraction(scale) ** edges
            size = math.inf if abs(exact) >= 2**1024 else float(abs(exact))
            assert walk.weight == math.copysign(size, own.weight)


def test_walks_of_edges_of_all_sizes_are_in_order() -> None:
    """One strong edge hides no weak walks: over edges of 1e-200 and 1e-150, that of more of the latter is stronger."""
    weight_hh = torch.zeros(5, 5, dtype=torch.float64)
    weight_hh[4, 4] = 1.0
    for start, end, weight in ((0, 1, 1e-200), (1, 3, 1e-200), (0, 2, 1e-150), (2, 3, 1e-200)):
        weight_hh[end, start] = weight
    for revisit in (False, True):
        ends = torch.tensor([0, 4]), torch.tensor([3, 4])
        walks = strongest_walks(weight_hh, *ends, hops=3, count=5, revisit=revisit)[2]
        assert [walk.units for walk in walks if walk.units[0] == 0] == [(0, 2, 3), (0, 1, 3)]
        assert walks[-1].weight == 0


def test_no_unit_no_walk() -> None:
    none = torch.tensor([], dtype=torch.int64)
    assert strongest_walks(torch.ones(2, 2), none, torch.tensor([0]), hops=2) == [[], []]
    assert strongest_walks(torch.ones(0, 0), none, none, hops=1) == [[]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight_hh": torch.ones(2, 3)}, r"weight_hh must be \(n, n\), got \(2, 3\)"),
        ({"weight_hh": torch.full((3, 3), torch.nan)}, "weight_hh must be finite"),
        ({"sources": torch.tensor([0, 3])}, "sources must be numbers of units from 0 to 2, got 3"),
        ({"targets": torch.tensor([[0]])}, r"targets must be \(units,\), got \(1, 1\)"),
        ({"hops": 0}, "hops must be at least 1, got 0"),
        ({"count": 0}, "count must be at least 1, got 0"),
    ],
)
def test_refuses(arguments: dict[str, object], message: str) -> None:
    right = {"weight_hh": torch.ones(3, 3), "sources": torch.tensor([0]), "targets": torch.tensor([1]), "hops": 2}
    with pytest.raises(ValueError, match=message):
        strongest_walks(**(right | arguments))  # type: ignore[arg-type]


def test_refuses_units_that_are_not_numbers() -> None:
    with pytest.raises(TypeError, match="targets must be int64 numbers of units"):
        strongest_walks(torch.ones(2, 2), torch.tensor([0]), torch.tensor([True, False]), hops=2)

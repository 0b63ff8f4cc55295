"""What is read off a connectome, against the list of all its walks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.sparse import csc_array
from scipy.sparse.linalg import spsolve
from torch import Tensor

from experiments.wiring.connectome import Connectome, wiring_of
from experiments.wiring.influence import Influence, influence_of
from experiments.wiring.pathways import Pathways

SYNAPSES = 4


@pytest.fixture(scope="module")
def pathways() -> Pathways:
    """Of seven cells, 18 connections of both signs, of which cells 0 and 1 are sources and cells 1, 5 and 6 targets."""
    generator = torch.Generator().manual_seed(3)
    places = torch.randperm(49, generator=generator)[:18]
    strengths = torch.randn(18, generator=generator, dtype=torch.float64)
    wiring = wiring_of([*"abcdefg"], places // 7, places % 7, strengths, "made up")
    return Pathways(Connectome(wiring, torch.tensor([0, 1]), torch.tensor([1, 5, 6])), SYNAPSES)


@pytest.fixture(scope="module")
def walks(pathways: Pathways) -> dict[tuple[int, ...], float]:
    """All of them from a source to a target of 1 to SYNAPSES synapses, and their weights."""
    weights = pathways.connectome.wiring.weights.to_dense()
    sources, targets = pathways.connectome.sources.tolist(), pathways.connectome.targets.tolist()
    return {
        units: weight
        for m in range(1, SYNAPSES + 1)
        for units in itertools.product(range(7), repeat=m + 1)
        if units[0] in sources and units[-1] in targets
        for weight in [math.prod(weights[b, a].item() for a, b in itertools.pairwise(units))]
        if weight
    }


Walks = dict[tuple[int, ...], float]


def test_reach_by_synapses(pathways: Pathways, walks: Walks) -> None:
    exciting, inhibiting = pathways.exciting_and_inhibiting()
    for m in range(1, SYNAPSES + 1):
        own = [weight for units, weight in walks.items() if len(units) == m + 1]
        assert exciting[m].item() == pytest.approx(sum(weight for weight in own if weight > 0) / 3)
        assert inhibiting[m].item() == pytest.approx(-sum(weight for weight in own if weight < 0) / 3)
        assert pathways.totals[m].item() == pytest.approx(sum(map(abs, own)))


def test_all_that_reaches_a_cell_is_its_input(pathways: Pathways) -> None:
    whole = Pathways(Connectome(pathways.connectome.wiring, torch.arange(7), torch.tensor([5])), 1)
    has_input = (pathways.connectome.wiring.weights.to_dense() != 0).any(1).double()
    torch.testing.assert_close(whole.reaching[1], has_input)


def test_relays(pathways: Pathways, walks: Walks) -> None:
    passed = torch.zeros(7, dtype=torch.float64)
    for units, weight in walks.items():
        for unit in units[1:-1]:
            passed[unit] += abs(weight)
    total = sum(abs(weight) for units, weight in walks.items() if len(units) > 2)
    torch.testing.assert_close(pathways.relays, passed / total)


def test_map(pathways: Pathways, walks: Walks) -> None:
    sources, targets = torch.tensor([1, 0]), torch.tensor([6, 1])

    def net(*of: int) -> float:
        return sum(weight for units, weight in walks.items() if (len(units) - 1, units[-1], units[0]) == of)

    ends = targets.tolist(), sources.tolist()
    expected = [
        [[net(m, target, source) for source in ends[1]] for target in ends[0]] for m in range(1, pathways.synapses + 1)
    ]
    torch.testing.assert_close(pathways.between(sources, targets), torch.tensor(expected, dtype=torch.float64))


def test_leading_cells(pathways: Pathways, walks: Walks) -> None:
    def strengths(at: int, cells: Tensor) -> dict[int, float]:
        return {cell: sum(abs(w) for units, w in walks.items() if units[at] == cell) for cell in cells.tolist()}

    whole = pathways.connectome
    for at, cells, found in (
        (0, whole.sources, pathways.leading_sources(9)),
        (-1, whole.targets, pathways.leading_targets(9)),
    ):
        order = sorted(cells.tolist(), key=lambda cell: -strengths(at, cells)[cell])
        assert found.tolist() == order
    assert pathways.leading_targets(1).tolist() == pathways.leading_targets(3).tolist()[:1]


def test_influence_is_a_direct_solve(pathways: Pathways) -> None:
    whole = pathways.connectome
    found = influence_of(whole)
    for score, weights in (
        (found.signed, whole.wiring.weights.to_dense()),
        (found.unsigned, whole.wiring.weights.to_dense().abs()),
    ):
        matrix = weights.numpy()
        scaled = 0.99 * matrix / np.abs(np.linalg.eigvals(matrix)).max()
        drive = np.isin(np.arange(7), whole.sources.numpy()).astype(float)
        expected = spsolve(csc_array(np.eye(7) - scaled), drive)
        np.testing.assert_allclose(score.numpy(), expected, rtol=1e-8, atol=1e-9)


def test_extremes_of_influence() -> None:
    scores = torch.tensor([3.0, -1.0, 2.0, 0.0, -4.0, 5.0, -2.0])
    found = Influence(scores, scores.abs())
    assert found.extremes(torch.tensor([0, 1, 2, 4, 6]), 2).tolist() == [0, 2, 6, 4]
    assert found.extremes(torch.tensor([3, 1]), 2).tolist() == [3, 1]


def test_nothing_passes_where_walks_are_single_steps(pathways: Pathways) -> None:
    assert not Pathways(pathways.connectome, 1).relays.any()


def test_the_strongest_by_name(pathways: Pathways, walks: Walks) -> None:
    found = pathways.strongest(3)
    weights = pathways.connectome.wiring.weights.to_dense()
    for m, own in enumerate(found):
        once = sorted((abs(w) for u, w in walks.items() if len(u) == m + 1 == len(set(u))), reverse=True)
        if m:
            assert [abs(walk.weight) for walk in own] == pytest.approx(once[:3])
        for walk in own:
            names, signs = pathways.named(walk).split()[::2], pathways.named(walk).split()[1::2]
            assert names == ["abcdefg"[unit] for unit in walk.units]
            inhibits = [weights[b, a].item() < 0 for a, b in itertools.pairwise(walk.units)]
            assert signs == ["⊣" if each else "→" for each in inhibits]
            assert (walk.weight < 0) == (sum(inhibits) % 2 == 1)
    assert any("⊣" in pathways.named(walk) for own in found for walk in own)

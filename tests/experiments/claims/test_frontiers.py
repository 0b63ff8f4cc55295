"""Errors at equal sparsity, of networks whose frontiers can be drawn by hand."""

from __future__ import annotations

import pytest

from experiments.claims.frontiers import Network, compare, sparsest

SHARES = (0.3, 0.1, 0.01)


def test_the_lowest_error_up_to_each_share() -> None:
    ours = [Network(0, 0.25, 0.1), Network(0, 0.05, 0.4), Network(0, 0.09, 0.2)]
    theirs = [Network(0, 0.28, 0.2), Network(0, 0.08, 0.8), Network(0, 0.5, 0.01)]
    found = compare(ours, theirs, SHARES)
    assert found is not None
    assert found.by_share == pytest.approx({0.3: 0.5, 0.1: 0.25})
    assert found.by_seed == pytest.approx([(0.5 * 0.25) ** 0.5])
    assert sparsest(ours, SHARES) == 0.1


def test_a_share_counts_that_every_seed_of_both_reaches() -> None:
    ours = [Network(seed, share, 0.1) for seed, share in ((0, 0.005), (1, 0.2))]
    theirs = [Network(seed, 0.05, 0.2 * (1 + seed)) for seed in (0, 1, 2)]
    found = compare(ours, theirs, SHARES)
    assert found is not None
    assert list(found.by_share) == [0.3]
    assert found.by_seed == pytest.approx([0.5, 0.25]), "of the seeds that both have"
    assert (sparsest(ours, SHARES), sparsest(theirs, SHARES)) == (0.3, 0.1)
    assert sparsest(ours, (0.1, 0.01)) is None


def test_none_in_common() -> None:
    assert compare([Network(0, 0.2, 0.1)], [Network(0, 0.9, 0.1)], SHARES) is None
    assert compare([Network(0, 0.2, 0.1)], [Network(1, 0.2, 0.1)], SHARES) is None
    assert compare([], [], SHARES) is None

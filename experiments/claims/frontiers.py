"""Penalties compared where their strengths do not matter: the lowest error at equal sparsity, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Network(NamedTuple):
    """What counts of a network: its seed, the share of its pathways that nothing needs, and its test error."""

    seed: int
    share: float
    error: float


class Comparison(NamedTuple):
    """Errors of one penalty over those of another at the shares that every seed of both reaches.

    Attributes:
        by_seed: the geometric mean over those shares, for each seed.
        by_share: that over the seeds, for each share.
    """

    by_seed: Sequence[float]
    by_share: dict[float, float]


def compare(ours: Iterable[Network], theirs: Iterable[Network], shares: Sequence[float]) -> Comparison | None:
    """None if there is no share that every seed of both reaches."""
    ours, theirs = list(ours), list(theirs)
    frontiers = [_lowest(networks, shares) for networks in (ours, theirs)]
    seeds = sorted({network.seed for network in ours} & {network.seed for network in theirs})
    common = [share for share in shares if all(seed in one[share] for one in frontiers for seed in seeds)]
    if not (common and seeds):
        return None
    logs = {
        share: [math.log(frontiers[0][share][seed] / frontiers[1][share][seed]) for seed in seeds] for share in common
    }
    by_seed = [math.exp(sum(of_seed) / len(common)) for of_seed in zip(*logs.values(), strict=True)]
    by_share = {share: math.exp(sum(of_share) / len(seeds)) for share, of_share in logs.items()}
    return Comparison(by_seed, by_share)


def _lowest(networks: Iterable[Network], shares: Iterable[float]) -> dict[float, dict[int, float]]:
    """Of each share, the lowest error by seed among the networks with at most that share."""
    networks = list(networks)
    frontiers: dict[float, dict[int, float]] = {}
    for share in shares:
        lowest: dict[int, float] = {}
        for network in networks:
            if network.share <= share:
                lowest[network.seed] = min(network.error, lowest.get(network.seed, math.inf))
        frontiers[share] = lowest
    return frontiers


def sparsest(networks: Iterable[Network], shares: Sequence[float]) -> float | None:
    """The least of the shares that every seed reaches; None if there is none."""
    networks = list(networks)
    seeds = {network.seed for network in networks}
    reached = [share for share, lowest in _lowest(networks, shares).items() if lowest.keys() == seeds]
    return min(reached, default=None)

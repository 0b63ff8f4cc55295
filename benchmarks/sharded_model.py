"""How long value and gradient of sharded weights take, on paper: ``python -m benchmarks.sharded_model``.

Bytes over links and memory, flops over cards. benchmarks/sharded.py counts the same messages as they are sent. Of n
units, w vectors of the narrower side, L hops and R ranks, in float32:

    by rows     2 (L - 1) messages of n w numbers, and each rank passes its n^2 / R weights at each hop and direction
    gathered    one message of n^2 numbers, and each rank passes all n^2 weights at each hop and direction

and either has one product of n / R (or n) by w (L - 1) by n for the gradient.

The cards: NVIDIA's data sheet of the H100 SXM says 3.35 TB/s of memory, 67 TFLOP/s in float32 without tensor cores, and
900 GB/s of NVLink, which is 450 GB/s each way, between the 8 cards of a machine. Between machines each card has
InfiniBand NDR of 400 Gb/s, 50 GB/s (DGX H100 user guide); what a machine has to get comes over all 8 of them. That a
message takes 15 microseconds to begin, and 5 more for each doubling of machines, is an assumption.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.tables import as_table, as_time

FLOAT = 4  # bytes


class Machines(NamedTuple):
    """Per second, and seconds."""

    cards: int = 8  # of one machine
    memory: float = 3.35e12  # bytes
    flops: float = 67e12
    within: float = 450e9  # bytes into a card
    between: float = 50e9
    start: float = 15e-6
    start_between: float = 5e-6
    room: float = 80e9  # bytes of a card


class Problem(NamedTuple):
    units: int
    width: int
    hops: int
    ranks: int


H100 = Machines()


def messages(problem: Problem, pairs: int) -> Counter[tuple[str, int]]:
    """By rows, of value and gradient: how many of each kind and of so many numbers, rows padded to be as many on each
    rank; ``pairs`` of an output and an input."""
    padded = math.ceil(problem.units / problem.ranks) * problem.ranks
    hop = padded * problem.width
    counted = {("all-gather", hop): problem.hops - 1, ("reduce-scatter", hop): problem.hops - 1}
    return Counter({**counted, ("all-reduce", pairs): 1})


def message(numbers: int, ranks: int, machines: Machines = H100) -> float:
    """Seconds of an all-gather or a reduce-scatter: what is within machines and what is between them, one after the
    other."""
    size, together = FLOAT * numbers, min(ranks, machines.cards)
    others = math.ceil(ranks / machines.cards)
    within = (together - 1) / together * size / machines.within
    between = (others - 1) / others * size / (together * machines.between)
    return machines.start + machines.start_between * math.log2(others) + within + between


def passes(problem: Problem, ranks: int, machines: Machines = H100) -> float:
    """Seconds of all products of a rank that has n^2 / ``ranks`` weights."""
    weights = problem.units**2 / ranks
    links = problem.hops - 1
    hop = max(FLOAT * weights / machines.memory, 2 * weights * problem.width / machines.flops)
    product = max(FLOAT * weights / machines.memory, 2 * weights * problem.width * links / machines.flops)
    return 2 * links * hop + product


def sending(problem: Problem, machines: Machines = H100) -> float:
    """Seconds of all messages by rows."""
    return 2 * (problem.hops - 1) * message(problem.units * problem.width, problem.ranks, machines)


def by_rows(problem: Problem, machines: Machines = H100) -> float:
    return passes(problem, problem.ranks, machines) + sending(problem, machines)


def gathered(problem: Problem, machines: Machines = H100) -> float:
    """Infinite where two matrices have no room."""
    if 2 * FLOAT * problem.units**2 > machines.room:
        return math.inf
    return message(problem.units**2, problem.ranks, machines) + passes(problem, 1, machines)


def floats(problem: Problem) -> float:
    """Of a rank by rows: its part of W and of the gradient, and whole vectors of each hop."""
    return 2 * problem.units**2 / problem.ranks + problem.units * problem.width * (problem.hops - 1)


def crossing(width: int, hops: int, ranks: int) -> int:
    """The fewest units, of multiples of 256, from which on rows are faster."""

    def is_faster(units: int) -> bool:
        problem = Problem(units, width, hops, ranks)
        return by_rows(problem) < gathered(problem)

    units = 2**17
    while units > 256 and is_faster(units - 256):
        units -= 256
    return units


def _scaling() -> Iterator[tuple[str, ...]]:
    for units in (65_536, 262_144):
        for ranks in (8, 16, 32, 64, 128, 256, 512):
            problem = Problem(units, 16, 20, ranks)
            time, whole = by_rows(problem), gathered(problem)
            yield (
                f"{units:,}",
                str(ranks),
                as_time(time),
                f"{100 * sending(problem) / time:.0f} %",
                "no room" if math.isinf(whole) else as_time(whole),
                f"{FLOAT * floats(problem) / 1e9:.3g} GB",
            )


def _crossings() -> Iterator[tuple[str, ...]]:
    for ranks in (2, 8, 64, 512):
        units = (crossing(width, hops, ranks) for width, hops in ((1, 20), (16, 20), (64, 20), (16, 5), (16, 100)))
        yield str(ranks), *(f"{each:,}" for each in units)


def main() -> None:
    header = "n", "cards", "value and gradient", "of it messages", "gathered", "memory of a card"
    print("w = 16, L = 20\n\n" + as_table(header, _scaling()))
    header = "cards", "w = 1, L = 20", "w = 16, L = 20", "w = 64, L = 20", "w = 16, L = 5", "w = 16, L = 100"
    print("\nn from which on rows are faster than gathering\n\n" + as_table(header, _crossings()))


if __name__ == "__main__":
    main()

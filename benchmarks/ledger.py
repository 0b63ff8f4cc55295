"""What was measured, in order."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks import device
from benchmarks.names import STEP
from benchmarks.race import Race


@dataclass(frozen=True)
class Memory:
    """Peak memory beyond the weights and one n x n gradient, in floats per n^2."""

    shape: Mapping[str, int]
    floats: Mapping[str, float]


@dataclass
class Ledger:
    about: dict[str, str | float] = field(default_factory=device.description)
    entries: list[Race | Memory] = field(default_factory=list)
    printed: int = 0

    def add(self, entry: Race | Memory) -> None:
        self.entries.append(entry)

    def new(self) -> list[Race | Memory]:
        """The entries since the last call."""
        found = self.entries[self.printed :]
        self.printed = len(self.entries)
        return found

    def races(self, *cases: str, **shape: int) -> list[Race]:
        """The races of the cases, case by case, whose shape has the sizes given."""
        return [
            entry
            for case in cases
            for entry in self.entries
            if isinstance(entry, Race) and entry.case == case and shape.items() <= entry.shape.items()
        ]

    def memories(self) -> list[Memory]:
        return [entry for entry in self.entries if isinstance(entry, Memory)]


def step_share(race: Race, penalty: str) -> tuple[float, float]:
    """What ``penalty`` adds to the step, as a share of it: from the fastest rounds, and the median over the rounds."""
    plain, with_penalty = race.times[STEP], race.times[penalty]
    pairs = zip(with_penalty.rounds, plain.rounds, strict=True)
    return with_penalty.minimum / plain.minimum - 1, statistics.median(a / b - 1 for a, b in pairs)

"""How signals run from the sources to the targets of a connectome: over how many synapses, through which cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

import rrnn_ext
from experiments.wiring.connectome import Connectome
from rrnn_ext.reading import Walk, strongest_walks


@dataclass(frozen=True, eq=False)
class Pathways:
    """The walks of 1 to ``synapses`` synapses from the sources to the targets.

    A walk weighs the product of the shares that its connections have in the input of their cells. All walks of m
    synapses to a cell, whatever they come from, add up to 1 where every cell has input, so those from the sources are
    the share of the cell's input that is theirs, m synapses back. One with an odd number of inhibitory connections
    inhibits.
    """

    connectome: Connectome
    synapses: int

    @cached_property
    def reaching(self) -> Tensor:
        """(synapses + 1, n): what reaches each cell from all sources together, by the number of synapses."""
        return self._from_sources(rectify=True)

    @cached_property
    def net(self) -> Tensor:
        """(synapses + 1, n): the same, with what inhibits taken off twice: exciting less inhibiting."""
        return self._from_sources(rectify=False)

    @cached_property
    def into_targets(self) -> Tensor:
        """(synapses + 1, n): what gets from each cell to all targets together."""
        ends = self._ones_at(self.connectome.targets)[None]
        weights = self.connectome.wiring.weights
        return rrnn_ext.hop_decomposition(weights, None, ends, hops=self.synapses + 1, rectify=True).squeeze(1)

    @cached_property
    def totals(self) -> Tensor:
        """(synapses + 1,): all walks from sources to targets."""
        return self.reaching[:, self.connectome.targets].sum(1)

    def exciting_and_inhibiting(self) -> tuple[Tensor, Tensor]:
        """(synapses + 1,) each: the share of the targets' input, mean over the targets, along either kind of walk."""
        targets = self.connectome.targets
        both, difference = self.reaching[:, targets].mean(1), self.net[:, targets].mean(1)
        return (both + difference) / 2, (both - difference) / 2

    @cached_property
    def relays(self) -> Tensor:
        """(n,): the share of all walks of 2 synapses or more that pass a cell between their ends, twice if twice; 0
        where there are none."""
        passed = torch.zeros_like(self.reaching[0])
        for before in range(1, self.synapses):
            passed += self.reaching[before] * self.into_targets[1 : self.synapses + 1 - before].sum(0)
        return passed / self.totals[2:].sum().clamp(min=torch.finfo(passed.dtype).tiny)

    def strongest(self, count: int) -> list[list[Walk]]:
        """The ``count`` strongest walks of 0, 1, ..., synapses that pass no cell twice."""
        whole = self.connectome
        ends = whole.sources, whole.targets
        return strongest_walks(whole.wiring.weights, *ends, hops=self.synapses + 1, count=count, revisit=False)

    def between(self, sources: Tensor, targets: Tensor) -> Tensor:
        """(synapses, targets, sources): exciting less inhibiting walks of 1, 2, ... synapses between these cells."""
        weights = self.connectome.wiring.weights
        return rrnn_ext.hop_decomposition(weights, sources, targets, hops=self.synapses + 1)[1:]

    def leading_targets(self, count: int) -> Tensor:
        """The numbers of the targets that most reaches over 1 to ``synapses`` synapses, the first one first."""
        reached = self.reaching[1:].sum(0)[self.connectome.targets]
        return self.connectome.targets[reached.topk(min(count, len(reached))).indices]

    def leading_sources(self, count: int) -> Tensor:
        """The numbers of the sources from which most gets to the targets."""
        sent = self.into_targets[1:].sum(0)[self.connectome.sources]
        return self.connectome.sources[sent.topk(min(count, len(sent))).indices]

    def named(self, walk: Walk) -> str:
        """``A → B ⊣ C``: A excites B, which inhibits C."""
        return drawn([self.connectome.wiring.names[unit] for unit in walk.units], [edge < 0 for edge in walk.edges])

    def _from_sources(self, *, rectify: bool) -> Tensor:
        starts = self._ones_at(self.connectome.sources)[:, None]
        weights = self.connectome.wiring.weights
        return rrnn_ext.hop_decomposition(weights, starts, None, hops=self.synapses + 1, rectify=rectify).squeeze(2)

    def _ones_at(self, cells: Tensor) -> Tensor:
        ones = torch.zeros(len(self.connectome.wiring.names), dtype=torch.float64)
        return ones.index_fill(0, cells, 1.0)


def drawn(names: Sequence[str], inhibits: Sequence[bool]) -> str:
    """A walk in a line."""
    steps = zip(names[1:], inhibits, strict=True)
    return names[0] + "".join(f" {'⊣' if inhibitory else '→'} {name}" for name, inhibitory in steps)

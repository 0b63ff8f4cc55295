"""What a penalty adds to a step of training: of a network with the connections of a graph, and of a dense one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

import rrnn_ext
from experiments.training.masked import BATCH, LEARNING_RATE, MaskedRNN
from experiments.wiring.connectome import Connectome, wiring_of

INPUTS, OUTPUTS, STEPS = 24, 9, 29  # as of JapaneseVowels
SECONDS = 3.0  # of rounds, for each graph


class DenseRNN(MaskedRNN):
    """The same with a weight for every pair of cells."""

    def __init__(self, connectome: Connectome, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__(connectome, inputs, outputs, generator)
        self.values = nn.Parameter(torch.randn(self.n, self.n, generator=generator) / (2 * math.sqrt(self.n)))

    def weight_hh(self) -> Tensor:
        return self.values

    def hop(self, states: Tensor) -> Tensor:
        return self.values @ states


KINDS: Mapping[str, type[MaskedRNN]] = {"sparse": MaskedRNN, "dense": DenseRNN}


@dataclass(frozen=True)
class StepCost:
    """Milliseconds of a step, forward, backward and update: alone, and under R-RNN per hop.

    Attributes:
        cells: n.
        weights: how many recurrent ones.
        threads: of PyTorch.
        alone, penalised: least of the rounds, which took turns.
    """

    kind: str
    cells: int
    weights: int
    threads: int
    alone: float
    penalised: float

    @property
    def share(self) -> float:
        """The penalty's, of the step."""
        return 1 - self.alone / self.penalised


def measure(connectome: Connectome, kind: str) -> StepCost:
    """Of one kind of network with the cells of a connectome, in the number of threads that PyTorch is set to."""
    generator = torch.Generator().manual_seed(0)
    network = KINDS[kind](connectome, INPUTS, OUTPUTS, generator)
    sequences = torch.randn(BATCH, STEPS, INPUTS, generator=generator)
    classes = torch.randint(OUTPUTS, (BATCH,), generator=generator)
    sides = network.weight_hh, network.weight_in, network.weight_out
    penalty = rrnn_ext.ResolventPenalty.from_weights(*sides, hops=STEPS, per_hop=True)
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)

    def step(*, penalised: bool) -> None:
        loss = functional.cross_entropy(network(sequences), classes)
        if penalised:
            loss = loss + 1e-6 * penalty()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    steps: list[Callable[[], None]] = [lambda: step(penalised=False), lambda: step(penalised=True)]
    alone, with_it = _in_turn(steps)
    return StepCost(kind, network.n, network.values.numel(), torch.get_num_threads(), 1e3 * alone, 1e3 * with_it)


def _in_turn(calls: list[Callable[[], None]]) -> list[float]:
    """The least seconds of each call, in rounds in which each has its turn; the first round is not counted."""
    least = [math.inf] * len(calls)
    for call in calls:
        call()
    until = time.perf_counter() + SECONDS
    while math.isinf(least[-1]) or time.perf_counter() < until:
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            least[index] = min(least[index], time.perf_counter() - start)
    return least


def made_up(cells: int, per_cell: int) -> Connectome:
    """So many cells with ``per_cell`` connections on average, their numbers log-normal as in nervous systems; the first
    tenth are sources, the last tenth targets."""
    generator = torch.Generator().manual_seed(0)
    pre, post = (
        torch.multinomial(torch.randn(cells, generator=generator).exp(), cells * per_cell, True, generator=generator)
        for _ in range(2)
    )
    counts = torch.ones(cells * per_cell)
    wiring = wiring_of([str(cell) for cell in range(cells)], pre, post, counts, "made up")
    return Connectome(wiring, torch.arange(cells // 10), torch.arange(cells - cells // 10, cells))

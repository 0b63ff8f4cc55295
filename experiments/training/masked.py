"""A recurrent network whose connections are those of a connectome, trained under a penalty on its stored values.

Signals come in at the sources of the connectome and are read at its targets; nothing else is connected to the outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

import rrnn_ext
from experiments.tasks.spike_trains import HIGHEST, SPIKE_TRAINS
from experiments.training.loop import Examples
from experiments.wiring.connectome import Connectome
from rrnn_ext.ops.sparse_hop import sparse_hop
from rrnn_ext.reading import hop_profile, hoyer, mean_lag
from rrnn_ext.sparse import Pattern, SparseWeight

BATCH, LEARNING_RATE = 30, 0.003
SILENT = 1e-3  # in size, of a connection


class MaskedRNN(nn.Module):
    """h_t = tanh(W h_{t-1} + U x_t + b), y = V h_T + c, with weights at the connections of a connectome alone.

    ``values`` are the weights of the connections, row by row; ``entering`` (sources, inputs) and ``leaving``
    (outputs, targets) are the parts of U and V that are there. First weights are uniform, within the inverse root of
    how many come to a cell, as nn.RNN's are.
    """

    def __init__(self, connectome: Connectome, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.n = len(connectome.wiring.names)
        self.pattern = Pattern.of(connectome.wiring.weights)
        self.sources, self.targets = connectome.sources, connectome.targets
        rows, _ = connectome.wiring.weights.indices()
        fan_in = torch.bincount(rows, minlength=self.n)[rows]
        self.values = nn.Parameter(_uniform(fan_in.rsqrt(), generator))
        self.entering = nn.Parameter(_uniform(torch.full((len(self.sources), inputs), inputs**-0.5), generator))
        self.leaving = nn.Parameter(
            _uniform(torch.full((outputs, len(self.targets)), len(self.targets) ** -0.5), generator)
        )
        self.bias = nn.Parameter(torch.zeros(self.n))
        self.bias_out = nn.Parameter(torch.zeros(outputs))

    def weight_hh(self) -> Tensor | SparseWeight:
        """(n, n)."""
        return self.pattern.with_values(self.values)

    def hop(self, states: Tensor) -> Tensor:
        """W states, (n, count). PyTorch's own product of a CSR tensor takes twice as long here, and PyTorch 2.13 never
        frees 16 bytes a value for each step of such a chain whose gradient was taken."""
        return sparse_hop(self.values, *self.pattern.indices, states, 1.0, False)

    def weight_in(self) -> Tensor:
        """(n, inputs), with rows of zeros where nothing comes in."""
        return self.entering.new_zeros(self.n, self.entering.shape[1]).index_copy(0, self.sources, self.entering)

    def weight_out(self) -> Tensor:
        """(outputs, n), with columns of zeros where nothing is read."""
        return self.leaving.new_zeros(len(self.leaving), self.n).index_copy(1, self.targets, self.leaving)

    def forward(self, sequences: Tensor) -> Tensor:
        """(count, outputs) from (count, steps, inputs)."""
        driven = (sequences @ self.weight_in().T + self.bias).permute(1, 2, 0)  # (steps, n, count)
        states = torch.zeros_like(driven[0])
        for drive in driven:
            states = torch.tanh(self.hop(states) + drive)
        return (self.weight_out() @ states).T + self.bias_out


def _uniform(limits: Tensor, generator: torch.Generator) -> Tensor:
    return limits * (2 * torch.rand(limits.shape, generator=generator) - 1)


def _l1(network: MaskedRNN, steps: int) -> Callable[[], Tensor]:
    weights = network.values, network.entering, network.leaving
    return lambda: torch.stack([weight.abs().sum() for weight in weights]).sum()


def _walks(*, per_hop: bool) -> Callable[[MaskedRNN, int], Callable[[], Tensor]]:
    def make(network: MaskedRNN, steps: int) -> Callable[[], Tensor]:
        sides = network.weight_hh, network.weight_in, network.weight_out
        return rrnn_ext.ResolventPenalty.from_weights(*sides, hops=steps, per_hop=per_hop)

    return make


NONE = "none"
PENALTIES: Mapping[str, Callable[[MaskedRNN, int], Callable[[], Tensor]]] = {
    "L1": _l1,
    "R-RNN": _walks(per_hop=False),
    "R-RNN per hop": _walks(per_hop=True),
}


@dataclass(frozen=True)
class Record:
    """What was found of a trained network.

    Attributes:
        penalty, beta, seed: which one.
        wrong, cross_entropy: the share of wrong answers on test sequences, and their mean cross-entropy.
        walks: sum_m ||P_m||_1, and
        total: ||sum_m P_m||_1, of the walks from inputs to outputs.
        mean_lag, hoyer: of the hop profile.
        silent: the share of connections below SILENT in size.
    """

    penalty: str
    beta: float
    seed: int
    wrong: float
    cross_entropy: float
    walks: float
    total: float
    mean_lag: float
    hoyer: float
    silent: float


def train(connectome: Connectome, data: str, *, penalty: str, beta: float, seed: int, passes: int) -> Record:
    """A network of this seed, trained under a penalty (of PENALTIES, or NONE) and read. Networks of one seed start from
    the same weights and see the data in the same order."""
    training, test = examples(data)
    steps, inputs = training.sequences.shape[1:]
    generator = torch.Generator().manual_seed(seed)
    network = MaskedRNN(connectome, inputs, int(training.targets.max()) + 1, generator)
    penalised = None if penalty == NONE else PENALTIES[penalty](network, steps)
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, passes * -(-len(training.targets) // BATCH))
    for _ in range(passes):
        for chosen in torch.randperm(len(training.targets), generator=generator).split(BATCH):
            loss = functional.cross_entropy(network(training.sequences[chosen]), training.targets[chosen])
            if penalised is not None:
                loss = loss + beta * penalised()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return Record(penalty, beta, seed, **read(network, test))


def examples(data: str) -> tuple[Examples, Examples]:
    """For training and for tests: the numbers that the rates of the spike trains (of SPIKE_TRAINS) are, 1 being the
    highest."""
    trains = SPIKE_TRAINS[data]()
    training, test = (Examples(rates / HIGHEST, classes) for rates, classes in (trains.training, trains.test))
    return training, test


@torch.no_grad()
def read(network: MaskedRNN, test: Examples) -> dict[str, float]:
    """What a record has of a network."""
    answers = network(test.sequences)
    sides = network.weight_in(), network.weight_out()
    walks = rrnn_ext.hop_decomposition(network.weight_hh(), *sides, hops=test.sequences.shape[1])
    profile = hop_profile(walks)
    found = {
        "wrong": (answers.argmax(1) != test.targets).double().mean(),
        "cross_entropy": functional.cross_entropy(answers, test.targets),
        "walks": walks.abs().sum(),
        "total": walks.sum(0).abs().sum(),
        "mean_lag": mean_lag(profile),
        "hoyer": hoyer(profile),
        "silent": (network.values.abs() < SILENT).double().mean(),
    }
    return {name: value.item() for name, value in found.items()}

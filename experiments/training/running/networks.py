"""The networks, their penalties and their training.

Each network is an ``nn.RNN``, an ``nn.GRU`` or an ``nn.LSTM`` with a linear read-out of its last state. Networks of one
task and seed see the same data in the same order, and start from the same weights, under every penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn

import rrnn_ext
from experiments.tasks import modular

KINDS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
DRIVES = (0.25, 0.5, 2.0)
TASKS: dict[str, Callable[[], modular.Task]] = {
    **modular.TASKS,
    **{modular.driven(drive): partial(modular.multiplication, drive=drive) for drive in DRIVES},
}
"""The modular tasks, and multiplication that is more or less of a gate."""


@dataclass(frozen=True)
class Setting:
    """One network: its kind, task (of TASKS), penalty (of PENALTIES, or UNPENALISED), strength, seed, how it is
    trained, and its layers."""

    kind: str
    task: str
    penalty: str
    beta: float
    seed: int
    hidden: int
    updates: int
    batch: int = 64
    learning_rate: float = 0.003
    layers: int = 1


class Trained(nn.Module):
    """A recurrent module and its read-out."""

    def __init__(self, kind: str, inputs: int, hidden: int, outputs: int, layers: int = 1) -> None:
        super().__init__()
        self.rnn = KINDS[kind](inputs, hidden, layers, batch_first=True)
        self.readout = nn.Linear(hidden, outputs)

    def forward(self, sequences: Tensor) -> Tensor:
        outputs: Tensor = self.readout(self.rnn(sequences)[0][:, -1])
        return outputs


Penalty = Callable[[Tensor, Tensor], Tensor]
"""Of what the recurrent module was given and returned."""


def _l1(network: Trained, steps: int) -> Penalty:
    weights = [weight for name, weight in network.named_parameters() if "bias" not in name]
    return lambda x, out: torch.stack([weight.abs().sum() for weight in weights]).sum()


def _walks(*, running: bool, per_hop: bool, **options: object) -> Callable[[Trained, int], Penalty]:
    def make(network: Trained, steps: int) -> Penalty:
        penalty = rrnn_ext.ResolventPenalty(network.rnn, network.readout, hops=steps, per_hop=per_hop, **options)  # type: ignore[arg-type]
        return penalty if running else lambda x, out: penalty()

    return make


UNPENALISED = "none"
L1 = "L1"
WEIGHTS, WEIGHTS_PER_HOP = "R-RNN of the weights", "R-RNN of the weights, per hop"
NETWORK, NETWORK_PER_HOP = "R-RNN of the network", "R-RNN of the network, per hop"
COMPARED: dict[str, Callable[[Trained, int], Penalty]] = {
    L1: _l1,
    WEIGHTS: _walks(running=False, per_hop=False),
    WEIGHTS_PER_HOP: _walks(running=False, per_hop=True),
    NETWORK: _walks(running=True, per_hop=False),
    NETWORK_PER_HOP: _walks(running=True, per_hop=True),
}
THROUGH_GAINS_PER_HOP = "through gains, per hop"
MEAN_PER_HOP, THROUGH_MEAN_PER_HOP = "mean gains, per hop", "through mean gains, per hop"
GAINS: dict[str, Callable[[Trained, int], Penalty]] = {
    THROUGH_GAINS_PER_HOP: _walks(running=True, per_hop=True, detach_gains=False),
    MEAN_PER_HOP: _walks(running=True, per_hop=True, gains="mean"),
    THROUGH_MEAN_PER_HOP: _walks(running=True, per_hop=True, gains="mean", detach_gains=False),
}
"""R-RNN of the network with other gains than the default, those of 4 sequences as constants."""
PENALTIES = COMPARED | GAINS


def train(setting: Setting) -> Trained:
    """The trained network of a setting."""
    task = TASKS[setting.task]()
    sequences, targets = _training_set(setting.task, setting.seed)
    network = untrained(setting)
    penalty = None if setting.penalty == UNPENALISED else PENALTIES[setting.penalty](network, task.steps)
    optimiser = torch.optim.Adam(network.parameters(), setting.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, setting.updates)
    order = torch.Generator().manual_seed(setting.seed)
    for _ in range(setting.updates):
        chosen = torch.randint(len(sequences), (setting.batch,), generator=order)
        x = sequences[chosen]
        out, _ = network.rnn(x)
        loss = (network.readout(out[:, -1]) - targets[chosen]).square().mean()
        if penalty is not None:
            loss = loss + setting.beta * penalty(x, out)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network


def untrained(setting: Setting) -> Trained:
    """The network that a setting begins with; the global generator is left as it is."""
    task = TASKS[setting.task]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed)
        return Trained(setting.kind, task.inputs, setting.hidden, task.outputs, setting.layers)


@cache
def _training_set(task: str, seed: int) -> tuple[Tensor, Tensor]:
    return TASKS[task]().training_set(seed)

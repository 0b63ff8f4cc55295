"""Networks trained under the penalty of their weights and under that of the network as it ran, and what both read.

Each network is an ``nn.RNN``, an ``nn.GRU`` or an ``nn.LSTM`` with a linear read-out of its last state. Networks of one
task and seed see the same data in the same order, and start from the same weights, under every penalty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

import rrnn_ext
from experiments.tasks import modular
from rrnn_ext.reading import communication_sparsity, correlation

KINDS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
READ_ON = 1024  # test sequences


@dataclass(frozen=True)
class Setting:
    """One network: its kind, task, penalty (of PENALTIES, or "none"), strength, seed, how it is trained, its layers."""

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


@dataclass(frozen=True)
class Record:
    """What was found of a trained network.

    Attributes:
        setting: which one.
        error: mean squared error of the test sequences, whose targets have variance 1.
        correlation, relative_error: of the walks of the mean step Jacobians with the mean Jacobian dy_T / dx_{T-m},
            over all outputs, inputs and lags; the error is that of the Frobenius norm.
        by_weights: the correlation of the weights' walks, of a gated network summed over the gates, with the same.
        strength, strength_in_total: sum |J_m| over all lags, and |sum_m J_m|, of the mean Jacobians J.
        off_optimum: the share of sum |J_m| on pathways that the optimum does not have.
        saturated: the share of hidden states beyond 0.9 in size.
        weights: sum of all |weights|.
    """

    setting: Setting
    error: float
    correlation: float
    relative_error: float
    by_weights: float
    strength: float
    strength_in_total: float
    off_optimum: float
    saturated: float
    weights: float


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


PENALTIES: dict[str, Callable[[Trained, int], Penalty]] = {
    "L1": _l1,
    "R-RNN of the weights": _walks(running=False, per_hop=False),
    "R-RNN of the weights, per hop": _walks(running=False, per_hop=True),
    "R-RNN of the network": _walks(running=True, per_hop=False),
    "R-RNN of the network, per hop": _walks(running=True, per_hop=True),
    "R-RNN of the network, through gains": _walks(running=True, per_hop=False, detach_gains=False),
    "R-RNN of the network, through gains, per hop": _walks(running=True, per_hop=True, detach_gains=False),
}
GAINS: dict[str, Callable[[Trained, int], Penalty]] = {
    "mean gains, per hop": _walks(running=True, per_hop=True, gains="mean"),
    "mean gains, through gains, per hop": _walks(running=True, per_hop=True, gains="mean", detach_gains=False),
}
"""Gains of the mean over the batch, in place of 4 sequences."""


def train(setting: Setting) -> Record:
    """The network of a setting, trained and read."""
    task = modular.TASKS[setting.task]()
    sequences, targets = _training_set(setting.task, setting.seed)
    torch.manual_seed(setting.seed)
    network = Trained(setting.kind, task.inputs, setting.hidden, task.outputs, setting.layers)
    penalty = None if setting.penalty == "none" else (PENALTIES | GAINS)[setting.penalty](network, task.steps)
    optimiser = torch.optim.Adam(network.parameters(), setting.learning_rate)
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
    return _read(setting, network, task)


def _read(setting: Setting, network: Trained, task: modular.Task) -> Record:
    sequences, targets = _test_set(setting.task)
    jacobian = mean_jacobian(network, sequences[:READ_ON])
    reading = rrnn_ext.ResolventPenalty(network.rnn, network.readout, hops=task.steps)
    with torch.no_grad():
        error = (network(sequences) - targets).square().mean().item()
        x = sequences[:READ_ON]
        out, _ = network.rnn(x)
        walks = reading.hop_decomposition(x, out)
        of_weights = reading.hop_decomposition().reshape(-1, *walks.shape).sum(0)
        return Record(
            setting,
            error=error,
            correlation=correlation(walks, jacobian, dims=3).item(),
            relative_error=((walks - jacobian).norm() / jacobian.norm()).item(),
            by_weights=correlation(of_weights, jacobian, dims=3).item(),
            strength=jacobian.abs().sum().item(),
            strength_in_total=jacobian.sum(0).abs().sum().item(),
            off_optimum=communication_sparsity(jacobian, task.optimal_walks, dims=3).item(),
            saturated=(out.abs() > 0.9).float().mean().item(),
            weights=sum(weight.abs().sum().item() for weight in network.parameters() if weight.dim() > 1),
        )


@cache
def _training_set(task: str, seed: int) -> tuple[Tensor, Tensor]:
    return modular.TASKS[task]().training_set(seed)


@cache
def _test_set(task: str) -> tuple[Tensor, Tensor]:
    return modular.TASKS[task]().test_set()


def mean_jacobian(network: nn.Module, sequences: Tensor) -> Tensor:
    """(steps, o, i) by lag: the mean of dy_T / dx_{T-m} over the sequences."""
    x = sequences.clone().requires_grad_()
    totals = network(x).sum(0)
    by_output = [torch.autograd.grad(total, x, retain_graph=True)[0].mean(0) for total in totals]
    return torch.stack(by_output, 1).flip(0)


def grid(
    kinds: Sequence[str], tasks: Sequence[str], betas: Sequence[float], seeds: int, *, hidden: int, updates: int
) -> list[Setting]:
    """All settings, seed by seed: what is there of an unfinished run is whole seeds. Other gains than the default have
    the largest strength alone."""
    penalties = [("none", 0.0), *((penalty, beta) for beta in betas for penalty in PENALTIES)]
    penalties += [(penalty, max(betas)) for penalty in GAINS]
    return [
        Setting(kind, task, penalty, beta, seed, hidden, updates)
        for seed in range(seeds)
        for penalty, beta in penalties
        for task in tasks
        for kind in kinds
    ]


def run(path: Path, settings: Sequence[Setting]) -> Iterator[Record]:
    """The records of the settings, one after another; what ``path`` has of them is not trained again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {record.setting: record for record in read(path)} if path.exists() else {}
    for setting in settings:
        record = done.get(setting)
        if record is None:
            record = train(setting)
            with path.open("a") as file:
                file.write(json.dumps(asdict(record)) + "\n")
        yield record


def read(path: Path) -> list[Record]:
    """What a file holds."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [Record(**{**line, "setting": Setting(**line["setting"])}) for line in lines]

"""A vanilla RNN with a linear read-out, and its training under a penalty."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

LEARNING_RATE = 5e-3
BATCH = 256


class Network(nn.Module):
    """tanh RNN and linear read-out of its last state: (count, steps, inputs) to (count, outputs)."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(inputs, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, outputs)

    def forward(self, sequences: Tensor) -> Tensor:
        states, _ = self.rnn(sequences)
        return self.readout(states[:, -1])

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """weight_hh (hidden, hidden), weight_in (hidden, inputs), weight_out (outputs, hidden)."""
        return self.rnn.get_parameter("weight_hh_l0"), self.rnn.get_parameter("weight_ih_l0"), self.readout.weight


def new_network(inputs: int, hidden: int, outputs: int, *, seed: int) -> Network:
    """PyTorch's default initialisation, drawn from ``seed`` without touching the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(inputs, hidden, outputs)


def train(
    network: Network,
    sequences: Tensor,
    labels: Tensor,
    *,
    penalty: Callable[[], Tensor] | None,
    strength: float,
    epochs: int,
    seed: int,
) -> None:
    """Minimise cross-entropy + ``strength`` * ``penalty()`` by Adam, in place; ``seed`` orders the batches.

    The learning rate falls to zero along a cosine: at a constant rate the subgradient of an absolute value
    keeps small weights jumping across zero by a step's length, which would be held against the penalty.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=epochs)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels), generator=order).split(BATCH):
            loss = nn.functional.cross_entropy(network(sequences[batch]), labels[batch])
            if penalty is not None:
                loss = loss + strength * penalty()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()


@torch.no_grad()
def accuracy(network: Network, sequences: Tensor, labels: Tensor) -> float:
    """Share of the sequences whose label gets the largest output."""
    return (network(sequences).argmax(-1) == labels).float().mean().item()

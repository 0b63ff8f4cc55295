"""A training step of nn.RNN and a linear read-out, forward and backward, without a penalty and with each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

import rrnn_ext
from benchmarks import peers
from benchmarks.peers import Penalty
from benchmarks.race import OURS

STEP = "the step alone"
BATCH, STEPS, INPUTS, CLASSES = 64, 20, 16, 8
BETA = 1e-3


def shape(n: int) -> Mapping[str, int]:
    return {"n": n, "i": INPUTS, "o": CLASSES, "hops": STEPS, "batch": BATCH}


def contenders(n: int, device: torch.device) -> Mapping[str, Callable[[], None]]:
    """Named calls, each of which takes the gradient by all parameters once."""
    torch.manual_seed(0)
    rnn, readout = nn.RNN(INPUTS, n, batch_first=True).to(device), nn.Linear(n, CLASSES).to(device)
    parameters = [*rnn.parameters(), *readout.parameters()]
    # Drawn on the CPU: a peer whose capture failed may have left the device's generator in a state that refuses.
    sequences = torch.randn(BATCH, STEPS, INPUTS).to(device)
    labels = torch.randint(CLASSES, (BATCH,)).to(device)
    weights = (rnn.get_parameter("weight_hh_l0"), rnn.get_parameter("weight_ih_l0"), readout.weight)

    def task_loss() -> Tensor:
        states, _ = rnn(sequences)
        return nn.functional.cross_entropy(readout(states[:, -1]), labels)

    def step() -> None:
        torch.autograd.grad(task_loss(), parameters)

    def step_with(penalty: Penalty) -> Callable[[], None]:
        def with_penalty() -> None:
            torch.autograd.grad(task_loss() + BETA * penalty(*weights, hops=STEPS), parameters)

        return with_penalty

    return {
        OURS: step_with(rrnn_ext.resolvent_penalty),
        STEP: step,
        "horner_from_outputs": step_with(peers.horner_from_outputs),
    }

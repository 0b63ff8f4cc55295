"""A training step of nn.RNN and a linear read-out, forward and backward, without a penalty and with each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

import rrnn_ext
from benchmarks import peers
from benchmarks.names import COMPILED, COMPILED_WITH, DIRECT, OURS, STEP

BATCH, STEPS, INPUTS, CLASSES = 64, 20, 16, 8
BETA = 1e-3


def shape(n: int) -> Mapping[str, int]:
    return {"n": n, "i": INPUTS, "o": CLASSES, "hops": STEPS, "batch": BATCH}


class Training:
    """The network, its data and its penalty, on a device."""

    def __init__(self, n: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.rnn, self.readout = nn.RNN(INPUTS, n, batch_first=True).to(device), nn.Linear(n, CLASSES).to(device)
        self.parameters = [*self.rnn.parameters(), *self.readout.parameters()]
        self.sequences = torch.randn(BATCH, STEPS, INPUTS).to(device)
        self.labels = torch.randint(CLASSES, (BATCH,)).to(device)
        self.penalty = rrnn_ext.ResolventPenalty(self.rnn, self.readout, hops=STEPS)

    def task_loss(self) -> Tensor:
        states, _ = self.rnn(self.sequences)
        return nn.functional.cross_entropy(self.readout(states[:, -1]), self.labels)

    def with_penalty(self) -> Tensor:
        return self.task_loss() + BETA * self.penalty()

    def with_horner(self) -> Tensor:
        weights = (self.rnn.get_parameter("weight_hh_l0"), self.rnn.get_parameter("weight_ih_l0"), self.readout.weight)
        return self.task_loss() + BETA * peers.horner_from_outputs(*weights, hops=STEPS)

    def step_of(self, loss: Callable[[], Tensor]) -> Callable[[], None]:
        def step() -> None:
            torch.autograd.grad(loss(), self.parameters)

        return step

    def step_and_direct(self) -> None:
        gradients = torch.autograd.grad(self.task_loss(), self.parameters)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.penalty.accumulate_grad(BETA)

    def contenders(self, *, compile_too: bool = False) -> dict[str, Callable[[], None]]:
        """Named calls, each of which takes the gradient by all parameters once; also the step under torch.compile."""
        found = {
            OURS: self.step_of(self.with_penalty),
            DIRECT: self.step_and_direct,
            STEP: self.step_of(self.task_loss),
            "horner_from_outputs": self.step_of(self.with_horner),
        }
        if compile_too:
            torch._dynamo.reset()
            found[COMPILED + STEP] = self.step_of(torch.compile(self.task_loss))
            found[COMPILED_WITH] = self.step_of(torch.compile(self.with_penalty))
        return found

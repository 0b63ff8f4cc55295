"""A training step of nn.RNN and a linear read-out, forward and backward, without a penalty and with each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

import rrnn_ext
from benchmarks import peers
from benchmarks.race import COMPILED, DIRECT, OURS

STEP = "the step alone"
COMPILED_WITH = COMPILED + "step with the penalty in it"
BATCH, STEPS, INPUTS, CLASSES = 64, 20, 16, 8
BETA = 1e-3


def shape(n: int) -> Mapping[str, int]:
    return {"n": n, "i": INPUTS, "o": CLASSES, "hops": STEPS, "batch": BATCH}


def contenders(n: int, device: torch.device, *, compile_too: bool = False) -> Mapping[str, Callable[[], None]]:
    """Named calls, each of which takes the gradient by all parameters once; the step under torch.compile as well."""
    torch.manual_seed(0)
    rnn, readout = nn.RNN(INPUTS, n, batch_first=True).to(device), nn.Linear(n, CLASSES).to(device)
    parameters = [*rnn.parameters(), *readout.parameters()]
    # Drawn on the CPU: a peer whose capture failed may have left the device's generator in a state that refuses.
    sequences = torch.randn(BATCH, STEPS, INPUTS).to(device)
    labels = torch.randint(CLASSES, (BATCH,)).to(device)
    weights = (rnn.get_parameter("weight_hh_l0"), rnn.get_parameter("weight_ih_l0"), readout.weight)
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS)

    def task_loss() -> Tensor:
        states, _ = rnn(sequences)
        return nn.functional.cross_entropy(readout(states[:, -1]), labels)

    def with_penalty() -> Tensor:
        return task_loss() + BETA * penalty()

    def with_horner() -> Tensor:
        return task_loss() + BETA * peers.horner_from_outputs(*weights, hops=STEPS)

    def step_of(loss: Callable[[], Tensor]) -> Callable[[], None]:
        def step() -> None:
            torch.autograd.grad(loss(), parameters)

        return step

    def step_and_direct() -> None:
        gradients = torch.autograd.grad(task_loss(), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        penalty.accumulate_grad(BETA)

    found = {
        OURS: step_of(with_penalty),
        DIRECT: step_and_direct,
        STEP: step_of(task_loss),
        "horner_from_outputs": step_of(with_horner),
    }
    if compile_too:
        torch._dynamo.reset()
        found[COMPILED + STEP] = step_of(torch.compile(task_loss))
        found[COMPILED_WITH] = step_of(torch.compile(with_penalty))
    return found

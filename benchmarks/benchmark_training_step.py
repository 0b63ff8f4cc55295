"""What the penalty adds to a training step: an nn.RNN with a linear read-out, forward and backward."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

import rrnn_ext
from benchmarks import peers
from benchmarks.device import DEVICE
from benchmarks.race import OURS, Race, in_turn
from benchmarks.report import STEP, TRAINING_STEP, Ledger

BATCH, STEPS, INPUTS, CLASSES = 64, 20, 16, 8
BETA = 1e-3


@pytest.mark.quick
@pytest.mark.parametrize("n", [256, 512, 1024])
def test_training_step(benchmark: BenchmarkFixture, ledger: Ledger, n: int) -> None:
    torch.manual_seed(0)
    rnn = nn.RNN(INPUTS, n, batch_first=True).to(DEVICE)
    readout = nn.Linear(n, CLASSES).to(DEVICE)
    parameters = [*rnn.parameters(), *readout.parameters()]
    sequences = torch.randn(BATCH, STEPS, INPUTS, device=DEVICE)
    labels = torch.randint(CLASSES, (BATCH,), device=DEVICE)
    weights = (rnn.get_parameter("weight_hh_l0"), rnn.get_parameter("weight_ih_l0"), readout.weight)

    def task_loss() -> Tensor:
        states, _ = rnn(sequences)
        return nn.functional.cross_entropy(readout(states[:, -1]), labels)

    def step() -> None:
        torch.autograd.grad(task_loss(), parameters)

    def step_with_ours() -> None:
        penalty = rrnn_ext.resolvent_penalty(*weights, hops=STEPS)
        torch.autograd.grad(task_loss() + BETA * penalty, parameters)

    def step_with_peer() -> None:
        penalty = peers.horner_from_outputs(*weights, hops=STEPS)
        torch.autograd.grad(task_loss() + BETA * penalty, parameters)

    shape = {"n": n, "i": INPUTS, "o": CLASSES, "hops": STEPS, "batch": BATCH}
    contenders = {OURS: step_with_ours, STEP: step, "horner_from_outputs": step_with_peer}
    ledger.add(Race(TRAINING_STEP, shape, in_turn(benchmark, contenders)))

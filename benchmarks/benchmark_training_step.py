"""What the penalty adds to a training step: an nn.RNN with a linear read-out, forward and backward."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import training_step
from benchmarks.device import DEVICE
from benchmarks.ledger import Ledger
from benchmarks.names import TRAINING_STEP
from benchmarks.race import Race, in_turn


@pytest.mark.quick
@pytest.mark.parametrize("n", [256, 512, 1024])
def test_training_step(benchmark: BenchmarkFixture, ledger: Ledger, n: int) -> None:
    contenders = training_step.Training(n, DEVICE).contenders(compile_too=n == 256)
    ledger.add(Race(TRAINING_STEP, training_step.shape(n), in_turn(benchmark, contenders)))

"""The paper's penalty of many small networks at once."""

from __future__ import annotations

import functools

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import rrnn_ext
from benchmarks import floors, peers, problems
from benchmarks.ledger import Ledger
from benchmarks.names import THIN_BATCH
from benchmarks.race import race


@pytest.mark.quick
@pytest.mark.parametrize(
    ("batch", "n", "i", "o", "hops"), [(64, 64, 16, 8, 20), (30, 64, 8, 10, 8), (256, 32, 4, 4, 20)]
)
def test_thin_batch(benchmark: BenchmarkFixture, ledger: Ledger, batch: int, n: int, i: int, o: int, hops: int) -> None:
    names = ("horner_batched", "horner_batched_from_inputs")
    ledger.add(
        race(
            benchmark,
            THIN_BATCH,
            {"batch": batch, "n": n, "i": i, "o": o, "hops": hops},
            functools.partial(rrnn_ext.resolvent_penalty, hops=hops),
            {name: functools.partial(getattr(peers, name), hops=hops) for name in names},
            problems.thin(n, i, o, (batch,)),
            compile_among=names,
            in_jax=("horner_from_outputs", "horner_from_outputs_scan", "horner_from_inputs_scan"),
            direct=functools.partial(rrnn_ext.accumulate_penalty_grad, hops=hops),
            work=floors.thin_total(n, i, o, hops, batch),
        )
    )

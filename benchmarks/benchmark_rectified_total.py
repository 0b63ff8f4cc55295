"""The rectified penalty: |weights|, total, l1, over L hops."""

from __future__ import annotations

import functools

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import rrnn_ext
from benchmarks import floors, peers, problems
from benchmarks.ledger import Ledger
from benchmarks.names import RECTIFIED
from benchmarks.race import race


@pytest.mark.quick
def test_rectified_total(benchmark: BenchmarkFixture, ledger: Ledger) -> None:
    n, i, o, hops = 1024, 16, 8, 20
    ledger.add(
        race(
            benchmark,
            RECTIFIED,
            {"n": n, "i": i, "o": o, "hops": hops},
            functools.partial(rrnn_ext.resolvent_penalty, hops=hops, rectify=True),
            {
                "rectified_loop": functools.partial(peers.rectified_loop, hops=hops),
                "horner_from_inputs": peers.rectified(functools.partial(peers.horner_from_inputs, hops=hops)),
                "horner_from_outputs": peers.rectified(functools.partial(peers.horner_from_outputs, hops=hops)),
            },
            problems.rectified_thin(n, i, o),
            compile_among=("rectified_loop", "horner_from_inputs", "horner_from_outputs"),
            in_jax=("rectified_loop", "rectified_loop_scan"),
            direct=functools.partial(rrnn_ext.accumulate_penalty_grad, hops=hops, rectify=True),
            work=floors.rectified_total(n, hops),
        )
    )

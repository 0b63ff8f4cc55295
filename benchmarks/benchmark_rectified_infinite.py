"""The rectified penalty over walks of every length."""

from __future__ import annotations

import functools

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import rrnn_ext
from benchmarks import floors, peers, problems
from benchmarks.ledger import Ledger
from benchmarks.names import RECTIFIED_INFINITE
from benchmarks.race import race


@pytest.mark.quick
def test_rectified_infinite(benchmark: BenchmarkFixture, ledger: Ledger) -> None:
    n, i, o = 1024, 16, 8
    ledger.add(
        race(
            benchmark,
            RECTIFIED_INFINITE,
            {"n": n, "i": i, "o": o},
            functools.partial(rrnn_ext.resolvent_penalty, hops=None, rectify=True),
            {"inverse": peers.rectified(peers.inverse), "solve": peers.rectified(peers.solve)},
            problems.rectified_thin(n, i, o),
            compile_among=("inverse", "solve"),
            in_jax=("rectified_solve",),
            work=floors.rectified_infinite(n),
        )
    )

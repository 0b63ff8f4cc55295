"""The signed penalty over walks of every length, from inputs to outputs of a large network."""

from __future__ import annotations

import functools

from pytest_benchmark.fixture import BenchmarkFixture

import rrnn_ext
from benchmarks import floors, peers, problems
from benchmarks.ledger import Ledger
from benchmarks.names import THIN_INFINITE
from benchmarks.race import race


def test_thin_infinite(benchmark: BenchmarkFixture, ledger: Ledger) -> None:
    n, i, o = 4096, 16, 8
    ledger.add(
        race(
            benchmark,
            THIN_INFINITE,
            {"n": n, "i": i, "o": o},
            functools.partial(rrnn_ext.resolvent_penalty, hops=None),
            {"solve": peers.solve},
            problems.thin(n, i, o),
            work=floors.thin_infinite(n, i, o),
            min_rounds=3,
        )
    )

"""The penalty between all pairs of hidden units, over walks of every length: many small matrices, and a large one."""

from __future__ import annotations

import functools

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import rrnn_ext
from benchmarks import floors, peers, problems
from benchmarks.ledger import Ledger
from benchmarks.names import ALL_PAIRS_INFINITE
from benchmarks.race import race


@pytest.mark.quick
@pytest.mark.parametrize(("batch", "n"), [(64, 64), (1, 1024)])
def test_all_pairs_infinite(benchmark: BenchmarkFixture, ledger: Ledger, batch: int, n: int) -> None:
    ledger.add(
        race(
            benchmark,
            ALL_PAIRS_INFINITE,
            {"batch": batch, "n": n},
            functools.partial(rrnn_ext.resolvent_penalty, hops=None),
            {"inverse": peers.inverse_all_pairs, "solve": peers.solve_all_pairs},
            problems.all_pairs(n, (batch,) if batch > 1 else ()),
            compile_among=("inverse", "solve"),
            in_jax=("inverse_all_pairs",),
            work=floors.all_pairs_infinite(n, batch),
            # Of n^2 entries of R some lie within rounding of zero, and their signs are anybody's.
            gradient_rtol=2e-2,
        )
    )

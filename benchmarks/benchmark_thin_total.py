"""The paper's penalty: signed, total, l1, from i inputs to o outputs over L hops."""

from __future__ import annotations

import functools

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import rrnn_ext
from benchmarks import floors, peers, problems
from benchmarks.race import race
from benchmarks.report import THIN, Ledger

SIZES = (64, 128, 256, 512, 1024, 2048)
SIDES = ((1, 1), (8, 4), (16, 8), (32, 32))
HOPS = (10, 20, 50)

# Beyond this the powers of the whole adjacency take ten times as long as either Horner and more.
ADJACENCY_UP_TO = 256


def _cell(n: int, side: tuple[int, int], hops: int) -> object:
    quick = n in (64, 256, 1024) and side in ((1, 1), (16, 8)) and hops == 20
    return pytest.param(n, *side, hops, marks=[pytest.mark.quick] if quick else [])


@pytest.mark.parametrize(
    ("n", "i", "o", "hops"), [_cell(n, side, hops) for n in SIZES for side in SIDES for hops in HOPS]
)
def test_thin_total(benchmark: BenchmarkFixture, ledger: Ledger, n: int, i: int, o: int, hops: int) -> None:
    names = ("horner_from_inputs", "horner_from_outputs", *(["adjacency_powers"] if n <= ADJACENCY_UP_TO else []))
    ledger.add(
        race(
            benchmark,
            THIN,
            {"n": n, "i": i, "o": o, "hops": hops},
            functools.partial(rrnn_ext.resolvent_penalty, hops=hops),
            {name: functools.partial(getattr(peers, name), hops=hops) for name in names},
            problems.thin(n, i, o),
            compile_among=("horner_from_inputs", "horner_from_outputs"),
            work=floors.thin_total(n, i, o, hops),
        )
    )

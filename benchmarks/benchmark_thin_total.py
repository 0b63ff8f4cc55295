"""The paper's penalty: signed, total, l1, from i inputs to o outputs over L hops."""

from __future__ import annotations

import functools

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import rrnn_ext
from benchmarks import floors, peers, problems
from benchmarks.ledger import Ledger
from benchmarks.names import THIN
from benchmarks.race import race

SIZES = (64, 128, 256, 512, 1024, 2048)
SIDES = ((1, 1), (8, 4), (16, 8), (32, 32))
HOPS = (10, 20, 50)

# Where the powers of the whole adjacency take part: they are the slowest everywhere, and by far for larger n.
ADJACENCY_AT = {"n": 256, "hops": 20}


def _cell(n: int, side: tuple[int, int], hops: int) -> object:
    quick = n in (64, 256, 1024) and side in ((1, 1), (16, 8)) and hops in ((10,) if n == 64 else (20,))
    return pytest.param(n, *side, hops, marks=[pytest.mark.quick] if quick else [])


@pytest.mark.parametrize(
    ("n", "i", "o", "hops"), [_cell(n, side, hops) for n in SIZES for side in SIDES for hops in HOPS]
)
def test_thin_total(benchmark: BenchmarkFixture, ledger: Ledger, n: int, i: int, o: int, hops: int) -> None:
    names = ["horner_from_inputs", "horner_from_outputs"]
    shape = {"n": n, "i": i, "o": o, "hops": hops}
    if ADJACENCY_AT.items() <= shape.items():
        names.append("adjacency_powers")
    ledger.add(
        race(
            benchmark,
            THIN,
            shape,
            functools.partial(rrnn_ext.resolvent_penalty, hops=hops),
            {name: functools.partial(getattr(peers, name), hops=hops) for name in names},
            problems.thin(n, i, o),
            compile_among=("horner_from_inputs", "horner_from_outputs"),
            in_jax=("horner_from_outputs", "horner_from_outputs_scan", "horner_from_inputs_scan"),
            direct=functools.partial(rrnn_ext.accumulate_penalty_grad, hops=hops),
            work=floors.thin_total(n, i, o, hops),
        )
    )

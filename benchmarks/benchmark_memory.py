"""What value and gradient need beyond the weights and the gradient of weight_hh."""

from __future__ import annotations

import pytest

from benchmarks.ledger import Ledger, Memory
from benchmarks.memory import HOPS, INPUTS, OUTPUTS, PENALTIES, N, extra_floats


@pytest.mark.quick
def test_memory(ledger: Ledger) -> None:
    shape = {"n": N, "i": INPUTS, "o": OUTPUTS, "hops": HOPS}
    ledger.add(Memory(shape, {name: extra_floats(name) for name in PENALTIES}))

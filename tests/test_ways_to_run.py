"""Every call in every way to run PyTorch: the right value and derivatives, or the error of docs/ways-to-run.md."""

from __future__ import annotations

import pytest
import ways_derivatives
import ways_graphs
import ways_modes
import ways_weights
from ways import WAYS, Call, Way

MODULES = (ways_derivatives, ways_modes, ways_weights, ways_graphs)  # each registers its ways


@pytest.mark.parametrize(
    ("way", "call"),
    [pytest.param(way, call, id=f"{way.name}-{call.name}") for way in WAYS.values() for call in way.calls],
)
def test_every_call_in_every_way(way: Way, call: Call) -> None:
    way.run(call)

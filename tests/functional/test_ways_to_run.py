"""Every call in every way to run PyTorch: the right value and derivatives, or the error of docs/ways-to-run.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support import ways_derivatives, ways_graphs, ways_modes, ways_weights
from support.device import DEVICE
from support.ways import CALLS, DIVERGING, WAYS, Call, Way

import rrnn_ext

MODULES = (ways_derivatives, ways_weights, ways_modes, ways_graphs)  # each registers its ways
PAGE = (Path(__file__).parents[2] / "docs" / "ways-to-run.md").read_text(encoding="utf-8")
WITHOUT_VALUES = ("`FakeTensorMode`", "meta tensors", "`torch.fx.symbolic_trace`")  # nothing there could diverge


@pytest.fixture(autouse=True)
def settings_left_alone() -> Iterator[None]:
    """A way puts back what it sets."""
    before = _settings()
    yield
    after = _settings()
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)
    assert after == before


def _settings() -> tuple[object, ...]:
    return (
        torch.get_default_device(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.is_anomaly_enabled(),
        torch.is_autocast_enabled(DEVICE.type),
    )


@pytest.mark.parametrize(
    ("way", "call"),
    [pytest.param(way, call, id=f"{way.name}-{call.name}") for way in WAYS.values() for call in way.calls],
)
def test_every_call_in_every_way(way: Way, call: Call) -> None:
    way.run(call)


@pytest.mark.skipif(DEVICE.type == "cuda", reason="there the error comes with a later sum")
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, id=name)
        for name, way in WAYS.items()
        if any(call.name == "infinite" for call in way.calls)
        and name not in WITHOUT_VALUES
        and "`fork`" not in name
        and ("compile" not in name or "fullgraph" in name)  # one of those that take a second
    ],
)
def test_a_sum_that_diverges_is_an_error_in_every_way(way: Way) -> None:
    with pytest.raises(rrnn_ext.ResolventDivergenceError):
        way.run(DIVERGING)


def rows(heading: str) -> dict[str, str]:
    """The second column of a table by its first."""
    _, after = PAGE.split(f"| {heading} |", 1)
    lines = after.split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {name: holds for name, holds, *_ in cells}


def test_the_page_has_every_way() -> None:
    assert sorted(rows("way")) == sorted(WAYS)


def test_the_page_has_every_call() -> None:
    assert list(rows("call")) == [call.name for call in CALLS]


def test_the_page_has_the_errors() -> None:
    for name, holds in rows("way").items():
        error = WAYS[name].error
        assert re.findall(r"`(\w+Error)`", holds) == ([] if error is None else [error.__name__]), name

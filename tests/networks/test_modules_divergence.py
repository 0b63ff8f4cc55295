"""Where a sum of a module diverges, the error says in which of its graphs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rrnn_ext import ResolventDivergenceError, ResolventPenalty

GATES = {nn.GRU: ("reset", "update", "new"), nn.LSTM: ("input", "forget", "cell", "output")}


def quiet(module: nn.Module) -> None:
    """Every sum of its graphs converges."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.1)


def loud(weight: Tensor, rows: slice = slice(None)) -> None:
    with torch.no_grad():
        weight[rows] += 2 * torch.eye(weight.shape[-1])


def message(penalty: ResolventPenalty) -> str:
    with pytest.raises(ResolventDivergenceError) as caught:
        penalty()
    assert caught.value.where
    assert f"({caught.value.where})" in str(caught.value)
    return caught.value.where


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("cell", [False, True], ids=["module", "cell"])
@pytest.mark.parametrize(("kind", "gate"), [(kind, gate) for kind, gates in GATES.items() for gate in gates])
def test_the_gate(kind: Any, gate: str, cell: bool, rectify: bool) -> None:
    rnn = {nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell}[kind](2, 4) if cell else kind(2, 4)
    quiet(rnn)
    penalty = ResolventPenalty(rnn, nn.Linear(4, 3), hops=None, rectify=rectify)
    penalty()
    at = GATES[kind].index(gate)
    loud(rnn.get_parameter("weight_hh" if cell else "weight_hh_l0"), slice(4 * at, 4 * at + 4))
    assert message(penalty) == f"{gate} gate"


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_direction(direction: str) -> None:
    rnn = nn.RNN(2, 4, bidirectional=True)
    quiet(rnn)
    loud(rnn.get_parameter("weight_hh_l0" + ("" if direction == "forward" else "_reverse")))
    assert message(ResolventPenalty(rnn, hops=None)) == f"direction {direction}"


@pytest.mark.parametrize(("layer", "suffix"), [(0, ""), (0, "_reverse"), (1, ""), (1, "_reverse")])
def test_the_choice_of_directions(layer: int, suffix: str) -> None:
    rnn = nn.GRU(2, 4, 2, bidirectional=True)
    quiet(rnn)
    loud(rnn.get_parameter(f"weight_hh_l{layer}{suffix}"), slice(8, 12))
    where = message(ResolventPenalty(rnn, nn.Linear(8, 3), hops=None))
    directions, tail = where.removeprefix("directions ").split(" in layers 0 to 1, ")
    assert directions.split(", ")[layer] == ("backward" if suffix else "forward")
    assert tail == f"new gate, layer {layer}"


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_layer(layer: int, kind: Any, rectify: bool) -> None:
    rnn = kind(2, 4, 3)
    quiet(rnn)
    loud(rnn.get_parameter(f"weight_hh_l{layer}"), slice(0, 4))
    where = message(ResolventPenalty(rnn, hops=None, rectify=rectify))
    assert where == ("" if kind is nn.RNN else "input gate, ") + f"layer {layer}"


def test_a_number_that_is_negative_counts_by_its_size() -> None:
    rnn = nn.RNN(2, 1, 2)
    with torch.no_grad():
        rnn.get_parameter("weight_hh_l0").fill_(0.9)
        rnn.get_parameter("weight_hh_l1").fill_(-1.5)
    assert message(ResolventPenalty(rnn, hops=None)) == "layer 1"
    assert message(ResolventPenalty(rnn, hops=None, rectify=True)) == "layer 1"


@pytest.mark.parametrize(("entry", "batch", "text"), [((2,), (4,), "entry 2"), ((1, 0), (2, 3), "entry 1, 0")])
def test_the_entry(entry: tuple[int, ...], batch: tuple[int, ...], text: str) -> None:
    weights = torch.zeros(*batch, 3, 3)
    weights[entry] = 2 * torch.eye(3)
    assert message(ResolventPenalty.from_weights(weights, torch.ones(3, 2), hops=None)) == f"{text} of the batch"


def test_of_one_graph_there_is_nothing_to_say() -> None:
    rnn = nn.RNN(2, 4)
    loud(rnn.get_parameter("weight_hh_l0"))
    with pytest.raises(ResolventDivergenceError) as caught:
        ResolventPenalty(rnn, hops=None)()
    assert caught.value.where == ""

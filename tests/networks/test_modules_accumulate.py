"""ResolventPenalty.accumulate_grad against the loss and backward, for modules of every kind."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import rrnn_ext
from rrnn_ext import ResolventPenalty, _accumulate, networks
from rrnn_ext.ops.penalty_value_and_grad import accumulate

STRENGTH = 0.25
HOPS = 6

MODULES: dict[str, Callable[[], nn.Module]] = {
    "rnn": lambda: nn.RNN(4, 6),
    "gru": lambda: nn.GRU(4, 6),
    "lstm": lambda: nn.LSTM(4, 6),
    "rnn cell": lambda: nn.RNNCell(4, 6),
    "gru cell": lambda: nn.GRUCell(4, 6),
    "lstm cell": lambda: nn.LSTMCell(4, 6),
    "stack": lambda: nn.GRU(4, 6, 2),
    "both directions": lambda: nn.RNN(4, 6, bidirectional=True),
    "stack of both directions": lambda: nn.LSTM(4, 6, 2, bidirectional=True),
    "projected": lambda: nn.LSTM(4, 6, proj_size=3),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "total": {},
    "per hop": {"per_hop": True, "norm": "l2", "hop_weights": torch.linspace(1, -1, HOPS)},
    "rectified": {"rectify": True, "alpha": 0.5},
    "infinite": {"hops": None, "alpha": 0.2},
    "pairs": {"pair_weights": torch.rand(3, 4, generator=torch.Generator().manual_seed(0))},
}
# One layer in one direction: a native call for all of its gates.
BY_ONE_OP = [name for name in MODULES if not name.startswith(("stack", "both", "projected"))]


class Network(nn.Module):
    def __init__(self, rnn: Any, dtype: torch.dtype = torch.float64, *, has_readout: bool = True) -> None:
        super().__init__()
        outputs = (getattr(rnn, "proj_size", 0) or rnn.hidden_size) * (2 if getattr(rnn, "bidirectional", False) else 1)
        self.rnn, self.readout = rnn, nn.Linear(outputs, 3) if has_readout else None
        self.to(dtype)

    def penalty(self, **options: Any) -> ResolventPenalty:
        return ResolventPenalty(self.rnn, self.readout, **{"hops": HOPS, **options})


def grads(network: nn.Module) -> dict[str, Tensor | None]:
    return {name: each.grad for name, each in network.named_parameters()}


def both_ways(network: Any, fill: float | None, *run: Any, **options: Any) -> None:
    """The same by the loss and by hand, on top of what is in .grad."""
    by_loss, by_hand = copy.deepcopy(network), copy.deepcopy(network)
    for each in (by_loss, by_hand):
        for parameter in each.parameters():
            parameter.grad = None if fill is None else torch.full_like(parameter, fill)
    expected = by_loss.penalty(**options)(*run)
    (STRENGTH * expected).backward()
    value = by_hand.penalty(**options).accumulate_grad(STRENGTH, *run)
    assert not value.requires_grad
    assert value.dtype == expected.dtype
    assert torch.equal(value, expected)
    for name, grad in grads(by_loss).items():
        found = grads(by_hand)[name]
        assert (found is None) == (grad is None), name
        if grad is not None:
            torch.testing.assert_close(found, grad)


@pytest.mark.emulated
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_every_module(make: Callable[[], nn.Module], options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = Network(make())
    for fill in (None, 0.5):
        both_ways(network, fill, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["lstm", "stack"])
def test_dtypes(kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    both_ways(Network(MODULES[kind](), dtype), 0.5)


@pytest.mark.parametrize("kind", ["gru", "both directions"])
def test_without_a_readout(kind: str) -> None:
    both_ways(Network(MODULES[kind](), has_readout=False), 0.5)


@pytest.mark.parametrize("kind", ["rnn", "stack of both directions"])
def test_leaks(kind: str) -> None:
    rnn = MODULES["rnn"]() if kind == "rnn" else nn.RNN(4, 6, 2, bidirectional=True)
    both_ways(Network(rnn), 0.5, leak=torch.linspace(0.2, 0.9, 6))


class MinimalGatedCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden_size = 6
        self.weight_hh = nn.Parameter(torch.randn(12, 6) / 6)
        self.weight_ih = nn.Parameter(torch.randn(12, 4))


@networks.reads(MinimalGatedCell)
class MinimalGatedReader(networks.Reader):
    gates = "forget gate", "candidate"
    size = 6

    def layer(self, at: int, direction: int) -> networks.Layer:
        return networks.Layer(self.read("weight_hh").unflatten(0, (2, 6)), self.read("weight_ih").unflatten(0, (2, 6)))


def test_a_cell_of_ones_own() -> None:
    both_ways(Network(MinimalGatedCell()), 0.5)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "stack"])
def test_a_network_that_runs(kind: str) -> None:
    torch.manual_seed(0)
    network = Network(MODULES[kind]())
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        out, _ = network.rnn(x)
    both_ways(network, 0.5, x, out)


@pytest.mark.emulated
@pytest.mark.parametrize("kind", BY_ONE_OP)
def test_common_modules_are_one_native_call(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into .grad where it lies: nothing n x n is made beside it."""
    network = Network(MODULES[kind]())
    penalty = network.penalty()
    (0.0 * penalty()).backward()
    addresses = {name: grad.data_ptr() for name, grad in grads(network).items() if grad is not None}
    calls = []

    def counted(*arguments: Any) -> Tensor:
        calls.append(arguments)
        return accumulate(*arguments)

    monkeypatch.setattr(_accumulate, "accumulate", counted)
    penalty.accumulate_grad(STRENGTH)
    assert len(calls) == 1
    assert {name: grad.data_ptr() for name, grad in grads(network).items() if grad is not None} == addresses
    assert all(grad.any() for name, grad in grads(network).items() if grad is not None)


def test_a_frozen_readout_gets_nothing() -> None:
    network = Network(nn.GRU(4, 6))
    network.get_parameter("readout.weight").requires_grad_(False)
    both_ways(network, None)


def test_alpha_and_leak_learn_too() -> None:
    class Leaky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.rate, self.alpha = nn.RNN(4, 6), nn.Parameter(torch.zeros(6)), nn.Parameter(torch.ones(()))

        def leak(self) -> Tensor:
            return self.rate.sigmoid()

        def penalty(self) -> ResolventPenalty:
            return ResolventPenalty.from_model(self, "rnn", hops=HOPS, alpha="alpha", leak=self.leak)

    both_ways(Leaky(), 0.5)


def test_weights_of_ones_own_and_computed_ones() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W, self.U = nn.Parameter(torch.randn(6, 6) / 6), nn.Parameter(torch.randn(6, 2))

        def computed(self) -> Tensor:
            return self.W.abs()

        def penalty(self) -> ResolventPenalty:
            return ResolventPenalty.from_weights(self, "W", "U", hops=HOPS)

    model = Own()
    both_ways(model, 0.5)
    computed = ResolventPenalty.from_weights(model.computed, lambda: model.U, hops=HOPS)
    with pytest.raises(ValueError, match=r"weight_hh must be a leaf.* \(AbsBackward0\): add the penalty to the loss"):
        computed.accumulate_grad()
    assert model.U.grad is None


@pytest.mark.parametrize("kind", ["rnn", "stack"])
@pytest.mark.parametrize("how", ["parametrised", "pruned", "of the read-out"])
def test_computed_weights_are_an_error(kind: str, how: str) -> None:
    network: Any = Network(MODULES[kind]())
    if how == "parametrised":
        parametrize.register_parametrization(network.rnn, "weight_hh_l0", nn.Tanh())
    elif how == "pruned":
        prune.random_unstructured(network.rnn, "weight_hh_l0", 0.5)
    else:
        parametrize.register_parametrization(network.readout, "weight", nn.Tanh())
    name = "the weight of the read-out" if how == "of the read-out" else "weight_hh_l0"
    with pytest.raises(ValueError, match=re.escape(f"{name} must be a leaf")):
        network.penalty().accumulate_grad()
    assert all(grad is None for grad in grads(network).values())
    with pytest.raises(ValueError, match="must be a leaf"):
        network.penalty().accumulate_grad(1.0, *(torch.zeros(2, 1, size, dtype=torch.float64) for size in (4, 6)))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("kind", ["rnn", "gru", "stack"])
def test_modes_of_autograd(kind: str, mode: Any) -> None:
    network = Network(MODULES[kind]())
    expected = copy.deepcopy(network)
    expected.penalty().accumulate_grad(STRENGTH)
    with mode():
        network.penalty().accumulate_grad(STRENGTH)
    for name, grad in grads(expected).items():
        found = grads(network)[name]
        assert (found is None) == (grad is None)
        assert grad is None or torch.equal(found, grad)  # type: ignore[arg-type]


def test_a_sum_that_diverges_says_where_and_adds_nothing() -> None:
    network = Network(nn.GRU(4, 6))
    with torch.no_grad():
        network.get_parameter("rnn.weight_hh_l0")[6:12] *= 20
    with pytest.raises(rrnn_ext.ResolventDivergenceError, match="update gate"):
        network.penalty(hops=None, alpha=0.2).accumulate_grad()
    assert all(grad is None for grad in grads(network).values())


def test_a_module_in_compiled_code_breaks_there() -> None:
    network = Network(nn.GRU(4, 6))
    expected = copy.deepcopy(network)
    expected.penalty().accumulate_grad(STRENGTH)
    penalty = network.penalty()
    torch.compile(lambda: 2 * penalty.accumulate_grad(STRENGTH), backend="eager")()
    for name, grad in grads(expected).items():
        assert grad is None or torch.equal(grads(network)[name], grad)  # type: ignore[arg-type]

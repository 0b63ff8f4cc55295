"""The precision of the penalty is that of the weights: autocast, default dtypes and default devices do not touch it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rrnn_ext import ResolventPenalty


class Dale(nn.Module):
    """Excitatory and inhibitory units: a weight is a product, W = |raw| D."""

    def __init__(self, units: int = 64) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(units, units) / units)
        self.register_buffer("signs", torch.diag(torch.cat([torch.ones(units // 2), -torch.ones(units // 2)])))

    def weight_hh(self) -> Tensor:
        return self.raw.abs() @ self.get_buffer("signs") @ self.raw.abs()


class LowRank(nn.Module):
    """A parametrization that multiplies, as those of adapters do."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(4, units) / 8)
        self.up = nn.Parameter(torch.randn(units, 4) / 8)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def of_a_callable(**options: Any) -> tuple[ResolventPenalty, list[nn.Parameter]]:
    model = Dale()
    return ResolventPenalty.from_weights(model.weight_hh, **options), list(model.parameters())


def of_a_parametrization(**options: Any) -> tuple[ResolventPenalty, list[nn.Parameter]]:
    model = nn.ModuleDict({"rnn": nn.RNN(3, 64)})
    parametrize.register_parametrization(model["rnn"], "weight_hh_l0", LowRank(64))
    penalty = ResolventPenalty.from_model(model, "rnn", **options)
    return penalty, [p for name, p in model.named_parameters() if "bias" not in name]


def of_a_stack(**options: Any) -> tuple[ResolventPenalty, list[nn.Parameter]]:
    rnn = nn.RNN(3, 64, 2)
    return ResolventPenalty(rnn, **options), [p for name, p in rnn.named_parameters() if "bias" not in name]


def of_a_projected_lstm(**options: Any) -> tuple[ResolventPenalty, list[nn.Parameter]]:
    rnn = nn.LSTM(3, 64, proj_size=32)
    return ResolventPenalty(rnn, **options), [p for name, p in rnn.named_parameters() if "bias" not in name]


KINDS = [of_a_callable, of_a_parametrization, of_a_stack, of_a_projected_lstm]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{"hops": 5}, {"hops": 5, "rectify": True}, {"hops": 5, "norm": "l2"}], ids=str)
class TestAutocast:
    def test_value_and_gradients(self, kind: Callable[..., Any], options: dict[str, Any]) -> None:
        penalty, parameters = kind(alpha=0.8, **options)
        want = penalty()
        gradients = torch.autograd.grad(want, parameters)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = penalty()
            assert torch.is_autocast_enabled("cpu")
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, want, rtol=1e-6, atol=0)
        torch.testing.assert_close(torch.autograd.grad(got, parameters), gradients, rtol=1e-5, atol=1e-6)

    def test_compiled(self, kind: Callable[..., Any], options: dict[str, Any]) -> None:
        torch._dynamo.reset()
        penalty, _ = kind(alpha=0.8, **options)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = torch.compile(lambda: penalty() * 1, fullgraph=True, backend="aot_eager")()
        torch.testing.assert_close(got, penalty(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", [of_a_stack, of_a_projected_lstm])
def test_a_backward_pass_within_autocast(kind: Callable[..., Any]) -> None:
    # Where the penalty multiplies weights itself. What a callable or a parametrization multiplies is autograd's.
    penalty, parameters = kind(hops=5, rectify=True)
    gradients = torch.autograd.grad(penalty(), parameters)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = torch.autograd.grad(penalty(), parameters)
    torch.testing.assert_close(got, gradients, rtol=1e-5, atol=1e-5)


def test_a_half_model_within_autocast() -> None:
    rnn = nn.RNN(3, 16, 2).bfloat16()
    penalty = ResolventPenalty(rnn, hops=5)
    want = penalty()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = penalty()
    assert got.dtype == torch.bfloat16
    assert got == want


@contextmanager
def other_default(name: str) -> Iterator[None]:
    if name == "meta":
        torch.set_default_device("meta")
    else:
        torch.set_default_dtype(getattr(torch, name))
    try:
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("default", ["meta", "bfloat16", "float64"])
@pytest.mark.parametrize("leak", [None, 0.3, "tensor"])
def test_defaults_of_pytorch(leak: Any, default: str) -> None:
    rnn, readout, lags = nn.RNN(3, 8, 2, bidirectional=True), nn.Linear(16, 2), torch.rand(5)
    leak = torch.rand(8) if leak == "tensor" else leak
    options: dict[str, Any] = {"hops": 5, "leak": leak, "hop_weights": lags, "pair_weights": torch.rand(2, 3)}

    def made() -> list[ResolventPenalty]:
        return [ResolventPenalty(rnn, readout, **options), ResolventPenalty(rnn, hops=5, alpha=0.7, leak=leak)]

    penalties = made()
    values = [penalty() for penalty in penalties]
    with other_default(default):
        for penalty, now, value in zip(penalties, made(), values, strict=True):
            assert penalty() == value
            assert now() == value
            penalty.hops = 5
            assert penalty() == value

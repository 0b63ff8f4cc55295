"""A leak for all units, for each unit, for each layer's units; a fixed one or one that learns."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.walks import impulse_response
from torch import Tensor, nn

from rrnn_ext import ResolventPenalty, reference

LAGS = 6


class Leaky(nn.Module):
    """h = (1 - leak) h + leak f(W h + U x), a leak for each unit, which learns."""

    def __init__(self, units: int = 4) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(units, units, dtype=torch.float64))
        self.U = nn.Parameter(torch.randn(units, 2, dtype=torch.float64))
        self.V = nn.Parameter(torch.randn(3, units, dtype=torch.float64))
        self.log_tau = nn.Parameter(torch.rand(units, dtype=torch.float64))

    def leak(self) -> Tensor:
        return torch.exp(-self.log_tau)

    def wanted(self, **options: Any) -> Tensor:
        leak = self.leak()
        weight_hh = torch.diag(1 - leak) + torch.diag(leak) @ self.W
        return reference.resolvent_penalty(weight_hh, torch.diag(leak) @ self.U, self.V, hops=LAGS, **options)


def same(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-14)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


class TestImpulses:
    """The penalty of a leaky network is the norm of what an impulse does in it, step by step."""

    @pytest.mark.parametrize("layers", [1, 2])
    @pytest.mark.parametrize("shape", [(), (3,), (1,), "layers"], ids=str)
    def test_stacked(self, shape: Any, layers: int) -> None:
        rnn, readout = nn.RNN(2, 3, layers).double(), nn.Linear(3, 2).double()
        leak = torch.rand((layers, 3) if shape == "layers" else shape, dtype=torch.float64)
        rates = leak.expand(layers, 3)

        def step(state: list[Tensor], x: Tensor) -> list[Tensor]:
            now = []
            for layer, h in enumerate(state):
                drive = getattr(rnn, f"weight_hh_l{layer}") @ h + getattr(rnn, f"weight_ih_l{layer}") @ x
                x = (1 - rates[layer]) * h + rates[layer] * drive
                now.append(x)
            return now

        with torch.no_grad():
            zeros = [torch.zeros(3, dtype=torch.float64)] * layers
            response = torch.stack(
                [
                    impulse_response(step, zeros, 2, lambda state: readout.weight @ state[-1], LAGS)[lag]
                    for lag in range(LAGS)
                ]
            )
        same(ResolventPenalty(rnn, readout, hops=LAGS, leak=leak)(), response.sum(0).abs().sum())
        same(ResolventPenalty(rnn, readout, hops=LAGS, leak=leak, per_hop=True)(), response.abs().sum())

    def test_both_directions_share_it(self) -> None:
        rnn, leak = nn.RNN(2, 3, bidirectional=True).double(), torch.rand(3, dtype=torch.float64)
        want = torch.zeros((), dtype=torch.float64)
        for suffix in ("", "_reverse"):
            w, u = rnn.get_parameter(f"weight_hh_l0{suffix}"), rnn.get_parameter(f"weight_ih_l0{suffix}")
            rows = torch.diag(leak)
            want = want + reference.resolvent_penalty(torch.eye(3) - rows + rows @ w, rows @ u, hops=4)
        same(ResolventPenalty(rnn, hops=4, leak=leak)(), want)

    def test_of_each_network_of_a_batch(self) -> None:
        weights, leak = torch.randn(5, 3, 3, dtype=torch.float64), torch.rand(5, 3, dtype=torch.float64)
        want = sum(
            reference.resolvent_penalty(torch.diag(1 - rate) + torch.diag(rate) @ w, hops=4)
            for rate, w in zip(leak, weights, strict=True)
        )
        assert isinstance(want, Tensor)
        same(ResolventPenalty.from_weights(weights, hops=4, leak=leak)(), want)


class TestLearning:
    @pytest.mark.parametrize("names", [True, False], ids=["names", "callables"])
    @pytest.mark.parametrize("rectify", [False, True])
    def test_gradients(self, rectify: bool, names: bool) -> None:
        model = Leaky()
        given: list[Any] = ["W", "U", "V"] if names else [lambda: model.W, lambda: model.U, lambda: model.V]
        penalty = ResolventPenalty.from_weights(model, *given, hops=LAGS, rectify=rectify, leak=model.leak)
        parameters = list(model.parameters())
        same(penalty(), model.wanted(rectify=rectify))
        got = torch.autograd.grad(penalty(), parameters)
        for each, want in zip(got, torch.autograd.grad(model.wanted(rectify=rectify), parameters), strict=True):
            assert (each != 0).all()
            same(each, want)

    def test_by_name(self) -> None:
        model = Leaky()
        with torch.no_grad():
            model.log_tau.fill_(0.3)
        penalty = ResolventPenalty.from_weights(model, "W", "U", "V", hops=LAGS, leak="log_tau")
        want = ResolventPenalty.from_weights(model, "W", "U", "V", hops=LAGS, leak=0.3)()
        same(penalty(), want)
        penalty().backward()
        assert (model.log_tau.grad != 0).all()  # type: ignore[union-attr]
        twin = copy.deepcopy(penalty)
        same(twin(), want)

    def test_a_leaf_of_ones_own(self) -> None:
        leak = torch.full((), 0.3, dtype=torch.float64, requires_grad=True)
        rnn = nn.RNN(2, 4, 2).double()
        ResolventPenalty(rnn, hops=3, leak=leak)().backward()
        values = [ResolventPenalty(rnn, hops=3, leak=0.3 + d)() for d in (-1e-6, 1e-6)]
        torch.testing.assert_close(leak.grad, (values[1] - values[0]).detach() / 2e-6, rtol=1e-6, atol=1e-9)

    def test_in_compiled_code_and_in_transforms(self) -> None:
        model = Leaky()
        penalty = ResolventPenalty.from_weights(model, "W", "U", "V", hops=LAGS, leak=model.leak)
        compiled = torch.compile(lambda: 2 * penalty(), fullgraph=True, backend="aot_eager")
        same(compiled(), 2 * model.wanted())
        (got,) = torch.autograd.grad(compiled(), [model.log_tau])
        same(got, torch.autograd.grad(2 * model.wanted(), [model.log_tau])[0])

        def value(rates: Tensor) -> Tensor:
            fixed = model.W.detach(), model.U.detach(), model.V.detach()
            return ResolventPenalty.from_weights(*fixed, hops=LAGS, leak=lambda: rates)()

        rates = torch.rand(3, 4, dtype=torch.float64)
        same(torch.func.vmap(value)(rates), torch.stack([value(each) for each in rates]))


class TestPrecision:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("leak", [0.001, torch.tensor([0.001, 0.002, 0.5, 1.0])], ids=["number", "tensor"])
    def test_half_weights_are_mixed_in_float32(self, leak: Any, dtype: torch.dtype) -> None:
        rnn, readout = nn.RNN(2, 4).to(dtype), nn.Linear(4, 3).to(dtype)
        got = ResolventPenalty(rnn, readout, hops=50, leak=leak)()
        want = ResolventPenalty(rnn.double(), readout.double(), hops=50, leak=leak)()
        assert got.dtype == dtype
        torch.testing.assert_close(got.double(), want, rtol=torch.finfo(dtype).eps, atol=0)

    def test_another_dtype_than_the_weights(self) -> None:
        rnn = nn.RNN(2, 4)
        value = ResolventPenalty(rnn, hops=3, leak=torch.full((4,), 0.3, dtype=torch.float64))()
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, ResolventPenalty(rnn, hops=3, leak=0.3)())

    def test_a_weight_of_another_dtype_is_still_refused(self) -> None:
        w, u = torch.ones(2, 2).half(), torch.ones(2, 2)
        with pytest.raises(TypeError, match="weight_in must have the dtype of weight_hh"):
            ResolventPenalty.from_weights(w, u, hops=2, leak=0.5)()
        with pytest.raises(TypeError, match="weight_out must have the dtype of weight_hh"):
            ResolventPenalty.from_weights(w, None, u, hops=2, leak=0.5)()


class TestErrors:
    @pytest.mark.parametrize("bad", [0.0, -0.1, 1.5, float("nan")])
    @pytest.mark.parametrize("read", [lambda leak: leak, lambda leak: lambda: leak], ids=["tensor", "callable"])
    def test_values(self, read: Callable[[Tensor], Any], bad: float) -> None:
        rates = torch.tensor([0.5, bad, 0.5, 1.0])
        with pytest.raises(ValueError, match=r"leak must be in \(0, 1\], got "):
            ResolventPenalty(nn.RNN(2, 4), hops=2, leak=read(rates))()

    def test_a_value_that_left_the_range_while_it_learned(self) -> None:
        model = Leaky()
        penalty = ResolventPenalty.from_weights(model, "W", "U", "V", hops=2, leak=model.leak)
        with torch.no_grad():
            model.log_tau[1] = -1.0
        with pytest.raises(ValueError, match=r"leak must be in \(0, 1\], got 2\.718"):
            penalty()

    def test_what_cannot_be_looked_at_is_nan(self) -> None:
        model = Leaky()
        penalty = ResolventPenalty.from_weights(model, "W", "U", "V", hops=2, leak=model.leak)
        compiled = torch.compile(lambda: penalty() * 1, fullgraph=True, backend="eager")
        assert compiled().isfinite()
        with torch.no_grad():
            model.log_tau[1] = -1.0
        assert compiled().isnan()

    @pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3), (2, 2, 4)], ids=str)
    def test_shapes(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"leak must be a number or \(4,\) or \(2, 4\), got \(\d, "):
            ResolventPenalty(nn.RNN(2, 4, 2), hops=2, leak=torch.full(shape, 0.5)[None, :])()
        with pytest.raises(ValueError, match=r"leak must be a number or \(4,\), got \(\d,"):
            ResolventPenalty.from_weights(torch.zeros(4, 4), hops=2, leak=torch.full(shape, 0.5))()

    @pytest.mark.parametrize("leak", [0.5, torch.tensor(0.5)], ids=["number", "tensor"])
    def test_a_gated_module_that_took_the_place_of_another(self, leak: Any) -> None:
        model = nn.ModuleDict({"rnn": nn.RNN(2, 4)})
        penalty = ResolventPenalty.from_model(model, "rnn", hops=2, leak=leak)
        penalty()
        model["rnn"] = nn.GRU(2, 4)
        with pytest.raises(ValueError, match=r"leak must be None for a gated module, got .*GRU"):
            penalty()

    def test_kinds(self) -> None:
        with pytest.raises(TypeError, match="leak must not be a Parameter"):
            ResolventPenalty(nn.RNN(2, 4), hops=2, leak=nn.Parameter(torch.tensor(0.5)))
        with pytest.raises(TypeError, match=r"leak must be a number or a tensor, got \[0.5\] \(list\)"):
            ResolventPenalty(nn.RNN(2, 4), hops=2, leak=[0.5])  # type: ignore[arg-type]

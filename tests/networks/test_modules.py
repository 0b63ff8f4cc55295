"""ResolventPenalty: which graphs the modules are, by counting walks and by sending impulses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.walks import impulse_response, walk_sums
from torch import Tensor, nn

import rrnn_ext
from rrnn_ext import ResolventPenalty

KINDS: dict[str, Callable[..., nn.Module]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
CELLS: dict[str, Callable[..., nn.Module]] = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@pytest.fixture(autouse=True)
def float64_and_a_seed() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def norm_of(terms: Tensor, *, per_hop: bool, norm: str) -> Tensor:
    size = torch.abs if norm == "l1" else torch.square
    return size(terms).sum() if per_hop else size(terms.sum(0)).sum()


OPTIONS: list[dict[str, Any]] = [
    {"rectify": rectify, "per_hop": per_hop, "norm": norm}
    for rectify, per_hop, norm in itertools.product([False, True], [False, True], ["l1", "l2"])
]


class TestWalks:
    """Every walk of a small network, one by one, against the penalty."""

    @pytest.mark.parametrize("read", [True, False], ids=["readout", "no_readout"])
    @pytest.mark.parametrize("bidirectional", [False, True], ids=["one_way", "both_ways"])
    @pytest.mark.parametrize(("layers", "lags"), [(1, 5), (2, 4), (3, 2)])
    def test_rnn(self, layers: int, lags: int, bidirectional: bool, read: bool) -> None:
        rnn = nn.RNN(2, 2, layers, bidirectional=bidirectional)
        readout = nn.Linear(4 if bidirectional else 2, 3) if read else None
        for options in OPTIONS:
            got = ResolventPenalty(rnn, readout, hops=lags, alpha=0.7, **options)()
            routes = walk_sums(rnn, readout.weight if readout else None, lags, alpha=0.7, rectify=options["rectify"])
            assert len(routes) == (2**layers if bidirectional else 1)
            want = sum(norm_of(terms, per_hop=options["per_hop"], norm=options["norm"]) for terms in routes.values())
            torch.testing.assert_close(got, want, rtol=1e-12, atol=0)

    @pytest.mark.parametrize("layers", [1, 2])
    @pytest.mark.parametrize("bidirectional", [False, True], ids=["one_way", "both_ways"])
    @pytest.mark.parametrize("kind", ["gru", "lstm"])
    def test_one_graph_per_gate(self, kind: str, bidirectional: bool, layers: int) -> None:
        rnn = KINDS[kind](2, 2, layers, bidirectional=bidirectional)
        readout = nn.Linear(4 if bidirectional else 2, 3)
        got = ResolventPenalty(rnn, readout, hops=3, alpha=0.7)()
        want = sum(
            terms.sum(0).abs().sum()
            for gate in range(GATES[kind])
            for terms in walk_sums(rnn, readout.weight, 3, alpha=0.7, rectify=False, gate=gate).values()
        )
        torch.testing.assert_close(got, want, rtol=1e-12, atol=0)

    @pytest.mark.parametrize("kind", CELLS)
    def test_cells(self, kind: str) -> None:
        cell = CELLS[kind](3, 2)
        want = sum(
            terms.sum(0).abs().sum()
            for gate in range(GATES[kind])
            for terms in walk_sums(cell, None, 4, alpha=0.9, rectify=True, gate=gate).values()
        )
        torch.testing.assert_close(ResolventPenalty(cell, hops=4, alpha=0.9, rectify=True)(), want, rtol=1e-12, atol=0)

    def test_hop_and_pair_weights(self) -> None:
        rnn, readout = nn.RNN(2, 2, 2), nn.Linear(2, 3)
        (terms,) = walk_sums(rnn, readout.weight, 4, alpha=0.7, rectify=False).values()
        lag_factors, pairs = torch.rand(4), torch.rand(3, 2)
        got = ResolventPenalty(rnn, readout, hops=4, alpha=0.7, hop_weights=lag_factors, pair_weights=pairs)()
        weighted = (lag_factors[:, None, None] * terms).sum(0)
        torch.testing.assert_close(got, (pairs * weighted.abs()).sum(), rtol=1e-12, atol=0)

    def test_all_lags_of_a_stack(self) -> None:
        rnn, readout = nn.RNN(2, 3, 2), nn.Linear(3, 2)
        with torch.no_grad():
            for name in ("weight_hh_l0", "weight_hh_l1"):
                getattr(rnn, name).mul_(0.3)
        infinite = ResolventPenalty(rnn, readout, hops=None, alpha=0.9)()
        torch.testing.assert_close(infinite, ResolventPenalty(rnn, readout, alpha=0.9, hops=200)(), rtol=1e-12, atol=0)


class TestImpulses:
    """Alpha = 1: the response of the linear network to an impulse m steps before is P_m."""

    LAGS = 6

    def check(self, penalty_of: Callable[..., ResolventPenalty], response: Tensor) -> None:
        """``penalty_of(**options)`` against (lags, o, i): all together, and each lag and pair by itself."""
        lags, o, i = response.shape
        torch.testing.assert_close(penalty_of(hops=lags)(), response.sum(0).abs().sum(), rtol=1e-11, atol=0)
        for lag, row, column in itertools.product(range(lags), range(o), range(i)):
            one_lag, one_pair = torch.zeros(lags), torch.zeros(o, i)
            one_lag[lag] = one_pair[row, column] = 1.0
            got = penalty_of(hops=lags, hop_weights=one_lag, pair_weights=one_pair)()
            torch.testing.assert_close(got, response[lag, row, column].abs(), rtol=1e-11, atol=1e-15)

    @pytest.mark.parametrize("layers", [1, 2, 3])
    def test_stacked_rnn_run_by_pytorch(self, layers: int) -> None:
        # A ReLU network of positive weights is linear on positive inputs, so nn.RNN.forward itself is the judge.
        rnn = nn.RNN(2, 3, layers, nonlinearity="relu", bias=False)
        readout = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            for weight in rnn.parameters():
                weight.abs_()
        x = torch.zeros(self.LAGS, 2, 2)
        x[0] = torch.eye(2)  # an impulse on each input, in a batch
        response = readout(rnn(x)[0]).detach().transpose(1, 2)
        self.check(lambda **options: ResolventPenalty(rnn, readout, **options), response)

    def test_bidirectional_rnn_run_by_pytorch(self) -> None:
        rnn = nn.RNN(2, 3, bidirectional=True, nonlinearity="relu", bias=False)
        readout = nn.Linear(6, 2, bias=False)
        with torch.no_grad():
            for weight in rnn.parameters():
                weight.abs_()
            past, future = torch.tensor_split(readout.weight, 2, dim=1)
            x = torch.zeros(2 * self.LAGS - 1, 2, 2)
            x[self.LAGS - 1] = torch.eye(2)
            forward, backward = torch.tensor_split(rnn(x)[0], 2, dim=2)
        after = (forward[self.LAGS - 1 :] @ past.T).transpose(1, 2)
        before = (backward[: self.LAGS] @ future.T).transpose(1, 2).flip(0)
        got = ResolventPenalty(rnn, readout, hops=self.LAGS, per_hop=True)()
        torch.testing.assert_close(got, after.abs().sum() + before.abs().sum(), rtol=1e-12, atol=0)
        got = ResolventPenalty(rnn, readout, hops=self.LAGS, norm="l2")()
        torch.testing.assert_close(got, after.sum(0).square().sum() + before.sum(0).square().sum(), rtol=1e-12, atol=0)

    def test_bidirectional_stack_run_by_pytorch(self) -> None:
        rnn = nn.RNN(2, 3, 2, bidirectional=True, nonlinearity="relu", bias=False)
        readout = nn.Linear(6, 2, bias=False)
        with torch.no_grad():
            for name, weight in rnn.named_parameters():
                weight.abs_().mul_(0.4 if "hh" in name else 1.0)
            readout.weight.abs_()
            x = torch.zeros(201, 2, 2)
            x[100] = torch.eye(2)
            everything = readout(rnn(x)[0]).sum()  # positive throughout: no walk cancels another
        torch.testing.assert_close(ResolventPenalty(rnn, readout, hops=None)(), everything, rtol=1e-12, atol=0)

    @pytest.mark.parametrize("layers", [1, 2])
    def test_leaky(self, layers: int) -> None:
        rnn, readout, leak = nn.RNN(2, 3, layers), nn.Linear(3, 2), 0.3

        def step(state: list[Tensor], x: Tensor) -> list[Tensor]:
            now = []
            for layer, h in enumerate(state):
                drive = getattr(rnn, f"weight_hh_l{layer}") @ h + getattr(rnn, f"weight_ih_l{layer}") @ x
                x = (1 - leak) * h + leak * drive
                now.append(x)
            return now

        with torch.no_grad():
            response = impulse_response(
                step, [torch.zeros(3)] * layers, 2, lambda state: readout.weight @ state[-1], self.LAGS
            )
        self.check(lambda **options: ResolventPenalty(rnn, readout, leak=leak, **options), response)
        if layers == 1:
            model = nn.ModuleDict({"rnn": rnn, "readout": readout})
            names = "rnn.weight_hh_l0", "rnn.weight_ih_l0", "readout.weight"
            self.check(lambda **options: ResolventPenalty.from_weights(model, *names, leak=leak, **options), response)

    @pytest.mark.parametrize("layers", [1, 2])
    def test_projected_lstm(self, layers: int) -> None:
        rnn, readout = nn.LSTM(2, 4, layers, proj_size=3), nn.Linear(3, 2)
        responses = []
        for gate in range(4):

            def step(state: list[Tensor], x: Tensor, rows: slice = slice(4 * gate, 4 * gate + 4)) -> list[Tensor]:
                now = []
                for layer, h in enumerate(state):
                    hidden = (
                        getattr(rnn, f"weight_hh_l{layer}")[rows] @ h + getattr(rnn, f"weight_ih_l{layer}")[rows] @ x
                    )
                    x = getattr(rnn, f"weight_hr_l{layer}") @ hidden
                    now.append(x)
                return now

            with torch.no_grad():
                zeros = [torch.zeros(3)] * layers
                responses.append(impulse_response(step, zeros, 2, lambda state: readout.weight @ state[-1], self.LAGS))
        want = sum(response.sum(0).abs().sum() for response in responses)
        torch.testing.assert_close(ResolventPenalty(rnn, readout, hops=self.LAGS)(), want, rtol=1e-12, atol=0)
        want = sum(response.abs().sum() for response in responses)
        got = ResolventPenalty(rnn, readout, hops=self.LAGS, per_hop=True)()
        torch.testing.assert_close(got, want, rtol=1e-12, atol=0)

    def test_each_edge_of_a_projected_lstm_carries_alpha_and_is_rectified(self) -> None:
        rnn, readout = nn.LSTM(2, 4, proj_size=3), nn.Linear(3, 2)
        w_hh, w_ih, w_hr = (0.7 * rnn.get_parameter(f"weight_{name}_l0").abs() for name in ("hh", "ih", "hr"))
        want = torch.zeros(())
        for gate in range(4):
            rows = slice(4 * gate, 4 * gate + 4)
            walk = w_hr @ w_ih[rows]
            for _ in range(3):
                want = want + (0.7 * readout.weight.abs() @ walk).sum()
                walk = w_hr @ w_hh[rows] @ walk
        torch.testing.assert_close(ResolventPenalty(rnn, readout, hops=3, alpha=0.7, rectify=True)(), want)


class TestReadout:
    def test_tensor_callable_and_linear_agree(self) -> None:
        rnn, readout = nn.RNN(2, 3, 2), nn.Linear(3, 2)
        want = ResolventPenalty(rnn, readout, hops=4)()
        assert ResolventPenalty(rnn, readout.weight.detach().clone(), hops=4)() == want
        assert ResolventPenalty(rnn, lambda: readout.weight, hops=4)() == want

    def test_none_of_a_single_layer_is_the_identity(self) -> None:
        rnn = nn.RNN(2, 3)
        w, u = rnn.get_parameter("weight_hh_l0"), rnn.get_parameter("weight_ih_l0")
        want = (u + w @ u + w @ w @ u + w @ w @ w @ u).abs().sum()
        torch.testing.assert_close(ResolventPenalty(rnn, hops=4)(), want)

    def test_from_weights_is_the_function(self) -> None:
        w, u, v = torch.randn(5, 4, 4), torch.randn(4, 2), torch.randn(5, 3, 4)
        for weight_in, weight_out in [(u, v), (u, None), (None, v), (None, None)]:
            got = ResolventPenalty.from_weights(w, weight_in, weight_out, hops=3, alpha=0.4)()
            assert got == rrnn_ext.resolvent_penalty(w, weight_in, weight_out, hops=3, alpha=0.4)
            assert got.dim() == 0


def module_zoo() -> list[tuple[str, nn.Module, int]]:
    zoo: list[tuple[str, nn.Module, int]] = []
    for kind, layers, bidirectional in itertools.product(KINDS, [1, 2], [False, True]):
        name = f"{kind}-{layers}-{'both' if bidirectional else 'one'}"
        zoo.append((name, KINDS[kind](2, 4, layers, bidirectional=bidirectional), 8 if bidirectional else 4))
        if kind == "lstm":
            lstm = nn.LSTM(2, 4, layers, bidirectional=bidirectional, proj_size=3)
            zoo.append((name + "-proj", lstm, 6 if bidirectional else 3))
    zoo += [(f"{kind}-cell", cell(2, 4), 4) for kind, cell in CELLS.items()]
    return zoo


@pytest.mark.parametrize(("rnn", "outputs"), [pytest.param(*entry[1:], id=entry[0]) for entry in module_zoo()])
class TestEveryKind:
    @pytest.mark.parametrize("rectify", [False, True])
    def test_gradient_reaches_every_weight_and_no_bias(self, rnn: Any, outputs: int, rectify: bool) -> None:
        rnn, readout = rnn.double(), nn.Linear(outputs, 3)
        rnn.zero_grad()
        alpha = torch.tensor(0.8, requires_grad=True)
        penalty = ResolventPenalty(rnn, readout, hops=3, alpha=alpha, rectify=rectify)
        penalty().backward()
        for name, parameter in (*rnn.named_parameters(), *readout.named_parameters()):
            if "bias" in name:
                assert parameter.grad is None, name
            else:
                assert (parameter.grad != 0).all(), name
        slope = [ResolventPenalty(rnn, readout, hops=3, alpha=0.8 + d, rectify=rectify)() for d in (-1e-6, 1e-6)]
        torch.testing.assert_close(alpha.grad, (slope[1] - slope[0]) / 2e-6, rtol=1e-6, atol=1e-9)

    def test_gradient_is_the_slope(self, rnn: Any, outputs: int) -> None:
        rnn, readout = rnn.double(), nn.Linear(outputs, 2)
        penalty = ResolventPenalty(rnn, readout, hops=3, alpha=0.8, rectify=True)
        weights = [p for name, p in (*rnn.named_parameters(), *readout.named_parameters()) if "bias" not in name]
        grads = torch.autograd.grad(penalty(), weights)
        with torch.no_grad():
            moves = [torch.randn_like(weight) for weight in weights]
            values = []
            for sign in (1, -2, 1):
                for weight, move in zip(weights, moves, strict=True):
                    weight += sign * 1e-7 * move
                values.append(penalty())
        slope = (values[0] - values[1]) / 2e-7
        expected = sum((grad * move).sum() for grad, move in zip(grads, moves, strict=True))
        torch.testing.assert_close(expected, slope, rtol=1e-5, atol=1e-7)

    def test_precision_and_autocast(self, rnn: Any, outputs: int) -> None:
        rnn, readout = rnn.double(), nn.Linear(outputs, 3)
        penalty = ResolventPenalty(rnn, readout, hops=3, alpha=0.8, per_hop=True)
        want = penalty()
        rnn.float(), readout.float()
        got = penalty()
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(penalty().double(), want, rtol=1e-5, atol=0)
        rnn.bfloat16(), readout.bfloat16()
        got = penalty()
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.double(), want, rtol=3e-2, atol=0)


class TestHalfPrecision:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_multiplied_weights_are_not_rounded(self, dtype: torch.dtype) -> None:
        rnn, readout = nn.LSTM(2, 4, proj_size=3).to(dtype), nn.Linear(3, 2).to(dtype)
        with torch.no_grad():
            for weight in (*rnn.parameters(), readout.weight):
                weight.fill_(
                    0.2839
                )  # all products are the same: were each rounded, the errors of the hops would add up
        last = torch.zeros(30)
        last[-1] = 1.0
        got = ResolventPenalty(rnn, readout, hops=30, hop_weights=last)()
        want = ResolventPenalty(rnn.double(), readout.double(), hops=30, hop_weights=last)()
        torch.testing.assert_close(got.double(), want, rtol=torch.finfo(dtype).eps / 2, atol=0)

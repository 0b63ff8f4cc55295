"""What is particular to a GPU: nothing waits for it, CUDA graphs, streams, errors that come later."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support import pages
from support.oracle import assert_within
from support.random_weights import on_cpu, penalty_of
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import rrnn_ext
from rrnn_ext import ResolventDivergenceError, _arguments
from rrnn_ext.infinite import deferred

PAGE = pages.read("docs/cuda.md")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

SIDES = [(3, 2), (1, 1), (2, None), (None, 2), (None, None)]
FINITE: list[dict[str, Any]] = [
    {"hops": 1},
    {"hops": 5},
    {"hops": 5, "norm": "l2", "alpha": 0.9},
    {"hops": 5, "rectify": True},
    {"hops": 5, "rectify": True, "norm": "l2"},
    {"hops": 5, "per_hop": True},
    {"hops": 5, "method": "inverse"},
    {"hops": 3, "hop_weights": True},
    {"hops": 3, "hop_weights": True, "per_hop": True, "rectify": True},
    {"hops": 5, "pair_weights": True},
    {"hops": 5, "alpha": "there"},
]
INFINITE: list[dict[str, Any]] = [
    {},
    {"rectify": True},
    {"norm": "l2"},
    {"rectify": True, "norm": "l2", "pair_weights": True},
    {"method": "series"},
    {"method": "inverse"},
]
every_option = pytest.mark.parametrize("options", [*FINITE, *INFINITE], ids=str)
every_side = pytest.mark.parametrize(("i", "o"), SIDES)


def penalty_there(i: int | None, o: int | None, n: int, device: str, **options: Any) -> Callable[..., Tensor]:
    """The penalty as a function of the weights, its constants on the device."""
    if "hop_weights" in options:
        options["hop_weights"] = torch.linspace(1.0, -0.5, options["hops"], device=device)
    if "pair_weights" in options:
        options["pair_weights"] = torch.full((o or n, i or n), 0.75, device=device)
    if options.get("alpha") == "there":
        options["alpha"] = torch.full((), 0.875, device=device)
    return penalty_of(i, o, **options)


def leaves_of(i: int | None, o: int | None, n: int = 17, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [matrix.cuda().requires_grad_() for matrix in on_cpu(n, i, o, dtype=dtype).values()]


def value_and_gradients(penalty: Callable[..., Tensor], leaves: list[Tensor]) -> list[Tensor]:
    value = penalty(*leaves)
    return [value.detach(), *torch.autograd.grad(value, leaves, materialize_grads=True)]


class TestWithoutAGPU:
    """Tensors without numbers, on a device that is not there: a look at a value is an error, and so is a mixture of
    devices."""

    @pytest.fixture(autouse=True)
    def any_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_arguments, "CUDA_ARCHS", ("9.0",))
        monkeypatch.setattr(deferred, "note", lambda proved: None)

    @pytest.mark.parametrize("batch", [(), (2,)], ids=str)
    @pytest.mark.parametrize("n", [40, 1100])
    @every_side
    @every_option
    def test_nothing_is_looked_at(
        self, options: dict[str, Any], i: int | None, o: int | None, n: int, batch: tuple[int, ...]
    ) -> None:
        with FakeTensorMode(allow_non_fake_inputs=True):
            shapes = [(n, n), *([] if i is None else [(n, i)]), *([] if o is None else [(o, n)])]
            weights = [torch.empty(*batch, *shape, device="cuda") for shape in shapes]
            value = penalty_there(i, o, n, "cuda", **options)(*weights)
            assert value.device.type == "cuda"
            assert value.shape == ()

    @pytest.mark.parametrize("name", ["weight_in", "weight_out", "alpha", "hop_weights", "pair_weights"])
    def test_everything_on_one_device(self, name: str) -> None:
        with FakeTensorMode():
            given = {
                "weight_hh": torch.empty(2, 5, 5, device="cuda"),
                "weight_in": torch.empty(5, 3, device="cuda"),
                "weight_out": torch.empty(2, 5, device="cuda"),
                "alpha": torch.empty(2, device="cuda"),
                "hop_weights": torch.empty(4, device="cuda"),
                "pair_weights": torch.empty(2, 3, device="cuda"),
            }
            given[name] = torch.empty(given[name].shape)
            options: dict[str, Any] = {**given, "hops": 4}
            with pytest.raises(ValueError, match=f"{name} must be on the device of weight_hh, cuda:0, got cpu"):
                rrnn_ext.resolvent_penalty(**options)

    def test_a_build_without_kernels_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_arguments, "CUDA_ARCHS", ())
        with FakeTensorMode(), pytest.raises(ValueError, match="weight_hh must be on the CPU, got cuda:0: this build"):
            rrnn_ext.resolvent_penalty(torch.empty(3, 3, device="cuda"), hops=2)

    def test_the_code_of_its_page_runs(self) -> None:
        """Where there is no GPU, it says so to itself."""
        for block in pages.blocks(PAGE):
            if block.language == "python":
                exec(compile(block.code, "docs/cuda.md", "exec"), {})

    def test_a_divergence_found_later_has_no_numbers(self) -> None:
        error = ResolventDivergenceError(math.nan, math.nan, device=torch.device("cuda", 1))
        assert math.isnan(error.spectral_radius)
        assert math.isnan(error.max_alpha)
        assert "an earlier sum over all walks on cuda:1 diverges" in str(error)


@needs_gpu
class TestEveryKernel:
    """Short: benchmarks/gpu/run.sh has compute-sanitizer look at it."""

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    @pytest.mark.parametrize("batch", [(), (3,)], ids=str)
    @pytest.mark.parametrize(
        ("n", "i", "o"), [(3, 2, 2), (33, 1, 1), (70, 16, 8), (129, None, 5), (66, 40, 90), (40, None, None)]
    )
    def test_as_on_the_cpu(
        self, n: int, i: int | None, o: int | None, batch: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        given = on_cpu(n, i, o, dtype=dtype, batches=(batch, batch, batch))
        tolerance = 1e-4 if dtype == torch.float32 else 1e-10
        for options in (*FINITE, *INFINITE):
            options = {**options, "norm": "l2"}  # without kinks, at which rounding could turn a sign
            results = []
            for device in ("cpu", "cuda"):
                leaves = [matrix.to(device).requires_grad_() for matrix in given.values()]
                results.append(value_and_gradients(penalty_there(i, o, n, device, **options), leaves))
            for here, there in zip(*results, strict=True):
                assert_within(str(options), there, here.double(), tolerance * float(here.abs().max()))


@needs_gpu
class TestOnAGPU:
    @pytest.fixture
    def no_waiting(self) -> Iterator[None]:
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        yield
        torch.cuda.set_sync_debug_mode("default")

    @every_side
    @every_option
    def test_nothing_waits_for_the_device(
        self, options: dict[str, Any], i: int | None, o: int | None, request: pytest.FixtureRequest
    ) -> None:
        penalty, leaves = penalty_there(i, o, 17, "cuda", **options), leaves_of(i, o)
        value_and_gradients(penalty, leaves)  # what happens once may wait
        request.getfixturevalue("no_waiting")
        value_and_gradients(penalty, leaves)

    def test_nothing_waits_for_an_alpha_on_the_host(self, request: pytest.FixtureRequest) -> None:
        penalty, leaves = penalty_there(3, 2, 17, "cuda", hops=4, alpha=torch.tensor(0.9)), leaves_of(3, 2)
        request.getfixturevalue("no_waiting")
        value_and_gradients(penalty, leaves)

    def test_nothing_waits_for_the_constants_of_a_module(self, request: pytest.FixtureRequest) -> None:
        rnn = nn.RNN(3, 17, 2, bidirectional=True)
        hop_weights, pair_weights = torch.linspace(1, 0.5, 4), torch.ones(17, 3)
        alpha = torch.tensor(0.9)
        penalty = rrnn_ext.ResolventPenalty(
            rnn, hops=4, alpha=alpha, hop_weights=hop_weights, pair_weights=pair_weights
        )
        expected = penalty().detach()
        rnn.cuda()  # the weights alone
        torch.testing.assert_close(penalty().detach().cpu(), expected, rtol=1e-4, atol=0)
        request.getfixturevalue("no_waiting")
        penalty().backward()

    @pytest.mark.parametrize(("batch", "n"), [(17, 20), (2, 150)])
    def test_infinite_sums_of_a_batch_in_a_cuda_graph(self, batch: int, n: int) -> None:
        """For such a batch PyTorch would factorise by routines that cannot be captured."""
        given = on_cpu(n, 3, 2, dtype=torch.float32, batches=((batch,),) * 3)
        penalty, leaves = penalty_there(3, 2, n, "cuda"), [leaf.cuda().requires_grad_() for leaf in given.values()]
        expected = value_and_gradients(penalty, leaves)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = value_and_gradients(penalty, leaves)
        graph.replay()
        for replayed, eager in zip(captured, expected, strict=True):
            assert torch.equal(replayed, eager)

    @every_side
    @every_option
    def test_in_a_cuda_graph(self, options: dict[str, Any], i: int | None, o: int | None) -> None:
        penalty, leaves = penalty_there(i, o, 17, "cuda", **options), leaves_of(i, o)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                value_and_gradients(penalty, leaves)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = value_and_gradients(penalty, leaves)
        for factor in (1.0, 0.5):
            with torch.no_grad():
                for leaf in leaves:
                    leaf.mul_(factor)
            graph.replay()
            for replayed, eager in zip(captured, value_and_gradients(penalty, leaves), strict=True):
                assert torch.equal(replayed, eager)

    @pytest.mark.parametrize("options", [{"hops": 5}, {"hops": 5, "rectify": True}, {"rectify": True}, {}], ids=str)
    def test_on_the_current_stream(self, options: dict[str, Any]) -> None:
        """Weights that are still being written on a stream are read on it, after that."""
        penalty, leaves = penalty_there(3, 2, 300, "cuda", **options), leaves_of(3, 2, 300)
        expected = value_and_gradients(penalty, leaves)
        late = [torch.full_like(leaf, math.nan) for leaf in leaves]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)
            for leaf, values in zip(late, leaves, strict=True):
                leaf.copy_(values.detach())
            actual = value_and_gradients(penalty, [leaf.requires_grad_() for leaf in late])
        stream.synchronize()
        for a, b in zip(actual, expected, strict=True):
            assert torch.equal(a, b)

    def test_beside_the_network_on_a_stream_of_its_own(self) -> None:
        """As docs/cuda.md has it: the gradients are those of the penalty in the loss."""
        rnn, readout = nn.RNN(3, 17).cuda(), nn.Linear(17, 2).cuda()
        penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=5)
        parameters, x = [*rnn.parameters(), *readout.parameters()], torch.randn(5, 4, 3, device="cuda")
        expected = torch.autograd.grad(readout(rnn(x)[0]).square().mean() + 0.1 * penalty(), parameters)
        main, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            value = penalty.accumulate_grad(0.1)
        loss = readout(rnn(x)[0]).square().mean()
        main.wait_stream(side)
        loss.backward()
        torch.testing.assert_close(value, penalty().detach())
        for parameter, gradient in zip(parameters, expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)

    @pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
    def test_on_the_device_of_the_weights(self) -> None:
        weights = [matrix.to("cuda:1").requires_grad_() for matrix in on_cpu(17, 3, 2).values()]
        for options in ({"hops": 5}, {"hops": 5, "rectify": True}, {"hops": None}, {"rectify": True}):
            for result in value_and_gradients(penalty_there(3, 2, 17, "cuda:1", **options), weights):
                assert result.device == torch.device("cuda", 1)
        assert torch.cuda.current_device() == 0

    def test_a_module(self) -> None:
        rnn, readout = nn.LSTM(3, 20, 2), nn.Linear(20, 2)
        penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=6, alpha=0.9)
        expected = penalty().detach()
        rnn.cuda()
        readout.cuda()
        value = penalty()
        assert value.is_cuda
        torch.testing.assert_close(value.detach().cpu(), expected, rtol=1e-4, atol=0)
        value.backward()
        assert rnn.get_parameter("weight_hh_l1").grad is not None

    @pytest.mark.parametrize(("n", "i", "o"), [(17, 3, 2), (17, 1, 1), (17, None, None), (200, None, None)])
    @pytest.mark.parametrize("rectify", [False, True])
    def test_divergence_is_nan_and_an_error_of_the_next_sum(
        self, rectify: bool, n: int, i: int | None, o: int | None
    ) -> None:
        penalty, leaves = penalty_there(i, o, n, "cuda", rectify=rectify), leaves_of(i, o, n)
        sound = penalty(*leaves)
        torch.cuda.synchronize()
        results = value_and_gradients(penalty, [(4 * leaf.detach()).requires_grad_() for leaf in leaves])
        assert results[0].isnan()
        assert results[1].isnan().all()  # of weight_hh
        torch.cuda.synchronize()
        with pytest.raises(ResolventDivergenceError, match="an earlier sum over all walks on cuda:0 diverges"):
            penalty(*leaves)
        assert torch.equal(penalty(*leaves), sound)  # it is said once

    def test_divergence_in_a_cuda_graph(self) -> None:
        penalty, (w,) = penalty_there(None, None, 17, "cuda"), leaves_of(None, None)
        w = w.detach()
        penalty(w)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            value = penalty(w)
        w.mul_(4)
        graph.replay()
        torch.cuda.synchronize()
        assert value.isnan()
        with pytest.raises(ResolventDivergenceError):
            penalty(w / 4)

    @pytest.mark.parametrize("alpha", [-0.5, 0.0, math.inf, math.nan])
    def test_an_alpha_that_is_not_looked_at(self, alpha: float) -> None:
        leaves = leaves_of(3, 2)
        assert rrnn_ext.resolvent_penalty(*leaves, hops=3, alpha=torch.tensor(alpha).cuda()).isnan()
        with pytest.raises(ValueError, match="alpha must be finite and positive"):
            rrnn_ext.resolvent_penalty(*leaves, hops=3, alpha=torch.tensor(alpha))

    def test_pair_weights_that_are_not_looked_at(self) -> None:
        pair_weights = torch.ones(2, 3, device="cuda")
        pair_weights[1, 1] = -1.0
        assert rrnn_ext.resolvent_penalty(*leaves_of(3, 2), hops=3, pair_weights=pair_weights).isnan()

    def test_a_singular_inverse_is_nan(self) -> None:
        assert rrnn_ext.resolvent_penalty(torch.eye(4).cuda(), hops=3, method="inverse").isnan()

    def test_memory(self) -> None:
        """Beyond the weights: one n x n gradient, and what is thin."""
        n = 2048
        leaves = [torch.randn(*shape, device="cuda", requires_grad=True) for shape in ((n, n), (n, 8), (8, n))]
        penalty = penalty_there(8, 8, n, "cuda", hops=20, alpha=0.02)
        for _ in range(2):
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            value_and_gradients(penalty, leaves)
            peak = torch.cuda.max_memory_allocated() - before
        assert peak <= 1.3 * 4 * n * n

    def test_info(self) -> None:
        w = 0.5 * torch.eye(3, device="cuda")
        info, expected = rrnn_ext.resolvent_info(w, hops=4), rrnn_ext.resolvent_info(w.cpu(), hops=4)
        for name in info._fields:
            assert getattr(info, name).is_cuda
            torch.testing.assert_close(getattr(info, name).cpu(), getattr(expected, name))

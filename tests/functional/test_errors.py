"""Every documented error: its type, and a text that names the argument, what was needed and what came."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from support.random_weights import weights

import rrnn_ext

W = torch.zeros(64, 64)
U = torch.zeros(64, 16)
V = torch.zeros(8, 64)
HOPS = 3
FUNCTIONS = ["resolvent_penalty", "resolvent", "hop_decomposition"]


def call(function: str, *matrices: Any, **options: Any) -> Any:
    return getattr(rrnn_ext, function)(*matrices, **{"hops": HOPS, **options})


@pytest.mark.parametrize("function", FUNCTIONS)
class TestWeights:
    @pytest.mark.parametrize(
        ("matrices", "text"),
        [
            ((W, U.mT), r"weight_in must be \(\.\.\., 64, i\) to match weight_hh \(64, 64\), got \(16, 64\)"),
            ((W, U[0]), r"weight_in must be \(\.\.\., 64, i\) to match weight_hh \(64, 64\), got \(16,\)"),
            ((W, torch.zeros(())), r"weight_in must be \(\.\.\., 64, i\) to match weight_hh \(64, 64\), got \(\)"),
            ((W, None, V.mT), r"weight_out must be \(\.\.\., o, 64\) to match weight_hh \(64, 64\), got \(64, 8\)"),
            ((W, U, V[:, :63]), r"weight_out must be \(\.\.\., o, 64\) to match weight_hh \(64, 64\), got \(8, 63\)"),
            ((W, U, V[0]), r"weight_out must be \(\.\.\., o, 64\) to match weight_hh \(64, 64\), got \(64,\)"),
            ((torch.zeros(3, 4),), r"weight_hh must be square \(\.\.\., n, n\), got \(3, 4\)"),
            ((torch.zeros(2, 3, 4),), r"weight_hh must be square \(\.\.\., n, n\), got \(2, 3, 4\)"),
            ((torch.zeros(4),), r"weight_hh must be square \(\.\.\., n, n\), got \(4,\)"),
            ((torch.zeros(()),), r"weight_hh must be square \(\.\.\., n, n\), got \(\)"),
        ],
        ids=lambda case: "" if isinstance(case, tuple) else case,
    )
    def test_shapes(self, function: str, matrices: tuple[Any, ...], text: str) -> None:
        with pytest.raises(ValueError, match=text):
            call(function, *matrices)

    @pytest.mark.parametrize(
        "batches", [((2,), (3,), ()), ((2,), (), (3,)), ((), (2,), (3,)), ((2, 1), (3,), (4,))], ids=str
    )
    def test_batches_that_do_not_broadcast(self, function: str, batches: Any) -> None:
        with pytest.raises(ValueError, match=r"(?is)(batch|broadcast).*\(\d"):
            call(function, *weights(4, 3, 2, batches=batches).values())

    @pytest.mark.parametrize("position", [0, 1, 2])
    @pytest.mark.parametrize("intruder", [[[1.0]], 3.0, "weights"], ids=str)
    def test_no_tensor(self, function: str, position: int, intruder: Any) -> None:
        name = ("weight_hh", "weight_in", "weight_out")[position]
        matrices: list[Any] = [W, U, V]
        matrices[position] = intruder
        with pytest.raises(TypeError, match=rf"{name} .*[Tt]ensor.*{type(intruder).__name__}"):
            call(function, *matrices)

    def test_weight_hh_left_out(self, function: str) -> None:
        with pytest.raises(TypeError, match=r"weight_hh .*[Tt]ensor.*None"):
            call(function, None, U, V)

    def test_eight_bits(self, function: str) -> None:
        with pytest.raises(TypeError, match=r"weight_hh must be of 16 bits or more, got torch\.float8_e4m3fn"):
            call(function, *(matrix.to(torch.float8_e4m3fn) for matrix in (W, U, V)))

    @pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool, torch.complex64], ids=str)
    def test_not_floating(self, function: str, dtype: torch.dtype) -> None:
        with pytest.raises(TypeError, match=rf"(?s)weight_hh .*float.*{dtype}"):
            call(function, *(matrix.to(dtype) for matrix in (W, U, V)))

    @pytest.mark.parametrize(
        ("name", "matrices"),
        [("weight_in", (W, U.double(), V)), ("weight_out", (W, U, V.half())), ("weight_in", (W.double(), U))],
        ids=["weight_in", "weight_out", "weight_hh"],
    )
    def test_dtype_mismatch(self, function: str, name: str, matrices: tuple[Any, ...]) -> None:
        with pytest.raises(TypeError, match=rf"(?s){name} .*torch\.float\d\d.*torch\.float\d\d"):
            call(function, *matrices)

    @pytest.mark.parametrize(
        ("name", "matrices"), [("weight_in", (W, U.to("meta"), V)), ("weight_out", (W, U, V.to("meta")))]
    )
    def test_device_mismatch(self, function: str, name: str, matrices: tuple[Any, ...]) -> None:
        with pytest.raises(ValueError, match=rf"(?s){name} .*(cpu.*meta|meta.*cpu)"):
            call(function, *matrices)

    @pytest.mark.parametrize("position", [1, 2])  # tests/sparse has those of a sparse weight_hh
    def test_sparse_layout(self, function: str, position: int) -> None:
        matrices = [W, U, V]
        matrices[position] = matrices[position].to_sparse()
        with pytest.raises((TypeError, ValueError), match=r"(?i)weight_.*(strided|dense|sparse)"):
            call(function, *matrices)


@pytest.mark.parametrize("function", FUNCTIONS)
class TestOptions:
    @pytest.mark.parametrize("hops", [0, -1, -(2**62)])
    def test_hops_too_small(self, function: str, hops: int) -> None:
        with pytest.raises(ValueError, match=f"hops .*1.*{hops}"):
            call(function, W, U, V, hops=hops)

    @pytest.mark.parametrize("hops", [2.0, 2.5, math.nan, "3", torch.tensor(3.0), [3]], ids=repr)
    def test_hops_no_integer(self, function: str, hops: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"hops .*int"):
            call(function, W, U, V, hops=hops)

    @pytest.mark.parametrize("alpha", [0, 0.0, -0.5, math.inf, -math.inf, math.nan])
    @pytest.mark.parametrize("tensor", [False, True])
    def test_alpha_out_of_range(self, function: str, tensor: bool, alpha: float) -> None:
        with pytest.raises(ValueError, match=r"(?s)alpha .*(finite|positive).*got"):
            call(function, W, U, V, alpha=torch.tensor(float(alpha)) if tensor else alpha)

    def test_one_alpha_of_a_batch_out_of_range(self, function: str) -> None:
        with pytest.raises(ValueError, match=r"(?s)alpha .*(finite|positive)"):
            call(function, W.expand(3, 64, 64), U, V, alpha=torch.tensor([0.5, -0.5, 0.5]))

    @pytest.mark.parametrize("shape", [(1, 2), (2,), (4,), (3, 1), (3, 3)], ids=str)
    def test_alpha_of_another_shape(self, function: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=rf"(?s)alpha .*\(3,\).*got \({shape[0]}, ?"):
            call(function, W.expand(3, 64, 64), U, V, alpha=torch.full(shape, 0.5))

    @pytest.mark.parametrize("alpha", [np.float32(0.5), np.float64(0.5), Fraction(1, 2), 1, np.int64(1)], ids=repr)
    def test_whatever_is_a_real_number_is_an_alpha(self, function: str, alpha: Any) -> None:
        assert torch.equal(call(function, W, U, V, alpha=alpha), call(function, W, U, V, alpha=float(alpha)))

    @pytest.mark.parametrize("hops", [np.int64(3), np.uint8(3), torch.tensor(3)], ids=repr)
    def test_hops_of_numpy(self, function: str, hops: Any) -> None:
        if isinstance(hops, torch.Tensor):
            with pytest.raises(TypeError, match="hops must be an int"):  # it might be on a device
                call(function, W, U, V, hops=hops)
        else:
            assert torch.equal(call(function, W, U, V, hops=hops), call(function, W, U, V, hops=3))

    @pytest.mark.parametrize("alpha", ["0.9", None, [0.9], True, 1j], ids=repr)
    def test_alpha_no_number(self, function: str, alpha: Any) -> None:
        with pytest.raises((TypeError, ValueError), match="alpha "):
            call(function, W, U, V, alpha=alpha)


def test_hop_decomposition_is_finite() -> None:
    with pytest.raises((TypeError, ValueError), match=r"hops .*int.*None"):
        call("hop_decomposition", W, U, V, hops=None)


@pytest.mark.parametrize("function", ["resolvent_penalty", "resolvent"])
class TestHopWeights:
    def test_need_finite_hops(self, function: str) -> None:
        with pytest.raises(ValueError, match=r"(?s)hop_weights .*hops"):
            call(function, W, U, V, hops=None, hop_weights=torch.ones(3))

    @pytest.mark.parametrize("shape", [(2,), (4,), (1,), (), (3, 1), (3, 64)], ids=str)
    def test_one_for_each_hop(self, function: str, shape: tuple[int, ...]) -> None:
        got = r"\(" + ", ".join(map(str, shape))
        with pytest.raises(ValueError, match=rf"(?s)hop_weights .*\(\.\.\., 3\).*{got}"):
            call(function, W, U, V, hop_weights=torch.ones(shape))

    def test_batch(self, function: str) -> None:
        with pytest.raises(ValueError, match=r"(?s)hop_weights .*\(5,"):
            call(function, W.expand(2, 64, 64), U, V, hop_weights=torch.ones(5, 3))

    def test_no_tensor(self, function: str) -> None:
        with pytest.raises(TypeError, match=r"hop_weights .*[Tt]ensor.*list"):
            call(function, W, U, V, hop_weights=[1.0, 1.0, 1.0])

    def test_dtype(self, function: str) -> None:
        with pytest.raises(TypeError, match=r"(?s)hop_weights .*float"):
            call(function, W, U, V, hop_weights=torch.ones(3, dtype=torch.int64))

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_not_finite(self, function: str, bad: float) -> None:
        with pytest.raises(ValueError, match=rf"hop_weights must be finite, got {bad}"):
            call(function, W, U, V, hop_weights=torch.tensor([1.0, bad, 1.0]))

    def test_have_no_closed_form(self, function: str) -> None:
        with pytest.raises(ValueError, match=r"(?s)hop_weights.*inverse|inverse.*hop_weights"):
            call(function, W, U, V, hop_weights=torch.ones(3), method="inverse")


class TestPairWeights:
    @pytest.mark.parametrize("shape", [(16, 8), (7, 16), (8, 15), (2,)], ids=str)
    def test_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=rf"(?s)pair_weights .*8, 16\).*got \({shape[0]}, ?"):
            call("resolvent_penalty", W, U, V, pair_weights=torch.ones(shape))

    def test_shape_without_sides(self) -> None:
        with pytest.raises(ValueError, match=r"(?s)pair_weights .*64, 64\).*got \(8, 16\)"):
            call("resolvent_penalty", W, pair_weights=torch.ones(8, 16))

    @pytest.mark.parametrize("per_hop", [False, True])
    @pytest.mark.parametrize("rectify", [False, True])
    def test_negative(self, rectify: bool, per_hop: bool) -> None:
        distances = torch.ones(8, 16)
        distances[-1, -1] = -1e-3
        with pytest.raises(ValueError, match=r"(?s)pair_weights .*negative|pair_weights .*>= 0|pair_weights .*≥ 0"):
            call("resolvent_penalty", W, U, V, pair_weights=distances, rectify=rectify, per_hop=per_hop)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_not_finite(self, bad: float) -> None:
        distances = torch.ones(8, 16)
        distances[3, 2] = bad
        with pytest.raises(ValueError, match=rf"pair_weights must be finite and not negative, got {bad}"):
            call("resolvent_penalty", W, U, V, pair_weights=distances)

    def test_no_tensor(self) -> None:
        with pytest.raises(TypeError, match=r"pair_weights .*[Tt]ensor.*float"):
            call("resolvent_penalty", W, U, V, pair_weights=1.0)

    def test_dtype(self) -> None:
        with pytest.raises(TypeError, match=r"(?s)pair_weights .*float"):
            call("resolvent_penalty", W, U, V, pair_weights=torch.ones(8, 16, dtype=torch.int64))


@pytest.mark.parametrize(
    ("option", "unknown", "known"),
    [
        ("norm", "l3", ("l1", "l2")),
        ("norm", None, ("l1", "l2")),
        ("norm", 1, ("l1", "l2")),
        ("method", "solve", ("auto", "series", "inverse")),
        ("reduction", "max", ("sum", "mean", "none")),
    ],
)
def test_unknown_choice_lists_the_known_ones(option: str, unknown: Any, known: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=rf"(?s){option} .*{unknown}") as raised:
        call("resolvent_penalty", W, U, V, **{option: unknown})
    for name in known:
        assert name in str(raised.value)


def test_unknown_method_of_resolvent() -> None:
    with pytest.raises(ValueError, match=r"(?s)method .*auto.*solve"):
        call("resolvent", W, U, V, method="solve")


@pytest.mark.parametrize("name", ["rectify", "per_hop"])
@pytest.mark.parametrize("hops", [3, None])
@pytest.mark.parametrize("value", ["no", None, 1, torch.tensor(True)], ids=str)
def test_a_switch_is_true_or_false(name: str, hops: int | None, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"{name} must be True or False, got .* \({type(value).__name__}\)"):
        rrnn_ext.resolvent_penalty(W, U, V, hops=hops, **{name: value})
    if name == "rectify":
        with pytest.raises(TypeError, match="rectify must be True or False"):
            rrnn_ext.resolvent_info(W, rectify=value)


def test_a_switch_of_numpy() -> None:
    switches: dict[str, Any] = {"rectify": np.bool_(True), "per_hop": np.bool_(True)}
    value = rrnn_ext.resolvent_penalty(W, U, V, hops=3, **switches)
    assert value == rrnn_ext.resolvent_penalty(W, U, V, hops=3, rectify=True, per_hop=True)


def test_per_hop_needs_finite_hops() -> None:
    with pytest.raises(ValueError, match=r"(?s)per_hop.*hops"):
        call("resolvent_penalty", W, U, V, hops=None, per_hop=True)


def test_per_hop_has_no_closed_form() -> None:
    with pytest.raises(ValueError, match=r"(?s)per_hop.*inverse|inverse.*per_hop"):
        call("resolvent_penalty", W, U, V, per_hop=True, method="inverse")


class TestSingularTruncatedInverse:
    """With an eigenvalue at 1 the truncated sum exists and (I - A)^{-1} does not."""

    @pytest.mark.parametrize("function", ["resolvent_penalty", "resolvent"])
    def test_single(self, function: str) -> None:
        with pytest.raises((RuntimeError, ValueError), match=r"method=.series"):
            call(function, torch.eye(4), method="inverse")
        assert torch.isfinite(call(function, torch.eye(4), method="series")).all()
        assert torch.isfinite(call(function, torch.eye(4))).all()

    def test_one_of_a_batch(self) -> None:
        w = torch.stack([0.5 * torch.eye(4), torch.eye(4)])
        with pytest.raises((RuntimeError, ValueError), match=r"method=.series"):
            call("resolvent_penalty", w, torch.ones(4, 1), method="inverse")

    def test_outside_the_disc_is_fine(self) -> None:
        """Finite sums need no convergence."""
        w = 3 * torch.eye(4, dtype=torch.float64)
        value = call("resolvent_penalty", w, method="inverse")
        assert value.item() == pytest.approx(4 * (3 + 9 + 27), rel=1e-13)


class TestInfo:
    def test_shape(self) -> None:
        with pytest.raises(ValueError, match=r"weight_hh must be square \(\.\.\., n, n\), got \(3, 4\)"):
            rrnn_ext.resolvent_info(torch.zeros(3, 4))

    def test_dtype(self) -> None:
        with pytest.raises(TypeError, match=r"(?s)weight_hh .*float.*torch\.int64"):
            rrnn_ext.resolvent_info(torch.zeros(3, 3, dtype=torch.int64))

    def test_alpha(self) -> None:
        with pytest.raises(ValueError, match=r"(?s)alpha .*(finite|positive)"):
            rrnn_ext.resolvent_info(W, alpha=0.0)

    def test_hops(self) -> None:
        with pytest.raises(ValueError, match=r"hops .*1.*0"):
            rrnn_ext.resolvent_info(W, hops=0)


def test_errors_come_before_the_divergence_of_the_sum() -> None:
    """A wrong shape is named as such even where the sum would not converge either."""
    with pytest.raises(ValueError, match="weight_in must be"):
        rrnn_ext.resolvent_penalty(10 * torch.eye(64), U.mT)

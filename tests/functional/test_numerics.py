"""Cancellation, NaN and Inf, half precision, and results that do not depend on the run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.oracle import assert_within, check
from support.random_weights import weights
from torch import Tensor

import rrnn_ext

REALS = [torch.float64, torch.float32]
HALVES = [torch.float16, torch.bfloat16]


pytestmark = pytest.mark.native


class TestCancellation:
    @pytest.mark.parametrize("dtype", REALS, ids=str)
    @pytest.mark.parametrize(
        "options", [{"norm": "l1"}, {"norm": "l2"}, {"norm": "l1", "per_hop": True}], ids=["l1", "l2", "per_hop"]
    )
    @pytest.mark.parametrize(("i", "o"), [(1, 1), (5, 3), (None, 2), (None, None)])
    def test_terms_far_larger_than_their_sum(
        self, i: int | None, o: int | None, options: dict[str, Any], dtype: torch.dtype
    ) -> None:
        """exp(-6 S) by its Taylor series: terms of 65 that leave a 400th."""
        hops, n = 36, 9
        leaves = weights(n, i, o, seed=1)
        leaves["weight_hh"] = -6 * torch.linspace(0.25, 1, n).double().diag().to(DEVICE) + 0.05 * leaves["weight_hh"]
        taylor = torch.tensor([1 / math.factorial(m) for m in range(hops)], dtype=torch.float64, device=DEVICE)
        given = {name: leaf.to(dtype) for name, leaf in leaves.items()}
        check("resolvent_penalty", given, {"hops": hops, "hop_weights": taylor.to(dtype), **options})

    @pytest.mark.parametrize("dtype", REALS, ids=str)
    @pytest.mark.parametrize("hops", [2, 3])
    @pytest.mark.parametrize(("i", "o"), [(1, 1), (5, 3), (None, 2), (None, None)])
    def test_within_every_step(self, i: int | None, o: int | None, hops: int, dtype: torch.dtype) -> None:
        """Rows of large weights that sum to almost nothing."""
        n = 16
        leaves = weights(n, i, o, seed=3)
        w = leaves["weight_hh"]
        leaves["weight_hh"] = w + 1e3 * w.new_tensor([1.0, -1.0]).repeat(n // 2).expand(n, n) / n
        check("resolvent_penalty", {name: leaf.to(dtype) for name, leaf in leaves.items()}, {"hops": hops})

    @pytest.mark.parametrize("dtype", [*REALS, *HALVES], ids=str)
    @pytest.mark.parametrize("n", [5, 17, 64])
    @pytest.mark.parametrize(("i", "o"), [(1, 1), (7, 3), (3, 20), (20, 3), (None, 2), (2, None), (None, None)])
    def test_whole_numbers_are_exact(self, i: int | None, o: int | None, n: int, dtype: torch.dtype) -> None:
        """Signed counts that float32 can hold are added without any rounding, in whatever order."""
        generator = torch.Generator().manual_seed(n)
        counts = {
            name: torch.randint(-1, 2, matrix.shape, generator=generator) for name, matrix in weights(n, i, o).items()
        }
        hops, total = 4, None
        walk = counts.get("weight_in", torch.eye(n, dtype=torch.int64))
        if i is None and o is None:
            walk = counts["weight_hh"]
        for _ in range(hops):
            term = walk if o is None else counts["weight_out"] @ walk
            total = term if total is None else total + term
            walk = counts["weight_hh"] @ walk
        assert total is not None
        given: dict[str, Any] = {name: count.to(DEVICE, dtype) for name, count in counts.items()}
        # Halves are rounded once, at the end.
        assert torch.equal(rrnn_ext.resolvent(**given, hops=hops, method="series").cpu(), total.to(dtype))
        penalty = rrnn_ext.resolvent_penalty(**given, hops=hops, method="series")
        assert torch.equal(penalty.cpu(), total.abs().sum().to(dtype))

    def test_walks_that_cancel_exactly(self) -> None:
        """Two ways of opposite sign: nothing arrives, and per hop nothing either."""
        w = torch.zeros(4, 4, device=DEVICE)
        w[1, 0], w[2, 0], w[3, 1], w[3, 2] = 3e3, 3e3, 7e3, -7e3
        eye = torch.eye(4, device=DEVICE)
        given = (w, eye[:, :1], eye[3:])
        assert rrnn_ext.resolvent_penalty(*given, hops=6).item() == 0
        assert rrnn_ext.resolvent_penalty(*given, hops=6, per_hop=True).item() == 0
        assert rrnn_ext.resolvent_penalty(*given, hops=6, rectify=True).item() == 2 * 3e3 * 7e3


OPTIONS: list[dict[str, Any]] = [
    {"hops": 1},
    {"hops": 4},
    {"hops": 4, "rectify": True},
    {"hops": 4, "rectify": True, "norm": "l2"},
    {"hops": 4, "per_hop": True},
    {"hops": 4, "method": "inverse"},
    {"hops": None},
    {"hops": None, "rectify": True},
    {"hops": None, "method": "series"},
    {"hops": None, "method": "inverse"},
]
SIDES = [(3, 2), (1, 1), (3, None), (None, 2), (None, None)]


def passes(name: str, i: int | None, o: int | None, hops: int | None) -> bool:
    """Whether a walk passes that weight: the only one that leads from one side to the other without W does not."""
    return name != "weight_hh" or hops != 1 or (i is None and o is None)


class TestNotANumber:
    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    @pytest.mark.parametrize(("i", "o"), SIDES)
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
    def test_any_weight(self, dtype: torch.dtype, i: int | None, o: int | None, options: dict[str, Any]) -> None:
        given = weights(17, i, o, dtype=dtype)
        for name, place in itertools.product(given, (0, -1)):
            spoiled = {key: matrix.clone() for key, matrix in given.items()}
            spoiled[name].view(-1)[place] = math.nan
            value = rrnn_ext.resolvent_penalty(**spoiled, **options)
            if passes(name, i, o, options["hops"]):
                assert torch.isnan(value), f"nan at {place} of {name} gave {value.item()}"
            else:
                assert torch.equal(value, rrnn_ext.resolvent_penalty(**given, **options))

    @pytest.mark.parametrize("bad", [math.inf, -math.inf])
    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    @pytest.mark.parametrize(("i", "o"), SIDES)
    def test_infinity(self, i: int | None, o: int | None, options: dict[str, Any], bad: float) -> None:
        """NaN or Inf comes out. An infinite sum over an infinite weight may also be said to diverge."""
        given = weights(17, i, o)
        for name, place in itertools.product(given, (0, -1)):
            spoiled = {key: matrix.clone() for key, matrix in given.items()}
            spoiled[name].view(-1)[place] = bad
            try:
                value = rrnn_ext.resolvent_penalty(**spoiled, **options)
            except rrnn_ext.ResolventDivergenceError:
                assert (options["hops"], name) == (None, "weight_hh")
            else:
                finite = not passes(name, i, o, options["hops"])
                assert torch.isfinite(value) == finite, f"{bad} at {place} of {name} gave {value.item()}"

    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    @pytest.mark.parametrize(("i", "o"), [(3, 2), (None, None)])
    def test_only_its_own_batch_element(self, i: int | None, o: int | None, options: dict[str, Any]) -> None:
        given = weights(9, i, o, batches=((3,), (3,), (3,)))
        sound = rrnn_ext.resolvent_penalty(**given, **options, reduction="none")
        given["weight_hh"][1, 4, 4] = math.nan
        leaves = {name: matrix.requires_grad_() for name, matrix in given.items()}
        value = rrnn_ext.resolvent_penalty(**leaves, **options, reduction="none")
        assert torch.isnan(value).tolist() == [False, passes("weight_hh", i, o, options["hops"]), False]
        torch.testing.assert_close(value[::2], sound[::2], rtol=1e-12, atol=0)
        (gradient,) = torch.autograd.grad(value.nansum(), leaves["weight_hh"])
        assert torch.isfinite(gradient[::2]).all()

    @pytest.mark.parametrize("hops", [1, 4, None])
    def test_resolvent(self, hops: int | None) -> None:
        given = weights(9, 3, 2)
        for name in given:
            spoiled = {key: matrix.clone() for key, matrix in given.items()}
            spoiled[name][0, 0] = math.nan
            assert torch.isnan(rrnn_ext.resolvent(**spoiled, hops=hops)).any() == passes(name, 3, 2, hops)

    def test_a_walk_too_strong_for_the_dtype(self) -> None:
        """Overflow is Inf or NaN, not the largest finite number."""
        w = 1e30 * torch.ones(3, 3, device=DEVICE)
        assert not torch.isfinite(rrnn_ext.resolvent_penalty(w, w[:, :1] / w[0, 0], hops=5))
        assert not torch.isfinite(rrnn_ext.resolvent_penalty(w, hops=5, rectify=True))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
class TestHalves:
    def test_long_sums_do_not_stall(self, dtype: torch.dtype) -> None:
        """Adding ones in half precision stops at 2048 (float16) or 256 (bfloat16)."""
        n = 4096
        ones = torch.ones(n, 1, dtype=dtype, device=DEVICE)
        penalty = rrnn_ext.resolvent_penalty(torch.zeros(n, n, dtype=dtype, device=DEVICE), ones, ones.mT, hops=1)
        assert penalty.item() == n

    def test_many_hops_do_not_stall(self, dtype: torch.dtype) -> None:
        """A walk round a self-loop that never weakens, 4096 times."""
        one = torch.ones(1, 1, dtype=dtype, device=DEVICE)
        assert rrnn_ext.resolvent_penalty(one, one, one, hops=4096).item() == 4096
        assert rrnn_ext.resolvent_penalty(one, one, one, hops=4096, rectify=True).item() == 4096
        assert rrnn_ext.resolvent_penalty(one, one, one, hops=4096, per_hop=True).item() == 4096

    @pytest.mark.parametrize("options", [{}, {"rectify": True}, {"per_hop": True}], ids=str)
    def test_range_of_what_lies_between(self, options: dict[str, Any], dtype: torch.dtype) -> None:
        """Hidden activity beyond 65504, a read-out that brings it back."""
        w = torch.full((2, 2), 64.0, dtype=dtype, device=DEVICE)
        u, v = torch.ones(2, 1, dtype=dtype, device=DEVICE), torch.full((1, 2), 2.0**-14, dtype=dtype, device=DEVICE)
        # 1 + 128 + 128^2 + 128^3 = 2113665, times two paths out of 2^-14 each.
        expected = torch.tensor(2113665 * 2.0**-13).to(dtype)
        assert torch.equal(rrnn_ext.resolvent_penalty(w, u, v, hops=4, **options).cpu(), expected)

    def test_alpha_is_not_rounded_to_the_weights(self, dtype: torch.dtype) -> None:
        """0.9 in bfloat16 is 0.8984: over 20 hops that is four per cent."""
        one = torch.ones(1, 1, dtype=dtype, device=DEVICE)
        expected = torch.tensor(0.9**2 * sum(0.9**m for m in range(20)), dtype=torch.float64)
        actual = rrnn_ext.resolvent_penalty(one, one, one, alpha=0.9, hops=20)
        assert_within("penalty", actual, expected, 1e-5)


RUNS: list[dict[str, Any]] = [
    {"hops": 10},
    {"hops": 10, "rectify": True},
    {"hops": 10, "per_hop": True},
    {"hops": None},
    {"hops": None, "rectify": True},
]
SHAPES = [(300, 8, 4), (300, 40, 30), (300, 1, 1), (150, None, None), (150, None, 3)]


def value_and_gradients(given: dict[str, Tensor], options: dict[str, Any]) -> list[Tensor]:
    leaves: dict[str, Any] = {name: matrix.detach().clone().requires_grad_() for name, matrix in given.items()}
    value = rrnn_ext.resolvent_penalty(**leaves, **options)
    return [value.detach(), *torch.autograd.grad(value, list(leaves.values()))]


@pytest.mark.parametrize("options", RUNS, ids=str)
@pytest.mark.parametrize(("n", "i", "o"), SHAPES)
class TestSameResult:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    def test_bit_for_bit_from_run_to_run(
        self, n: int, i: int | None, o: int | None, options: dict[str, Any], dtype: torch.dtype
    ) -> None:
        given = weights(n, i, o, dtype=dtype)
        first = value_and_gradients(given, options)
        for _ in range(3):
            for a, b in zip(first, value_and_gradients(given, options), strict=True):
                assert torch.equal(a, b)

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str)
    def test_one_thread_and_two(
        self,
        n: int,
        i: int | None,
        o: int | None,
        options: dict[str, Any],
        dtype: torch.dtype,
        tolerance: float,
        set_threads: Callable[[int], None],
    ) -> None:
        # l2 has no kinks, at which rounding could turn a sign.
        options = {**options, "norm": "l2"}
        given = weights(n, i, o, dtype=dtype)
        results = []
        for count in (1, 2):
            set_threads(count)
            results.append(value_and_gradients(given, options))
        for a, b in zip(*results, strict=True):
            assert_within("two threads", b, a.double(), tolerance * float(a.abs().max()))


def test_batch_of_many_threads_and_one(set_threads: Callable[[int], None]) -> None:
    given = weights(16, None, None, batches=((100,), (), ()))
    results = []
    for count in (1, 2, 3):
        set_threads(count)
        results.append(value_and_gradients(given, {"hops": 5, "reduction": "sum"}))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_within("threads", b, a, 1e-12 * float(a.abs().max()))


@pytest.mark.parametrize("dtype", REALS, ids=str)
def test_where_it_lies_in_memory_does_not_matter(dtype: torch.dtype) -> None:
    """Unaligned storage and other strides give the same numbers as contiguous tensors, up to rounding."""
    given = weights(33, 5, 3, dtype=dtype)
    straight = value_and_gradients(given, {"hops": 6, "norm": "l2"})
    for shift in (1, 2, 3):
        moved: dict[str, Any] = {}
        for name, matrix in given.items():
            storage = torch.zeros(matrix.numel() + shift, dtype=dtype, device=DEVICE)
            storage[shift:] = matrix.flatten()
            moved[name] = storage[shift:].view(matrix.shape)
        leaves = {name: matrix.requires_grad_() for name, matrix in moved.items()}
        value = rrnn_ext.resolvent_penalty(**leaves, hops=6, norm="l2")
        actual = [value.detach(), *torch.autograd.grad(value, list(leaves.values()))]
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        for a, b in zip(straight, actual, strict=True):
            assert_within("shifted", b, a.double(), tolerance * float(a.abs().max()))

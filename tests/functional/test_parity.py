"""Values and gradients against reference.py, over shapes, layouts, batches and every combination of options."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from support.device import DEVICE
from support.oracle import TOLERANCE, assert_within, check
from support.random_weights import weights
from support.strategies import Call, calls

import rrnn_ext
from rrnn_ext._options import NormName, Reduction

HALVES = (torch.float16, torch.bfloat16)

pytestmark = pytest.mark.native


@given(calls("resolvent_penalty", torch.float64))
@settings(max_examples=80)
def test_penalty_float64(call: Call) -> None:
    check("resolvent_penalty", call.leaves, call.options, call.views)


@given(calls("resolvent_penalty", torch.float32))
@settings(max_examples=80)
def test_penalty_float32(call: Call) -> None:
    check("resolvent_penalty", call.leaves, call.options, call.views)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_penalty_halves(dtype: torch.dtype) -> None:
    @given(calls("resolvent_penalty", dtype, sizes=(0, 1, 2, 3, 17)))
    @settings(max_examples=40)
    def run(call: Call) -> None:
        check("resolvent_penalty", call.leaves, call.options, call.views)

    run()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("function", ["resolvent", "hop_decomposition"])
def test_matrices(function: str, dtype: torch.dtype) -> None:
    @given(calls(function, dtype))
    @settings(max_examples=40)
    def run(call: Call) -> None:
        check(function, call.leaves, call.options, call.views)

    run()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("sides", [(3, 2), (None, 2), (None, None)], ids=str)
@pytest.mark.parametrize("function", ["resolvent_penalty", "resolvent", "hop_decomposition"])
def test_halves_round_once(function: str, sides: tuple[int | None, int | None], dtype: torch.dtype) -> None:
    leaves = weights(17, *sides, dtype=dtype)
    check(function, leaves, {"hops": 7, "alpha": 0.75})
    check(function, leaves, {"hops": 7, "alpha": 0.75, "rectify": True})


# Every combination of options: hops, rectify, per_hop, norm, U, V, hop_weights, pair_weights, batches, method.
TABLE = itertools.product(
    (3, None),
    (False, True),
    (False, True),
    ("l1", "l2"),
    (3, None),
    (2, None),
    (False, True),
    (False, True),
    ("single", "batch", "broadcast"),
    ("auto", "series", "inverse"),
)
BATCHES_OF = {
    "single": ((), (), ()),
    "batch": ((2,), (2,), (2,)),
    "broadcast": ((2, 1), (3,), (1, 1)),
}


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("hops", "rectify", "per_hop", "norm", "i", "o", "with_hop_weights", "with_pair_weights", "batching", "method"),
    list(TABLE),
)
def test_every_combination(
    hops: int | None,
    rectify: bool,
    per_hop: bool,
    norm: str,
    i: int | None,
    o: int | None,
    with_hop_weights: bool,
    with_pair_weights: bool,
    batching: str,
    method: str,
) -> None:
    n = 4
    leaves = weights(n, i, o, seed=7, batches=BATCHES_OF[batching])
    batch = torch.broadcast_shapes(*(matrix.shape[:-2] for matrix in leaves.values()))
    leaves["alpha"] = torch.full(batch, 0.875, dtype=torch.float64, device=DEVICE)
    options: dict[str, Any] = {"hops": hops, "rectify": rectify, "per_hop": per_hop, "norm": norm, "method": method}
    generator = torch.Generator().manual_seed(8)
    if with_hop_weights:
        shape = (*batch, 3) if batching == "broadcast" else (3,)
        options["hop_weights"] = torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE)
    if with_pair_weights:
        shape = (o or n, i or n) if batching == "broadcast" else (*batch, o or n, i or n)
        options["pair_weights"] = torch.rand(shape, generator=generator, dtype=torch.float64).to(DEVICE)

    if (hops is None or method == "inverse") and (per_hop or with_hop_weights):
        # Neither an infinite sum nor a closed form has single hops.
        with pytest.raises(ValueError, match=r"(?s)(hops|inverse).*(per_hop|hop_weights)|(per_hop|hop_weights).*hops"):
            rrnn_ext.resolvent_penalty(**leaves, **options)
    else:
        check("resolvent_penalty", leaves, options)


# The kernels may choose by shape: wide, narrow, tall, and sizes around vector widths and blocks.
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("per_hop", [False, True])
@pytest.mark.parametrize(
    ("n", "i", "o"),
    [(1, 5, 1), (7, 1, 1), (8, 8, 4), (15, 4, 16), (31, 17, 1), (33, 1, 33), (65, 16, 8), (127, 3, 40), (256, 2, 2)],
)
def test_thin_shapes(n: int, i: int, o: int, per_hop: bool, rectify: bool, dtype: torch.dtype) -> None:
    leaves = weights(n, i, o, seed=n, dtype=dtype)
    check("resolvent_penalty", leaves, {"hops": 12, "rectify": rectify, "per_hop": per_hop, "alpha": 1.0625})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("hops", [4, None])
@pytest.mark.parametrize(("count", "n"), [(5, 16), (3, 33), (70, 3), (1, 130)])
def test_all_pairs_batches(count: int, n: int, hops: int | None, dtype: torch.dtype) -> None:
    leaves = weights(n, None, None, seed=n, dtype=dtype, batches=((count,), (), ()))
    check("resolvent_penalty", leaves, {"hops": hops, "reduction": "none"})


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_batch_is_the_loop_over_it(reduction: Reduction) -> None:
    batched = weights(5, 3, 2, batches=((4,), (4,), (4,)))
    each = [
        rrnn_ext.resolvent_penalty(**{name: matrix[b] for name, matrix in batched.items()}, hops=4) for b in range(4)
    ]
    stacked = torch.stack(each)
    expected = {"sum": stacked.sum(), "mean": stacked.mean(), "none": stacked}[reduction]
    actual = rrnn_ext.resolvent_penalty(**batched, hops=4, reduction=reduction)
    assert_within("penalty", actual, expected, 1e-13 * float(stacked.sum()))


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("n", "i", "o", "batch"),
    [(0, 3, 2, ()), (4, 0, 2, ()), (4, 3, 0, ()), (0, 0, 0, ()), (0, None, None, ()), (4, 3, 2, (0,)), (0, 3, 2, (2,))],
)
@pytest.mark.parametrize(
    "options",
    [
        *({"hops": hops, **more} for hops in (1, 4, None) for more in ({}, {"rectify": True}, {"norm": "l2"})),
        {"hops": 4, "per_hop": True},
    ],
    ids=str,
)
def test_empty(n: int, i: int | None, o: int | None, batch: tuple[int, ...], options: dict[str, Any]) -> None:
    leaves = {name: matrix.requires_grad_() for name, matrix in weights(n, i, o, batches=(batch, batch, batch)).items()}
    value = rrnn_ext.resolvent_penalty(**leaves, reduction="none", **options)
    assert value.shape == batch
    assert torch.equal(value, torch.zeros_like(value))
    gradients = torch.autograd.grad(value.sum(), list(leaves.values()), materialize_grads=True)
    for gradient, leaf in zip(gradients, leaves.values(), strict=True):
        assert gradient.shape == leaf.shape
        assert not gradient.any()
    matrix = rrnn_ext.resolvent(**leaves, hops=options["hops"])
    assert matrix.shape == (*batch, n if o is None else o, n if i is None else i)
    assert not matrix.any()


@pytest.mark.parametrize("hops", [1, 6, None])
@pytest.mark.parametrize("rectify", [False, True])
class TestIdentities:
    """Properties of the definition that need no second implementation."""

    def test_reversed_graph(self, rectify: bool, hops: int | None) -> None:
        given = weights(9, 4, 2)
        forward = rrnn_ext.resolvent(**given, hops=hops, rectify=rectify)
        backward = rrnn_ext.resolvent(
            given["weight_hh"].mT, given["weight_out"].mT, given["weight_in"].mT, hops=hops, rectify=rectify
        )
        torch.testing.assert_close(backward, forward.mT, rtol=1e-11, atol=1e-15)

    def test_units_in_another_order(self, rectify: bool, hops: int | None) -> None:
        given = weights(9, 4, 2)
        order = torch.randperm(9, generator=torch.Generator().manual_seed(0)).to(DEVICE)
        forward = rrnn_ext.resolvent_penalty(**given, hops=hops, rectify=rectify)
        renamed = rrnn_ext.resolvent_penalty(
            given["weight_hh"][order][:, order],
            given["weight_in"][order],
            given["weight_out"][:, order],
            hops=hops,
            rectify=rectify,
        )
        torch.testing.assert_close(renamed, forward, rtol=1e-12, atol=0)

    def test_a_side_left_out_is_the_identity(self, rectify: bool, hops: int | None) -> None:
        given, alpha = weights(9, 4, 2), 0.75
        eye = torch.eye(9, dtype=torch.float64, device=DEVICE)
        options: dict[str, Any] = {"alpha": alpha, "hops": hops, "rectify": rectify}
        w, u, v = given["weight_hh"], given["weight_in"], given["weight_out"]
        close: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-15}
        # Each side that is given is one more edge of the walk and brings one more alpha.
        torch.testing.assert_close(
            alpha * rrnn_ext.resolvent(w, u, **options), rrnn_ext.resolvent(w, u, eye, **options), **close
        )
        torch.testing.assert_close(
            alpha * rrnn_ext.resolvent(w, None, v, **options), rrnn_ext.resolvent(w, eye, v, **options), **close
        )
        # With neither, walks start with one edge: A + A^2 + ... = (I + A + ...) A.
        from_one = rrnn_ext.resolvent(w, eye, eye, **options) / alpha**2 @ (alpha * (w.abs() if rectify else w))
        torch.testing.assert_close(rrnn_ext.resolvent(w, **options), from_one, **close)

    def test_penalty_is_the_norm_of_the_resolvent(self, rectify: bool, hops: int | None) -> None:
        given = weights(9, 4, 2)
        matrix = rrnn_ext.resolvent(**given, hops=hops, rectify=rectify)
        sizes: dict[NormName, torch.Tensor] = {"l1": matrix.abs().sum(), "l2": matrix.square().sum()}
        for norm, expected in sizes.items():
            actual = rrnn_ext.resolvent_penalty(**given, hops=hops, rectify=rectify, norm=norm)
            torch.testing.assert_close(actual, expected, rtol=1e-12, atol=0)


def test_one_hop_singled_out() -> None:
    given = weights(9, 4, 2)
    terms = rrnn_ext.hop_decomposition(**given, hops=5)
    for hop in range(5):
        only = torch.zeros(5, dtype=torch.float64, device=DEVICE)
        only[hop] = 1.0
        torch.testing.assert_close(rrnn_ext.resolvent(**given, hops=5, hop_weights=only), terms[hop])
        alone = rrnn_ext.resolvent_penalty(**given, hops=5, hop_weights=only, per_hop=True)
        torch.testing.assert_close(alone, terms[hop].abs().sum())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("hops", [1, 5, 24])
def test_methods_agree(hops: int, dtype: torch.dtype) -> None:
    given = weights(17, 4, 2, dtype=dtype)
    series, inverse, auto = (
        rrnn_ext.resolvent(**given, hops=hops, method=method) for method in ("series", "inverse", "auto")
    )
    bound = 10 * TOLERANCE[dtype] * float(series.abs().max())
    assert_within("inverse", inverse, series.double(), bound)
    assert_within("auto", auto, series.double(), bound)


def test_inputs_are_left_alone() -> None:
    given = weights(9, 4, 2)
    before = {name: matrix.clone() for name, matrix in given.items()}
    for options in ({"hops": 5}, {"hops": 5, "rectify": True, "per_hop": True}, {"hops": None}):
        leaves = {name: matrix.requires_grad_() for name, matrix in given.items()}
        rrnn_ext.resolvent_penalty(**leaves, **options).backward()
    for name, matrix in given.items():
        assert torch.equal(matrix, before[name])


def test_result_takes_part_in_no_graph_without_need() -> None:
    given = weights(4, 3, 2)
    assert not rrnn_ext.resolvent_penalty(**given, hops=3).requires_grad
    with torch.no_grad():
        leaves = {name: matrix.requires_grad_() for name, matrix in given.items()}
        assert not rrnn_ext.resolvent_penalty(**leaves, hops=3).requires_grad
    with torch.inference_mode():
        value = rrnn_ext.resolvent_penalty(**leaves, hops=3)
    torch.testing.assert_close(value, rrnn_ext.resolvent_penalty(**leaves, hops=3).detach())

"""The public functions of sparse weights against those of the same weights made dense."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.device import CUDA_EMULATED, DEVICE
from support.sparse import LAYOUTS, coo, dense_of, drawn, masked, unsorted_csr
from support.strategies import coordinates
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import rrnn_ext
from rrnn_ext import reference
from rrnn_ext.sparse import Pattern

pytestmark = [pytest.mark.native, pytest.mark.emulated, pytest.mark.filterwarnings("ignore:Sparse:UserWarning")]

ALPHA = 0.75
SIDES = ("dense", "units", None)


def side(kind: str | None, n: int, count: int, seed: int, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
    """As it is given beside sparse weights, (n, count), and as the same columns beside dense ones."""
    if kind is None:
        return None, None
    if kind == "dense":
        columns = drawn(n, count, seed=seed, dtype=dtype)
        return columns, columns
    units = torch.randint(0, max(n, 1), (count if n else 0,), generator=torch.Generator().manual_seed(seed))
    units = units.to(DEVICE)
    return units, torch.eye(n, dtype=dtype, device=DEVICE)[:, units]


@st.composite
def options(draw: st.DrawFn, n: int) -> dict[str, Any]:
    hops = draw(st.integers(1, 6))
    chosen: dict[str, Any] = {"hops": hops, "alpha": draw(st.sampled_from([1.0, 0.5]))}
    chosen["rectify"], chosen["per_hop"] = draw(st.booleans()), draw(st.booleans())
    chosen["norm"] = draw(st.sampled_from(["l1", "l2"]))
    if draw(st.booleans()):
        weights = st.sampled_from([0.0, 1.0, -0.5, 2.0])
        chosen["hop_weights"] = draw(st.lists(weights, min_size=hops, max_size=hops))
    kinds = draw(st.sampled_from([(a, b) for a in SIDES for b in SIDES if a or b]))
    counts = draw(st.integers(0, 9)), draw(st.integers(0, 3))
    counts = counts if draw(st.booleans()) else counts[::-1]
    chosen["sides"] = kinds, counts
    chosen["pairs"] = draw(st.booleans())
    return chosen


def problem(n: int, chosen: dict[str, Any], dtype: torch.dtype) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Sides beside sparse and beside dense weights, and the options."""
    given_options = {**chosen}
    kinds, counts = given_options.pop("sides")
    with_pairs = given_options.pop("pairs")
    sparse_in, dense_in = side(kinds[0], n, counts[0], 11, dtype)
    sparse_out, dense_out = side(kinds[1], n, counts[1], 12, dtype)
    if kinds[1] == "dense":
        assert sparse_out is not None
        sparse_out = sparse_out.mT.contiguous()
    dense_out = None if dense_out is None else dense_out.mT.contiguous()
    if given_options.get("hop_weights") is not None:
        given_options["hop_weights"] = torch.tensor(given_options["hop_weights"], dtype=dtype, device=DEVICE)
    if with_pairs:
        pairs = n if dense_out is None else dense_out.shape[0], n if dense_in is None else dense_in.shape[1]
        given_options["pair_weights"] = drawn(*pairs, seed=13, dtype=dtype).relu()
    return [sparse_in, sparse_out], [dense_in, dense_out], given_options


def leaves(sides: list[Any]) -> list[Any]:
    return [x.clone().requires_grad_() if x is not None and x.is_floating_point() else x for x in sides]


def near(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    tolerance = 1e-11 if actual.dtype == torch.float64 else 1e-4
    scale = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=tolerance * (1 + scale))


@settings(max_examples=60)
@given(st.data())
def test_penalty_and_gradients(data: st.DataObject) -> None:
    n, places, values = graph = data.draw(coordinates())
    chosen = data.draw(options(n))
    sparse_sides, dense_sides, given_options = problem(n, chosen, torch.float64)
    leaf, dense_leaf = values.clone().requires_grad_(), values.clone().requires_grad_()
    make = data.draw(st.sampled_from(["coo", "pattern"]))
    weight_hh: Any = coo(n, places, leaf)
    if make == "pattern":
        weight_hh = Pattern.of(unsorted_csr(*graph)).with_values(leaf[torch.sort(places[0], stable=True).indices])
    sparse_sides, dense_sides = leaves(sparse_sides), leaves(dense_sides)
    value = rrnn_ext.resolvent_penalty(weight_hh, *sparse_sides, **given_options)
    expected = rrnn_ext.resolvent_penalty(dense_of(n, places, dense_leaf), *dense_sides, **given_options)
    near(value, expected)
    value.backward()
    expected.backward()
    # A zero that is stored is an edge too; that of a rectified one has no slope.
    assert leaf.grad is not None and dense_leaf.grad is not None  # noqa: PT018
    near(leaf.grad, dense_leaf.grad)
    for a, b in zip(sparse_sides, dense_sides, strict=True):
        if a is not None and a.is_floating_point():
            near(a.grad, b.grad)
    with torch.no_grad():
        near(rrnn_ext.resolvent_penalty(weight_hh, *sparse_sides, **given_options), value)


@settings(max_examples=30)
@given(st.data())
def test_sums_and_hops(data: st.DataObject) -> None:
    n, places, values = data.draw(coordinates())
    chosen = data.draw(options(n))
    sparse_sides, dense_sides, given_options = problem(n, {**chosen, "pairs": False}, torch.float64)
    wanted: dict[str, Any] = {name: given_options.get(name) for name in ("hops", "alpha", "rectify")}
    weights = {**wanted, "hop_weights": given_options.get("hop_weights")}
    leaf, dense_leaf = values.clone().requires_grad_(), values.clone().requires_grad_()
    for function, arguments in ((rrnn_ext.resolvent, weights), (rrnn_ext.hop_decomposition, wanted)):
        walks = function(coo(n, places, leaf), *sparse_sides, **arguments)
        expected = function(dense_of(n, places, dense_leaf), *dense_sides, **arguments)
        near(walks, expected)
        upstream = drawn(*walks.shape, seed=21)
        (gradient,) = torch.autograd.grad(walks, leaf, upstream)
        (dense_gradient,) = torch.autograd.grad(expected, dense_leaf, upstream)
        near(gradient, dense_gradient)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("inputs", [1, 3, 7, 12, 40])
def test_layouts_dtypes_and_widths(layout: str, dtype: torch.dtype, inputs: int) -> None:
    dense = (0.3 * masked(40, 0.2)).to(dtype)
    weight_in, weight_out = drawn(40, inputs, seed=2).to(dtype), drawn(30, 40, seed=3).to(dtype)
    leaf, dense_leaf = LAYOUTS[layout](dense).requires_grad_(), dense.clone().requires_grad_()
    arguments: dict[str, Any] = {"hops": 7, "alpha": 0.9, "norm": "l2"}
    value = rrnn_ext.resolvent_penalty(leaf, weight_in, weight_out, **arguments)
    expected = rrnn_ext.resolvent_penalty(dense_leaf, weight_in, weight_out, **arguments)
    assert value.dtype == expected.dtype == dtype
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-4}.get(dtype, 2e-2)
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=0.0)
    (actual,) = torch.autograd.grad(value, leaf)  # PyTorch has no .grad for leaves that are CSC
    (gradient,) = torch.autograd.grad(expected, dense_leaf)
    gradient = torch.where(dense != 0, gradient, 0).double()
    scale = gradient.abs().max().item()
    torch.testing.assert_close(actual.to_dense().double(), gradient, rtol=0.0, atol=tolerance * scale)


def test_alpha_may_be_a_tensor_beside_units() -> None:
    dense = masked(6, 0.5)
    units = torch.tensor([4, 1], device=DEVICE)
    eye = torch.eye(6, dtype=torch.float64, device=DEVICE)
    for norm in ("l1", "l2"):
        results = []
        for weight_hh, sides in ((dense.to_sparse_csr(), (units, units)), (dense, (eye[:, units], eye[units]))):
            alpha = torch.tensor(0.7, dtype=torch.float64, device=DEVICE, requires_grad=True)
            value = rrnn_ext.resolvent_penalty(weight_hh, *sides, hops=4, alpha=alpha, norm=norm)
            walks = rrnn_ext.resolvent(weight_hh, *sides, hops=4, alpha=alpha)
            results.append((value, walks, *torch.autograd.grad(value + walks.sum(), alpha)))
        for a, b in zip(*results, strict=True):
            near(a, b)


@pytest.mark.parametrize("per_hop", [False, True])
def test_rectified_walks_cancel_where_hop_weights_have_both_signs(per_hop: bool) -> None:
    weight_hh, inputs, outputs = masked(5, 0.6), drawn(5, 3, seed=1), drawn(2, 5, seed=2)
    options: dict[str, Any] = {
        "hops": 3,
        "rectify": True,
        "per_hop": per_hop,
        "hop_weights": torch.tensor([0.5, -4.0, 1.0]).to(weight_hh),
    }
    expected = reference.resolvent_penalty(weight_hh, inputs, outputs, **options)
    near(rrnn_ext.resolvent_penalty(weight_hh.to_sparse_csr(), inputs, outputs, **options), expected)


class TestDerivatives:
    @pytest.mark.parametrize("kinds", [("dense", "dense"), ("units", "dense"), ("dense", None)])
    @pytest.mark.parametrize(
        "chosen", [{}, {"rectify": True, "norm": "l2"}, {"per_hop": True, "hop_weights": [0.5, 0.0, -1.0]}]
    )
    def test_of_any_order(self, kinds: tuple[Any, Any], chosen: dict[str, Any]) -> None:
        sparse = masked(4, 0.6).to_sparse_csr()
        pattern = Pattern.of(sparse)
        sides, _, given_options = problem(
            4, {"hops": 3, "alpha": ALPHA, "sides": (kinds, (2, 3)), "pairs": True, **chosen}, torch.float64
        )
        given = [sparse.values().detach().requires_grad_()]
        given += [each.requires_grad_() for each in sides if each is not None and each.is_floating_point()]

        def in_place(*tensors: Tensor) -> Any:
            dense = iter(tensors[1:])
            own = [next(dense) if each is not None and each.is_floating_point() else each for each in sides]
            return pattern.with_values(tensors[0]), *own

        def penalty(*tensors: Tensor) -> Tensor:
            return rrnn_ext.resolvent_penalty(*in_place(*tensors), **given_options)

        def walks(*tensors: Tensor) -> Tensor:
            weights = None if "per_hop" in given_options else given_options.get("hop_weights")
            options = {"hops": 3, "alpha": ALPHA, "rectify": given_options.get("rectify", False)}
            return rrnn_ext.resolvent(*in_place(*tensors), hop_weights=weights, **options)

        for function in (penalty, walks):
            assert gradcheck(function, given, check_forward_ad=True, check_batched_grad=True)
            assert gradgradcheck(function, given, check_fwd_over_rev=True)
        expected = torch.autograd.grad(penalty(*given), given)
        by_func = torch.func.grad(penalty, argnums=tuple(range(len(given))))(*(each.detach() for each in given))
        for a, b in zip(by_func, expected, strict=True):
            near(a, b)

    def test_vmap_over_values(self) -> None:
        sparse = masked(6, 0.5).to_sparse_csr()
        pattern, units = Pattern.of(sparse), torch.tensor([0, 3], device=DEVICE)
        batch = torch.stack([sparse.values(), 0.5 * sparse.values(), -sparse.values()])

        def penalty(values: Tensor) -> Tensor:
            return rrnn_ext.resolvent_penalty(pattern.with_values(values), units, units, hops=4)

        values, gradients = torch.func.vmap(torch.func.grad_and_value(penalty))(batch)[::-1]
        for own, value, gradient in zip(batch, values, gradients, strict=True):
            leaf = own.detach().requires_grad_()
            expected = penalty(leaf)
            near(value, expected)
            near(gradient, *torch.autograd.grad(expected, leaf))

    def test_compiled_without_a_break(self) -> None:
        sparse = masked(6, 0.5).to_sparse_csr()
        pattern = Pattern.of(sparse)
        values, weight_in = sparse.values().detach().requires_grad_(), drawn(6, 2).requires_grad_()

        def penalty(values: Tensor, weight_in: Tensor) -> Tensor:
            units = torch.tensor([0, 3], device=DEVICE)
            return rrnn_ext.resolvent_penalty(pattern.with_values(values), weight_in, units, hops=4, alpha=0.9)

        compiled = torch.compile(penalty, fullgraph=True, backend="aot_eager")
        expected = torch.autograd.grad(penalty(values, weight_in), (values, weight_in))
        for a, b in zip(torch.autograd.grad(compiled(values, weight_in), (values, weight_in)), expected, strict=True):
            near(a, b)


@pytest.mark.skipif(CUDA_EMULATED, reason="a fiber after the other has them anyway")
def test_the_same_bits_again_and_with_more_threads() -> None:
    sparse = masked(700, 0.1, dtype=torch.float32).to_sparse_csr()
    values = sparse.values().detach().requires_grad_()
    weight_hh = Pattern.of(sparse).with_values(values)
    weight_in, weight_out = drawn(700, 9, seed=1, dtype=torch.float32), drawn(40, 700, seed=2, dtype=torch.float32)
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        for chosen in ({}, {"rectify": True}, {"per_hop": True, "norm": "l2"}):
            arguments: dict[str, Any] = {"hops": 6, "alpha": 0.1, **chosen}
            value = rrnn_ext.resolvent_penalty(weight_hh, weight_in.requires_grad_(), weight_out, **arguments)
            results.append((value, *torch.autograd.grad(value, [values, weight_in])))
    torch.set_num_threads(before)
    for other in (results[3:6], results[6:]):
        for one, again in zip(results[:3], other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_makes_none(number: float) -> None:
    dense = torch.tensor([[0.0, 0.5, 0.0], [0.25, 0.0, 1.0], [0.5, 0.5, 0.0]], device=DEVICE)
    dense[1, 2] = number
    leaf = dense.to_sparse_csr().requires_grad_()
    ones = torch.ones(3, 1, device=DEVICE)
    value = rrnn_ext.resolvent_penalty(leaf, ones, ones.mT, hops=4)
    assert not value.isfinite()
    value.backward()
    assert leaf.grad is not None
    assert not leaf.grad.values().isfinite().any()


W = torch.eye(3).to_sparse_csr()
U = torch.ones(3, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((W,), {}, ValueError, "weight_in or weight_out must be given for a sparse weight_hh"),
        ((W, U), {"method": "inverse"}, ValueError, "method='inverse' factorises I - A, which is dense"),
        ((W, U[:2]), {}, ValueError, "weight_in must be (3, i) to match a sparse weight_hh, got (2, 2)"),
        ((W, None, U), {}, ValueError, "weight_out must be (o, 3) to match a sparse weight_hh, got (3, 2)"),
        ((W, U.expand(2, 3, 2)), {}, ValueError, "weight_in must be (3, i) to match a sparse weight_hh, got (2, 3, 2)"),
        ((W, U.double()), {}, TypeError, "weight_in must have the dtype of weight_hh, torch.float32, or be int64"),
        ((W, torch.tensor([1], dtype=torch.int32)), {}, TypeError, "or be int64 unit numbers, got torch.int32"),
        ((W, torch.tensor([[1]])), {}, ValueError, "weight_in must be (units,) where it is of unit numbers"),
        ((W, torch.tensor([0, 3])), {}, ValueError, "weight_in must be units from 0 to 2 of weight_hh, got 3"),
        ((W, torch.tensor([-1])), {}, ValueError, "weight_in must be units from 0 to 2 of weight_hh, got -1"),
        ((W, U.to_sparse()), {}, TypeError, "weight_in must be dense (torch.strided) or int64 unit numbers"),
        ((W, [1, 2]), {}, TypeError, "weight_in must be a tensor, got list"),
        ((W.to(torch.int64), U), {}, TypeError, "weight_hh must be of a floating-point dtype, got torch.int64"),
        ((W, U), {"alpha": torch.ones(2)}, ValueError, "alpha must be a scalar or of the batch's shape ()"),
        ((W, U), {"pair_weights": torch.ones(2, 2)}, ValueError, "pair_weights must be (..., 3, 2), (..., o, i)"),
        ((torch.eye(4).to_sparse_bsr((2, 2)), U), {}, TypeError, "weight_hh must be dense, CSR, CSC or COO"),
    ],
)
def test_errors(arguments: Any, options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        rrnn_ext.resolvent_penalty(*arguments, **{"hops": 3, **options})

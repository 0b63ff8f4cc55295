"""Sums over all walks of sparse weights: against dense ones, SciPy, networkx and known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.device import CUDA_EMULATED, DEVICE
from support.sparse import LAYOUTS, coo, dense_of, drawn, masked
from support.strategies import coordinates
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import rrnn_ext
from rrnn_ext.ops import sparse_infinite_walks
from rrnn_ext.sparse import Pattern

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("ignore:Sparse:UserWarning")]

LARVA = Path(__file__).resolve().parents[3] / "shared" / "data" / "larva_inprop.npz"
SIDES = [
    ("dense", "dense"),
    ("units", "dense"),
    ("dense", "units"),
    ("units", "units"),
    ("dense", None),
    (None, "units"),
]
every_sides = pytest.mark.parametrize("kinds", SIDES, ids=str)


def with_radius(dense: Tensor, radius: float) -> Tensor:
    largest = torch.linalg.eigvals(dense.cpu().double()).abs().max().item() if dense.numel() else 0.0
    return dense * (radius / largest) if largest > 1e-6 else dense


def sides_of(kinds: tuple[Any, Any], n: int, inputs: int, outputs: int) -> tuple[list[Any], list[Any]]:
    """As they are given beside sparse weights, and beside dense ones."""
    sparse, dense = [], []
    for kind, count, transpose in zip(kinds, (inputs, outputs), (False, True), strict=True):
        columns = own = None
        if kind == "dense":
            columns = drawn(n, count, seed=count)
            own = columns = columns.mT.contiguous() if transpose else columns
        elif kind == "units":
            own = torch.arange(count, device=DEVICE) % max(n, 1)
            columns = torch.eye(n, dtype=torch.float64, device=DEVICE)[:, own]
            columns = columns.mT if transpose else columns
        sparse.append(own)
        dense.append(columns)
    return sparse, dense


def near(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    assert actual.shape == expected.shape
    scale = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=tolerance * (1 + scale))


@every_sides
@pytest.mark.parametrize(
    "options",
    [{}, {"norm": "l2", "alpha": 0.9}, {"rectify": True, "alpha": 0.3}, {"rectify": True, "alpha": 0.3, "norm": "l2"}],
    ids=str,
)
@pytest.mark.parametrize("pairs", [False, True])
def test_as_of_dense_weights(kinds: tuple[Any, Any], options: dict[str, Any], pairs: bool) -> None:
    n = 30
    dense = with_radius(masked(n, 0.2), 0.9).requires_grad_()
    sparse = dense.detach().to_sparse_csr().requires_grad_()
    own, same = sides_of(kinds, n, 3, 4)
    wanted = [each for each in own if each is not None and each.is_floating_point()]  # the same beside both
    for each in wanted:
        each.requires_grad_()
    arguments: dict[str, Any] = dict(options)
    if pairs:
        shape = (n if own[1] is None else 4), (n if own[0] is None else 3)
        arguments["pair_weights"] = drawn(*shape, seed=9).relu()
    value = rrnn_ext.resolvent_penalty(sparse, *own, **arguments)
    expected = rrnn_ext.resolvent_penalty(dense, *same, **arguments)
    near(value, expected)
    gradient, *gradients = torch.autograd.grad(value, [sparse, *wanted])
    other, *others = torch.autograd.grad(expected, [dense, *wanted])
    near(gradient.to_dense(), torch.where(dense == 0, 0, other))
    for a, b in zip(gradients, others, strict=True):
        near(a, b)
    total = {name: options[name] for name in ("alpha", "rectify") if name in options}
    near(rrnn_ext.resolvent(sparse, *own, **total), rrnn_ext.resolvent(dense, *same, **total))


@pytest.mark.skipif(CUDA_EMULATED, reason="many edges, which an emulation takes long for")
@pytest.mark.parametrize("units", [1, 2, 96, 97, 150, 256, 257])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("radius", [0.2, 0.9])
def test_as_an_inverse_of_numpy(units: int, dtype: torch.dtype, radius: float) -> None:
    """Up to 256 units by a factorisation, and above that by iteration."""
    weight_hh = with_radius(drawn(units, units), radius).to(dtype)
    weight_in, weight_out = (drawn(*shape, seed=2).to(dtype) for shape in ((units, 3), (5, units)))
    sparse = weight_hh.to_sparse_csr().requires_grad_()
    walks = rrnn_ext.resolvent(sparse, weight_in, weight_out)
    inverse = np.linalg.inv(np.eye(units) - weight_hh.cpu().double().numpy())
    left, right = weight_out.cpu().double().numpy() @ inverse, inverse @ weight_in.cpu().double().numpy()
    rounding = 200 * units * torch.finfo(dtype).eps
    np.testing.assert_allclose(
        walks.detach().cpu(), left @ weight_in.cpu().double().numpy(), rtol=rounding, atol=rounding * abs(left).max()
    )
    (gradient,) = torch.autograd.grad(walks.sum(), sparse)
    expected = np.outer(left.sum(0), right.sum(1))
    np.testing.assert_allclose(gradient.to_dense().cpu(), expected, rtol=rounding, atol=rounding * abs(expected).max())


@settings(max_examples=40)
@given(coordinates(), st.sampled_from(SIDES), st.booleans(), st.integers(0, 9), st.integers(0, 3))
def test_odd_graphs(graph: Any, kinds: tuple[Any, Any], rectify: bool, inputs: int, outputs: int) -> None:
    n, places, values = graph
    inputs, outputs = (inputs if n else 0), (outputs if n else 0)
    dense = dense_of(n, places, values)
    scale = 0.5 / max(dense.abs().sum(-1).max().item() if n else 1.0, 0.5)
    leaf, dense_leaf = (scale * values).requires_grad_(), (scale * values).requires_grad_()
    own, same = sides_of(kinds, n, inputs, outputs)
    walks = rrnn_ext.resolvent(coo(n, places, leaf), *own, rectify=rectify)
    expected = rrnn_ext.resolvent(dense_of(n, places, dense_leaf), *same, rectify=rectify)
    near(walks, expected)
    upstream = drawn(*walks.shape, seed=21)
    near(torch.autograd.grad(walks, leaf, upstream)[0], torch.autograd.grad(expected, dense_leaf, upstream)[0])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_layouts_and_dtypes(layout: str, dtype: torch.dtype) -> None:
    dense = with_radius(masked(40, 0.2), 0.8).to(dtype)
    weight_in, weight_out = drawn(40, 5, seed=2).to(dtype), drawn(6, 40, seed=3).to(dtype)
    value = rrnn_ext.resolvent_penalty(LAYOUTS[layout](dense), weight_in, weight_out)
    expected = rrnn_ext.resolvent_penalty(dense.double(), weight_in.double(), weight_out.double())
    assert value.dtype == dtype
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 1e-2)
    torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=0.0)


class TestBlocks:
    @pytest.fixture(autouse=True)
    def two_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("rrnn_ext.ops.sparse_infinite_walks", "rrnn_ext.sparse.infinite"):
            monkeypatch.setattr(f"{module}.columns_together", lambda units: 2)

    @pytest.mark.parametrize("options", [{}, {"norm": "l2"}, {"rectify": True, "alpha": 0.3, "norm": "l2"}], ids=str)
    @pytest.mark.parametrize("inputs", [0, 5, 9])
    def test_are_as_one(self, options: dict[str, Any], inputs: int) -> None:
        n = 12
        dense = with_radius(masked(n, 0.3), 0.9)
        pattern = Pattern.of(dense.to_sparse_csr())
        leaf, dense_leaf = dense.to_sparse_csr().values().requires_grad_(), dense.requires_grad_()
        sides = [drawn(n, inputs, seed=1).requires_grad_(), drawn(7, n, seed=2).requires_grad_()]
        arguments: dict[str, Any] = {**options, "pair_weights": drawn(7, inputs, seed=3).abs()}
        alpha = torch.tensor(arguments.pop("alpha", 0.8), dtype=torch.float64, requires_grad=True)
        value = rrnn_ext.resolvent_penalty(pattern.with_values(leaf), *sides, alpha=alpha, **arguments)
        expected = rrnn_ext.resolvent_penalty(dense_leaf, *sides, alpha=alpha, **arguments)
        near(value, expected)
        gradient, *gradients = torch.autograd.grad(value, [leaf, *sides, alpha], create_graph=True)
        other, *others = torch.autograd.grad(expected, [dense_leaf, *sides, alpha], create_graph=True)
        places = dense_leaf != 0
        near(gradient, other[places])
        for a, b in zip(gradients, others, strict=True):
            near(a, b)
        again = torch.autograd.grad(gradient.square().sum() + gradients[-1], [leaf, alpha])
        dense_again = torch.autograd.grad(other[places].square().sum() + others[-1], [dense_leaf, alpha])
        near(again[0], dense_again[0][places], 1e-8)
        near(again[1], dense_again[1], 1e-8)
        walks = rrnn_ext.resolvent(pattern.with_values(leaf), *sides, alpha=alpha)
        near(walks, rrnn_ext.resolvent(dense_leaf, *sides, alpha=alpha))


class TestDerivatives:
    @pytest.mark.parametrize(
        ("kinds", "rectify"), [(("dense", "units"), False), (("units", "dense"), True), (("dense", None), False)]
    )
    def test_of_any_order(self, kinds: tuple[Any, Any], rectify: bool) -> None:
        dense = with_radius(masked(4, 0.8), 0.7)
        dense = dense * (0.5 if rectify else 1.0)
        sparse = dense.to_sparse_csr()
        pattern = Pattern.of(sparse)
        sides, _ = sides_of(kinds, 4, 2, 3)
        alpha = torch.tensor(0.75, dtype=torch.float64, device=DEVICE)
        given_tensors = [sparse.values().detach(), alpha]
        given_tensors += [each for each in sides if each is not None and each.is_floating_point()]
        given_tensors = [each.detach().requires_grad_() for each in given_tensors]

        def arguments(values: Tensor, *dense_sides: Tensor) -> Any:
            left = iter(dense_sides)
            own = [next(left) if each is not None and each.is_floating_point() else each for each in sides]
            return pattern.with_values(values), *own

        def penalty(values: Tensor, factor: Tensor, *own: Tensor) -> Tensor:
            return rrnn_ext.resolvent_penalty(*arguments(values, *own), alpha=factor, norm="l2", rectify=rectify)

        def walks(values: Tensor, factor: Tensor, *own: Tensor) -> Tensor:
            return rrnn_ext.resolvent(*arguments(values, *own), alpha=factor, rectify=rectify)

        for function in (penalty, walks):
            assert gradcheck(function, given_tensors, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(penalty, given_tensors, check_fwd_over_rev=True)

    def test_by_torch_func(self) -> None:
        sparse = with_radius(masked(6, 0.5), 0.9).to_sparse_csr()
        pattern, units = Pattern.of(sparse), torch.tensor([0, 3], device=DEVICE)
        batch = torch.stack([sparse.values(), 0.5 * sparse.values(), -sparse.values()])

        def penalty(values: Tensor) -> Tensor:
            return rrnn_ext.resolvent_penalty(pattern.with_values(values), units, units)

        gradients, values = torch.func.vmap(torch.func.grad_and_value(penalty))(batch)
        for own, value, gradient in zip(batch, values, gradients, strict=True):
            leaf = own.detach().requires_grad_()
            near(value, penalty(leaf))
            near(gradient, *torch.autograd.grad(penalty(leaf), leaf))

    def test_compiled_without_a_break(self) -> None:
        sparse = with_radius(masked(6, 0.5), 0.9).to_sparse_csr()
        pattern = Pattern.of(sparse)
        values, weight_in = sparse.values().detach().requires_grad_(), drawn(6, 2).requires_grad_()

        def penalty(values: Tensor, weight_in: Tensor) -> Tensor:
            units = torch.tensor([0, 3], device=DEVICE)
            return rrnn_ext.resolvent_penalty(pattern.with_values(values), weight_in, units, alpha=0.9)

        compiled = torch.compile(penalty, fullgraph=True, backend="aot_eager")
        expected = torch.autograd.grad(penalty(values, weight_in), (values, weight_in))
        for a, b in zip(torch.autograd.grad(compiled(values, weight_in), (values, weight_in)), expected, strict=True):
            near(a, b)

    def test_opcheck(self) -> None:
        sparse = with_radius(masked(4, 0.6), 0.9).to_sparse_csr()
        values, vectors = sparse.values().detach().requires_grad_(), drawn(4, 2).requires_grad_()
        alpha = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        graph = values, *Pattern.of(sparse).indices
        torch.library.opcheck(sparse_infinite_walks.sparse_infinite_walks, (*graph, vectors, alpha, False, False))
        torch.library.opcheck(torch.ops.rrnn_ext.sparse_infinite_walks_components.default, graph[1:3])


class TestOutsideAnswers:
    def test_scipy(self) -> None:
        matrix = scipy.sparse.random(500, 500, 0.02, format="csc", random_state=0)
        matrix *= 0.95 / abs(scipy.sparse.linalg.eigs(matrix, k=1, return_eigenvectors=False)[0])
        right = drawn(500, 3).cpu()
        expected = scipy.sparse.linalg.spsolve(scipy.sparse.eye(500, format="csc") - matrix, right.numpy())
        weight_hh = torch.sparse_csc_tensor(
            torch.tensor(matrix.indptr), torch.tensor(matrix.indices), torch.tensor(matrix.data), (500, 500)
        )
        walks = rrnn_ext.resolvent(weight_hh.to(DEVICE), right.to(DEVICE))
        near(walks.cpu(), torch.from_numpy(expected), 1e-11)

    def test_katz_centrality(self) -> None:
        graph = networkx.gnp_random_graph(60, 0.1, seed=0, directed=True)
        expected = networkx.katz_centrality_numpy(graph, alpha=0.1, beta=1.0, normalized=False)
        weight_hh = torch.from_numpy(networkx.to_numpy_array(graph).T).to(DEVICE)  # row = target
        ones = torch.ones(60, 1, dtype=torch.float64, device=DEVICE)
        walks = rrnn_ext.resolvent(weight_hh.to_sparse_coo(), ones / 0.1, alpha=0.1)  # its first edge has an alpha too
        near(walks.squeeze(-1).cpu(), torch.tensor([expected[unit] for unit in range(60)], dtype=torch.float64), 1e-12)

    @pytest.mark.skipif(not LARVA.exists(), reason="the larval connectome is not there")
    def test_a_connectome_of_radius_one(self) -> None:
        matrix = scipy.sparse.load_npz(LARVA).T.tocsr()
        weight_hh = torch.sparse_csr_tensor(
            torch.tensor(matrix.indptr), torch.tensor(matrix.indices), torch.tensor(matrix.data), matrix.shape
        ).to(DEVICE)
        sources = torch.arange(20, device=DEVICE)
        walks = rrnn_ext.resolvent(weight_hh.double(), sources, alpha=0.99).cpu().numpy()
        start = 0.99 * np.eye(matrix.shape[0])[:, :20]
        left = start - (walks - 0.99 * (matrix.astype(np.float64) @ walks))
        assert np.abs(left).max() < 1e-13
        with pytest.raises(rrnn_ext.ResolventDivergenceError) as raised:
            rrnn_ext.resolvent(weight_hh, sources)
        assert raised.value.spectral_radius == pytest.approx(1, rel=1e-9)


def test_all_walks_end() -> None:
    """A graph without cycles has a sum, however large its weights are."""
    n = 60
    chain = 100 * torch.diag(torch.ones(n - 1, dtype=torch.float64, device=DEVICE), -1)
    for sign in (1, -1):
        walks = rrnn_ext.resolvent((sign * chain).to_sparse_csr(), torch.tensor([0], device=DEVICE)).squeeze(-1)
        expected = (sign * 100.0) ** torch.arange(n, dtype=torch.float64, device=DEVICE)
        torch.testing.assert_close(walks, expected, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_to_sum(dtype: torch.dtype) -> None:
    for n in (0, 1, 3):
        empty = torch.zeros(n, n, dtype=dtype, device=DEVICE).to_sparse_csr()
        side = drawn(n, 2, dtype=dtype).requires_grad_()
        walks = rrnn_ext.resolvent(empty, side, alpha=0.5)
        torch.testing.assert_close(walks, 0.5 * side)
        torch.testing.assert_close(torch.autograd.grad(walks.sum(), side)[0], torch.full_like(side, 0.5))


@pytest.mark.skipif(CUDA_EMULATED, reason="many edges, which an emulation takes long for")
@pytest.mark.parametrize("units", [100, 300])
@pytest.mark.parametrize("rectify", [False, True])
def test_nothing_that_goes_in_comes_out_as_nothing(units: int, rectify: bool) -> None:
    weight_hh = with_radius(drawn(units, units).abs(), 0.9).to_sparse_csr().requires_grad_()
    weight_in = torch.zeros(units, 2, dtype=torch.float64, device=DEVICE)
    weight_out = drawn(3, units, seed=2)
    for sources in (weight_in, weight_in[:, :0]):
        value = rrnn_ext.resolvent_penalty(weight_hh, sources, weight_out, rectify=rectify)
        assert value.item() == 0
        (gradient,) = torch.autograd.grad(value, weight_hh)
        assert (gradient.values() == 0).all()
    walks = rrnn_ext.resolvent(weight_hh, weight_out.mT, alpha=0.5)
    (gradient,) = torch.autograd.grad(walks, weight_hh, torch.zeros_like(walks))
    assert (gradient.values() == 0).all()
    assert (rrnn_ext.sparse.influence(weight_hh.detach(), weight_in) == 0).all()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_no_number_makes_none(number: float) -> None:
    dense = torch.tensor([[0.0, 0.5, 0.0], [0.25, 0.0, 0.1], [0.5, 0.5, 0.0]], device=DEVICE)
    dense[1, 2] = number
    leaf, ones = dense.to_sparse_csr().requires_grad_(), torch.ones(3, 1, device=DEVICE)
    for rectify in (False, True):
        value = rrnn_ext.resolvent_penalty(leaf, ones, ones.mT, rectify=rectify)
        assert value.isnan()
        assert torch.autograd.grad(value, leaf)[0].values().isnan().all()
    side = torch.ones(3, 2, device=DEVICE)
    side[0, 1] = number
    walks = rrnn_ext.resolvent(0.1 * torch.eye(3, device=DEVICE).to_sparse_csr(), side)
    assert walks[:, 0].isfinite().all()
    assert walks[:, 1].isnan().all()


@pytest.mark.skipif(CUDA_EMULATED, reason="a fiber after the other has them anyway")
def test_the_same_bits_again_and_with_more_threads() -> None:
    dense = masked(400, 0.1, dtype=torch.float32)
    dense = dense * (0.9 / torch.linalg.matrix_norm(dense, 2))
    values = dense.to_sparse_csr().values().requires_grad_()
    weight_hh = Pattern.of(dense.to_sparse_csr()).with_values(values)
    weight_in, weight_out = drawn(400, 9, seed=1, dtype=torch.float32), drawn(20, 400, seed=2, dtype=torch.float32)
    results = []
    for _ in range(2):
        value = rrnn_ext.resolvent_penalty(weight_hh, weight_in, weight_out)
        results.append((value, *torch.autograd.grad(value, values)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_module_sums_all_lags() -> None:
    side = drawn(5, 5, seed=1)
    values = torch.nn.Parameter(0.3 * drawn(5))
    places = torch.stack([torch.arange(5), (torch.arange(5) + 1) % 5]).to(DEVICE)

    penalty = rrnn_ext.ResolventPenalty.from_weights(
        lambda: torch.sparse_coo_tensor(places, values, (5, 5)), lambda: side, lambda: side, hops=None
    )
    dense = torch.sparse_coo_tensor(places, values, (5, 5)).to_dense()
    near(penalty(), rrnn_ext.resolvent_penalty(dense, side, side))
    penalty().backward()
    assert values.grad is not None

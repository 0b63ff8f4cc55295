"""The ops of finite walks through a sparse matrix, called directly, and products with rows of every length."""

from __future__ import annotations

import re
from typing import Any

import networkx
import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse
import torch
from support.device import CUDA_EMULATED, DEVICE
from support.sparse import drawn, masked
from torch import Tensor

import rrnn_ext
from rrnn_ext.sparse import Pattern, SparseWeight

pytestmark = [pytest.mark.native, pytest.mark.emulated]

OPS = torch.ops.rrnn_ext
INDICES = ("crow", "columns", "t_crow", "t_columns", "t_from")


def with_lengths(lengths: list[int], n: int, dtype: torch.dtype) -> tuple[scipy.sparse.csr_array, SparseWeight]:
    """A row of each length, and the others empty; the same matrix in SciPy's float64."""
    generator = np.random.default_rng(0)
    columns = np.concatenate([np.sort(generator.permutation(n)[:length]) for length in lengths])
    crow = np.zeros(n + 1, dtype=np.int64)
    crow[1 : len(lengths) + 1] = np.cumsum(lengths)
    crow[len(lengths) + 1 :] = crow[len(lengths)]
    values = generator.standard_normal(len(columns)).astype(np.float32)
    matrix = scipy.sparse.csr_array((values.astype(np.float64), columns, crow), shape=(n, n))
    pair = torch.from_numpy(crow).to(DEVICE), torch.from_numpy(columns).to(DEVICE)
    given = torch.from_numpy(values).to(DEVICE, dtype)
    pattern = Pattern.of(torch.sparse_csr_tensor(*pair, given, (n, n), check_invariants=True))
    return matrix, pattern.with_values(given)


def total_by_scipy(
    matrix: scipy.sparse.csr_array, weight_in: Tensor, weight_out: Tensor, hops: int
) -> npt.NDArray[np.float64]:
    walks = start = weight_in.double().cpu().numpy()
    for _ in range(hops - 1):
        walks = start + matrix @ walks
    return weight_out.double().cpu().numpy() @ walks


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("vectors", [1, 3, 8, 13])
def test_rows_of_every_length(vectors: int, dtype: torch.dtype) -> None:
    n = 160
    matrix, weight_hh = with_lengths([*range(24), 63, 64, 65, 66, 67, 68, 69, 131, n], n, dtype)
    weight_in, weight_out = drawn(n, vectors, seed=1, dtype=dtype), drawn(40, n, seed=2, dtype=dtype)
    for _ in range(2):  # from the inputs, and from the outputs
        actual = rrnn_ext.resolvent(weight_hh, weight_in, weight_out, hops=3)
        expected = torch.from_numpy(total_by_scipy(matrix, weight_in, weight_out, 3))
        tolerance = 1e-5 if dtype == torch.float32 else 1e-13
        torch.testing.assert_close(
            actual.double().cpu(), expected, rtol=0.0, atol=tolerance * expected.abs().max().item()
        )
        weight_in, weight_out = weight_out.mT.contiguous(), weight_in.mT.contiguous()


@pytest.mark.skipif(CUDA_EMULATED, reason="fibers take long for so many edges")
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("vectors", [1, 8])
def test_more_values_than_caches_hold(vectors: int) -> None:
    n = 1100  # n^2 is more than 2^20
    matrix, weight_hh = with_lengths([n] * n, n, torch.float32)
    scaled = weight_hh.pattern.with_values(weight_hh.values / n**0.5)
    weight_in, weight_out = drawn(n, vectors, seed=1, dtype=torch.float32), drawn(9, n, seed=2, dtype=torch.float32)
    leaf = scaled.values.clone().requires_grad_()
    actual = rrnn_ext.resolvent(weight_hh.pattern.with_values(leaf), weight_in, weight_out, hops=3)
    expected = torch.from_numpy(total_by_scipy(matrix / n**0.5, weight_in, weight_out, 3))
    torch.testing.assert_close(actual.double().cpu(), expected, rtol=0.0, atol=1e-5 * expected.abs().max().item())
    (gradient,) = torch.autograd.grad(actual.sum(), leaf)
    dense = torch.from_numpy(matrix.todense() / n**0.5).to(DEVICE).requires_grad_()
    in_64, out_64 = weight_in.double(), weight_out.double()
    sums = (out_64 @ (in_64 + dense @ (in_64 + dense @ in_64))).sum()
    (by_autograd,) = torch.autograd.grad(sums, dense)
    error = (gradient.double() - by_autograd.flatten()).norm() / by_autograd.norm()
    assert error < 1e-5


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_walks_of_a_graph_are_counted() -> None:
    graph = networkx.gnp_random_graph(12, 0.3, seed=1, directed=True)
    adjacency = torch.tensor(networkx.to_numpy_array(graph, nodelist=range(12)), device=DEVICE).mT
    units = torch.arange(12, device=DEVICE)
    walks = rrnn_ext.hop_decomposition(adjacency.to_sparse_csr(), units, units, hops=5)
    for hop in range(5):
        counts = networkx.number_of_walks(graph, hop)
        expected = torch.tensor([[counts[source][target] for source in range(12)] for target in range(12)])
        assert torch.equal(walks[hop].cpu(), expected.double())


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("vectors", [1, 8])
def test_what_is_not_connected_is_left_alone(vectors: int) -> None:
    """Unit 2 has no edge: whatever enters there shows at it alone, with rows of every length beside it."""
    dense = masked(9, 0.7, dtype=torch.float32)
    dense[2], dense[:, 2] = 0.0, 0.0
    weight_in = drawn(9, vectors, seed=1, dtype=torch.float32)
    units = torch.arange(9, device=DEVICE)
    expected = rrnn_ext.resolvent(dense.to_sparse_csr(), weight_in, units, hops=4)
    weight_in[2] = float("nan")
    actual = rrnn_ext.resolvent(dense.to_sparse_csr(), weight_in, units, hops=4)
    assert actual[2].isnan().all()
    others = units != 2
    assert torch.equal(actual[others], expected[others])


def arguments(change: dict[str, Tensor], dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    sparse = torch.tensor([[1.0, 0.0], [2.0, 3.0]], dtype=dtype, device=DEVICE).to_sparse_csr()
    given: dict[str, Any] = {"values": sparse.values(), **dict(zip(INDICES, Pattern.of(sparse).indices, strict=True))}
    given |= {"weight_in": drawn(2, 3, dtype=dtype), "weight_out": drawn(1, 2, seed=1, dtype=dtype)}
    return given | {name: each.to(DEVICE) for name, each in change.items()}


def test_opcheck() -> None:
    given = arguments({})
    for name in ("values", "weight_in", "weight_out"):
        given[name] = given[name].detach().requires_grad_()
    walks = *given.values(), None
    torch.library.opcheck(OPS.sparse_walks.default, (*walks, 0.75, 3, False, True))
    torch.library.opcheck(OPS.sparse_walks_penalty.default, (*walks, None, 0.75, 3, True, False, 0))
    constants = tuple(each.detach() if isinstance(each, Tensor) else each for each in walks)
    torch.library.opcheck(OPS.sparse_walks_backward.default, (drawn(3, 1, 3), *constants, 0.75, 3, False, True))
    one = torch.ones((), dtype=torch.float64, device=DEVICE)
    torch.library.opcheck(OPS.sparse_walks_penalty_backward.default, (one, *constants, None, 0.75, 3, True, False, 1))


def indices(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int32)


@pytest.mark.skipif(DEVICE.type == "cuda" or CUDA_EMULATED, reason="a GPU trusts its indices")
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"crow": indices(0, 4, 3)}, "crow must rise from 0 to the number of values, 3"),
        ({"t_crow": indices(1, 2, 3)}, "t_crow must rise from 0 to the number of values, 3"),
        ({"columns": indices(0, 2, 1)}, "crow has a column or row outside 0 .. 2 beside it"),
        ({"columns": indices(0, -1, 1)}, "crow has a column or row outside 0 .. 2 beside it"),
        ({"columns": indices(0, -(2**31), 1)}, "crow has a column or row outside 0 .. 2 beside it"),
        ({"t_columns": indices(0, 1, 2**31 - 1)}, "t_crow has a column or row outside 0 .. 2 beside it"),
        ({"t_from": indices(0, 3, 1)}, "t_from must be from 0 to below the number of values, 3"),
        ({"weight_in": torch.tensor([0, 2])}, "weight_in must be units from 0 to 1, got 2"),
    ],
)
def test_indices_that_lead_elsewhere_are_errors(change: dict[str, Tensor], text: str) -> None:
    with pytest.raises(RuntimeError, match=re.escape(text)):
        OPS.sparse_walks(*arguments(change).values(), None, 1.0, 3, False, False)


def test_more_than_can_be_counted_is_an_error() -> None:
    many = 2**31
    none, no_values = torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0)
    with pytest.raises(ValueError, match="fewer than 2\\^31 units and stored values, got 2147483648 and 0"):
        Pattern.of(torch.sparse_coo_tensor(none, no_values, (many, many), check_invariants=False))
    places, values = torch.zeros(2, 1, dtype=torch.int64).expand(2, many), torch.zeros(1).expand(many)
    with pytest.raises(ValueError, match="fewer than 2\\^31 units and stored values, got 3 and 2147483648"):
        Pattern.of(torch.sparse_coo_tensor(places, values, (3, 3), check_invariants=False))

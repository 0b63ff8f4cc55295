"""Solutions by sweeps: as right as asked for whatever the matrix, the op against triangular solves."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from support.sparse import drawn, masked
from torch import Tensor

from rrnn_ext.infinite import sweeps
from rrnn_ext.infinite.sweeps import by_sweeps, solve_by_sweeps
from rrnn_ext.sparse import Pattern
from rrnn_ext.sparse.operand import SparseOperand

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(DEVICE.type == "cuda" or CUDA_EMULATED, reason="sweeps are the CPU's"),
    pytest.mark.filterwarnings("ignore:Sparse:UserWarning"),
]

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def operand_of(dense: Tensor, alpha: float = 1.0, rectify: bool = False) -> SparseOperand:
    sparse = dense.to_sparse_csr()
    return SparseOperand(sparse.values(), Pattern.of(sparse).indices, alpha, rectify)


def perron(n: int, radius: float) -> Tensor:
    dense = masked(n, min(1.0, 20 / n)).abs()
    return radius / torch.linalg.eigvals(dense).abs().max().item() * dense


def swept(a: Tensor, vectors: Tensor) -> Tensor:
    lower = torch.tril(a, -1)
    eye = torch.eye(len(a), dtype=a.dtype)
    return vectors - torch.linalg.solve_triangular(eye - lower, (a - lower) @ vectors, upper=False, unitriangular=True)


@DTYPES
@pytest.mark.parametrize("width", [0, 1, 3, 8, 17, 40, 70])
@pytest.mark.parametrize("rectify", [False, True])
def test_the_ops(width: int, rectify: bool, dtype: torch.dtype) -> None:
    dense = (0.3 * masked(50, 0.1)).to(dtype)
    a = 0.5 * (dense.abs() if rectify else dense).double()
    operand, vectors = operand_of(dense, 0.5, rectify), drawn(50, width, seed=4, dtype=dtype)
    tolerance: dict[str, Any] = {"rtol": 0.0, "atol": 1e-4 if dtype == torch.float32 else 1e-12}
    torch.testing.assert_close(operand.sweep(vectors).double(), swept(a, vectors.double()), **tolerance)

    roots = torch.tensor([[0.9, 0.0], [0.8, 0.5], [0.8, -0.5], [1.3, 0.0]], dtype=torch.float64)
    lower, eye = torch.tril(a, -1), torch.eye(50, dtype=torch.float64)
    solve = torch.linalg.solve_triangular(eye - lower, torch.cat([vectors.double(), eye - a], -1), upper=False)
    start, g = solve[:, :width].cdouble(), solve[:, width:].cdouble()
    residual = start
    for real, imaginary in roots.tolist():
        residual = residual - g @ residual / complex(real, imaginary)
    expected = torch.linalg.solve(g, start - residual)
    torch.testing.assert_close(operand.polynomial(vectors, roots).double(), expected.real, **tolerance)
    nothing = operand.polynomial(vectors, roots[:0])
    assert torch.equal(nothing, torch.zeros_like(vectors))


@pytest.mark.parametrize("n", [0, 1])
def test_small_graphs(n: int) -> None:
    operand = operand_of(torch.full((n, n), 0.5, dtype=torch.float64))
    assert torch.equal(operand.sweep(torch.ones(n, 2).double()), torch.full((n, 2), 0.5).double())
    roots = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    assert torch.equal(operand.polynomial(torch.ones(n, 2).double(), roots), torch.full((n, 2), 2.0).double())


MATRICES = {
    "zero": torch.zeros(30, 30, dtype=torch.float64),
    "half of one": 0.5 * torch.eye(30, dtype=torch.float64),
    "a chain": 10 * torch.diag(torch.ones(29, dtype=torch.float64), -1),
    "a chain backwards": torch.diag(torch.ones(29, dtype=torch.float64), 1),
    "rank one": torch.outer(drawn(80, seed=1), drawn(80, seed=2)) / 100,
    "a ring": 0.9 * torch.roll(torch.eye(50, dtype=torch.float64), 1, 0),
    "signed": 0.8 / 300**0.5 * drawn(300, 300),
    "sparse signed": masked(400, 0.05) * (0.9 / 20**0.5),
    "positive 0.9": perron(300, 0.9),
    "positive 0.9999": perron(300, 0.9999),
    "far from normal": 0.5 * torch.eye(20).double() - 1.5 * torch.diag(torch.ones(19).double(), 1),
}


@DTYPES
@pytest.mark.parametrize("name", MATRICES)
def test_the_residual_is_as_small_as_a_factorisation_leaves_it(name: str, dtype: torch.dtype) -> None:
    dense = MATRICES[name].to(dtype)
    b = drawn(len(dense), 20, seed=3, dtype=dtype)
    x = by_sweeps(operand_of(dense))(b)
    exact, eye = dense.double(), torch.eye(len(dense), dtype=torch.float64)
    left = b.double() - (eye - exact) @ x.double()
    terms = b.double().abs() + (eye + exact.abs()) @ x.double().abs()
    assert (left.norm(dim=0) <= 20 * torch.finfo(dtype).eps * terms.norm(dim=0)).all()


@pytest.mark.parametrize("tolerance", [1e-3, 1e-8, 1e-12])
def test_a_tolerance_of_ones_own(tolerance: float) -> None:
    dense, b = perron(300, 0.95), drawn(300, 30)
    x = solve_by_sweeps(operand_of(dense), b, tolerance)
    left = (b - x + dense @ x).norm(dim=0) / b.norm(dim=0)
    assert (left <= tolerance).all()
    assert (left > tolerance * 1e-5).any()  # and no more work than that


def test_columns_of_any_size() -> None:
    dense, b = perron(100, 0.8), drawn(100, 6)
    b[:, 1] = 0
    b[:, 2] *= 1e-200
    b[:, 3] *= 1e200
    b[0, 4] = torch.nan
    b[0, 5] = torch.inf
    x = by_sweeps(operand_of(dense))(b)
    expected = torch.linalg.solve(torch.eye(100, dtype=torch.float64) - dense, b[:, :4])
    assert torch.isnan(x[:, 4:]).all()
    for column in range(4):
        scale = expected[:, column].abs().max().item()
        torch.testing.assert_close(x[:, column], expected[:, column], rtol=0, atol=1e-13 * scale)


def test_a_column_that_the_mixture_does_not_know_gets_there() -> None:
    """The polynomial is made for what is in all columns; one that has little of what another is made of lags."""
    slow, fast = perron(60, 0.99), 0.1 * torch.eye(60, dtype=torch.float64)
    dense = torch.block_diag(slow, fast)
    b = torch.zeros(120, 2, dtype=torch.float64)
    b[70, 0], b[3, 1], b[75, 1] = 1, 1e-6, 1
    x = solve_by_sweeps(operand_of(dense), b, 1e-10)
    assert ((b - x + dense @ x).norm(dim=0) <= 1e-10 * b.norm(dim=0)).all()


def test_where_sweeps_do_not_lead_products_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self: SparseOperand, vectors: Tensor) -> Tensor:
        return torch.full_like(vectors, torch.nan)

    dense, b = perron(100, 0.9), drawn(100, 3)
    expected = torch.linalg.solve(torch.eye(100, dtype=torch.float64) - dense, b)
    space = sweeps._space_of(operand_of(dense), b, 1e-12)
    assert space is not None
    monkeypatch.setattr(SparseOperand, "sweep", lost)
    torch.testing.assert_close(by_sweeps(operand_of(dense))(b), expected)
    monkeypatch.setattr(SparseOperand, "polynomial", lambda self, right, roots: torch.full_like(right, torch.nan))
    torch.testing.assert_close(sweeps._solved(operand_of(dense), b, space, 1e-12), expected)


def test_the_same_bits_with_more_threads() -> None:
    dense, b = perron(900, 0.9), drawn(900, 70)
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        results.append(operand_of(dense).polynomial(b, torch.tensor([[0.9, 0.0], [0.7, 0.1], [0.7, -0.1]]).double()))
    torch.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results[1:])


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"crow": torch.tensor([0, 4, 3], dtype=torch.int32)}, "crow must rise from 0 to the number of values, 3"),
    ({"columns": torch.tensor([0, 2, 1], dtype=torch.int32)}, "crow has a column or row outside 0 .. 2 beside it"),
    ({"columns": torch.tensor([0, 1, 1])}, "columns must be int32"),
    ({"crow": torch.tensor([], dtype=torch.int32)}, "crow must be (n + 1,), got (0,)"),
    ({"values": torch.ones(2).double()}, "values must be (3,), got (2,)"),
    ({"vectors": torch.ones(2, 2)}, "must have the dtype of values"),
    ({"vectors": torch.ones(3, 2).double()}, "must be (2, *), got (3, 2)"),
    ({"roots": torch.ones(2).double()}, "roots must be (*, 2), got (2,)"),
    ({"roots": torch.ones(2, 2)}, "roots must be float64"),
]


@pytest.mark.parametrize(("change", "text"), WRONG)
def test_wrong_arguments_are_errors(change: dict[str, Any], text: str) -> None:
    given = {
        "values": torch.ones(3).double(),
        "crow": torch.tensor([0, 1, 3], dtype=torch.int32),
        "columns": torch.tensor([0, 0, 1], dtype=torch.int32),
        "vectors": torch.ones(2, 2).double(),
        "roots": torch.ones(1, 2).double(),
    }
    values, crow, columns, vectors, roots = {**given, **change}.values()
    ops = torch.ops.rrnn_ext
    with pytest.raises(RuntimeError, match=re.escape(text)):
        ops.sparse_infinite_walks_polynomial(values, crow, columns, vectors, roots, 0.1, False)
    if "roots" not in change:
        with pytest.raises(RuntimeError, match=re.escape(text)):
            ops.sparse_infinite_walks_sweep(values, crow, columns, vectors, 0.1, False)
    if change.keys() <= {"crow", "columns"}:
        with pytest.raises(RuntimeError, match=re.escape(text)):
            ops.sparse_infinite_walks_components(crow, columns)

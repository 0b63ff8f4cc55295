"""Patterns of sparse tensors: every layout, in any order, with duplicates; what is malformed."""

from __future__ import annotations

import gc
import re
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from support.device import DEVICE
from support.sparse import LAYOUTS, coo, dense_of, masked, unsorted_csr
from support.strategies import coordinates
from torch import Tensor

from rrnn_ext.sparse import Pattern, SparseWeight
from rrnn_ext.sparse.layouts import index_tensors, stored_values
from rrnn_ext.sparse.pattern import _known, edges_of

pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")


def densified(pattern: Pattern, edges: Tensor) -> Tensor:
    """Read one by one, as the attributes say."""
    dense = torch.zeros(pattern.units, pattern.units, dtype=edges.dtype)
    crow = pattern.crow.tolist()
    for row in range(pattern.units):
        columns = pattern.columns[crow[row] : crow[row + 1]].tolist()
        assert columns == sorted(set(columns))
        for k, column in enumerate(columns, crow[row]):
            dense[row, column] = edges[k]
    return dense


def check(pattern: Pattern, weight_hh: Tensor, expected: Tensor) -> None:
    edges = pattern.edges_of(stored_values(weight_hh)).detach().cpu()
    assert torch.equal(densified(pattern, edges), expected.cpu())
    mirrored = pattern.transposed
    assert torch.equal(densified(mirrored, edges[pattern.t_from.long().cpu()]), expected.mT.cpu())
    assert torch.equal(mirrored.transposed.columns, pattern.columns)
    back = edges[pattern.t_from.long().cpu()][mirrored.t_from.long().cpu()]
    assert torch.equal(back, edges)


@given(coordinates())
def test_places_in_any_order(drawn: tuple[int, Tensor, Tensor]) -> None:
    expected = dense_of(*drawn)
    for weight_hh in (coo(*drawn), coo(*drawn).coalesce(), unsorted_csr(*drawn)):
        check(Pattern.of(weight_hh), weight_hh, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n", "share"), [(6, 0.4), (1, 1.0), (1, 0.0), (0, 0.0), (5, 1.0)])
@pytest.mark.parametrize("index", [torch.int32, torch.int64], ids=["int32", "int64"])
def test_layouts(layout: str, n: int, share: float, index: torch.dtype) -> None:
    dense = masked(n, share)
    weight_hh = LAYOUTS[layout](dense)
    if index == torch.int32 and layout != "coo":
        make: Any = torch.sparse_csr_tensor if layout == "csr" else torch.sparse_csc_tensor
        indices = [weight_hh.crow_indices(), weight_hh.col_indices()] if layout == "csr" else []
        indices = indices or [weight_hh.ccol_indices(), weight_hh.row_indices()]
        weight_hh = make(*(each.int() for each in indices), weight_hh.values(), weight_hh.shape)
    check(Pattern.of(weight_hh), weight_hh, dense)


@given(coordinates())
def test_gradients_reach_what_was_stored(drawn: tuple[int, Tensor, Tensor]) -> None:
    """Of leaves, of values that a tensor was made of, and of a pattern's: those of the dense matrix, at each place."""
    n, places, values = drawn
    factors = torch.arange(1.0, n * n + 1, dtype=torch.float64, device=DEVICE).reshape(n, n)
    expected = factors[places[0], places[1]]

    def backward(weight_hh: Tensor | SparseWeight) -> None:
        pattern, edges = edges_of(weight_hh)
        rows = torch.repeat_interleave(torch.arange(n, device=DEVICE), pattern.crow.diff().long())
        (factors[rows, pattern.columns.long()] * edges).sum().backward()

    makes: list[Any] = [coo, lambda *graph: Pattern.of(coo(n, places, values)).with_values(graph[2])]
    makes += [unsorted_csr] if Pattern.of(unsorted_csr(*drawn)).in_order else []
    for make in makes:
        leaf = values.clone().requires_grad_()
        backward(make(n, places, leaf))
        assert leaf.grad is not None
        if make is unsorted_csr:
            assert torch.equal(leaf.grad, expected[torch.sort(places[0], stable=True).indices.argsort()])
        else:
            assert torch.equal(leaf.grad, expected)
    for tensor in (coo(*drawn), unsorted_csr(*drawn)):
        leaf = tensor.detach().requires_grad_()
        backward(leaf)
        assert leaf.grad is not None
        ones = torch.ones_like(values)
        once = leaf.grad.layout == torch.sparse_coo  # a CSR gradient repeats what the tensor repeats
        count = (dense_of(n, places, ones) != 0) if once else dense_of(n, places, ones)
        assert torch.equal(leaf.grad.to_dense(), factors * count)


def test_gradients_that_pytorch_would_mix_up_are_refused() -> None:
    values = torch.ones(2, device=DEVICE, requires_grad=True)
    crow, columns = (torch.tensor(each, device=DEVICE) for each in ([0, 2, 2], [1, 0]))
    weight_hh = torch.sparse_csr_tensor(crow, columns, values, (2, 2), check_invariants=False)
    with pytest.raises(ValueError, match=re.escape("Pattern.of(weight_hh).with_values(values)")):
        edges_of(weight_hh)


class TestKnownPatterns:
    def test_tensors_of_the_same_indices_have_one(self) -> None:
        weight_hh = masked(6, 0.4).to_sparse_csr()
        again = torch.sparse_csr_tensor(weight_hh.crow_indices(), weight_hh.col_indices(), weight_hh.values() + 1)
        assert Pattern.of(weight_hh) is Pattern.of(again)
        assert Pattern.of(weight_hh) is Pattern.of(weight_hh)
        assert Pattern.of(weight_hh) is not Pattern.of(masked(6, 0.4).to_sparse_csr())

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_indices_that_were_written_to_have_another(self, layout: str) -> None:
        dense = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 3.0]], device=DEVICE)
        weight_hh = LAYOUTS[layout](dense)
        before = Pattern.of(weight_hh)
        index_tensors(weight_hh)[-1].view(-1)[0] = 2
        if DEVICE.type == "cpu":
            check(Pattern.of(weight_hh), weight_hh, weight_hh.to_dense())
            assert Pattern.of(weight_hh) is not before

    def test_one_is_forgotten_with_its_tensor(self) -> None:
        weight_hh = masked(6, 0.4).to_sparse_csr()
        Pattern.of(weight_hh)
        del weight_hh
        gc.collect()
        other = masked(5, 0.4).to_sparse_csr()
        Pattern.of(other)
        assert sum(each.is_gone() for each in _known.values()) == 0


def csr(crow: list[int], columns: list[int], n: int = 2) -> Tensor:
    rows, others = (torch.tensor(each, dtype=torch.int64, device=DEVICE) for each in (crow, columns))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = torch.ones(len(columns), device=DEVICE)
        return torch.sparse_csr_tensor(rows, others, values, (n, n), check_invariants=False)


@pytest.mark.parametrize(
    ("weight_hh", "error", "text"),
    [
        (lambda: csr([0, 3, 2], [0, 1]), ValueError, "crow_indices of weight_hh must not fall, got 3 before 2 at 1"),
        (lambda: csr([0, 1, 3], [0, 1]), ValueError, "crow_indices of weight_hh must lead from 0 to 2"),
        (lambda: csr([1, 1, 2], [0, 1]), ValueError, "crow_indices of weight_hh must lead from 0 to 2"),
        (lambda: csr([0, 1, 2], [0, 2]), ValueError, "col_indices of weight_hh must be from 0 to 1 for 2 units, got 2"),
        (lambda: csr([0, 1, 2], [-1, 0]), ValueError, "must be from 0 to 1 for 2 units, got -1"),
        (lambda: torch.ones(2, 3).to_sparse_csr(), ValueError, "must be one square matrix (n, n), got (2, 3)"),
        (lambda: torch.ones(2, 3, 3).to_sparse_coo(), ValueError, "one square matrix (n, n), got (2, 3, 3)"),
        (lambda: torch.ones(2, 2).to_sparse_bsr((1, 1)), TypeError, "weight_hh must be dense, CSR, CSC or COO"),
        (lambda: torch.ones(2, 2), TypeError, "weight_hh must be dense, CSR, CSC or COO"),
    ],
)
def test_what_is_no_pattern_is_an_error(weight_hh: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        Pattern.of(weight_hh())  # type: ignore[operator]


def test_values_must_fit() -> None:
    pattern = Pattern.of(torch.eye(3).to_sparse_csr())
    with pytest.raises(ValueError, match=re.escape("values must be (3,) for this pattern, got (2,)")):
        pattern.with_values(torch.ones(2))

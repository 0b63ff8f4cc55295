"""The ops of single sparse hops, torch.ops.rrnn_ext.sparse_hop and sparse_hop_gradient, against dense products."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from support.sparse import drawn, masked
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from rrnn_ext.ops.sparse_hop import sparse_hop, sparse_hop_gradient
from rrnn_ext.sparse import Pattern
from rrnn_ext.sparse.operand import SparseOperand

pytestmark = [pytest.mark.native, pytest.mark.emulated]

ALPHA = 0.75
SIZES = [(1, 1.0, 1), (5, 0.3, 3), (70, 0.1, 8), (33, 0.5, 17), (40, 1.0, 29), (6, 0.0, 4), (0, 0.0, 2), (4, 0.5, 0)]
every_size = pytest.mark.parametrize(("n", "share", "width"), SIZES)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


def graph(n: int, share: float, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Pattern, Tensor]:
    dense = masked(n, share, dtype=dtype)
    sparse = dense.to_sparse_csr()
    return dense, Pattern.of(sparse), sparse.values()


def assert_near(actual: Tensor, expected: Tensor, scale: Tensor) -> None:
    assert actual.shape == expected.shape
    assert ((actual.double() - expected).abs() <= TOLERANCE[actual.dtype] * (scale + 1e-300)).all()


@every_dtype
@every_size
@pytest.mark.parametrize("rectify", [False, True])
def test_against_products(n: int, share: float, width: int, rectify: bool, dtype: torch.dtype) -> None:
    dense, pattern, values = graph(n, share, dtype)
    a = ALPHA * (dense.double().abs() if rectify else dense.double())
    vectors, other = drawn(n, width, seed=5, dtype=dtype), drawn(n, width, seed=6, dtype=dtype)
    operand = SparseOperand(values, pattern.indices, ALPHA, rectify)
    for actual, way in ((operand.forward(vectors), a), (operand.transposed(vectors), a.mT)):
        assert_near(actual, way @ vectors.double(), way.abs() @ vectors.double().abs())
    assert_near(operand.absolute().forward(vectors), a.abs() @ vectors.double(), a.abs() @ vectors.double().abs())

    slope = ALPHA * (dense.double().sign() if rectify else torch.ones_like(dense).double())
    rows, columns = dense.nonzero(as_tuple=True)
    actual = sparse_hop_gradient(values, *pattern.indices, vectors, other, ALPHA, rectify)
    expected = (slope * (vectors.double() @ other.double().mT))[rows, columns]
    assert_near(actual, expected, (vectors.double().abs() @ other.double().abs().mT)[rows, columns])


def test_the_operand_in_float64() -> None:
    _, pattern, values = graph(9, 0.5, torch.float32)
    operand = SparseOperand(values, pattern.indices, ALPHA, False)
    wide = operand.in_float64()
    assert (operand.units, operand.dtype, wide.dtype) == (9, torch.float32, torch.float64)
    vectors = drawn(9, 3)
    torch.testing.assert_close(wide.forward(vectors).float(), operand.forward(vectors.float()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rectify", [False, True])
def test_derivatives(rectify: bool) -> None:
    _, pattern, values = graph(5, 0.5)
    left, right = drawn(5, 3, seed=2).requires_grad_(), drawn(5, 3, seed=3).requires_grad_()
    values = values.detach().requires_grad_()

    def through(values: Tensor, vectors: Tensor) -> Tensor:
        return sparse_hop(values, *pattern.indices, vectors, ALPHA, rectify)

    def gradient(left: Tensor, right: Tensor) -> Tensor:
        return sparse_hop_gradient(values.detach(), *pattern.indices, left, right, ALPHA, rectify)

    for function, given in ((through, (values, right)), (gradient, (left, right))):
        assert gradcheck(function, given, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(function, given, check_fwd_over_rev=True)


@pytest.mark.parametrize(("n", "share"), [(4, 0.5), (3, 0.0), (0, 0.0)])
def test_opcheck(n: int, share: float) -> None:
    _, pattern, values = graph(n, share)
    left, right = drawn(n, 2).requires_grad_(), drawn(n, 2, seed=4).requires_grad_()
    values = values.detach().requires_grad_()
    torch.library.opcheck(sparse_hop, (values, *pattern.indices, right, ALPHA, False))
    torch.library.opcheck(sparse_hop_gradient, (values.detach(), *pattern.indices, left, right, ALPHA, True))


@pytest.mark.skipif(CUDA_EMULATED, reason="a fiber after the other has them anyway")
def test_the_same_bits_again_and_with_more_threads() -> None:
    _, pattern, values = graph(900, 0.3, torch.float32)
    vectors = drawn(900, 16, dtype=torch.float32)
    results, before = [], torch.get_num_threads()
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        results.append(
            (
                sparse_hop(values, *pattern.indices, vectors, ALPHA, False),
                sparse_hop_gradient(values, *pattern.indices, vectors, vectors, ALPHA, True),
            )
        )
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"values": torch.ones(2)}, "columns must be (2,), got (3,)"),
    ({"values": torch.ones(3).half()}, "values must be float32 or float64"),
    ({"values": torch.ones(3, 1)}, "values must be (edges,), got (3, 1)"),
    ({"crow": torch.tensor([0, 1, 3])}, "crow must be int32"),
    ({"crow": torch.tensor([], dtype=torch.int32)}, "crow must be (n + 1,), got (0,)"),
    ({"t_from": torch.tensor([0], dtype=torch.int32)}, "t_from must be (3,), got (1,)"),
    ({"vectors": torch.ones(3, 2)}, "vectors must be (2, *), got (3, 2)"),
    ({"vectors": torch.ones(2, 2).double()}, "vectors must have the dtype of values"),
]
MALFORMED: list[tuple[dict[str, Any], str]] = [  # on a GPU nobody looks
    ({"crow": torch.tensor([0, 4, 3], dtype=torch.int32)}, "crow must rise from 0 to the number of values, 3"),
    ({"crow": torch.tensor([1, 2, 3], dtype=torch.int32)}, "crow must rise from 0 to the number of values, 3"),
    ({"columns": torch.tensor([0, 2, 1], dtype=torch.int32)}, "crow has a column or row outside 0 .. 2 beside it"),
    ({"columns": torch.tensor([0, -1, 1], dtype=torch.int32)}, "crow has a column or row outside 0 .. 2 beside it"),
]


def arguments(change: dict[str, Any]) -> tuple[Any, ...]:
    sparse = torch.tensor([[1.0, 0.0], [2.0, 3.0]], device=DEVICE).to_sparse_csr()
    names = ("crow", "columns", "t_crow", "t_columns", "t_from")
    given = {"values": sparse.values(), **dict(zip(names, Pattern.of(sparse).indices, strict=True))}
    given["vectors"] = torch.ones(2, 2, device=DEVICE)
    changed = {name: each.to(DEVICE) for name, each in change.items()}
    return *{**given, **changed}.values(), ALPHA, False


@pytest.mark.parametrize(("change", "text"), WRONG)
def test_wrong_arguments_are_errors(change: dict[str, Any], text: str) -> None:
    with pytest.raises(RuntimeError, match=re.escape(text)):
        sparse_hop(*arguments(change))


@pytest.mark.skipif(DEVICE.type == "cuda" or CUDA_EMULATED, reason="a GPU trusts its indices")
@pytest.mark.parametrize(("change", "text"), MALFORMED)
def test_malformed_indices_are_errors(change: dict[str, Any], text: str) -> None:
    with pytest.raises(RuntimeError, match=re.escape(text)):
        sparse_hop(*arguments(change))

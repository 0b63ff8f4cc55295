"""The ops of single hops, torch.ops.rrnn_ext.hop and hop_gradient, against products in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.device import DEVICE
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from rrnn_ext import resolvent_penalty
from rrnn_ext.ops.hop import hop, hop_gradient

pytestmark = [pytest.mark.native, pytest.mark.emulated]

ALPHA = 0.75
SIZES = [(1, 1, 1), (5, 3, 2), (3, 5, 9), (33, 70, 8), (70, 33, 17), (0, 4, 2), (4, 0, 2), (4, 3, 0)]
every_size = pytest.mark.parametrize(("rows", "columns", "width"), SIZES)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(DEVICE, dtype)


def edges(weight_hh: Tensor, rectify: bool) -> Tensor:
    return ALPHA * (weight_hh.double().abs() if rectify else weight_hh.double())


def assert_near(actual: Tensor, expected: Tensor, scale: Tensor) -> None:
    assert actual.shape == expected.shape
    assert ((actual.double() - expected).abs() <= TOLERANCE[actual.dtype] * (scale + 1e-300)).all()


@every_dtype
@every_size
@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("rectify", [False, True])
def test_against_products(
    rows: int, columns: int, width: int, batch: tuple[int, ...], rectify: bool, dtype: torch.dtype
) -> None:
    weight_hh = draw(*batch, rows, columns, dtype=dtype)
    a = edges(weight_hh, rectify)
    for transposed, way in ((False, a.mT), (True, a)):
        vectors = draw(*batch, width, way.shape[-2], seed=1, dtype=dtype)
        actual = hop(weight_hh, vectors, ALPHA, rectify, transposed)
        assert_near(actual, vectors.double() @ way, vectors.double().abs() @ way.abs())

    left, right = draw(*batch, width, rows, seed=2, dtype=dtype), draw(*batch, width, columns, seed=3, dtype=dtype)
    slope = ALPHA * (weight_hh.double().sign() if rectify else torch.ones_like(weight_hh).double())
    expected = slope * (left.double().mT @ right.double())
    actual = hop_gradient(weight_hh, left, right, ALPHA, rectify)
    assert_near(actual, expected, left.double().abs().mT @ right.double().abs())


def test_a_chain_of_hops_is_the_penalty() -> None:
    """V (U + A U + A^2 U), hop by hop, and its gradient."""
    weight_hh = (draw(9, 9) / 4).requires_grad_()
    weight_in, weight_out = draw(9, 2, seed=1), draw(3, 9, seed=2)
    expected = resolvent_penalty(weight_hh, weight_in, weight_out, alpha=ALPHA, hops=3, rectify=True, norm="l2")
    x = [weight_in.abs().mT]
    for _ in range(2):
        x.append(hop(weight_hh, x[-1], ALPHA, True, False))
    value = (ALPHA**2 * weight_out.abs() @ torch.stack(x).sum(0).mT).square().sum()
    torch.testing.assert_close(value, expected)
    gradients = [torch.autograd.grad(each, weight_hh)[0] for each in (value, expected)]
    torch.testing.assert_close(*gradients)


CALLS: dict[str, tuple[Any, tuple[Tensor, ...], tuple[Any, ...]]] = {
    "hop": (hop, (draw(4, 3), draw(2, 3, seed=1)), (ALPHA, True, False)),
    "hop_transposed": (hop, (draw(4, 3), draw(2, 4, seed=1)), (ALPHA, False, True)),
    "hop_batch": (hop, (draw(2, 4, 3), draw(2, 2, 3, seed=1)), (ALPHA, True, False)),
    "hop_gradient": (hop_gradient, (draw(4, 3), draw(2, 4, seed=1), draw(2, 3, seed=2)), (ALPHA, True)),
    "hop_gradient_signed": (hop_gradient, (draw(4, 3), draw(2, 4, seed=1), draw(2, 3, seed=2)), (ALPHA, False)),
}


@pytest.mark.parametrize("name", CALLS)
class TestDerivatives:
    def test_opcheck(self, name: str) -> None:
        op, tensors, options = CALLS[name]
        torch.library.opcheck(op, (*(tensor.clone().requires_grad_() for tensor in tensors), *options))

    def test_gradients(self, name: str) -> None:
        op, tensors, options = CALLS[name]
        leaves = tuple(tensor.clone().requires_grad_() for tensor in tensors)
        assert gradcheck(lambda *given: op(*given, *options), leaves, check_forward_ad=True)
        assert gradgradcheck(lambda *given: op(*given, *options), leaves)

    def test_vmap(self, name: str) -> None:
        op, tensors, options = CALLS[name]
        many = torch.stack([tensors[-1], 2 * tensors[-1], tensors[-1] - 1], 1)
        actual = torch.func.vmap(lambda last: op(*tensors[:-1], last, *options), in_dims=1)(many)
        expected = torch.stack([op(*tensors[:-1], last, *options) for last in many.unbind(1)])
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize(
    ("op", "arguments", "message"),
    [
        (
            hop,
            (torch.ones(3), torch.ones(2, 3)),
            "weight_hh must be (rows, columns) or (batch, rows, columns), got (3,)",
        ),
        (hop, (torch.ones(3, 2), torch.ones(2, 3)), "vectors must be (*, 2), got (2, 3)"),
        (hop, (torch.ones(1, 3, 2), torch.ones(2, 2)), "vectors must be (1, *, 2), got (2, 2)"),
        (hop, (torch.ones(3, 2), torch.ones(2, 2).double()), "vectors must have the dtype of weight_hh"),
        (hop, (torch.ones(3, 2).half(), torch.ones(2, 2).half()), "weight_hh must be float32 or float64"),
        (hop_gradient, (torch.ones(3, 2), torch.ones(4, 2), torch.ones(4, 2)), "left must be (*, 3), got (4, 2)"),
        (hop_gradient, (torch.ones(3, 2), torch.ones(4, 3), torch.ones(5, 2)), "right must be (4, 2), got (5, 2)"),
    ],
)
def test_errors(op: Any, arguments: tuple[Tensor, ...], message: str) -> None:
    options = (1.0, False, False) if op is hop else (1.0, False)
    with pytest.raises(RuntimeError) as error:
        op(*(tensor.to(DEVICE) for tensor in arguments), *options)
    assert message in str(error.value)

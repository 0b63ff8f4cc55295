"""A lag without weight takes no part in a finite sum or its gradient, not even where its walks have overflowed.

On the CPU, on a GPU and for the emulated kernels alike. The oracle is reference.py in float64, of the lags with weight.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.device import DEVICE
from torch import Tensor

import rrnn_ext
from rrnn_ext import reference
from rrnn_ext._options import NormName

pytestmark = pytest.mark.emulated

WANTED, HOPS = 5, 100
GROWTH = {torch.float32: 2.0**4, torch.float64: 2.0**30}  # of walks per hop; they overflow before the hops end
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
DTYPES = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float32", "float64"])
SIDES = pytest.mark.parametrize(
    ("inputs", "outputs"), [(2, 3), (3, 2), (1, 1), (2, 40), (2, None), (None, 2), (None, None)], ids=str
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float32, generator=torch.Generator().manual_seed(seed)).double()


def graph(n: int, inputs: int | None, outputs: int | None, dtype: torch.dtype, batch: int | None = None) -> list[Any]:
    """weight_hh, weight_in and weight_out in float64."""
    lead = () if batch is None else (batch,)
    return [
        GROWTH[dtype] * drawn(*lead, n, n),
        None if inputs is None else drawn(*lead, n, inputs, seed=1),
        None if outputs is None else drawn(*lead, outputs, n, seed=2),
    ]


def run(function: Any, weights: list[Any], **options: Any) -> tuple[Tensor, list[Tensor]]:
    leaves = [None if weight is None else weight.clone().requires_grad_() for weight in weights]
    value = function(*leaves, **options)
    given = [leaf for leaf in leaves if leaf is not None]
    return value.detach(), list(torch.autograd.grad(value.sum(), given))


def cast(weights: list[Any], dtype: torch.dtype) -> list[Any]:
    return [None if weight is None else weight.to(DEVICE, dtype) for weight in weights]


def assert_near(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual.cpu().double(), expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def compare(weights: list[Any], hop_weights: Tensor, wanted: int, dtype: torch.dtype, **options: Any) -> None:
    """All lags of these weights, and the reference of the first `wanted` ones."""
    value, gradients = run(
        rrnn_ext.resolvent_penalty,
        cast(weights, dtype),
        hops=hop_weights.shape[-1],
        hop_weights=hop_weights.to(DEVICE, dtype),
        **options,
    )
    expected, true_gradients = run(
        reference.resolvent_penalty, weights, hops=wanted, hop_weights=hop_weights[..., :wanted], **options
    )
    assert_near(value, expected, dtype)
    for gradient, true_gradient in zip(gradients, true_gradients, strict=True):
        assert_near(gradient, true_gradient, dtype)


@SIDES
@DTYPES
@pytest.mark.parametrize("rectify", [False, True], ids=["signed", "rectified"])
@pytest.mark.parametrize("per_hop", [False, True], ids=["total", "per hop"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_first_lags_of_many(
    inputs: int | None, outputs: int | None, rectify: bool, per_hop: bool, norm: str, dtype: torch.dtype
) -> None:
    if norm == "l2" and dtype == torch.float32 and inputs is None and outputs is None:
        pytest.skip("the squares of these are beyond the range")
    hop_weights = torch.zeros(HOPS, dtype=torch.float64)
    hop_weights[:WANTED] = torch.tensor([0.5, 0.0, -0.25 if not per_hop else 0.25, 0.0, 2.0])
    compare(graph(6, inputs, outputs, dtype), hop_weights, WANTED, dtype, rectify=rectify, per_hop=per_hop, norm=norm)


@DTYPES
@pytest.mark.parametrize("per_hop", [False, True], ids=["total", "per hop"])
def test_each_graph_of_a_batch_has_its_own_last_lag(per_hop: bool, dtype: torch.dtype) -> None:
    hop_weights = torch.zeros(3, HOPS, dtype=torch.float64)
    hop_weights[0, :2], hop_weights[1, 3], hop_weights[2, 0] = 1.0, 0.5, 2.0
    compare(graph(6, 2, 3, dtype, batch=3), hop_weights, 4, dtype, per_hop=per_hop)


@SIDES
@DTYPES
def test_a_gradient_by_the_first_lags(inputs: int | None, outputs: int | None, dtype: torch.dtype) -> None:
    weights = graph(6, inputs, outputs, dtype)
    _, gradients = run(lambda *given: rrnn_ext.hop_decomposition(*given, hops=HOPS)[:WANTED], cast(weights, dtype))
    _, true_gradients = run(lambda *given: reference.hop_decomposition(*given, hops=WANTED), weights)
    for gradient, true_gradient in zip(gradients, true_gradients, strict=True):
        assert_near(gradient, true_gradient, dtype)


@DTYPES
@pytest.mark.parametrize("per_hop", [False, True], ids=["total", "per hop"])
def test_no_lag_at_all(per_hop: bool, dtype: torch.dtype) -> None:
    value, gradients = run(
        rrnn_ext.resolvent_penalty,
        cast(graph(6, 2, 3, dtype), dtype),
        hops=HOPS,
        hop_weights=torch.zeros(HOPS, device=DEVICE, dtype=dtype),
        per_hop=per_hop,
    )
    assert value == 0
    assert all(bool((gradient == 0).all()) for gradient in gradients)


@pytest.mark.parametrize("per_hop", [False, True], ids=["total", "per hop"])
def test_a_nan_comes_out_where_a_walk_with_weight_passes_it(per_hop: bool) -> None:
    weight_hh, weight_in, weight_out = cast(graph(6, 2, 3, torch.float32), torch.float32)
    weight_hh[2, 3] = torch.nan
    for hop_weights, passes in (([1.0, 0.0, 0.0], False), ([0.0, 0.0, 1.0], True), ([1.0, 0.5, 0.0], True)):
        value = rrnn_ext.resolvent_penalty(
            weight_hh,
            weight_in,
            weight_out,
            hops=3,
            hop_weights=torch.tensor(hop_weights, device=DEVICE),
            per_hop=per_hop,
        )
        assert value.isnan().item() == passes
        if not passes:
            assert_near(value, (weight_out @ weight_in).cpu().double().abs().sum(), torch.float32)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_a_pair_without_weight_may_overflow(norm: NormName) -> None:
    weight_in = torch.tensor([[2.0**120, 0.0], [0.0, 3.0]], device=DEVICE)
    pair_weights = torch.tensor([[0.0, 1.0], [0.0, 1.0]], device=DEVICE)
    value = rrnn_ext.resolvent_penalty(
        2 * torch.eye(2, device=DEVICE), weight_in, None, hops=16, pair_weights=pair_weights, norm=norm
    )
    total = 3.0 * (2**16 - 1)
    assert value == (total if norm == "l1" else total**2)

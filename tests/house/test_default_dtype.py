"""A Python float is a float64 number, whatever PyTorch's default dtype."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from support.device import DEVICE
from torch import Tensor

import rrnn_ext

NEAR_ONE = 1 - 1e-8  # 1 in float32


@pytest.fixture(autouse=True, params=[torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def default_dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


def ring(n: int, dtype: torch.dtype) -> Tensor:
    """Each unit drives the next one with weight 1: the spectral radius is 1, the sum of A^m has n entries alpha^m."""
    return torch.eye(n, dtype=dtype, device=DEVICE).roll(1, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("alpha", [0.9, NEAR_ONE])
def test_resolvent_info(alpha: float, dtype: torch.dtype) -> None:
    info = rrnn_ext.resolvent_info(ring(5, dtype), alpha=alpha, hops=3)
    assert info.spectral_radius.item() == pytest.approx(alpha, rel=1e-15)
    assert info.converges.item()
    assert info.max_alpha.item() == pytest.approx(1.0, rel=1e-14)
    assert info.tail_bound is not None
    assert info.tail_bound.item() == pytest.approx(alpha**3 / (1 - alpha), rel=1e-6)


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("alpha", [0.9, NEAR_ONE])
def test_infinite_sum(alpha: float, rectify: bool) -> None:
    n = 5
    side = torch.ones(n, 1, dtype=torch.float64, device=DEVICE)
    value = rrnn_ext.resolvent_penalty(ring(n, torch.float64), side, side.mT, alpha=alpha, hops=None, rectify=rectify)
    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(alpha**2 * n / (1 - alpha), rel=1e-6)


@pytest.mark.skipif(DEVICE.type == "cuda", reason="there the error comes later, and without numbers")
def test_numbers_of_the_divergence_error() -> None:
    with pytest.raises(rrnn_ext.ResolventDivergenceError) as raised:
        rrnn_ext.resolvent_penalty(ring(5, torch.float64), alpha=1.1, hops=None)
    assert raised.value.spectral_radius == pytest.approx(1.1, rel=1e-6)
    assert raised.value.max_alpha == pytest.approx(1.0, rel=1e-6)

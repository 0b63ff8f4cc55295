"""All pairs of graphs too large for the cache: the inverse by halves against LAPACK's, value and gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.device import DEVICE

import rrnn_ext
from rrnn_ext import reference


@pytest.mark.parametrize("n", [161, 300, 513])
@pytest.mark.parametrize("batch", [(), (2,)], ids=["single", "batch"])
@pytest.mark.parametrize("options", [{}, {"norm": "l2"}, {"rectify": True}, {"pair_weights": True}], ids=str)
def test_value_and_gradient(n: int, batch: tuple[int, ...], options: dict[str, Any]) -> None:
    torch.manual_seed(n)
    weight_hh = torch.randn(*batch, n, n, dtype=torch.float64).to(DEVICE).requires_grad_()
    options = dict(options)
    if "pair_weights" in options:
        options["pair_weights"] = torch.rand(n, n, dtype=torch.float64).to(DEVICE)
        options["rectify"] = True  # with pair weights, rectified walks have no short cut
    alpha = 0.5 / (n if options.get("rectify") else n**0.5)
    value = rrnn_ext.resolvent_penalty(weight_hh, alpha=alpha, **options)
    # One graph at a time: PyTorch's LU of such a batch can hang (rrnn_ext/infinite/lapack.py says when).
    graphs = weight_hh.reshape(-1, n, n)
    expected = torch.stack([reference.resolvent_penalty(graph, alpha=alpha, **options) for graph in graphs]).sum()
    torch.testing.assert_close(value, expected, rtol=1e-11, atol=0)
    (gradient,) = torch.autograd.grad(value, weight_hh)
    (expected_gradient,) = torch.autograd.grad(expected, weight_hh)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-11 * expected_gradient.abs().max().item())


def test_a_singular_first_half_is_pivoted() -> None:
    """I - A11 is singular here and I - A is not: the way by halves finds no number, pivoting does."""
    n = 300
    a = torch.zeros(n, n, dtype=torch.float64, device=DEVICE)
    swap = torch.arange(n // 2)
    a[swap, swap] = 1.0  # eigenvalue 1 within the first half ...
    a[swap, swap + n // 2] = 0.5
    a[swap + n // 2, swap] = -0.5  # ... which the second half brings inside the unit circle
    value = rrnn_ext.resolvent(a, hops=None)
    torch.testing.assert_close(rrnn_ext.resolvent_penalty(a), value.abs().sum(), rtol=1e-10, atol=0)
    torch.testing.assert_close(value, reference.resolvent(a), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n", [97, 300])
@pytest.mark.parametrize("hops", [None, 4])
def test_batches_after_set_num_threads(n: int, hops: int | None, set_threads: Callable[[int], None]) -> None:
    """PyTorch's LU of a batch hangs then, or is wrong: https://github.com/pytorch/pytorch/issues/141358."""
    set_threads(2)
    torch.manual_seed(0)
    weight_hh = (0.5 / n**0.5 * torch.randn(8, n, n, dtype=torch.float64)).to(DEVICE).requires_grad_()
    weight_in = torch.randn(n, 2, dtype=torch.float64).to(DEVICE)
    options: dict[str, Any] = {"hops": hops, "method": "inverse", "reduction": "none"}
    values = rrnn_ext.resolvent_penalty(weight_hh, weight_in, **options)
    each = torch.stack([rrnn_ext.resolvent_penalty(graph, weight_in, **options) for graph in weight_hh])
    torch.testing.assert_close(values, each, rtol=1e-12, atol=0)
    for one, other in zip(*(torch.autograd.grad(v.sum(), weight_hh) for v in (values, each)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    info = rrnn_ext.resolvent_info(weight_hh.detach(), hops=4)
    assert info.tail_bound is not None
    assert info.tail_bound.shape == (8,)

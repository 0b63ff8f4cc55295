"""All pairs of graphs too large for the cache: the inverse by halves against LAPACK's, value and gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import rrnn_ext
from rrnn_ext import reference


@pytest.mark.parametrize("n", [161, 300, 513])
@pytest.mark.parametrize("batch", [(), (2,)], ids=["single", "batch"])
@pytest.mark.parametrize("options", [{}, {"norm": "l2"}, {"rectify": True}, {"pair_weights": True}], ids=str)
def test_value_and_gradient(n: int, batch: tuple[int, ...], options: dict[str, Any]) -> None:
    torch.manual_seed(n)
    weight_hh = torch.randn(*batch, n, n, dtype=torch.float64, requires_grad=True)
    options = dict(options)
    if "pair_weights" in options:
        options["pair_weights"] = torch.rand(n, n, dtype=torch.float64)
        options["rectify"] = True  # with pair weights, rectified walks have no short cut
    alpha = 0.5 / (n if options.get("rectify") else n**0.5)
    value = rrnn_ext.resolvent_penalty(weight_hh, alpha=alpha, **options)
    expected = reference.resolvent_penalty(weight_hh, alpha=alpha, **options)
    torch.testing.assert_close(value, expected, rtol=1e-11, atol=0)
    (gradient,) = torch.autograd.grad(value, weight_hh)
    (expected_gradient,) = torch.autograd.grad(expected, weight_hh)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-11 * expected_gradient.abs().max().item())


def test_a_singular_first_half_is_pivoted() -> None:
    """I - A11 is singular here and I - A is not: the way by halves finds no number, pivoting does."""
    n = 300
    a = torch.zeros(n, n, dtype=torch.float64)
    swap = torch.arange(n // 2)
    a[swap, swap] = 1.0  # eigenvalue 1 within the first half ...
    a[swap, swap + n // 2] = 0.5
    a[swap + n // 2, swap] = -0.5  # ... which the second half brings inside the unit circle
    value = rrnn_ext.resolvent(a, hops=None)
    torch.testing.assert_close(rrnn_ext.resolvent_penalty(a), value.abs().sum(), rtol=1e-10, atol=0)
    torch.testing.assert_close(value, reference.resolvent(a), rtol=1e-10, atol=1e-12)

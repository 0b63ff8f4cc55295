"""Gradients without a graph for sparse weights: what the dense weights' loss would give the stored values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.sparse import LAYOUTS, drawn, masked
from torch import Tensor

import rrnn_ext

N, STRENGTH = 12, 0.25
OPTIONS: dict[str, dict[str, Any]] = {
    "total": {"hops": 5},
    "per hop": {"hops": 5, "per_hop": True, "norm": "l2"},
    "rectified": {"hops": 5, "rectify": True},
    "all lags": {"hops": None, "alpha": 0.1},
}


def dense_gradients(weight_hh: Tensor, sides: tuple[Tensor, Tensor], options: dict[str, Any]) -> tuple[Tensor, ...]:
    leaves = [each.detach().clone().requires_grad_() for each in (weight_hh, *sides)]
    value = rrnn_ext.resolvent_penalty(*leaves, **options)
    (STRENGTH * value).backward()
    return value.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)


def as_tensor(pattern: Tensor, values: Tensor) -> Tensor:
    return torch.sparse_csr_tensor(
        pattern.crow_indices(), pattern.col_indices(), values, pattern.shape, check_invariants=False
    )


def as_pattern(pattern: Tensor, values: Tensor) -> Any:
    return rrnn_ext.sparse.Pattern.of(pattern).with_values(values)


@pytest.mark.parametrize("make", [as_tensor, as_pattern])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_values_of_a_pattern(make: Callable[[Tensor, Tensor], Any], options: dict[str, Any]) -> None:
    dense, sides = masked(N, 0.4), (drawn(N, 3, seed=1), drawn(2, N, seed=2))
    csr = dense.to_sparse_csr()
    expected, grad_hh, grad_in, grad_out = dense_gradients(dense, sides, options)
    values = csr.values().clone().requires_grad_()
    weight_in, weight_out = (side.clone().requires_grad_() for side in sides)
    values.grad, weight_in.grad = torch.ones_like(values), torch.ones_like(weight_in)
    value = rrnn_ext.accumulate_penalty_grad(make(csr, values), weight_in, weight_out, strength=STRENGTH, **options)
    assert not value.requires_grad
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(values.grad, 1 + grad_hh[dense != 0])
    torch.testing.assert_close(weight_in.grad, 1 + grad_in)
    torch.testing.assert_close(weight_out.grad, grad_out)


@pytest.mark.parametrize("layout", ["csr", "coo"])
def test_a_sparse_leaf(layout: str) -> None:
    dense, sides = masked(N, 0.4), (drawn(N, 3, seed=1), drawn(2, N, seed=2))
    leaf = LAYOUTS[layout](dense).requires_grad_()
    _, grad_hh, *_ = dense_gradients(dense, sides, {"hops": 5})
    for times in (1, 2):
        rrnn_ext.accumulate_penalty_grad(leaf, *sides, strength=STRENGTH, hops=5)
        assert leaf.grad is not None and leaf.grad.layout == leaf.layout  # noqa: PT018
        torch.testing.assert_close(leaf.grad.to_dense(), times * torch.where(dense != 0, grad_hh, 0))


def test_a_module_whose_weight_is_made_of_values() -> None:
    dense = masked(N, 0.4)
    csr = dense.to_sparse_csr()
    values = torch.nn.Parameter(csr.values().clone())
    sources, targets = torch.arange(3, device=DEVICE), torch.arange(N - 2, N, device=DEVICE)
    penalty = rrnn_ext.ResolventPenalty.from_weights(
        lambda: as_tensor(csr, values), lambda: sources, lambda: targets, hops=5
    )
    eye = torch.eye(N, dtype=dense.dtype, device=DEVICE)
    expected, grad_hh, *_ = dense_gradients(dense, (eye[:, sources], eye[targets]), {"hops": 5})
    torch.testing.assert_close(penalty.accumulate_grad(STRENGTH), expected)
    torch.testing.assert_close(values.grad, grad_hh[dense != 0])


def test_values_that_are_computed_are_refused() -> None:
    csr = masked(N, 0.4).to_sparse_csr()
    values = 2 * csr.values().clone().requires_grad_()
    with pytest.raises(ValueError, match="weight_hh must be a leaf"):
        rrnn_ext.accumulate_penalty_grad(as_pattern(csr, values), drawn(N, 3), drawn(2, N), hops=5)


def test_a_sum_that_diverges_leaves_the_gradient_as_it_was() -> None:
    csr = masked(N, 0.9).to_sparse_csr()
    values = csr.values().clone().requires_grad_()
    values.grad = torch.ones_like(values)
    with pytest.raises(rrnn_ext.ResolventDivergenceError):
        rrnn_ext.accumulate_penalty_grad(as_pattern(csr, values), drawn(N, 3), drawn(2, N), hops=None)
    assert bool((values.grad == 1).all())

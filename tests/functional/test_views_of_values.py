"""Tensors whose memory does not hold their values: views with the other sign, zeros that are not stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.device import DEVICE
from torch import Tensor

import rrnn_ext

N = 12
OPTIONS: list[dict[str, Any]] = [
    {"hops": 4},
    {"hops": 4, "per_hop": True, "norm": "l2"},
    {"hops": 4, "rectify": True},
    {"hops": 4, "method": "inverse"},
    {"hops": None},
    {"hops": None, "rectify": True},
]


def drawn(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (0.1 * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(DEVICE)


def imaginary(values: Tensor) -> Tensor:
    """The values, as the imaginary part of a conjugate, whose memory has the other sign."""
    view = torch.complex(values, -values).conj().imag
    assert view.is_neg()
    return view


def no_memory(values: Tensor) -> Tensor:
    """Zeros, as derivatives that vanish are handed on by PyTorch."""
    return torch._efficientzerotensor(values.shape, dtype=values.dtype, device=values.device)


@pytest.mark.parametrize("view", [imaginary, no_memory])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("given", [(True, True), (True, False), (False, True), (False, False)], ids=str)
def test_weights(view: Callable[[Tensor], Tensor], options: dict[str, Any], given: tuple[bool, bool]) -> None:
    sides = drawn(N, 3, seed=1) if given[0] else None, drawn(2, N, seed=2) if given[1] else None
    weights = drawn(N, N, seed=0), *sides
    for at, weight in enumerate(weights):
        if weight is None:
            continue
        stored: list[Any] = list(weights)
        stored[at] = torch.zeros_like(weight) if view is no_memory else weight
        lazy: list[Any] = [view(weight) if i == at else other for i, other in enumerate(weights)]
        expected = rrnn_ext.resolvent_penalty(*stored, **options)
        torch.testing.assert_close(rrnn_ext.resolvent_penalty(*lazy, **options), expected)
        torch.testing.assert_close(rrnn_ext.accumulate_penalty_grad(*lazy, **options), expected)
        for one, other in zip(gradients(lazy, options), gradients(stored, options), strict=True):
            torch.testing.assert_close(one, other)


def gradients(weights: list[Any], options: dict[str, Any]) -> tuple[Tensor, ...]:
    leaves: list[Any] = [None if weight is None else weight.detach().requires_grad_() for weight in weights]
    value = rrnn_ext.resolvent_penalty(*leaves, **options)
    return torch.autograd.grad(value, [leaf for leaf in leaves if leaf is not None])


def test_what_is_added_to() -> None:
    weights = drawn(N, N, seed=0), drawn(N, 3, seed=1), drawn(2, N, seed=2)
    expected = gradients(list(weights), {"hops": 4})
    leaves = [weight.requires_grad_() for weight in weights]
    for leaf in leaves:
        leaf.grad = imaginary(torch.ones_like(leaf))
    rrnn_ext.accumulate_penalty_grad(*leaves, hops=4)
    for leaf, gradient in zip(leaves, expected, strict=True):
        torch.testing.assert_close(leaf.grad, 1 + gradient)


def test_factors() -> None:
    weights = drawn(N, N, seed=0), drawn(N, 3, seed=1), drawn(2, N, seed=2)
    hop_weights, pair_weights = drawn(4, seed=3), drawn(2, 3, seed=4).abs()
    alpha = torch.tensor(0.5, dtype=torch.float64, device=DEVICE)
    for per_hop in (False, True):
        plain: dict[str, Any] = {"hop_weights": hop_weights, "pair_weights": pair_weights, "alpha": alpha}
        lazy: dict[str, Any] = {name: imaginary(factors) for name, factors in plain.items()}
        value = rrnn_ext.resolvent_penalty(*weights, hops=4, per_hop=per_hop, **lazy)
        torch.testing.assert_close(value, rrnn_ext.resolvent_penalty(*weights, hops=4, per_hop=per_hop, **plain))

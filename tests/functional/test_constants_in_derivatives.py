"""hop_weights and pair_weights are constants: to ask for a derivative by them is an error, never a zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.random_weights import weights
from torch import Tensor
from torch.autograd import forward_ad

import rrnn_ext

SHAPES = {"hop_weights": (4,), "pair_weights": (2, 3)}
Loss = Callable[[Tensor], Tensor]


def by_backward(loss: Loss, constant: Tensor) -> None:
    loss(constant.requires_grad_())


def by_dual_numbers(loss: Loss, constant: Tensor) -> None:
    with forward_ad.dual_level():
        loss(forward_ad.make_dual(constant, torch.ones_like(constant)))


def by_grad(loss: Loss, constant: Tensor) -> None:
    torch.func.grad(loss)(constant)


def by_jvp(loss: Loss, constant: Tensor) -> None:
    torch.func.jvp(loss, (constant,), (torch.ones_like(constant),))


def by_jacfwd(loss: Loss, constant: Tensor) -> None:
    torch.func.jacfwd(loss)(constant)


@pytest.mark.parametrize("per_hop", [False, True])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("derive", [by_backward, by_dual_numbers, by_grad, by_jvp, by_jacfwd])
def test_is_an_error(derive: Callable[[Loss, Tensor], Any], name: str, per_hop: bool) -> None:
    given = weights(6, 3, 2)
    constant = torch.ones(SHAPES[name], dtype=torch.float64, device=DEVICE)

    def loss(constant: Tensor) -> Tensor:
        return rrnn_ext.resolvent_penalty(**{**given, name: constant}, hops=4, per_hop=per_hop)

    with pytest.raises(ValueError, match=f"{name} .*constant"):
        derive(loss, constant)


@pytest.mark.parametrize("name", SHAPES)
def test_a_batch_under_vmap(name: str) -> None:
    """A batch of constants is a batch of penalties."""
    given = weights(6, 3, 2)
    constants = torch.rand(3, *SHAPES[name], dtype=torch.float64).to(DEVICE)

    def loss(constant: Tensor) -> Tensor:
        return rrnn_ext.resolvent_penalty(**{**given, name: constant}, hops=4)

    each = torch.stack([loss(constant) for constant in constants])
    torch.testing.assert_close(torch.vmap(loss)(constants), each, rtol=1e-12, atol=0.0)

"""The penalty of finite walks and its gradient in one call, for those who want both and no graph: no derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rrnn_ext.ops import native
from rrnn_ext.ops.finite_walks import PenaltyArguments, below_autograd

_value_and_grad = native.penalty_value_and_grad.default
_accumulate = native.penalty_value_and_grad_accumulate.default


@torch.library.register_fake("rrnn_ext::penalty_value_and_grad")
def _value_and_grad_fake(strength: float, *arguments: Any) -> tuple[Tensor, ...]:
    penalty = PenaltyArguments(*arguments)
    weight_hh, batch = penalty.weight_hh, penalty.weight_hh.shape[:-2]
    value = weight_hh.new_empty(batch)
    return value, *(
        weight_hh.new_empty(*batch, *((0, 0) if weight is None else weight.shape[-2:])) for weight in penalty[:3]
    )


@torch.library.register_fake("rrnn_ext::penalty_value_and_grad_accumulate")
def _accumulate_fake(
    grad_hh: Tensor | None, grad_in: Tensor | None, grad_out: Tensor | None, strength: float, *arguments: Any
) -> Tensor:
    weight_hh = PenaltyArguments(*arguments).weight_hh
    return weight_hh.new_empty(weight_hh.shape[:-2])


def value_and_grad(strength: float, penalty: PenaltyArguments) -> tuple[Tensor, list[Tensor | None]]:
    """The penalty of each graph, (...), and strength times its gradients by weight_hh, weight_in and weight_out."""
    value, *gradients = _value_and_grad.redispatch(below_autograd(penalty.weight_hh), strength, *penalty)
    return value, [None if weight is None else each for weight, each in zip(penalty[:3], gradients, strict=True)]


def accumulate(grads: Sequence[Tensor | None], strength: float, penalty: PenaltyArguments) -> Tensor:
    """The penalty of each graph; strength times its gradients is added to those of weight_hh, weight_in and weight_out
    that are given, whose rows have no gaps. To one of a side that has no batch dimension, the sum over the batch."""
    value: Tensor = _accumulate.redispatch(below_autograd(penalty.weight_hh), *grads, strength, *penalty)
    torch._C._increment_version([grad for grad in grads if grad is not None])  # who saved one is to know
    return value

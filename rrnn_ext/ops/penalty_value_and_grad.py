"""The penalty of finite walks and its gradient in one call: on the path of each training step, through the loss and
beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext._modes import is_batched, transforming
from rrnn_ext.ops import native
from rrnn_ext.ops.finite_walks import (
    PenaltyArguments,
    below_autograd,
    differentiable_penalty_gradients,
    penalty_alone,
    penalty_by_rules,
)

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
    value, *gradients = _value_and_grad.redispatch(below_autograd(penalty), strength, *penalty)
    return value, [None if weight is None else each for weight, each in zip(penalty[:3], gradients, strict=True)]


def accumulate(grads: Sequence[Tensor | None], strength: float, penalty: PenaltyArguments) -> Tensor:
    """The penalty of each graph; strength times its gradients is added to those of weight_hh, weight_in and weight_out
    that are given, whose rows have no gaps. To one of a side that has no batch dimension, the sum over the batch."""
    value: Tensor = _accumulate.redispatch(below_autograd(penalty), *grads, strength, *penalty)
    torch._C._increment_version([grad for grad in grads if grad is not None])  # who saved one is to know
    return value


class _EagerPenalty(Function):
    """Value and gradient in the forward, where a small call costs more than its arithmetic: the backward scales what is
    there. No dispatcher, no tangents, and one argument for everything that takes no gradient."""

    @staticmethod
    def forward(
        ctx: Any, weight_hh: Tensor, weight_in: Tensor | None, weight_out: Tensor | None, constants: tuple[Any, ...]
    ) -> Tensor:
        penalty = PenaltyArguments(weight_hh, weight_in, weight_out, *constants)
        value, ctx.gradients = value_and_grad(1.0, penalty)
        ctx.save_for_backward(*penalty[:5])
        ctx.options = penalty[5:]
        return value

    @staticmethod
    def backward(ctx: Any, grad_value: Tensor) -> Any:
        penalty = PenaltyArguments(*ctx.saved_tensors, *ctx.options)
        if torch.is_grad_enabled():  # a derivative of this gradient may be wanted
            return *differentiable_penalty_gradients(penalty, grad_value), None
        gradients, ctx.gradients = ctx.gradients, None  # the next one, of a graph that is retained, makes its own
        if gradients is None:
            _, gradients = value_and_grad(1.0, penalty)
        scale = grad_value.unsqueeze(-1).unsqueeze(-1) if grad_value.dim() else grad_value
        given = [gradient for gradient in gradients if gradient is not None]
        if is_batched(grad_value):  # many upstream gradients at once: is_grads_batched
            return *(None if gradient is None else scale * gradient for gradient in gradients), None
        for gradient in given:
            gradient.mul_(scale)
        return *gradients, None


def walk_penalty(penalty: PenaltyArguments) -> Tensor:
    """The penalty of each graph, (...)."""
    weight_hh, weight_in, weight_out, *_ = penalty
    if transforming(weight_hh):
        return penalty_by_rules(penalty)
    if torch.is_grad_enabled() and (
        weight_hh.requires_grad
        or (weight_in is not None and weight_in.requires_grad)
        or (weight_out is not None and weight_out.requires_grad)
    ):
        # Function.apply without its Python part, which serves functorch and takes half of a small call's time.
        apply: Callable[..., Tensor] = super(Function, _EagerPenalty).apply
        return apply(weight_hh, weight_in, weight_out, penalty[3:])
    return penalty_alone(penalty)

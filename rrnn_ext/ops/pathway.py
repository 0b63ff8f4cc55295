"""The rectified infinite sum of a graph with one input and one output, by iteration, in eager mode."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext._call import Call
from rrnn_ext._modes import is_batched
from rrnn_ext.infinite import deferred
from rrnn_ext.ops import native
from rrnn_ext.ops._registration import differentiable_gradients
from rrnn_ext.ops.infinite_walks import infinite_sum


@torch.library.register_fake("rrnn_ext::pathway")
def _pathway_solve_fake(
    weight_hh: Tensor, sources: Tensor, targets: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    return sources.new_empty(sources.shape), targets.new_empty(targets.shape), sources.new_empty(sources.shape[:1])


@torch.library.register_fake("rrnn_ext::pathway_backward")
def _pathway_solve_backward_fake(scale: Tensor, weight_hh: Tensor, x: Tensor, y: Tensor, alpha: float) -> Tensor:
    return weight_hh.new_empty(weight_hh.shape)


class _Pathway(Function):
    """The rectified sum from one source to one target, (b,), once x and y, its solutions from both ends, are known."""

    @staticmethod
    def forward(
        ctx: Any, weight_hh: Tensor, sources: Tensor, targets: Tensor, x: Tensor, y: Tensor, call: Call
    ) -> Tensor:
        ctx.call = call
        ctx.save_for_backward(weight_hh, sources, targets, x, y)
        return call.alpha**2 * (targets * x).sum(-1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        weight_hh, sources, targets, x, y = ctx.saved_tensors
        alpha = ctx.call.alpha
        if torch.is_grad_enabled():  # a derivative of this gradient is wanted

            def value(weight_hh: Any, sources: Any, targets: Any) -> Tensor:
                call = ctx.call._replace(
                    weight_hh=weight_hh, weight_in=sources.unsqueeze(-1), weight_out=targets.unsqueeze(-2)
                )
                return infinite_sum(call, proved=True).squeeze((-2, -1))

            return *differentiable_gradients(value, (weight_hh, sources, targets), grad), None, None, None
        batched = is_batched(grad)
        scale = alpha**2 * (torch.ones_like(x[..., 0]) if batched else grad)
        gradients = (
            native.pathway_backward(scale, weight_hh, x, y, alpha),
            scale.unsqueeze(-1) * y,
            scale.unsqueeze(-1) * x,
        )
        if batched:
            per_unit = grad.unsqueeze(-1)
            gradients = per_unit.unsqueeze(-1) * gradients[0], per_unit * gradients[1], per_unit * gradients[2]
        return *gradients, None, None, None


def pathway_sum(call: Call) -> Tensor | None:
    """The rectified sum of a graph with one input and one output, by iteration; None where that does not settle it.
    On CUDA it is NaN there."""
    weight_hh, weight_in, weight_out = call[:3]
    assert weight_in is not None
    assert weight_out is not None
    given = weight_hh, weight_in.squeeze(-1), weight_out.squeeze(-2)
    batch = given if call.batch else [each.unsqueeze(0) for each in given]
    x, y, found = native.pathway(*(each.detach() for each in batch), call.alpha)
    if found.is_cuda:
        deferred.note(found)
    elif not bool(found.all()):
        return None
    value = _Pathway.apply(*batch, x, y, call)
    return value if call.batch else value.squeeze(0)

"""A matrix product whose derivatives keep the dtype of the weights where autocast is on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class _Product(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(left: Tensor, right: Tensor) -> Tensor:
        return left @ right

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        left, right = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            return product(grad, right.mT), product(left.mT, grad)

    @staticmethod
    def jvp(ctx: Any, d_left: Tensor, d_right: Tensor) -> Any:
        left, right = ctx.saved_tensors
        with torch.autocast(left.device.type, enabled=False):
            return d_left @ right + left @ d_right


def product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right for (..., n, k) and (..., k, m) of the same batch dimensions, or none."""
    if torch.compiler.is_compiling():
        return left @ right
    result: Tensor = _Product.apply(left, right)
    return result

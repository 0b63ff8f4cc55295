"""A matrix product whose derivatives keep the dtype of the weights where autocast is on."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from rrnn_ext._ops import Differentiable, differentiable, outside_autocast


class _Product(Differentiable):
    generate_vmap_rule = True

    @staticmethod
    def forward(left: Tensor, right: Tensor) -> Tensor:
        return left @ right

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, grad: Tensor) -> Any:
        left, right = ctx.saved_tensors
        return product(grad, right.mT), product(left.mT, grad)

    @staticmethod
    @outside_autocast
    def tangent(ctx: Any, d_left: Tensor | None, d_right: Tensor | None) -> Any:
        left, right = ctx.saved_tensors
        of_left = None if d_left is None else product(d_left, right)
        of_right = None if d_right is None else product(left, d_right)
        if of_left is None or of_right is None:
            return of_right if of_left is None else of_left
        return of_left + of_right


def product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right for (..., n, k) and (..., k, m) of the same batch dimensions, or none."""
    return differentiable(_Product, left, right)

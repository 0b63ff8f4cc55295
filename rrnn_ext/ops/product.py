"""A matrix product whose derivatives keep the dtype of the weights where autocast is on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrnn_ext.ops._registration import Differentiable, derivatives_of, fold_batch, python_op


@python_op
def product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right for (..., n, k) and (..., k, m) of the same batch dimensions, or none."""
    return left.contiguous() @ right.contiguous()  # the order of a sum is not to be that of memory


@torch.library.register_fake("rrnn_ext::product")
def _product_fake(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty((*left.shape[:-1], right.shape[-1]))


@derivatives_of(product)
class _Product(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        left, right = ctx.saved_tensors
        return product(grad, right.mT), product(left.mT, grad)

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_left: Tensor | None, d_right: Tensor | None) -> Any:
        left, right = saved
        of_left = None if d_left is None else product(d_left, right)
        of_right = None if d_right is None else product(left, d_right)
        if of_left is None or of_right is None:
            return of_right if of_left is None else of_left
        return of_left + of_right

    @staticmethod
    def vmap(info: Any, in_dims: Any, left: Tensor, right: Tensor) -> Any:
        pair, unfold = fold_batch(info.batch_size, in_dims, (left, right), (2, 2))
        return unfold(product(pair[0], pair[1])), 0

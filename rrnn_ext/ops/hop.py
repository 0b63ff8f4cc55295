"""A single hop of vectors through a matrix, and what the gradient of the matrix takes of it.

Sums of walks through a matrix that is spread over several machines are made of these: each machine has some rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrnn_ext.ops import native
from rrnn_ext.ops._registration import Differentiable, derivatives_of, fold_batch

hop = native.hop.default
hop_gradient = native.hop_gradient.default


@torch.library.register_fake("rrnn_ext::hop")
def _hop_fake(weight_hh: Tensor, vectors: Tensor, alpha: float, rectify: bool, transposed: bool) -> Tensor:
    return vectors.new_empty((*vectors.shape[:-1], weight_hh.shape[-1 if transposed else -2]))


@torch.library.register_fake("rrnn_ext::hop_gradient")
def _hop_gradient_fake(weight_hh: Tensor, left: Tensor, right: Tensor, alpha: float, rectify: bool) -> Tensor:
    return weight_hh.new_empty(weight_hh.shape)


def _moved_edges(weight_hh: Tensor, tangent: Tensor, alpha: float, rectify: bool) -> Tensor:
    """The derivative of A = alpha phi(W) in the direction of a tangent of W."""
    return alpha * (weight_hh.sign() * tangent if rectify else tangent)


def _added(parts: list[Tensor], like: Tensor) -> Tensor:
    return sum(parts[1:], parts[0]) if parts else torch.zeros_like(like)


@derivatives_of(hop)
class _Hop(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        weight_hh, vectors, ctx.alpha, ctx.rectify, ctx.transposed = inputs
        ctx.save_for_backward(weight_hh, vectors)
        ctx.save_for_forward(weight_hh, vectors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        weight_hh, vectors = ctx.saved_tensors
        left, right = (vectors, grad) if ctx.transposed else (grad, vectors)
        grad_hh = hop_gradient(weight_hh, left, right, ctx.alpha, ctx.rectify)
        return grad_hh, hop(weight_hh, grad, ctx.alpha, ctx.rectify, not ctx.transposed), None, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_hh: Tensor | None, d_vectors: Tensor | None, *_: Any) -> Any:
        weight_hh, vectors = saved
        parts = []
        if d_hh is not None:
            moved = _moved_edges(weight_hh, d_hh, ctx.alpha, ctx.rectify)
            parts.append(hop(moved, vectors, 1.0, False, ctx.transposed))
        if d_vectors is not None:
            parts.append(hop(weight_hh, d_vectors, ctx.alpha, ctx.rectify, ctx.transposed))
        return _added(parts, vectors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        (weight_hh, vectors), unfold = fold_batch(info.batch_size, in_dims[:2], args[:2], (2, 2))
        return unfold(hop(weight_hh, vectors, *args[2:])), 0


@derivatives_of(hop_gradient)
class _HopGradient(Differentiable):
    """Of a sign, nothing is left to differentiate: the weights matter through it alone."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        weight_hh, left, right, ctx.alpha, ctx.rectify = inputs
        ctx.save_for_backward(weight_hh, left, right)
        ctx.save_for_forward(weight_hh, left, right)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        weight_hh, left, right = ctx.saved_tensors
        moved = _moved_edges(weight_hh, grad, ctx.alpha, ctx.rectify)
        return None, hop(moved, right, 1.0, False, False), hop(moved, left, 1.0, False, True), None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, _: Any, d_left: Tensor | None, d_right: Tensor | None, *rest: Any) -> Any:
        weight_hh, left, right = saved
        parts = []
        if d_left is not None:
            parts.append(hop_gradient(weight_hh, d_left, right, ctx.alpha, ctx.rectify))
        if d_right is not None:
            parts.append(hop_gradient(weight_hh, left, d_right, ctx.alpha, ctx.rectify))
        return _added(parts, weight_hh)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        (weight_hh, left, right), unfold = fold_batch(info.batch_size, in_dims[:3], args[:3], (2, 2, 2))
        return unfold(hop_gradient(weight_hh, left, right, *args[3:])), 0

"""What PyTorch expects of an op, written once: derivatives where the dispatcher finds them, vmap, ops in Python."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from rrnn_ext._modes import without_autocast
from rrnn_ext.ops import native

_library = torch.library.Library("rrnn_ext", "FRAGMENT")
RULES: dict[str, type[Differentiable]] = {}  # the class that holds the derivatives of an op, by the op's name


class Differentiable(Function):
    """The derivatives of an op: backward, vmap, and ``tangent``, from which its jvp is made."""

    tangent: Callable[..., Any]


def derivatives_of(op: Any) -> Callable[[type[Differentiable]], type[Differentiable]]:
    """Gives the op the derivatives of the class: in eager mode, in transforms, and in every graph that it is part of.

    Call the op, not the class. Under torch.func it goes to the rules of the class before anything is unwrapped; else it
    gets there as PyTorch's own ops get to theirs.
    """

    def forward(*arguments: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return op(*arguments)

    def register(function: type[Differentiable]) -> type[Differentiable]:
        rules: Any = function
        rules.forward, rules.jvp = staticmethod(forward), staticmethod(_forward_rule(function.tangent))
        RULES[op._schema.name.partition("::")[2]] = function
        _library.impl(op, function.apply, "FuncTorchDynamicLayerFrontMode")
        # Without the Python part of apply, which serves functorch and takes longer than a small op.
        native_part: Any = super(Function, function)
        _library.impl(op, native_part.apply, "Autograd")
        return function

    return register


def _forward_rule(tangent: Callable[..., Any]) -> Callable[..., Any]:
    """``tangent`` of (ctx, saved tensors, tangents). PyTorch calls a jvp with derivatives of forward mode switched off,
    and with saved tensors that carry their tangents; derivatives of derivatives need them on, of the plain tensors."""

    @functools.wraps(tangent)
    def jvp(ctx: Any, *tangents: Any) -> Any:
        saved = [None if each is None else _primal(each) for each in ctx.saved_tensors]
        with forward_ad._set_fwd_grad_enabled(True):
            return tangent(ctx, saved, *tangents)

    return jvp


def _primal(tensor: Tensor) -> Tensor:
    """The tensor without its tangent of the innermost level."""
    interpreter = torch._C._functorch.peek_interpreter_stack()
    if interpreter is None:
        return forward_ad.unpack_dual(tensor, level=0).primal  # the only level there is
    return torch._C._functorch._unwrap_for_grad(tensor, interpreter.level())


def python_op(function: Callable[..., Any]) -> Any:
    """An op of the function's name that changes no argument and computes in the dtype of its weights: a backward may be
    called, or compiled, where autocast is on."""

    @functools.wraps(function)
    def in_own_dtype(*arguments: Any) -> Any:
        with without_autocast(arguments[0].device.type):
            return function(*arguments)

    name = function.__name__
    _library.define(name + torch.library.infer_schema(function, mutates_args=()), tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, in_own_dtype, "CompositeExplicitAutograd")
    return getattr(native, name).default


def fold_batch(
    batch_size: int, in_dims: Sequence[int | None], tensors: Sequence[Tensor | None], dims: Sequence[int]
) -> tuple[list[Tensor | None], Callable[[Tensor], Tensor]]:
    """Tensors of `dims` dimensions a graph, with a vmapped dimension or without, as one batch of graphs; and the
    function that gives results of such a batch the vmapped dimension, first."""
    batched = [
        tensor is not None and tensor.dim() - (at is not None) > dim
        for tensor, at, dim in zip(tensors, in_dims, dims, strict=True)
    ]
    own = next((tensor for tensor, is_batched in zip(tensors, batched, strict=True) if is_batched), None)
    inner = [] if own is None else [own.shape[0 if in_dims[batched.index(True)] != 0 else 1]]

    def fold(tensor: Tensor | None, at: int | None, dim: int, is_batched: bool) -> Tensor | None:
        if tensor is None:
            return None
        tensor = tensor.unsqueeze(0) if at is None else tensor.movedim(at, 0)
        if not is_batched and inner:
            tensor = tensor.unsqueeze(1)
        shape = tensor.shape[tensor.dim() - dim :]
        return tensor.expand(batch_size, *inner, *shape).reshape(-1, *shape)

    folded = [fold(*each) for each in zip(tensors, in_dims, dims, batched, strict=True)]
    return folded, lambda result: result.reshape(batch_size, *inner, *result.shape[1:])


def differentiable_gradients(
    value: Callable[..., Tensor], weights: Sequence[Tensor | None], grad_value: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients of a value that is made of weights in differentiable operations; None for what requires none.

    Each weight gets a node of its own first: one may have been computed from another, whose gradient is not to have
    that one's part as well.
    """
    own = [None if weight is None else weight.view_as(weight) for weight in weights]
    wanted = [weight for weight in own if weight is not None and weight.requires_grad]
    found = torch.autograd.grad(value(*own), wanted, grad_value, create_graph=True, materialize_grads=True)
    gradients = iter(found)
    return tuple(next(gradients) if weight is not None and weight.requires_grad else None for weight in own)

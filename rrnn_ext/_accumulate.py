"""Gradients that are added to .grad without a graph: by one native call where there is one, else by autograd within."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from rrnn_ext import _route
from rrnn_ext._call import prepare, reduced
from rrnn_ext._options import PenaltyOptions
from rrnn_ext._route import Weights
from rrnn_ext.ops.finite_walks import PenaltyArguments
from rrnn_ext.ops.penalty_value_and_grad import accumulate, value_and_grad
from rrnn_ext.sparse.pattern import SparseWeight


def check_strength(strength: float) -> float:
    if isinstance(strength, bool) or not isinstance(strength, numbers.Real):
        raise TypeError(f"strength must be a float, got {strength!r} ({type(strength).__name__})")
    if not math.isfinite(strength):
        raise ValueError(f"strength must be finite, got {strength}")
    return float(strength)


def check_leaves(weights: Mapping[str, Any]) -> None:
    """Refuses what requires a gradient and has no .grad of its own."""
    for name, given in weights.items():
        weight = given.values if isinstance(given, SparseWeight) else given  # a sparse tensor is made of such values
        if not isinstance(weight, Tensor) or not weight.requires_grad or weight.layout != torch.strided:
            continue
        if leaf_of(weight) is None:
            raise ValueError(
                f"{name} must be a leaf, to whose .grad its gradient is added, and is computed from other tensors "
                f"({type(weight.grad_fn).__name__}): add the penalty to the loss, loss + strength * penalty, and call "
                "backward"
            )


def leaf_of(weight: Tensor) -> Tensor | None:
    """The leaf that a weight is, or is another shape of, as a gate is of the weight of all gates."""
    if weight.is_leaf:
        return weight
    base = weight._base
    if base is None or not base.is_leaf or weight.numel() != base.numel() or weight.dtype != base.dtype:
        return None
    return base if weight.is_contiguous() and base.is_contiguous() else None


def directly(weights: Weights, strength: float, options: PenaltyOptions) -> Tensor | None:
    """The penalty, once its gradient has been added by one native call; None where there is no such call."""
    if not _route.are_plain(weights):
        return None
    leaves = _leaves_to_add_to(weights)
    if leaves is None:
        return None
    penalty = _route.as_given(weights, options)
    if penalty is not None:
        try:
            return _by_one_op(penalty, (), weights, leaves, strength)
        except RuntimeError:  # they do not fit: say so in the user's words
            pass
    call = prepare(*weights, options)
    if not _route.is_one_op(call):
        return None
    if options.reduction == "mean" and call.batch:
        strength /= len(call.weight_hh)
    value = _by_one_op(_route.penalty_arguments(call), call.batch, weights, leaves, strength)
    return reduced(value, call, options.reduction)


def _leaves_to_add_to(weights: Weights) -> list[Tensor | None] | None:
    """Of the weights that require a gradient, the leaves; None where what is added is not simply a weight's gradient:
    the weight is computed, is there twice, or has a hook that is to see its gradient."""
    leaves: list[Tensor | None] = []
    for weight in weights:
        leaf = None
        if weight is not None and weight.requires_grad:
            leaf = leaf_of(weight)
            if leaf is None or leaf._backward_hooks or any(leaf is other for other in leaves):
                return None
        leaves.append(leaf)
    return leaves


def _by_one_op(
    penalty: PenaltyArguments,
    batch: tuple[int, ...],
    weights: Weights,
    leaves: Sequence[Tensor | None],
    strength: float,
) -> Tensor:
    """The penalty of each graph."""
    grads: list[Tensor | None] = [None, None, None]
    for at, leaf in enumerate(leaves):
        if leaf is not None:
            grads[at] = grad = _grad_for_op(leaf, weights[at], penalty[at], batch, is_side=at > 0)
            if grad is None:
                return _beside(penalty, batch, weights, leaves, strength)
    return accumulate(grads, strength, penalty)


def _grad_for_op(leaf: Tensor, weight: Tensor, taken: Any, batch: tuple[int, ...], *, is_side: bool) -> Tensor | None:
    """The .grad of a leaf, in the shape in which the op takes its weight, or, of a side that all graphs share, of one
    of them; None where the op cannot add to it."""
    grad = leaf.grad
    if grad is None or type(grad) is not Tensor or grad.dtype != taken.dtype or grad.layout != torch.strided:
        return None
    if grad.requires_grad or not grad.is_contiguous() or grad.is_neg():
        return None
    if grad.dim() == 2 and not batch:
        return grad
    own = weight.shape[:-2]
    if own == batch:
        return grad.view(taken.shape)
    return grad.view(weight.shape) if is_side and not own else None


def _beside(
    penalty: PenaltyArguments,
    batch: tuple[int, ...],
    weights: Weights,
    leaves: Sequence[Tensor | None],
    strength: float,
) -> Tensor:
    """The same, where there is no .grad yet, or none that the op can add to: it makes the gradients for themselves."""
    value, gradients = value_and_grad(strength, penalty)
    for leaf, weight, gradient in zip(leaves, weights, gradients, strict=True):
        if leaf is not None and gradient is not None:
            of_weight = gradient.reshape(*batch, *gradient.shape[-2:]).sum_to_size(weight.shape)
            own = of_weight.to(leaf.dtype).reshape(leaf.shape)
            if leaf.grad is None and own.stride() == leaf.stride():
                leaf.grad = own  # nobody else has it: a copy would take the memory of a second gradient
            else:
                add_to_grad(leaf, own)
    return value


@contextmanager
def _recording() -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad():
        yield


def recording() -> AbstractContextManager[None]:
    """Where autograd sees what is made of weights, whatever the caller's mode."""
    records = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    return nullcontext() if records else _recording()


def by_autograd(penalty: Callable[[], Tensor], strength: float) -> Tensor:
    """The penalty, once the gradients of all leaves that it was made of have been added."""
    with recording():
        value = penalty()
        leaves = _leaves_of(value)
        if leaves:
            gradients = torch.autograd.grad(value, leaves, torch.full_like(value, strength), allow_unused=True)
    for leaf, gradient in zip(leaves, gradients if leaves else (), strict=True):
        if gradient is not None:
            add_to_grad(leaf, gradient)
    return value.detach()


def _leaves_of(value: Tensor) -> list[Tensor]:
    """The leaves whose .grad a backward pass would reach."""
    if value.grad_fn is None:
        return []
    found, seen, to_see = [], {value.grad_fn}, [value.grad_fn]
    while to_see:
        node: Any = to_see.pop()
        if hasattr(node, "variable"):
            found.append(node.variable)
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                to_see.append(below)
    return found


@torch.no_grad()
def add_to_grad(leaf: Tensor, gradient: Tensor) -> None:
    """As a backward pass does it, to a .grad of any kind."""
    grad = leaf.grad
    if grad is None:
        leaf.grad = torch.empty_like(leaf).copy_(gradient) if gradient.layout == torch.strided else gradient.clone()
    elif grad.layout != gradient.layout or _overlaps(grad):
        leaf.grad = gradient + grad
    else:
        grad.add_(gradient)


def _overlaps(tensor: Tensor) -> bool:
    """Whether elements share memory, as those of an expanded tensor do."""
    return tensor.layout == torch.strided and any(
        stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True)
    )

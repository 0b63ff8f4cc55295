"""The chain of walks through a network that runs: another matrix at each step, all of them left-scaled weights.

Going back from the outputs, hop m takes what reads the state to what reads the state one step before,

    X_{m+1} = alpha (W' (d_m X_m) + k_m X_m) + B_{m+1},        X_0 = B_0,

with gains d_m for each row of the stacked weights of all gates, carries k_m for each unit, and B what enters at each
hop (the read-out at the first; in a stack, what the layer above reads). A chain from the inputs would be another one
for each hop. A state may have several parts, such as the h and c of an LSTM; the weights read the first.

The CPU has kernels of its own; other devices, transforms and derivatives of derivatives run PyTorch's operations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext._modes import is_batched, transforming
from rrnn_ext.ops import native
from rrnn_ext.ops._registration import differentiable_gradients

_driven_walks = native.driven_walks.default
_driven_walks_backward = native.driven_walks_backward.default


def driven_chain(
    weight_hh: Tensor, gains: Tensor, carries: Tensor | None, entering: Tensor, alpha: float | Tensor
) -> Tensor:
    """X_0 .. X_H, (H + 1, k, w, parts, n), differentiable any number of times.

    Args:
        weight_hh: (g n, n), the gates' weights one after the other.
        gains: (H, k, parts, g n), of the rows of the weights for each part of the state after the step; k networks
            that share the weights, such as the same one on k sequences.
        carries: (H, k, parts, parts, n), from a part after the step (first) to a part before it. None: zeros.
        entering: (1 or H + 1, k, w, n), what reads the first part of the state: at the first hop, or at each.
        alpha: of each hop.
    """
    if isinstance(alpha, Tensor):  # autograd, vmap and the rest see it scale each hop
        gains, carries, alpha = alpha * gains, None if carries is None else alpha * carries, 1.0
    if transforming(weight_hh) or transforming(gains) or transforming(entering):
        return _chain(weight_hh, gains, carries, entering, alpha)
    found: Tensor = _DrivenWalks.apply(weight_hh, gains, carries, entering, alpha)
    return found


def _chain(weight_hh: Tensor, gains: Tensor, carries: Tensor | None, entering: Tensor, alpha: float) -> Tensor:
    """In PyTorch's operations."""
    hops, count, parts, _ = gains.shape
    units = weight_hh.shape[-1]
    width = entering.shape[-2]
    state = _first_part(entering[0], parts)
    chain = [state]
    for hop in range(hops):
        by_gate = gains[hop].unflatten(-1, (-1, units)).unsqueeze(1)  # (k, 1, parts, g, n)
        scaled = (by_gate * state.unsqueeze(-2)).sum(-3)  # (k, w, g, n)
        state = _first_part((scaled.reshape(count * width, -1) @ weight_hh).view(count, width, units), parts)
        if carries is not None:
            state = state + (carries[hop].unsqueeze(1) * chain[-1].unsqueeze(-2)).sum(-3)
        state = alpha * state
        if len(entering) > 1:
            state = state + _first_part(entering[hop + 1], parts)
        chain.append(state)
    return torch.stack(chain)


def _first_part(values: Tensor, parts: int) -> Tensor:
    """(k, w, n) as (k, w, parts, n) whose other parts are zeros."""
    values = values.unsqueeze(-2)
    return values if parts == 1 else torch.nn.functional.pad(values, (0, 0, 0, parts - 1))


def _chain_backward(
    grad_chain: Tensor,
    chain: Tensor,
    weight_hh: Tensor,
    gains: Tensor,
    carries: Tensor | None,
    alpha: float,
    of_gains: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of the weights, the gains, the carries and of what enters each part at each hop."""
    hops, _, _, _ = gains.shape
    units = weight_hh.shape[-1]
    here = grad_chain[hops]
    links, brought = [here], []
    for hop in reversed(range(hops)):
        of_rows = here[..., 0, :] @ weight_hh.mT  # (k, w, g n)
        by_gate = of_rows.unflatten(-1, (-1, units)).unsqueeze(-3)  # (k, w, 1, g, n)
        moved = (gains[hop].unflatten(-1, (-1, units)).unsqueeze(1) * by_gate).sum(-2)
        if carries is not None:
            moved = moved + (carries[hop].unsqueeze(1) * here.unsqueeze(-3)).sum(-2)
        brought.append(of_rows)
        here = grad_chain[hop] + alpha * moved
        links.append(here)
    grad_links = torch.stack(links[::-1])
    after = grad_links[1:]
    by_gate = gains.unflatten(-1, (-1, units)).unsqueeze(2)
    scaled = (by_gate * chain[:-1].unsqueeze(-2)).sum(-3).flatten(-2)  # (H, k, w, g n)
    grad_hh = alpha * scaled.flatten(0, 2).mT @ after[..., 0, :].flatten(0, 2)
    grad_gains = grad_carries = weight_hh.new_empty(0)
    if of_gains:
        of_rows = torch.stack(brought[::-1]) if brought else scaled
        rows = of_rows.unflatten(-1, (-1, units)).unsqueeze(-3)  # (H, k, w, 1, g, n)
        grad_gains = alpha * (chain[:-1].unsqueeze(-2) * rows).sum(2).flatten(-2)
        if carries is not None:
            grad_carries = alpha * (chain[:-1].unsqueeze(-2) * after.unsqueeze(-3)).sum(2)
    return grad_hh, grad_gains, grad_carries, grad_links


# Where a device has no kernels of its own.
torch.library.impl("rrnn_ext::driven_walks", "default", _chain)
torch.library.impl("rrnn_ext::driven_walks_backward", "default", _chain_backward)


@torch.library.register_fake("rrnn_ext::driven_walks")
def _driven_walks_fake(
    weight_hh: Tensor, gains: Tensor, carries: Tensor | None, entering: Tensor, alpha: float
) -> Tensor:
    hops, count, parts, _ = gains.shape
    return weight_hh.new_empty(hops + 1, count, entering.shape[2], parts, weight_hh.shape[1])


@torch.library.register_fake("rrnn_ext::driven_walks_backward")
def _driven_walks_backward_fake(
    grad_chain: Tensor,
    chain: Tensor,
    weight_hh: Tensor,
    gains: Tensor,
    carries: Tensor | None,
    alpha: float,
    of_gains: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        weight_hh.new_empty(weight_hh.shape),
        weight_hh.new_empty(gains.shape if of_gains else (0,)),
        weight_hh.new_empty((0,) if carries is None or not of_gains else carries.shape),
        chain.new_empty(chain.shape),
    )


class _DrivenWalks(Function):
    @staticmethod
    def forward(
        ctx: Any, weight_hh: Tensor, gains: Tensor, carries: Tensor | None, entering: Tensor, alpha: float
    ) -> Tensor:
        chain: Tensor = _driven_walks(weight_hh, gains, carries, entering, alpha)
        ctx.save_for_backward(weight_hh, gains, carries, entering, chain)
        ctx.alpha = alpha
        return chain

    @staticmethod
    def backward(ctx: Any, grad_chain: Tensor) -> Any:
        weight_hh, gains, carries, entering, chain = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(grad_chain):  # derivatives of this, or many of these at once

            def chain_of(weight_hh: Any, gains: Any, carries: Tensor | None, entering: Any) -> Tensor:
                return _chain(weight_hh, gains, carries, entering, ctx.alpha)

            with torch.enable_grad():
                given = weight_hh, gains, carries, entering
                return *differentiable_gradients(chain_of, given, grad_chain), None
        of_gains = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        grad_hh, grad_gains, grad_carries, grad_links = _driven_walks_backward(
            grad_chain, chain, weight_hh, gains, carries, ctx.alpha, of_gains
        )
        grad_entering = grad_links[..., 0, :] if len(entering) > 1 else grad_links[:1, ..., 0, :]
        return (
            grad_hh,
            grad_gains if of_gains else None,
            grad_carries if of_gains and carries is not None else None,
            grad_entering,
            None,
        )

"""The chain of walks through a network that runs: another matrix at each step, all of them left-scaled weights.

Going back from the outputs, hop m takes what reads the state to what reads the state one step before,

    X_{m+1} = alpha (W' (d_m X_m) + k_m X_m) + B_{m+1},        X_0 = B_0,

with gains d_m for each row of the stacked weights of all gates, carries k_m for each unit, and B what enters at each
hop (the read-out at the first; in a stack, what the layer above reads). A chain from the inputs would be another one
for each hop. A state may have several parts, such as the h and c of an LSTM; the weights read the first.
"""

from __future__ import annotations

import torch
from torch import Tensor


def driven_chain(
    weight_hh: Tensor, gains: Tensor, carries: Tensor | None, entering: Tensor, alpha: float | Tensor
) -> Tensor:
    """X_0 .. X_H, (H + 1, k, w, parts, n).

    Args:
        weight_hh: (g n, n), the gates' weights one after the other.
        gains: (H, k, parts, g n), of the rows of the weights for each part of the state after the step; k networks
            that share the weights, such as the same one on k sequences.
        carries: (H, k, parts, parts, n), from a part after the step (first) to a part before it. None: zeros.
        entering: (1 or H + 1, k, w, n), what reads the first part of the state: at the first hop, or at each.
    """
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

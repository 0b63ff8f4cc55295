"""Spikes between two looks at the membrane potential."""

from __future__ import annotations

import torch
from torch import Tensor


def crossing_levels(
    current: Tensor, bridge: bool | float | Tensor, leak: Tensor, generator: torch.Generator | None
) -> Tensor | None:
    """Random levels, of the shape of ``current``: a spike occurs within a step from potential v0 to v1, both below the
    threshold, where ``(threshold - v0) (threshold - v1)`` is less than its level. None without ``bridge``.

    Between two looks the potential is nearly a Brownian bridge, of some variance q a step, which passes the threshold
    with probability ``exp(-2 (threshold - v0) (threshold - v1) / q)`` (Karatzas & Shreve, Brownian Motion and
    Stochastic Calculus, 2.8): so it does where an exponential number of mean q / 2 is greater than that product. The q
    that gives the Ornstein-Uhlenbeck bridge's own variance half-way, where it is largest, is ``4 std^2 tanh(dt / 2
    tau)``, with ``std`` that of the free potential.
    """
    if bridge is False:
        return None
    leak = leak.detach()
    if bridge is True:
        variance = current.detach().var(0, unbiased=False)  # over time, whatever the mean
        variance = variance.reshape(-1, variance.shape[-1]).mean(0) / (1 - leak.square())
    else:
        variance = torch.as_tensor(bridge, dtype=current.dtype, device=current.device).square()
    q = 4 * variance * (1 - leak) / (1 + leak)
    return torch.empty_like(current).exponential_(generator=generator) * (q / 2)

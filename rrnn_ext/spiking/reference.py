"""Leaky integrate-and-fire neurons in plain PyTorch, step by step: what :func:`rrnn_ext.spiking.lif` computes."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext.spiking.bridge import crossing_levels
from rrnn_ext.spiking.state import LIFState
from rrnn_ext.spiking.surrogate import DEFAULT_SLOPE, Surrogate, surrogate_derivative


class _Spike(Function):
    """1 where there is a spike; its derivative by the distance from the threshold is the surrogate's."""

    @staticmethod
    def forward(
        ctx: Any, distance: Tensor, spiking: Tensor, free: Tensor, surrogate: Surrogate, slope: float
    ) -> Tensor:
        ctx.save_for_backward(distance, free)
        ctx.surrogate, ctx.slope = surrogate, slope
        return torch.where(spiking, 1.0, distance - distance)  # a potential that is no number makes none

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        distance, free = ctx.saved_tensors
        return grad * surrogate_derivative(distance, ctx.surrogate, ctx.slope) * free, None, None, None, None


def lif(
    current: Tensor,
    weight_rec: Tensor | None = None,
    *,
    tau: float | Tensor,
    dt: float,
    tau_syn: float | Tensor | None = None,
    threshold: float | Tensor = 1.0,
    reset: float | Tensor | Literal["subtract"] = 0.0,
    refractory: float = 0.0,
    surrogate: Surrogate = "fast_sigmoid",
    slope: float = DEFAULT_SLOPE,
    bridge: bool | float | Tensor = False,
    generator: torch.Generator | None = None,
    state: LIFState | None = None,
) -> tuple[Tensor, LIFState]:
    """:func:`rrnn_ext.spiking.lif` as a loop over time steps, with autograd's gradient; the arguments are not checked.

    A step takes the input ``x = current[t] + spikes @ weight_rec.T``; with ``tau_syn`` it drives a synaptic current,
    ``i = exp(-dt / tau_syn) i + x``, and that the potential, ``v = exp(-dt / tau) v + i``; else ``x`` does. No
    derivative is taken of what the reset does to the potential of a spike that might have been.
    """
    zeros = torch.zeros_like(current[0])
    if state is None:
        state = LIFState(zeros, None if tau_syn is None else zeros, zeros, zeros)
    potential, synaptic, spikes, waiting = state
    leak = torch.exp(-dt / torch.as_tensor(tau, dtype=current.dtype, device=current.device))
    levels = crossing_levels(current, bridge, leak, generator)
    record = []
    for t in range(current.shape[0]):
        total = current[t]
        if weight_rec is not None:
            total = total + spikes @ weight_rec.mT
        if tau_syn is not None:
            assert synaptic is not None
            leak_syn = torch.exp(-dt / torch.as_tensor(tau_syn, dtype=current.dtype, device=current.device))
            total = synaptic = leak_syn * synaptic + total
        free = waiting <= 0
        before = potential
        potential = torch.where(free, leak * before + total, before)
        spiking = potential >= threshold
        if levels is not None:
            spiking = spiking | ((threshold - before) * (threshold - potential) < levels[t])
        spiking = spiking & free
        spikes = _Spike.apply(potential - threshold, spiking, free, surrogate, slope)
        if isinstance(reset, str):
            potential = potential - spiking * threshold
        else:
            potential = torch.where(spiking, reset, potential)
        waiting = torch.where(spiking, round(refractory / dt), (waiting - 1).clamp(min=0))
        record.append(spikes)
    return torch.stack(record), LIFState(potential, synaptic, spikes, waiting)

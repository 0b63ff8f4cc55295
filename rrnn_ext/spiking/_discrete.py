"""The mean passage time from the reset to the threshold for a neuron that is looked at once per time step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrnn_ext.spiking._chunks import in_chunks
from rrnn_ext.spiking._neuron import has_values
from rrnn_ext.spiking._overshoot import layer_nodes, scaled_overshoot_time
from rrnn_ext.spiking._passage import scaled_passage_time

# Standard deviations of a step by which the potential drifts upwards at the threshold, from which on it never comes
# back below (3e-7 of them do).
_DRIVEN = 5.0
_AT_ONCE = 256  # the equation of one neuron is some 10^5 numbers
_LONGEST_SUM = 4096
_UNSEEN_SUM = 128  # enough for dt >= 1e-4 tau


def scaled_passage_time_in_steps(reset: Tensor, threshold: Tensor, dt: Tensor) -> Tensor:
    """As `scaled_passage_time`, to the first time step at or above the threshold; dt is in units of tau."""
    return in_chunks(_passage_time, _AT_ONCE, reset, threshold, dt)


def _passage_time(reset: Tensor, threshold: Tensor, dt: Tensor) -> Tensor:
    overshoot = scaled_overshoot_time(reset, threshold, dt, layer_nodes(reset, threshold, dt))
    time = scaled_passage_time(reset, threshold) + overshoot
    driven = torch.expm1(-dt) * threshold > _DRIVEN * (-torch.expm1(-2 * dt)).sqrt()
    if has_values(driven) and not driven.any():
        return time
    return torch.where(driven, _driven_time(reset, threshold, dt, driven), time)


def _driven_time(reset: Tensor, threshold: Tensor, dt: Tensor, driven: Tensor) -> Tensor:
    """The time, in units of tau, if the threshold is still unpassed exactly where the free potential is below it.

    The mean number of steps is then the sum over k of P(free potential at step k < threshold).
    """
    with torch.no_grad():
        middle = torch.log((reset / threshold).clamp_min(1)) / dt  # where the free potential's mean passes
        halfwidth = torch.where(driven, 8 / (torch.expm1(-dt) * threshold) + 2, 0).max().clamp_max(_LONGEST_SUM)
        longest = int(halfwidth) if has_values(halfwidth) else _UNSEEN_SUM
        first = (middle.round() - longest).clamp_min(1)
    steps = first[..., None] + torch.arange(2 * longest + 1, dtype=dt.dtype, device=dt.device)
    elapsed = steps * dt[..., None]
    spread = (-torch.expm1(-2 * elapsed)).sqrt()
    above = (reset[..., None] * torch.exp(-elapsed) - threshold[..., None]) / spread
    return dt * (first + (torch.erfc(above / math.sqrt(2)) / 2).sum(-1))

"""The mean passage time from the reset to the threshold for a neuron that is looked at once per time step."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rrnn_ext.spiking._neuron import has_values
from rrnn_ext.spiking._overshoot import layer_nodes, scaled_overshoot_time
from rrnn_ext.spiking._passage import scaled_passage_time

# Standard deviations of a step by which the potential drifts upwards at the threshold, from which on it never comes
# back below (3e-7 of them do).
_DRIVEN = 5.0
_AT_ONCE = 256
_LONGEST_SUM = 4096
_UNSEEN_SUM = 128  # enough for dt >= 1e-4 tau


def scaled_passage_time_in_steps(reset: Tensor, threshold: Tensor, dt: Tensor) -> Tensor:
    """As `scaled_passage_time`, to the first time step at or above the threshold; dt is in units of tau."""
    reset, threshold, dt = torch.broadcast_tensors(reset, threshold, dt)
    shape = reset.shape
    parts = [x.reshape(-1) for x in (reset, threshold, dt)]
    if reset.numel() == 0:
        return reset.reshape(shape)
    if torch._C._are_functorch_transforms_active() or reset.numel() <= _AT_ONCE:
        return _passage_time(*parts).reshape(shape)
    # The equation of one neuron is some 10^5 numbers: a few at a time, and computed again in the backward pass.
    chunks = zip(*(part.split(_AT_ONCE) for part in parts), strict=True)
    times = [checkpoint(_passage_time, *chunk, use_reentrant=False) for chunk in chunks]
    return torch.cat(times).reshape(shape)


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

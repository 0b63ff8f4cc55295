"""How much longer the passage takes for a neuron that is looked at once per time step.

Seen at the steps, the free potential is a Gaussian autoregression, and with h, Siegert's passage time, h(potential) -
time is a martingale of it as it is in continuous time. So the mean time to the first step at or above the threshold is
E[h(where it is then)] - h(reset) (optional stopping): that of continuous time, and c = E[h(where it is then) -
h(threshold)] more. Of the starting point x, c solves c(x) = f(x) + integral of p(x' | x) c(x') over x' below the
threshold, where f is what the next step gains if that is above. Some steps' standard deviations below the threshold c
no longer depends on x, so that the equation needs solving in a layer only (Nystrom's method), however short the steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrnn_ext.spiking._neuron import has_values
from rrnn_ext.spiking._quadrature import erfcx, gauss_legendre

# In standard deviations of a step.
_LEAST_DEPTH = 7.0
_MOST_DEPTH = 128.0
_TAIL = 6.5
_NODES_ABOVE = 32
_FORGOTTEN = 17.0  # c depends on x by exp(-17)


def layer_nodes(reset: Tensor, threshold: Tensor, dt: Tensor) -> int:
    """How many nodes `scaled_overshoot_time` needs for the deepest layer among these neurons."""
    depth = _depth(reset, threshold, dt)
    deepest = depth.max().item() if has_values(depth) else _MOST_DEPTH
    return math.ceil(1.4 * deepest) + 10


def scaled_overshoot_time(reset: Tensor, threshold: Tensor, dt: Tensor, count: int) -> Tensor:
    """c at the reset, in units of tau and scaled as `scaled_passage_time` is.

    Potentials are in standard deviations of the free potential from its mean, dt in units of tau; `count` nodes.
    """
    decay, spread = torch.exp(-dt), (-torch.expm1(-2 * dt)).sqrt()
    depth = _depth(reset, threshold, dt)
    thickness = depth * spread
    nodes, weights = gauss_legendre(count, reset)
    layer = threshold[..., None] - thickness[..., None] * nodes
    bottom = threshold - thickness
    start = torch.cat([layer, bottom[..., None], torch.maximum(reset, bottom)[..., None]], -1)
    decayed = decay[..., None] * start
    distance = (layer[..., None, :] - decayed[..., None]) / spread[..., None, None]
    kernel = torch.exp(-distance.square() / 2) * (depth[..., None, None] / math.sqrt(2 * math.pi)) * weights
    up = torch.erfc((threshold[..., None] - decayed) / (math.sqrt(2) * spread[..., None])) / 2
    # Absorbed below the layer as well: what was gained by then, and the chance that it left upwards. Both are sums of
    # positive terms; the layer's equation without absorption is nearly singular where spikes are rare.
    source = torch.stack([_gain_above(start, threshold, decay, spread), up], -1)
    system = torch.eye(count, dtype=kernel.dtype, device=kernel.device) - kernel[..., :count, :]
    solved = torch.linalg.solve(system, source[..., :count, :])
    gain, upward = (source[..., count:, :] + kernel[..., count:, :] @ solved).unbind(-1)
    # Whatever left the layer downwards comes back through the bottom.
    at_bottom = gain[..., 0] / upward[..., 0].clamp_min(1e-100)
    return gain[..., 1] + (1 - upward[..., 1]) * at_bottom


@torch.no_grad()
def _depth(reset: Tensor, threshold: Tensor, dt: Tensor) -> Tensor:
    """Where c is flat: as deep as the start, or as deep as it is remembered.

    The overshoot of a Gaussian random walk forgets its start at the rate Re sqrt(drift² + 4 pi i) - drift, from the
    zeros of 1 - E[exp(i k step)]. Where the potential falls by more than half a standard deviation per step at the
    threshold, it comes there from so deep that the return to the mean counts.
    """
    spread = (-torch.expm1(-2 * dt)).sqrt()
    fall = (-torch.expm1(-dt) * threshold / spread - 0.5).clamp(0, 4)
    drift = (torch.expm1(-dt) * reset / spread).clamp_min(0)
    forgets = (((drift.pow(4) + 16 * math.pi**2).sqrt() + drift.square()) / 2).sqrt() - drift
    depth = torch.minimum((threshold - reset) / spread + 3, _FORGOTTEN / forgets).clamp_max(_MOST_DEPTH)
    return torch.maximum(depth, _LEAST_DEPTH + 2 * fall)


def _gain_above(start: Tensor, threshold: Tensor, decay: Tensor, spread: Tensor) -> Tensor:
    """f: the integral over x above the threshold of h'(x) times the chance that the step from `start` ends above x."""
    threshold, decay, spread = threshold[..., None], decay[..., None], spread[..., None]
    nodes, weights = gauss_legendre(_NODES_ABOVE, start)
    with (
        torch.no_grad()
    ):  # h' grows like exp(x² / 2): the integrand peaks at start / decay, or falls from the threshold
        width, peak = spread / decay, start / decay
        highest = torch.maximum(torch.maximum(threshold, peak), start * decay) + _TAIL * width
        skipped = (peak - _TAIL * width - threshold).clamp_min(0)
    lowest = threshold + skipped
    span = highest - lowest
    x = lowest[..., None] + span[..., None] * nodes
    t = (x - (decay * start)[..., None]) / (math.sqrt(2) * spread[..., None])
    exponent = (x.clamp_min(0).square() - threshold.clamp_min(0).square()[..., None]) / 2 - t.clamp_min(0).square()
    slope = torch.where(x > 0, torch.erfc(-x.clamp_min(0) / math.sqrt(2)), erfcx(-x / math.sqrt(2)))
    chance = torch.where(t > 0, erfcx(t), torch.erfc(t.clamp_max(0)))
    return math.sqrt(math.pi / 8) * span * (torch.exp(exponent) * slope * chance @ weights)

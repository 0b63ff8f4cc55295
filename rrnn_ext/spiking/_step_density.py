"""The stationary density of a potential that is looked at once per time step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrnn_ext.spiking._neuron import check_all, has_values
from rrnn_ext.spiking._quadrature import gauss_legendre

# Panels of 8 standard deviations of a step, with as many nodes as a Gaussian needs there.
_PANEL = 8.0
_PANEL_NODES = 20
_MOST_PANELS = 40
_TAIL = 8.0


def step_density(x: Tensor, reset: Tensor, threshold: Tensor, dt: Tensor) -> Tensor:
    """At x, before any reset, per unit of x: of the steps that are not refractory. x broadcasts with the neurons.

    Potentials are in standard deviations of the free potential from its mean, dt in units of tau. With p the Gaussian
    transition of one step, the expected number of steps between two spikes that find the potential at x is q(x) =
    p(x | reset) + the integral of q(x') p(x | x') over x' below the threshold, which is solved by Nystrom's method.
    """
    shape = torch.broadcast_shapes(x.shape, dt.shape)
    neuron = torch.arange(dt.numel(), device=x.device).reshape(dt.shape).expand(shape)
    reset, threshold, dt = (value.reshape(-1, 1) for value in (reset, threshold, dt))
    nodes, weights = _panels(reset, threshold, dt)
    identity = torch.eye(nodes.shape[-1], dtype=x.dtype, device=x.device)
    kernel = _transition(nodes[:, :, None], nodes[:, None, :], dt[:, :, None]) * weights[:, None, :]
    visits = weights * torch.linalg.solve(identity - kernel, _transition(nodes, reset, dt))
    # One step between two spikes is above the threshold, all others are below it.
    share = 1 / (1 + visits.sum(-1, keepdim=True))
    starts, counts = torch.cat([nodes, reset], -1)[neuron], torch.cat([visits * share, share], -1)[neuron]
    return (_transition(x[..., None], starts, dt[neuron]) * counts).sum(-1)


def _panels(reset: Tensor, threshold: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights (neuron, n) from where the potential hardly ever is up to the threshold."""
    spread = (-torch.expm1(-2 * dt)).sqrt()
    lowest = (torch.minimum(reset, threshold) - _TAIL * spread).clamp_max(-_TAIL)
    needed = (threshold - lowest) / (_PANEL * spread)
    check_all(
        needed <= _MOST_PANELS,
        f"std must be larger for this dt: the potential's range must be at most {_MOST_PANELS * _PANEL:g} standard "
        "deviations of a step for a density at the steps",
        needed * _PANEL,
    )
    count = math.ceil(needed.max().item()) if has_values(needed) and needed.numel() > 0 else _MOST_PANELS
    nodes, weights = gauss_legendre(_PANEL_NODES, reset)
    along = ((torch.arange(count, dtype=dt.dtype, device=dt.device)[:, None] + nodes) / count).flatten()
    span = threshold - lowest
    return lowest + span * along, span * (weights / count).repeat(count)


def _transition(x: Tensor, start: Tensor, dt: Tensor) -> Tensor:
    """The density at x of a potential that was at `start` a step ago."""
    variance = -torch.expm1(-2 * dt)
    distance = x - start * torch.exp(-dt)
    return torch.exp(-distance.square() / (2 * variance)) / (2 * math.pi * variance).sqrt()

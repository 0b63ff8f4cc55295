"""The stationary density under single jumps, from the balance of probability fluxes.

At every potential v the flux that jumps up across it, less the one that jumps down across it and the one that leaks,
v p / tau, is the flux of spikes where v is above the reset, and 0 below it. The balance holds at the borders of cells:
the jumps come from the cells, the leak from the density on the side it comes from, extrapolated from two cells.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.spiking._grid import CELLS, Grid, density_at, grid_for
from rrnn_ext.spiking._jumps import fluxes, fluxes_from_rest
from rrnn_ext.spiking._shots import ShotNoise, exponential_shots_rate


def shot_noise_rate(shots: ShotNoise) -> Tensor:
    if shots.size_std is None:
        return exponential_shots_rate(shots)
    mass = _per_spike(grid_for(shots), shots)[1]
    return 1 / (mass + shots.refractory)


def shot_noise_density(v: Tensor, shots: ShotNoise) -> Tensor:
    """At v, measured from the rest; v broadcasts with the neurons."""
    grid = grid_for(shots)
    means, mass = _per_spike(grid, shots)
    silent = shots.refractory * shot_noise_rate(shots)
    return density_at(v, grid, means * ((1 - silent) / mass)[..., None])


def _per_spike(grid: Grid, shots: ShotNoise) -> tuple[Tensor, Tensor]:
    """The density in the cells (..., cell) and the whole probability (...), for a rate of one spike per second."""
    x, reset = grid.borders[..., 1:], shots.reset[..., None]
    # Where the reset is the rest, a neuron waits there for its next jump.
    waiting = torch.where(shots.reset == 0, 1 / (shots.rate_exc + shots.rate_inh), 0.0)
    above = ((x > reset) | ((x == reset) & (x > 0))).to(x.dtype)
    spikes = above - waiting[..., None] * fluxes_from_rest(x, shots)
    balance = fluxes(grid, shots) - _leak(grid) / shots.tau[..., None, None]
    # Cells without width, where two ends of pieces are one, have no balance.
    empty = grid.width == 0
    identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    means = torch.linalg.solve(torch.where(empty[..., None], identity, balance), torch.where(empty, 0.0, spikes))
    return means, waiting + (means * grid.width).sum(-1)


def _leak(grid: Grid) -> Tensor:
    """(..., border but the first, cell): v times the density just beyond v, seen from the rest."""
    x, centre = grid.borders[..., 1:-1], grid.centre
    last = x.shape[-1]
    index = torch.arange(last, device=x.device)
    near = torch.where(x > 0, index + 1, index)
    far = torch.where(x > 0, index + 2, index - 1).clamp(0, last)
    gap = centre.gather(-1, near) - centre.gather(-1, far)
    extrapolates = (near // CELLS == far // CELLS) & (gap != 0)
    share = torch.where(extrapolates, (x - centre.gather(-1, near)) / torch.where(extrapolates, gap, 1.0), 0.0)
    # The density falls to 0 at the threshold: at the border before it is twice the last cell's.
    share_near = torch.where(near == last, 2.0, 1 + share)
    leak = torch.zeros(*x.shape, last + 1, dtype=x.dtype, device=x.device)
    leak = leak.scatter_add(-1, near[..., None], (x * share_near)[..., None])
    leak = leak.scatter_add(-1, far[..., None], (-x * share)[..., None])
    return torch.nn.functional.pad(leak, (0, 0, 0, 1))  # nothing leaks down across the threshold

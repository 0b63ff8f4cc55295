"""The stationary density under exponentially distributed jumps, from the balance of probability fluxes.

At every potential v the flux that jumps up across it, less the one that jumps down across it and the one that leaks,
v p / tau, is the flux of spikes where v is above the reset, and 0 below it. The balance holds at the borders of cells:
the jumps come from the cells' masses, the leak from the density on the side it comes from, extrapolated from two cells.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrnn_ext.spiking._shots import ShotNoise, shot_noise_rate

_CELLS = 128  # of each of the three pieces between the lowest potential, the rest, the reset and the threshold


def shot_noise_density(v: Tensor, shots: ShotNoise) -> Tensor:
    """At v, measured from the rest; v broadcasts with the neurons. Linear in each cell, with the cell's mass."""
    shots = shots._replace(rate_inh=torch.where(shots.size_inh > 0, shots.rate_inh, 0))
    ends = _pieces(shots)
    borders = _borders(ends)
    slopes = _slopes(borders)
    means = _cell_means(borders, slopes, shots)
    slopes = (slopes @ means[..., None])[..., 0]
    shape = torch.broadcast_shapes(v.shape, shots.tau.shape)
    neuron = torch.arange(shots.tau.numel(), device=v.device).reshape(shots.tau.shape).expand(shape)
    v, ends, borders, means, slopes = (
        v.expand(shape),
        *(x.reshape(-1, x.shape[-1]) for x in (ends, borders, means, slopes)),
    )
    cell = _cell_of(v, ends[neuron])
    left, right = borders[neuron, cell], borders[neuron, cell + 1]
    density = means[neuron, cell] + slopes[neuron, cell] * (v - (left + right) / 2)
    return torch.where((v >= ends[neuron, 0]) & (v < ends[neuron, 3]), density, 0.0)


def _pieces(shots: ShotNoise) -> Tensor:
    """(..., 4): below which p is negligible, the rest and the reset in their order, the threshold."""
    zero = torch.zeros_like(shots.reset)
    first, second = torch.minimum(zero, shots.reset), torch.maximum(zero, shots.reset)
    mean = shots.tau * (shots.rate_exc * shots.size_exc - shots.rate_inh * shots.size_inh)
    variance = shots.tau * (shots.rate_exc * shots.size_exc.square() + shots.rate_inh * shots.size_inh.square())
    lowest = torch.minimum(mean, first) - 6 * variance.sqrt() - 8 * shots.size_inh
    # Without inhibition nothing is below both the rest and the reset.
    return torch.stack([torch.where(shots.rate_inh > 0, lowest, first), first, second, shots.threshold], -1)


def _borders(ends: Tensor) -> Tensor:
    """(..., 3 _CELLS + 1): closer together at both ends of a piece."""
    t = torch.arange(_CELLS, dtype=ends.dtype, device=ends.device) / _CELLS
    inner = ends[..., :-1, None] + ends.diff(dim=-1)[..., None] * ((1 - torch.cos(math.pi * t)) / 2)
    return torch.cat([inner.flatten(-2), ends[..., -1:]], -1)


def _cell_of(v: Tensor, ends: Tensor) -> Tensor:
    piece = (v[..., None] >= ends[..., 1:3]).sum(-1, keepdim=True)
    low, high = ends.gather(-1, piece), ends.gather(-1, piece + 1)
    along = ((v[..., None] - low) / (high - low)).nan_to_num(0.0).clamp(0, 1)
    cell = (torch.arccos(1 - 2 * along) / math.pi * _CELLS).long().clamp(0, _CELLS - 1)
    return (piece * _CELLS + cell)[..., 0]


def _cell_means(borders: Tensor, slopes: Tensor, shots: ShotNoise) -> Tensor:
    x, width, count = borders[..., 1:], borders.diff(dim=-1), borders.shape[-1] - 1
    dtype, *values = shots
    shots = ShotNoise(dtype, *(value[..., None] for value in values))
    size_inh = shots.size_inh.clamp_min(1e-300)
    up = shots.rate_exc[..., None] * _jumps_up(borders, shots.size_exc, slopes)[..., 1:, :]
    mirrored = _jumps_up(-borders.flip(-1), size_inh, -slopes.flip(-1, -2))
    down = shots.rate_inh[..., None] * mirrored.flip(-1, -2)[..., 1:, :]
    balance = up - down - _leak(borders) / shots.tau[..., None]
    # Where the reset is the rest, a neuron waits there for its next jump.
    waiting = torch.where(shots.reset == 0, 1 / (shots.rate_exc + shots.rate_inh), 0.0)
    jumps_from_there = torch.where(
        x > 0,
        shots.rate_exc * torch.exp(-x.clamp_min(0) / shots.size_exc),
        -shots.rate_inh * torch.exp(x.clamp_max(0) / size_inh),
    )
    spikes = ((x > shots.reset) | ((x == shots.reset) & (x > 0))).to(x.dtype)
    # Cells without width, where two ends of pieces are one, have no balance.
    empty = (width == 0)[..., None]
    balance = torch.where(empty, torch.eye(count, dtype=x.dtype, device=x.device), balance)
    p = torch.linalg.solve(balance, torch.where(width == 0, 0.0, spikes - waiting * jumps_from_there))
    silent = shots.refractory * shot_noise_rate(shots)
    return p * (1 - silent) / (waiting + (p * width).sum(-1, keepdim=True))


def _jumps_up(borders: Tensor, size: Tensor, slopes: Tensor) -> Tensor:
    """(..., border, cell): the flux across a border, upwards, of one jump per second from a cell's density."""
    distance = (borders[..., :, None] - borders[..., None, 1:]) / size[..., None]
    width = borders.diff(dim=-1)
    share = -torch.expm1(-width / size)
    # Of a density of 1 in the cell, and of one that rises by 1 per unit from -width / 2 to width / 2.
    level, rise = size * share, size * (width * (1 - share / 2) - size * share)
    reach = torch.exp(-distance.clamp_min(0)).tril(-1)
    return reach * level[..., None, :] + (reach * rise[..., None, :]) @ slopes


def _leak(borders: Tensor) -> Tensor:
    """(..., border but the first, cell): v times the density just beyond v, seen from the rest."""
    x, last = borders[..., 1:-1], borders.shape[-1] - 2
    centre = (borders[..., 1:] + borders[..., :-1]) / 2
    index = torch.arange(last, device=x.device)
    near = torch.where(x > 0, index + 1, index)
    far = torch.where(x > 0, index + 2, index - 1).clamp(0, last)
    gap = centre.gather(-1, near) - centre.gather(-1, far)
    extrapolates = (near // _CELLS == far // _CELLS) & (gap != 0)
    share = torch.where(extrapolates, (x - centre.gather(-1, near)) / torch.where(extrapolates, gap, 1.0), 0.0)
    # The density falls to 0 at the threshold: at the border before it is twice the last cell's.
    share_near = torch.where(near == last, 2.0, 1 + share)
    leak = torch.zeros(*x.shape, last + 1, dtype=x.dtype, device=x.device)
    leak = leak.scatter_add(-1, near[..., None], (x * share_near)[..., None])
    leak = leak.scatter_add(-1, far[..., None], (-x * share)[..., None])
    return torch.nn.functional.pad(leak, (0, 0, 0, 1))  # nothing leaks down across the threshold


def _slopes(borders: Tensor) -> Tensor:
    """(..., cell, cell): the density's slope in each cell, by the cells beside it in the same piece."""
    centre = (borders[..., 1:] + borders[..., :-1]) / 2
    cells = torch.arange(centre.shape[-1], device=borders.device)
    middle = cells // _CELLS * _CELLS + (cells % _CELLS).clamp(1, _CELLS - 2)
    gap = centre[..., middle + 1] - centre[..., middle - 1]
    inverse = torch.where(gap > 0, 1 / torch.where(gap > 0, gap, 1), 0.0)[..., None]
    slopes = torch.zeros(*centre.shape, centre.shape[-1], dtype=borders.dtype, device=borders.device)
    place = middle[:, None].expand(*centre.shape, 1)
    return slopes.scatter(-1, place + 1, inverse).scatter(-1, place - 1, -inverse)

"""The cells on which the flux balance of jumps is solved: pieces between the potentials where the density breaks."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext.spiking._shots import ShotNoise

CELLS = 128  # of each piece


class Grid(NamedTuple):
    """Potentials from the rest; the last dimension goes through the ends, borders or cells of one neuron."""

    ends: Tensor  # (..., 4): below which the density is negligible, rest and reset in their order, threshold
    borders: Tensor  # (..., 3 CELLS + 1): closer together at both ends of a piece
    slopes: Tensor  # (..., cell, cell): takes means of the cells to the density's slope in each

    @property
    def width(self) -> Tensor:
        return self.borders.diff(dim=-1)

    @property
    def centre(self) -> Tensor:
        return _centres(self.borders)


def grid_for(shots: ShotNoise) -> Grid:
    zero = torch.zeros_like(shots.reset)
    first, second = torch.minimum(zero, shots.reset), torch.maximum(zero, shots.reset)
    size_std = zero if shots.size_std is None else shots.size_std
    below = torch.minimum(shots.mean, first) - 6 * shots.variance.sqrt() - 8 * (shots.size_inh + size_std)
    # Without jumps downwards nothing is below both the rest and the reset.
    lowest = torch.where((shots.rate_inh * shots.size_inh > 0) | (size_std > 0), below, first)
    ends = torch.stack([lowest, first, second, shots.threshold], -1)
    t = torch.arange(CELLS, dtype=ends.dtype, device=ends.device) / CELLS
    inner = ends[..., :-1, None] + ends.diff(dim=-1)[..., None] * ((1 - torch.cos(math.pi * t)) / 2)
    borders = torch.cat([inner.flatten(-2), ends[..., -1:]], -1)
    return Grid(ends, borders, _slopes(_centres(borders)))


def density_at(v: Tensor, grid: Grid, means: Tensor) -> Tensor:
    """Linear in each cell, with the cell's mean; v broadcasts with the neurons."""
    neurons = grid.ends.shape[:-1]
    shape = torch.broadcast_shapes(v.shape, neurons)
    neuron = torch.arange(neurons.numel(), device=v.device).reshape(neurons).expand(shape)
    v, rise = v.expand(shape), (grid.slopes @ means[..., None])[..., 0]
    ends, centre, means, rise = (x.reshape(-1, x.shape[-1]) for x in (grid.ends, grid.centre, means, rise))
    cell = _cell_of(v, ends[neuron])
    density = means[neuron, cell] + rise[neuron, cell] * (v - centre[neuron, cell])
    return torch.where((v >= ends[neuron, 0]) & (v < ends[neuron, 3]), density, 0.0)


def _cell_of(v: Tensor, ends: Tensor) -> Tensor:
    piece = (v[..., None] >= ends[..., 1:3]).sum(-1, keepdim=True)
    low, high = ends.gather(-1, piece), ends.gather(-1, piece + 1)
    along = ((v[..., None] - low) / (high - low)).nan_to_num(0.0).clamp(0, 1)
    cell = (torch.arccos(1 - 2 * along) / math.pi * CELLS).long().clamp(0, CELLS - 1)
    return (piece * CELLS + cell)[..., 0]


def _centres(borders: Tensor) -> Tensor:
    return (borders[..., 1:] + borders[..., :-1]) / 2


def _slopes(centre: Tensor) -> Tensor:
    """By the cells beside each in its piece; 0 in pieces without width."""
    cells = torch.arange(centre.shape[-1], device=centre.device)
    middle = cells // CELLS * CELLS + (cells % CELLS).clamp(1, CELLS - 2)
    gap = centre[..., middle + 1] - centre[..., middle - 1]
    inverse = torch.where(gap > 0, 1 / torch.where(gap > 0, gap, 1), 0.0)[..., None]
    slopes = torch.zeros(*centre.shape, centre.shape[-1], dtype=centre.dtype, device=centre.device)
    place = middle[:, None].expand(*centre.shape, 1)
    return slopes.scatter(-1, place + 1, inverse).scatter(-1, place - 1, -inverse)

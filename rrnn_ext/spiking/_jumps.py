"""The flux of jumps across a potential, by the law of the jumps' sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from rrnn_ext.spiking._grid import Grid
from rrnn_ext.spiking._shots import ShotNoise

_LEAST_STD = 1e-12  # of sizes: less is as good as none

# Of a distance d >= 0 and a size J: P(J > d), E[max(J - d, 0)] and E[max(J - d, 0)²] / 2.
Law: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


def fluxes(grid: Grid, shots: ShotNoise) -> Tensor:
    """(..., border but the first, cell): jumps per second up across a border, less those down across it."""
    mirrored = Grid(-grid.ends.flip(-1), -grid.borders.flip(-1), -grid.slopes.flip(-1, -2))
    each = shots.unsqueezed().unsqueezed()
    flux = grid.slopes.new_zeros(())
    for rate, upwards, downwards in _inputs(each):
        flux = flux + rate * _passing(grid, upwards) if upwards else flux
        flux = flux - rate * _passing(mirrored, downwards).flip(-1, -2) if downwards else flux
    return flux[..., 1:, :]


def fluxes_from_rest(x: Tensor, shots: ShotNoise) -> Tensor:
    """The same from the rest alone, across potentials x (..., border): downwards across x <= 0, and upwards to them,
    as a neuron spikes at the threshold: jumps of one size may end there."""
    up, down = torch.zeros_like(x), torch.zeros_like(x)
    for rate, upwards, downwards in _inputs(shots.unsqueezed()):
        up = up + rate * upwards(x.clamp_min(0) - 10 * _LEAST_STD)[0] if upwards else up
        down = down + rate * downwards((-x).clamp_min(0))[0] if downwards else down
    return torch.where(x > 0, up, -down)


def _inputs(shots: ShotNoise) -> list[tuple[Tensor, Law | None, Law | None]]:
    """Rates, and the laws of what each input does upwards and downwards."""
    if shots.size_std is None:
        return [
            (shots.rate_exc, _exponential(shots.size_exc), None),
            (shots.rate_inh, None, _exponential(shots.size_inh)),
        ]
    return [
        (rate, _normal(size, shots.size_std), _normal(-size, shots.size_std))
        for rate, size in ((shots.rate_exc, shots.size_exc), (shots.rate_inh, -shots.size_inh))
    ]


def _exponential(mean: Tensor) -> Law:
    mean = mean.clamp_min(1e-300)

    def law(distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        chance = torch.exp(-distance / mean)
        return chance, mean * chance, mean.square() * chance

    return law


def _normal(mean: Tensor, std: Tensor) -> Law:
    std = std.clamp_min(_LEAST_STD)

    def law(distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = (distance - mean) / std
        chance, peak = torch.erfc(z / math.sqrt(2)) / 2, torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
        return chance, std * (peak - z * chance), std.square() * ((1 + z.square()) * chance - z * peak) / 2

    return law


def _passing(grid: Grid, law: Law) -> Tensor:
    """(..., border, cell): the flux across a border, upwards, of one jump per second from the density in a cell."""
    distance = (grid.borders[..., :, None] - grid.borders[..., None, :]).clamp_min(0)
    _, excess, half_square = law(distance)
    width = grid.width[..., None, :]
    # Of a density of 1 in the cell, and of one that rises by 1 per unit of the potential through 0 in the middle.
    level = excess[..., 1:] - excess[..., :-1]
    rise = width / 2 * (excess[..., 1:] + excess[..., :-1]) - (half_square[..., 1:] - half_square[..., :-1])
    return level.tril(-1) + rise.tril(-1) @ grid.slopes

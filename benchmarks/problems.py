"""The weights that are measured: normal, seeded, float32, each requiring a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.device import DEVICE

SPECTRAL_RADIUS = 0.9


def thin(n: int, i: int, o: int, batch: tuple[int, ...] = ()) -> tuple[Tensor, Tensor, Tensor]:
    """weight_hh (*batch, n, n), weight_in (*batch, n, i), weight_out (*batch, o, n); the spectral radius near 0.9 by
    the circular law."""
    generator = torch.Generator().manual_seed(0)
    weight_hh = SPECTRAL_RADIUS * torch.randn(*batch, n, n, generator=generator) / n**0.5
    weight_in = torch.randn(*batch, n, i, generator=generator) / i**0.5
    weight_out = torch.randn(*batch, o, n, generator=generator) / n**0.5
    return _leaf(weight_hh), _leaf(weight_in), _leaf(weight_out)


def rectified_thin(n: int, i: int, o: int) -> tuple[Tensor, Tensor, Tensor]:
    """As ``thin``, with the spectral radius of |weight_hh| exactly 0.9, so that the rectified sums converge."""
    weight_hh, weight_in, weight_out = thin(n, i, o)
    return _leaf(weight_hh * (SPECTRAL_RADIUS / _spectral_radius(weight_hh.abs()))), weight_in, weight_out


def all_pairs(n: int, batch: tuple[int, ...] = ()) -> tuple[Tensor]:
    """weight_hh (*batch, n, n), the spectral radius of each matrix exactly 0.9."""
    weight_hh = torch.randn(*batch, n, n, generator=torch.Generator().manual_seed(0))
    return (_leaf(weight_hh * (SPECTRAL_RADIUS / _spectral_radius(weight_hh))[..., None, None]),)


def _spectral_radius(matrix: Tensor) -> Tensor:
    eigenvalues: Tensor = torch.linalg.eigvals(matrix.detach())
    return eigenvalues.abs().amax(-1)


def _leaf(weight: Tensor) -> Tensor:
    return weight.detach().to(DEVICE).requires_grad_()

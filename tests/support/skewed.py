"""Matrices whose eigenvectors are ill-conditioned, so that powers grow before they shrink."""

from __future__ import annotations

import torch
from torch import Tensor


def skewed(n: int, radius: float, condition: float, seed: int) -> Tensor:
    """With eigenvalues between -radius and radius, and eigenvectors of this condition."""
    left, right = (
        torch.linalg.qr(
            torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(1000 * side + seed))
        )[0]
        for side in (1, 2)
    )
    vectors = left @ torch.diag(torch.logspace(0, -condition, n, dtype=torch.float64)) @ right
    values = torch.diag(torch.linspace(-radius, radius, n, dtype=torch.float64))
    return vectors @ values @ torch.linalg.inv(vectors)

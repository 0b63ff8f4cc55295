"""Does the sum of all walks converge, and what does cutting it off leave out?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext._arguments import check_alpha, check_weight_hh
from rrnn_ext._options import check_hops
from rrnn_ext.infinite import lapack
from rrnn_ext.infinite.margins import RADIUS_ROUNDING


class ResolventInfo(NamedTuple):
    """What :func:`resolvent_info` tells; each a tensor of the batch's shape.

    Attributes:
        spectral_radius: of A = alpha phi(weight_hh), float64.
        converges: whether the sum over all walks does, spectral_radius < 1.
        tail_bound: || sum_{m >= hops} A^m ||_2, the most that truncation at ``hops`` leaves out of a walk sum between
            unit vectors; infinite where the sum diverges. None where hops is None.
        max_alpha: the sum converges for every smaller alpha.
    """

    spectral_radius: Tensor
    converges: Tensor
    tail_bound: Tensor | None
    max_alpha: Tensor


@torch.no_grad()
def resolvent_info(
    weight_hh: Tensor, *, alpha: float | Tensor = 1.0, hops: int | None = None, rectify: bool = False
) -> ResolventInfo:
    """Spectral radius, convergence and truncation error of the walks of ``weight_hh`` (..., n, n).

    Computed from the eigenvalues, in float64: O(n^3), meant for a look now and then, not for every step. NaN weights
    give a NaN radius that does not converge.
    """
    check_weight_hh(weight_hh)
    hops = check_hops(hops)
    alpha = check_alpha(alpha, weight_hh, tuple(weight_hh.shape[:-2]))
    phi = weight_hh.detach().double()
    if rectify:
        phi = phi.abs()
    factor = (
        alpha.detach().to(phi) if isinstance(alpha, Tensor) else torch.tensor(alpha, dtype=phi.dtype, device=phi.device)
    )
    phi = phi.expand(*torch.broadcast_shapes(phi.shape[:-2], factor.shape), *phi.shape[-2:])
    base = spectral_radius(phi)
    radius = factor * base
    converges = is_below_one(radius)
    tail = None if hops is None else _tail(factor[..., None, None] * phi, hops, converges)
    return ResolventInfo(radius, converges, tail, 1 / base)


def spectral_radius(matrices: Tensor) -> Tensor:
    """The largest |eigenvalue| of (..., n, n), in float64; NaN where an element is not finite."""
    finite = matrices.isfinite().all(-1).all(-1)
    if matrices.shape[-1] == 0 or finite.numel() == 0:
        return torch.zeros(finite.shape, dtype=torch.float64, device=matrices.device)
    if matrices.is_meta:
        return torch.empty(finite.shape, dtype=torch.float64, device="meta")
    clean = torch.where(finite[..., None, None], matrices, 0).double()
    # On the CPU: not every build of PyTorch for CUDA has eigenvalues.
    radius = torch.linalg.eigvals(clean.cpu()).abs().amax(-1).to(matrices.device)
    return torch.where(finite, radius, torch.nan)


def is_below_one(radius: Tensor) -> Tensor:
    """Whether a computed radius is: eigenvalues are known to a few units of rounding only."""
    return radius < 1 - RADIUS_ROUNDING


def _tail(a: Tensor, hops: int, converges: Tensor) -> Tensor:
    """|| A^hops (I - A)^{-1} ||_2."""
    if a.numel() == 0:
        return torch.zeros(converges.shape, dtype=a.dtype, device=a.device)
    clean = torch.where(converges[..., None, None], a, 0).reshape(-1, *a.shape[-2:])
    left_out = lapack.Factorised(clean).solve(torch.linalg.matrix_power(clean, hops)).reshape(a.shape)
    return torch.where(converges, torch.linalg.matrix_norm(left_out, ord=2), torch.inf)

"""Does the sum of all walks converge, and what does cutting it off leave out?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext import _arguments, _lapack


class ResolventDivergenceError(ValueError):
    """An infinite sum of walks was asked for where it does not converge.

    Attributes:
        spectral_radius: that of ``alpha * phi(weight_hh)``; of a batch, the largest.
        max_alpha: the sum converges for every alpha below this, ``1 / spectral radius of phi(weight_hh)``.
        rectify: whether phi is the absolute value.
        device: None; or the CUDA device on which an earlier sum, whose value is NaN, was not proved to converge. The
            numbers above are NaN then: the weights of that call may be gone by now.
        where: which graph of a ResolventPenalty diverges, where it has several; else empty.
    """

    def __init__(
        self, spectral_radius: float, alpha: float, rectify: bool = False, device: torch.device | None = None
    ) -> None:
        super().__init__(spectral_radius, alpha, rectify, device)
        self.spectral_radius = spectral_radius
        self.rectify = rectify
        self.device = device
        self.max_alpha = float("inf") if spectral_radius <= 0 else alpha / spectral_radius
        self.where = ""

    def __str__(self) -> str:
        if self.device is not None:
            return (
                f"an earlier sum over all walks on {self.device} diverges, or its spectral radius is too near 1 to "
                "tell, and its value was NaN; see rrnn_ext.resolvent_info, or take a smaller alpha or finite hops"
            )
        phi = "|weight_hh|" if self.rectify else "weight_hh"
        return (
            f"the sum over all walks diverges: the spectral radius of alpha * {phi} is {self.spectral_radius:.6g}, "
            f"and must be below 1; it would converge for alpha < {self.max_alpha:.6g}, or take a finite number of hops"
            + (f" ({self.where})" if self.where else "")
        )


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
    _arguments.check_weight_hh(weight_hh)
    _arguments.check_hops(hops)
    alpha = _arguments.check_alpha(alpha, weight_hh, tuple(weight_hh.shape[:-2]))
    phi = weight_hh.detach().double()
    if rectify:
        phi = phi.abs()
    factor = alpha.detach().to(phi) if isinstance(alpha, Tensor) else torch.tensor(alpha).to(phi)
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
    clean = torch.where(finite[..., None, None], matrices, 0).double()
    # On the CPU: not every build of PyTorch for CUDA has eigenvalues.
    radius = torch.linalg.eigvals(clean.cpu()).abs().amax(-1).to(matrices.device)
    return torch.where(finite, radius, torch.nan)


def is_below_one(radius: Tensor) -> Tensor:
    """Whether a computed radius is: eigenvalues are known to a few units of rounding only."""
    return radius < 1 - 1e-12


def _tail(a: Tensor, hops: int, converges: Tensor) -> Tensor:
    """|| A^hops (I - A)^{-1} ||_2."""
    if a.numel() == 0:
        return torch.zeros(converges.shape, dtype=a.dtype, device=a.device)
    clean = torch.where(converges[..., None, None], a, 0)
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    left_out = _lapack.solve(eye - clean, torch.linalg.matrix_power(clean, hops))
    return torch.where(converges, torch.linalg.matrix_norm(left_out, ord=2), torch.inf)

"""Matrices with the same eigenvalues and smaller numbers, whose spectral radius a norm, or LAPACK, sees better.

Eigenvalues are computed as those of a matrix that differs from A by rounding of its largest entries, which may be more
than all there is of an edge that closes a cycle. D^{-1} A D has the same ones for any diagonal D, and so has A without
the edges that lie on no cycle.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.ops import native

_SWEEPS = 40
_MOST = 400  # of an exponent
_RIDGE = 1e-10  # of each unit's number of edges, as exponents are known but for a constant


def balanced(a: Tensor) -> Tensor:
    """D^{-1} A D of each of (b, n, n), in float64 and finite, without the edges between its strong components, for a D
    of powers of two that brings rows and columns of each unit to like sizes.

    It is exact: a matrix that would lose an entry keeps D = I. The norm is often less, and 0 without cycles. D begins
    where all edges of a component are as much alike as they can be, which long cycles need, and goes on from units to
    their neighbours (Osborne 1960).
    """
    return torch.stack([_balanced(_on_cycles(matrix)) for matrix in a]) if len(a) else a


def _balanced(a: Tensor) -> Tensor:
    exponents = _alike(a)
    scaled = _scaled(a, exponents)
    for _ in range(_SWEEPS):
        others = torch.diagonal_scatter(scaled.abs(), torch.zeros_like(exponents))
        # Half way at each sweep, as all units move at once.
        steps = ((others.sum(-1) / others.sum(-2)).nan_to_num(nan=1.0).log2() / 4).round().clamp(-16, 16)
        if not bool(steps.any()):
            break
        exponents = (exponents + steps).clamp(-_MOST, _MOST)
        scaled = _scaled(a, exponents)
    smallest = torch.finfo(a.dtype).tiny
    is_exact = scaled.isfinite().all() & ((scaled.abs() >= smallest) == (a != 0)).all()
    return torch.where(is_exact, scaled, a)


def _scaled(a: Tensor, exponents: Tensor) -> Tensor:
    return a * torch.exp2(exponents - exponents.unsqueeze(-1))


def _on_cycles(a: Tensor) -> Tensor:
    """(n, n) without the edges between its strong components."""
    is_edge = (a != 0).cpu()
    crow = torch.nn.functional.pad(is_edge.sum(-1).cumsum(0), (1, 0))
    components = native.sparse_infinite_walks_components(crow.int(), is_edge.nonzero()[:, 1].int()).to(a.device)
    return torch.where(components.unsqueeze(-1) == components, a, 0)


def _alike(a: Tensor) -> Tensor:
    """(n,) integers x near those that make the squares of log2|a_ij| + x_j - x_i least, over all edges of (n, n)."""
    logarithms = a.abs().log2().fill_diagonal_(-torch.inf)
    is_edge = logarithms.isfinite()
    logarithms = torch.where(is_edge, logarithms, 0)
    laplacian = -(is_edge.to(a.dtype) + is_edge.mT.to(a.dtype))
    degrees = -laplacian.sum(-1)
    laplacian.diagonal().add_(torch.where(degrees > 0, (1 + _RIDGE) * degrees, 1))
    right = logarithms.sum(-1) - logarithms.sum(-2)
    return torch.linalg.solve_ex(laplacian, right)[0].nan_to_num().round().clamp(-_MOST, _MOST)

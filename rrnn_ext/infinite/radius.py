"""The spectral radius of a matrix that is seen by its products alone: an estimate, complex pairs included.

Arnoldi's iteration with thick restarts (Stewart 2001, "A Krylov-Schur algorithm for large eigenproblems"): of a basis
that is full, the space of the Ritz vectors of the largest Ritz values is kept.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext.infinite.operands import Operand
from rrnn_ext.infinite.probes import gaussian

_DENSE_UNITS = 200  # up to which the matrix itself is made
_BASIS, _KEPT = 64, 24
_MOST_PRODUCTS = 6000
_NOTHING = 1e-14  # of a vector's length


class Radius(NamedTuple):
    """Attributes:
    radius: the largest |eigenvalue| that was found.
    residual: || A x - lambda x || / |lambda| for its eigenvector x of length 1; so lambda is an eigenvalue of a matrix
        that differs from A by so much, relative to the radius.
    """

    radius: float
    residual: float


def spectral_radius(operand: Operand, tolerance: float) -> Radius:
    """Of an operand in float64, without a batch, until the residual is ``tolerance``, or as far as it came."""
    n = operand.units
    device = operand.poison().device
    if n <= _DENSE_UNITS:
        matrix = operand.forward(torch.eye(n, dtype=torch.float64, device=device)).cpu()
        if not bool(matrix.isfinite().all()):
            return Radius(torch.nan, torch.nan)
        return Radius(float(torch.linalg.eigvals(matrix).abs().max()) if n else 0.0, torch.finfo(torch.float64).eps)
    size = min(_BASIS, n)
    basis = torch.empty(size + 1, n, dtype=torch.float64, device=device)
    between = torch.zeros(size + 1, size, dtype=torch.float64, device=device)  # A in the basis
    start = gaussian(n, 1, basis).squeeze(-1)
    basis[0] = start / torch.linalg.vector_norm(start)
    kept = products = 0
    while True:
        for step in range(kept, size):
            image = operand.forward(basis[step].unsqueeze(-1)).squeeze(-1)
            before = torch.linalg.vector_norm(image)
            for _ in range(2):  # once leaves what rounding made of the rest
                part = basis[: step + 1] @ image
                image = image - part @ basis[: step + 1]
                between[: step + 1, step] += part
            length = torch.linalg.vector_norm(image)
            between[step + 1, step] = length
            products += 1
            if not bool(length > _NOTHING * before):  # A keeps the space but for rounding, or there is no number
                return _of_space(between[: step + 1, : step + 1])
            basis[step + 1] = image / length
        values, vectors = torch.linalg.eig(between[:size].cpu())
        order = values.abs().argsort(descending=True)
        largest = float(values[order[0]].abs())
        residuals = (between[size].cpu().to(vectors.dtype) @ vectors).abs() / torch.linalg.vector_norm(vectors, dim=0)
        residual = float(residuals[order[0]]) / largest if largest > 0 else 0.0
        if residual <= tolerance or products >= _MOST_PRODUCTS:
            return Radius(largest, residual)
        kept = _restart(basis, between, vectors[:, order], values[order])


def _of_space(between: Tensor) -> Radius:
    if not bool(between.isfinite().all()):
        return Radius(torch.nan, torch.nan)
    return Radius(float(torch.linalg.eigvals(between.cpu()).abs().max()), torch.finfo(torch.float64).eps)


def _restart(basis: Tensor, between: Tensor, vectors: Tensor, values: Tensor) -> int:
    """Leaves the space of the first Ritz vectors, both of a pair, in the basis; how many there are."""
    size = between.shape[1]
    kept = _KEPT + int(values[_KEPT - 1].imag != 0 and values[_KEPT - 1].conj() == values[_KEPT])
    chosen = vectors[:, :kept]
    # Real and imaginary parts of pairs span it twice over: the larger singular vectors are a basis.
    spanned = torch.linalg.svd(torch.cat([chosen.real, chosen.imag], -1))[0][:, :kept].to(basis)
    inner = spanned.mT @ between[:size] @ spanned
    last = between[size] @ spanned
    basis[:kept] = spanned.mT @ basis[:size]
    basis[kept] = basis[size]
    between.zero_()
    between[:kept, :kept] = inner
    between[kept, :kept] = last
    return kept

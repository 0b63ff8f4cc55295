"""Solutions X of (I - A) X = B by sweeps from unit to unit (Gauss and Seidel), all columns by one polynomial.

A sweep uses what it has made of earlier units, G = I - (I - L)^{-1} (A - L) for the part L of A below its diagonal, and
so gets about as far as two products. Where A >= 0 has a radius below 1, or |A| has, G is nearer to I than I - A is
(Varga 1962, on regular splittings).

GMRES of one vector, a mixture of all columns, says which polynomial of G leaves the least residual; its roots, the
harmonic Ritz values, then serve for all of them (Nachtigal, Reichel & Trefethen 1992), one factor a sweep, in an order
that keeps intermediate products small. Each column has its residual looked at in the end. What is not as small as it
should be goes through the polynomial again, and then to products alone (rrnn_ext.infinite.krylov).
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from rrnn_ext.infinite.krylov import solve_by_products
from rrnn_ext.infinite.margins import BACKWARD_ROUNDINGS, KRYLOV_ROUNDINGS, ROUGH
from rrnn_ext.infinite.operands import Operand
from rrnn_ext.infinite.probes import gaussian
from rrnn_ext.infinite.solve import Solver

_LONGEST = 60  # of a polynomial
_HEADROOM = 0.1  # of the residual: other columns need a little more than the mixture
_ROUNDS = 4
_SUFFICES = 1e-3  # of the residual: a polynomial that leaves less is worth its rounds
_FORGOTTEN = 0.1  # of a vector's length: what is less after a projection is projected once more
_SMALL = 2.0**-30  # the largest entry of a column that is not scaled, at the least
_PROGRESS = 0.5  # of the residual from one round to the next, at least


class Swept(Operand, Protocol):
    """One matrix, on the CPU."""

    def sweep(self, vectors: Tensor) -> Tensor:
        """G V."""
        ...

    def polynomial(self, right: Tensor, roots: Tensor) -> Tensor:
        """X of a residual p(G), p the polynomial of ``roots`` (k, 2), real and imaginary parts, that is 1 at 0."""
        ...


def by_sweeps(operand: Swept) -> Solver:
    """ResolventConditionError where products alone do not get there either."""
    space: list[_Space | None] = []

    def solver(right: Tensor, rough: bool = False) -> Tensor:
        rounding = KRYLOV_ROUNDINGS * torch.finfo(right.dtype).eps
        if not space:
            space.append(_space_of(operand, right, rounding))
        tolerance = ROUGH / operand.units**0.5 if rough else rounding
        return _solved(operand, right, space[0], tolerance)

    return solver


def solve_by_sweeps(operand: Swept, right: Tensor, tolerance: float) -> Tensor:
    """X (n, c) with (I - A) X = ``right`` (n, c), in the dtype of both; NaN in a column whose ``right`` is not finite.

    The residual of each column is ``tolerance`` of its right side, or as small as a factorisation leaves it.
    """
    return _solved(operand, right, _space_of(operand, right, tolerance), tolerance)


class _Space(NamedTuple):
    """What GMRES knows of G after some sweeps: ``between`` (k + 1, k), G in the basis, and the residuals on the way."""

    between: Tensor
    residuals: list[float]

    def roots(self, tolerance: float) -> Tensor:
        """(k, 2), of the shortest polynomial that leaves so little."""
        steps = next((k for k, left in enumerate(self.residuals, 1) if left <= _HEADROOM * tolerance), None)
        steps = len(self.residuals) if steps is None else steps
        return _in_order(_harmonic(self.between[: steps + 1, :steps]))


def _solved(operand: Swept, right: Tensor, space: _Space | None, tolerance: float) -> Tensor:
    b, scale = _of_one_size(right)
    lengths = torch.linalg.vector_norm(b, dim=0)
    target, left = tolerance * lengths, lengths > 0
    x: Tensor | None = None
    residual = b
    roots = None if space is None else space.roots(tolerance)
    for _ in range(_ROUNDS if roots is not None else 0):
        assert roots is not None
        if x is None:
            x = operand.polynomial(b, roots)
        else:
            x[:, left] += operand.polynomial(residual[:, left], roots)
        before, residual = lengths, operand.forward(x).sub_(x).add_(b)
        lengths = torch.linalg.vector_norm(residual, dim=0)
        left = ~(lengths <= target)
        if bool(left.any()):
            left &= ~(lengths <= _least(operand, b, x))
        if not bool((left & (lengths < _PROGRESS * before)).any()):
            break
    if x is None:
        x = torch.zeros_like(b)
    if bool(left.any()):
        useless = left & ~(lengths < torch.linalg.vector_norm(b, dim=0))
        x, residual = torch.where(useless, 0, x), torch.where(useless, b, residual)
        remaining = float((target[left] / torch.linalg.vector_norm(residual[:, left], dim=0)).min())
        x[:, left] += solve_by_products(operand, residual[:, left], tolerance=remaining)
    return x if scale is None else x * scale


def _of_one_size(right: Tensor) -> tuple[Tensor, Tensor | None]:
    """Columns that neither overflow nor underflow on the way, and what they are to be multiplied by then, (c,) or None:
    NaN for those that are not finite, which are zero here."""
    size = right.abs().amax(0)
    if bool(((size > _SMALL) & (size < 1 / _SMALL)).all()):
        return right, None
    is_finite = size.isfinite()
    scale = torch.where(is_finite & (size > 0), size, 1).log2().round().exp2()
    return torch.where(is_finite, right, 0) / scale, torch.where(is_finite, scale, torch.nan)


def _least(operand: Swept, b: Tensor, x: Tensor) -> Tensor:
    """The residual that a backward stable factorisation leaves in each column."""
    terms = b.abs() + x.abs() + operand.absolute().forward(x.abs())
    return BACKWARD_ROUNDINGS * torch.finfo(b.dtype).eps * torch.linalg.vector_norm(terms, dim=0)


def _space_of(operand: Swept, right: Tensor, tolerance: float) -> _Space | None:
    """By Arnoldi's iteration, in float64, until GMRES has the residual; None where it does not get there."""
    wide = operand.in_float64()
    b = _of_one_size(right)[0]
    mixture = (b @ gaussian(b.shape[1], 1, b).squeeze(-1)).double()
    # The first factor of a polynomial adds its start, (I - L)^{-1} B, over the root.
    start = wide.polynomial(mixture.unsqueeze(-1), mixture.new_tensor([[1.0, 0.0]])).squeeze(-1)
    length = torch.linalg.vector_norm(start)
    if not 0 < float(length) < math.inf:
        return None
    longest = min(_LONGEST, operand.units)
    basis = start.new_empty(longest + 1, operand.units)
    basis[0] = start / length
    between = start.new_zeros(longest + 1, longest)
    # What is orthogonal to the columns of `between`, and has 1 first, is as long as start / residual.
    normal, residuals = start.new_zeros(longest + 1), []
    normal[0] = 1
    for step in range(longest):
        image = wide.sweep(basis[step].unsqueeze(-1)).squeeze(-1)
        own, before = basis[: step + 1], torch.linalg.vector_norm(image)
        after = before
        while True:
            part = torch.mv(own, image)
            image, before = torch.addmv(image, own.mT, part, alpha=-1), after
            between[: step + 1, step] += part
            after = torch.linalg.vector_norm(image)
            if not bool(after < _FORGOTTEN * before):  # else what rounding left of the basis shows
                break
        between[step + 1, step] = after
        normal[step + 1] = -(normal[: step + 1] * between[: step + 1, step]).sum() / after
        residuals.append(1 / float(torch.linalg.vector_norm(normal[: step + 2])))
        if not residuals[-1] > _HEADROOM * tolerance:
            break
        basis[step + 1] = image / after
    reached = residuals[-1] <= _SUFFICES
    return _Space(between, residuals) if reached else None


def _harmonic(between: Tensor) -> Tensor:
    """The harmonic Ritz values, complex, of (k + 1, k): the roots of the polynomial that GMRES takes."""
    square, below = between[:-1], between[-1, -1]
    last = torch.zeros_like(square[:, :1])
    last[-1] = 1
    shift = torch.linalg.solve_ex(square.mT, last)[0]
    return torch.linalg.eigvals(square + below.square() * shift @ last.mT)


def _in_order(roots: Tensor) -> Tensor:
    """Those of Leja: each next one as far as can be from all before it, by the product of distances; pairs together."""
    magnitudes = roots.abs()
    taken = torch.zeros_like(magnitudes)
    order: list[int] = []
    distances = magnitudes.log()
    for _ in range(len(roots)):
        if len(order) == len(roots):
            break
        at = int((distances + taken).argmax())
        found = [at]
        if roots[at].imag != 0:
            others = (roots - roots[at].conj()).abs() + (-taken).clamp(max=1e300)
            found.append(int(others.argmin()))
        for each in found:
            taken[each] = -torch.inf
            order.append(each)
            gaps = (roots - roots[each]).abs().log()
            distances = gaps if len(order) == 1 else distances + gaps.where(gaps.isfinite(), 0)
    return torch.view_as_real(roots[order]).contiguous()

"""Solutions X of (I - A) X = B by products with A alone: GMRES (Saad & Schultz 1986), each column for itself.

Of all vectors in the space of B, A B, .., A^k B each column takes the one with the least residual, so it needs no more
products than any other iteration of products with A; for the adjoint take the operand ``Mirrored``. The space has an
orthogonal basis, which costs 2 k^2 n flops a column and k n numbers of memory; nothing is divided by what could vanish,
as it is in biconjugate gradients. A solution is returned where its true residual is as small as rounding leaves it, and
anything else is an error.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrnn_ext._errors import ResolventConditionError
from rrnn_ext.infinite.margins import BACKWARD_ROUNDINGS, KRYLOV_ROUNDINGS
from rrnn_ext.infinite.operands import Operand

MOST_PRODUCTS = 1000  # with a column, unless the caller knows better

_BASIS_ELEMENTS = 2**26  # of the bases of all columns
_SHORTEST_BASIS, _LONGEST_BASIS = 20, 120
_DRIFT = 1.5  # of the true residual from that of the recurrence
_FORGOTTEN = 0.5  # of a vector's length: what is less after a projection is projected once more
_PROGRESS = 0.9  # of the residual from one basis to the next, at least


def solve_by_products(
    operand: Operand, right: Tensor, *, tolerance: float | None = None, most_products: int = MOST_PRODUCTS
) -> Tensor:
    """X (n, c) with (I - A) X = ``right`` (n, c), in the dtype of both; NaN in a column whose ``right`` is not finite.

    Returns where the residual of each column is ``tolerance``, by default KRYLOV_ROUNDINGS units of rounding, of its
    right side and solution, or as small as a factorisation leaves it: BACKWARD_ROUNDINGS of |B| + |X| + |A| |X|. How
    far X is right then, is for :mod:`rrnn_ext.infinite.solve` to say. Raises ResolventConditionError where
    ``most_products`` with a column did not lead there.
    """
    together = max(1, _BASIS_ELEMENTS // (_SHORTEST_BASIS * max(1, right.shape[0])))
    if right.shape[1] > together:
        parts = [
            solve_by_products(operand, part, tolerance=tolerance, most_products=most_products)
            for part in right.split(together, -1)
        ]
        return torch.cat(parts, -1)
    size = right.abs().amax(0)
    is_plain = size.isfinite() & (size > 0)
    b = torch.where(is_plain, right / torch.where(is_plain, size, 1), 0)
    x, residual = torch.zeros_like(b), b
    rounding = torch.finfo(b.dtype).eps
    tolerance = KRYLOV_ROUNDINGS * rounding if tolerance is None else tolerance
    absolute = operand.absolute()
    reached, products = _lengths(residual), 0
    open_columns = torch.arange(b.shape[1], device=b.device)
    while open_columns.numel():
        if products >= most_products:
            raise _not_reached(products, b.dtype)
        columns = open_columns
        target = tolerance * (_lengths(b[:, columns]) + _lengths(x[:, columns]))
        correction, steps = _in_a_basis(operand, residual, target, most_products - products)
        products += steps
        x[:, columns] += correction
        own = x[:, columns]
        residual = b[:, columns] - (own - operand.forward(own))
        terms = b[:, columns].abs() + own.abs() + absolute.forward(own.abs())
        lengths = _lengths(residual)
        left = ~(lengths <= (BACKWARD_ROUNDINGS * rounding * _lengths(terms)).maximum(_DRIFT * target))
        if bool((left & ~(lengths < _PROGRESS * reached)).any()):
            raise _not_reached(products, b.dtype)
        open_columns, residual, reached = columns[left], residual[:, left], lengths[left]
    return torch.where(size.isfinite(), x * size, torch.nan)


def _not_reached(products: int, dtype: torch.dtype) -> ResolventConditionError:
    return ResolventConditionError(
        math.inf, dtype, f"an iteration of {products} products did not reach it; take a smaller alpha"
    )


def _in_a_basis(operand: Operand, residual: Tensor, target: Tensor, most_steps: int) -> tuple[Tensor, int]:
    """The correction (n, c) of least residual in the space of ``residual`` (n, c), A ``residual``, .., and how many
    products it took: until the residual is ``target`` (c,), or the basis is as long as it may be."""
    n, c = residual.shape
    length = max(_SHORTEST_BASIS, min(_LONGEST_BASIS, _BASIS_ELEMENTS // max(1, n * c)))
    length = min(length, n, most_steps)
    basis = residual.new_empty(c, length + 1, n)
    hessenberg = residual.new_zeros(c, length + 1, length)  # of I - A in the basis
    start = _lengths(residual)
    done = start <= target
    basis[:, 0] = torch.where(done, 0, residual / torch.where(done, 1, start)).mT
    # What is orthogonal to all columns of the Hessenberg matrix, and has 1 first, is as long as start / |residual|.
    normal = residual.new_zeros(c, length + 1)
    normal[:, 0] = 1
    steps = 0
    for step in range(length):
        image = operand.forward(basis[:, step].mT).mT.contiguous()
        before = _lengths(image.mT)
        projections = _project(basis, step + 1, image)
        after = _lengths(image.mT)
        if bool((after < _FORGOTTEN * before).any()):
            projections += _project(basis, step + 1, image)
            after = _lengths(image.mT)
        hessenberg[:, : step + 1, step] = -projections
        hessenberg[:, step, step] += ~done
        hessenberg[:, step + 1, step] = -torch.where(
            done, 1, after
        )  # 1: of a column that is done, nothing more is made
        steps = step + 1
        normal[:, steps] = (normal[:, :steps] * hessenberg[:, :steps, step]).sum(-1) / after
        done = done | ~(start > target * torch.linalg.vector_norm(normal[:, : steps + 1], dim=-1))
        if bool(done.all()):
            break
        if steps < length:
            basis[:, steps] = torch.where(done, 0, image.mT / torch.where(after > 0, after, 1)).mT
    q, r = torch.linalg.qr(hessenberg[:, : steps + 1, :steps])
    coefficients = torch.linalg.solve_triangular(r, (q[:, :1] * start[:, None, None]).mT, upper=True)
    correction = torch.stack([torch.mv(basis[i, :steps].mT, coefficients[i, :, 0]) for i in range(c)], -1)
    return correction, steps


def _project(basis: Tensor, count: int, image: Tensor) -> Tensor:
    """Takes the first ``count`` vectors of each basis (c, ., n) out of ``image`` (c, n); what was there of them, (c,
    count). Column by column: a batch of such products has no good kernel."""
    projections = image.new_empty(image.shape[0], count)
    for own, vector, of_own in zip(basis, image, projections, strict=True):
        vectors = own[:count]
        torch.mv(vectors, vector, out=of_own)
        vector.addmv_(vectors.mT, of_own, alpha=-1)
    return projections


def _lengths(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=0)

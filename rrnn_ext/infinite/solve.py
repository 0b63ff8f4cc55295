"""Solutions X of (I - A) X = B that are right or an error: every solution comes with an estimate of its error.

Two things make X wrong: what the solver left, and rounding. The first is the residual; the second is what becomes of a
relative rounding of every term, |X| + |A| |X|, on its way through (I - A)^{-1}. Both go through the same solver once
more: the residual itself, which also corrects X (iterative refinement), and the terms d times Gaussian numbers, whose
images have the size sqrt(sum_j (M^{-1})_ij^2 d_j^2) in row i. Where float32 is not enough the solution is made in
float64 and rounded; where that is not enough it is an error.

What a solver leaves of each vector it is given must be small beside that vector, as the residual is only seen by way of
the solver: by factorisation, as a series, or by products (rrnn_ext.infinite.krylov).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from rrnn_ext._errors import ResolventConditionError
from rrnn_ext.infinite import lapack
from rrnn_ext.infinite.convergence import walks_in_blocks
from rrnn_ext.infinite.krylov import MOST_PRODUCTS, solve_by_products
from rrnn_ext.infinite.margins import (
    CERTAINTY,
    LARGEST_ERROR,
    LEFT_OUT_ROUNDINGS,
    PROBES,
    ROUGH,
    SMALL_NORM,
    TERM_ROUNDINGS,
)
from rrnn_ext.infinite.operands import DenseOperand, Mirrored, Operand
from rrnn_ext.infinite.probes import gaussian

_REFINEMENTS = 2
_MOST_HOPS = 2**20  # of a series
_FIRST_HOPS = 64
_CHUNK_ELEMENTS = 2**20  # of the chain of walks that a series makes at a time
_PROBED_ELEMENTS = 2**24

Matrix = TypeVar("Matrix", bound=Operand)


class Solver(Protocol):
    """The solutions X of (I - A) X = B, (..., n, c)."""

    def __call__(self, right: Tensor, rough: bool = False) -> Tensor:
        """``rough``: where the size of X is wanted alone, ROUGH / sqrt(n) of B may be left."""
        ...


class BothEnds(NamedTuple):
    """Solvers with I - A and with I - A'."""

    forward: Solver
    transposed: Solver


def by_factorisation(operand: DenseOperand) -> Solver:
    return both_by_factorisation(operand).forward


def both_by_factorisation(operand: DenseOperand) -> BothEnds:
    factorised = lapack.Factorised(operand.matrix)
    return BothEnds(
        lambda right, rough=False: factorised.solve(right),
        lambda right, rough=False: factorised.solve_transposed(right),
    )


def by_products(operand: Operand, most_products: int = MOST_PRODUCTS) -> Solver:
    """Of an operand without a batch; ResolventConditionError where ``most_products`` with a column do not get there."""

    def solver(right: Tensor, rough: bool = False) -> Tensor:
        tolerance = ROUGH / operand.units**0.5 if rough else None
        return solve_by_products(operand, right, tolerance=tolerance, most_products=most_products)

    return solver


def by_series(power: int, factor: float) -> Callable[[DenseOperand], Solver]:
    """B + A B + A^2 B + ... until what is left out is below rounding, for ||A^power|| <= factor < 1.

    The walks beyond a block of k hops are that block times A^k, A^2k, ..., and so at most q / (1 - q) of it for
    q = ||A^k||. (The size of a term says nothing: terms can vanish and come back.)
    """

    def solver(operand: DenseOperand) -> Solver:
        a = operand.matrix

        def solve(right: Tensor, rough: bool = False) -> Tensor:
            total, vectors, hops = torch.zeros_like(right), right, 0
            # Blocks grow: most sums are done in the first one.
            largest = 2 ** max(6, min(12, (_CHUNK_ELEMENTS // max(1, right.numel())).bit_length() - 1))
            block_hops = max(power, _FIRST_HOPS)
            while hops < _MOST_HOPS:
                block = torch.zeros_like(right)
                for begin in range(0, block_hops, largest):
                    walks, vectors = walks_in_blocks(a, vectors, min(largest, block_hops - begin))
                    block = block + walks
                hops += block_hops
                block_hops = max(block_hops, min(2 * block_hops, largest))
                total = total + block
                left_out = block.abs().sum(-2) * (factor / (1 - factor))
                rounding = LEFT_OUT_ROUNDINGS * torch.finfo(a.dtype).eps * total.abs().amax(-2)
                if not bool((left_out > rounding).any()):  # NaN ends the sum too
                    return total
            raise ResolventConditionError(
                math.inf, a.dtype, f'its terms still count after {_MOST_HOPS} hops; use method="inverse"'
            )

        return solve

    return solver


def solve(
    operand: Matrix,
    right: Callable[[Matrix], tuple[Tensor, Tensor | None]],
    make_solver: Callable[[Matrix], Solver],
    norm: float,
    advice: str,
    finish: Callable[[Matrix, Tensor], Tensor] = lambda operand, x: x,
) -> Tensor:
    """X (..., n, c) for ||A|| <= ``norm``; NaN where A has NaN or Inf, and in a column whose B has.

    ``right`` makes B and what it may be wrong by (infinity where B overflows, NaN in a column that was given so), and
    ``finish`` what is wanted of X, in the precision of the operand that they are given. Raises ResolventConditionError,
    with ``advice``, where X cannot be had to 2^-11.
    """
    poison, given = operand.poison(), operand.dtype
    if _is_tame(norm):
        return finish(operand, make_solver(operand)(right(operand)[0])) + poison
    error = math.inf
    for wide in _precisions(operand):
        x, error = _with_error(wide, *right(wide), make_solver(wide), poison)
        if error <= LARGEST_ERROR:
            return finish(wide, x).to(given) + poison
    raise _ill_conditioned(error, advice)


def solve_both_ends(
    operand: Matrix,
    sources: Tensor,
    targets: Tensor,
    make_solvers: Callable[[Matrix], BothEnds],
    norm: float,
    advice: str,
) -> tuple[Tensor, Tensor]:
    """X (..., n, i) and Y (..., n, o) with (I - A) X = ``sources`` and (I - A') Y = ``targets``, as ``solve`` has
    them, but in the precision that it took: what is made of them may be there where they overflow in that of A."""
    poison = operand.poison()
    if _is_tame(norm):
        solvers = make_solvers(operand)
        return solvers.forward(sources) + poison, solvers.transposed(targets) + poison
    error = math.inf
    for wide in _precisions(operand):
        solvers = make_solvers(wide)
        x, error = _with_error(wide, sources.to(wide.dtype), None, solvers.forward, poison)
        if error <= LARGEST_ERROR:
            y, error = _with_error(Mirrored(wide), targets.to(wide.dtype), None, solvers.transposed, poison)
            if error <= LARGEST_ERROR:
                return x + poison, y + poison
    raise _ill_conditioned(error, advice)


def _is_tame(norm: float) -> bool:
    """Whether nothing has to be estimated for an A of this norm."""
    return norm <= SMALL_NORM


def _precisions(operand: Matrix) -> Iterator[Matrix]:
    """A as it is, and in float64 if it is not."""
    yield operand
    if operand.dtype != torch.float64:
        yield operand.in_float64()


def _ill_conditioned(error: float, advice: str) -> ResolventConditionError:
    return ResolventConditionError(error / torch.finfo(torch.float64).eps, torch.float64, advice)


def _with_error(
    operand: Operand, b: Tensor, noise: Tensor | None, solver: Solver, poison: Tensor
) -> tuple[Tensor, float]:
    """X, and the largest error of a column of it; of those that are numbers."""
    if noise is None:
        # Where B is exact and underflows, rounding cannot be told from the solution.
        counted = poison.isfinite() & b.isfinite().all(-2, keepdim=True) & ~_underflows(b)
    else:
        counted = poison.isfinite() & ~noise.isnan().any(-2, keepdim=True)
    x, left, rounding = refined(operand, b, solver, counted, noise)
    if operand.dtype == torch.float64 and left <= LARGEST_ERROR / 2 < rounding:
        rounding = _rounding_by_column(operand, x, solver, counted, noise)
    return x, left + rounding


def _underflows(b: Tensor) -> Tensor:
    """(b, 1, c): whether a column has no entry from which a relative rounding could still be told."""
    numbers = torch.finfo(b.dtype)
    return b.abs().amax(-2, keepdim=True) < numbers.tiny / numbers.eps


def refined(
    operand: Operand, b: Tensor, solver: Solver, finite: Tensor, noise: Tensor | None = None
) -> tuple[Tensor, float, float]:
    """X and what it may be wrong by, relative to the largest entry of a column: what the solver left, and rounding.

    The largest of the columns that are ``finite``, (..., 1, c). ``noise``, (..., n, c), is what B may be wrong by.
    """
    x = solver(b)
    probes = gaussian(operand.units, PROBES, b)
    left = rounding = math.inf
    for _ in range(_REFINEMENTS):
        residual = b - (x - operand.forward(x))
        terms, scale = _terms(operand, x, noise)
        shared = (terms / scale).where(finite, 0).amax(-1, keepdim=True)
        image = solver(torch.cat([residual, shared * probes], -1), rough=True)
        correction, spread = image[..., : b.shape[-1]], image[..., b.shape[-1] :]
        x = x + correction
        left = _number((correction.abs().amax(-2, keepdim=True) / scale).where(finite, 0).amax())
        rounding = _number(CERTAINTY * spread.square().mean(-1).sqrt().amax())
        if left <= LARGEST_ERROR / 2:
            break
    return x, left, rounding


def _rounding_by_column(operand: Operand, x: Tensor, solver: Solver, finite: Tensor, noise: Tensor | None) -> float:
    """The same for each column with its own terms: columns of a graded matrix may have little in common."""
    if x.numel() * PROBES > _PROBED_ELEMENTS:
        return math.inf
    terms, scale = _terms(operand, x, noise)
    probes = gaussian(operand.units, PROBES, x)
    probed = (terms / scale).unsqueeze(-1) * probes.unsqueeze(-2)  # (..., n, c, probes)
    sizes = solver(probed.flatten(-2), rough=True).unflatten(-1, probed.shape[-2:]).square().mean(-1).sqrt()
    return _number(CERTAINTY * sizes.amax(-2, keepdim=True).where(finite, 0).amax())


def _terms(operand: Operand, x: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    """What rounding may have added to each residual, (..., n, c), and the largest entry of each column."""
    sizes = x.abs()
    terms = TERM_ROUNDINGS * torch.finfo(x.dtype).eps * (sizes + operand.absolute().forward(sizes))
    scale = sizes.amax(-2, keepdim=True)
    return terms if noise is None else terms + noise, torch.where(scale > 0, scale, 1)


def _number(error: Tensor) -> float:
    number = float(error)
    return math.inf if math.isnan(number) else number

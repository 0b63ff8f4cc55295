"""Walk sums, penalties and gradients in exact arithmetic, each with the error that is allowed to a dtype.

The bounds, in one place. For a matrix A with weights taken as exact numbers, eps of the dtype computed in (float32 for
halves), t its smallest positive number:

finite sums     (n + 4) (hops + 2) eps S, entry by entry: S is the sum with every number replaced by its absolute value.
                For its norms, over the o x i pairs, o i eps S more.
closed form     of finite sums: 2^-11 of S, by the norm of columns.
infinite sums   of every column (of rows, where the read-out is the narrower side) the norm of the error is at most
                256 n eps K and at most 2^-11 of |V||X|, with X = M^{-1} B, M = I - A, K = |V||M^{-1}| (|A||X| + |B|).
                (A series has the sum of |A^m B| instead of |X| in K.) Where a read-out picks nothing but zeros of X,
                what is left there of the rounding of the others is allowed. The same holds for the closed form.
                Between all pairs B is A, not I: a sum of small walks is small, and has digits of its own.
gradients       four times that of the sums with its own S, formed of the absolute values of all that it multiplies.
                Where an entry inside |.| may be zero within its bound, either sign is right.
underflow       any product may lose n t, anywhere along a walk: what leaves unit r is lost as |A|^a 1, and arrives as
                1' |A|^b: n t sum over a + b <= hops of (1 + |V||A|^a 1) (1 + 1'|A|^b|U|), for every pair.
overflow        a number whose bound reaches beyond the dtype may come out as anything; one that itself lies beyond
                must not come out finite. All others have to be right.
halves          once more rounded at the end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from support.exact import Exact, radius_is_below, total
from support.hurting_matrices import Weights

TOLERANCE = -11  # the power of two that no infinite sum's error may exceed
SERIES_HOPS = 4096  # within which a series is asked to end
_CLEAR_RADIUS = Fraction(999_999, 1_000_000)


def eps_of(dtype: torch.dtype) -> int:
    """The power of two that it is; halves are computed in float32."""
    return -52 if dtype == torch.float64 else -23


def smallest_of(dtype: torch.dtype) -> int:
    """The smallest positive number, as a power of two; halves are computed in float32."""
    return -1074 if dtype == torch.float64 else -149


@dataclass(frozen=True)
class Bounded:
    """What a result should be, how far it may be from it, and the sum of the sizes of all that was added."""

    exact: Exact
    bound: Exact
    size: Exact

    def check(self, what: str, actual: Tensor) -> None:
        """Raises AssertionError where ``actual``, a matrix or a number, is not within the bound."""
        dtype = actual.dtype
        values = actual.detach().cpu().double().reshape(self.exact.shape)
        bound = self.bound
        if dtype.itemsize == 2:
            slack = Exact.full(bound.shape, 1, -24 if dtype == torch.float16 else -133)
            bound = bound + (abs(self.exact) + bound).times(1, -11 if dtype == torch.float16 else -8) + slack
        largest = Exact.of(torch.finfo(dtype).max)
        within = abs(self.exact) + bound <= largest
        beyond = ~(abs(self.exact) - bound <= largest)
        finite = values.isfinite().numpy()
        close = abs(Exact.of(values.nan_to_num(0.0, 0.0, 0.0)) - self.exact) <= bound
        wrong = (within & ~(finite & close)) | (beyond & finite)
        if wrong.any():
            place = tuple(np.argwhere(wrong)[0])
            expected, allowed = (each.floats()[place] for each in (self.exact, bound))
            raise AssertionError(
                f"{what}: {int(wrong.sum())} of {wrong.size} wrong; at {tuple(map(int, place))} got "
                f"{values[place].item():.9g}, expected {expected:.9g}, allowed error {allowed:.3g}"
            )


class Graph:
    """A, B and C of sum_m C A^m B, and all that is known about it exactly."""

    def __init__(self, weights: Weights, rectify: bool) -> None:
        self.weights = weights
        self.dtype = weights.weight_hh.dtype
        alpha = Exact.of(weights.alpha)
        w, u, v = (
            None if each is None else Exact.of(each)
            for each in (weights.weight_hh, weights.weight_in, weights.weight_out)
        )
        assert w is not None
        phi = abs if rectify else (lambda matrix: matrix)
        self.signs = [None if each is None or not rectify else each.sign() for each in (w, u, v)]
        self.n = w.shape[0]
        self.alpha = alpha
        self.a = alpha * phi(w)
        self.between_all = u is None and v is None
        self.u = None if u is None else alpha * phi(u)
        self.v = self.a if self.between_all else None if v is None else alpha * phi(v)
        self.inputs = self.n if self.u is None else self.u.shape[1]
        self.outputs = self.n if self.v is None else self.v.shape[0]

    # ---------------------------------------------------------------------------------------------------- finite sums

    def walks(self, hops: int) -> list[Bounded]:
        """Every P_m; its bound is that of a sum over all hops."""
        chain = self.chain(hops, self.a, self.u)
        sizes = self.chain(hops, abs(self.a), None if self.u is None else abs(self.u))
        lost = self._lost(hops, sizes)
        factor = (self.n + 4) * (hops + 2)
        read = [self.read(size, absolute=True) for size in sizes]
        return [
            Bounded(self.read(x), size.times(factor, eps_of(self.dtype)) + each, size)
            for x, size, each in zip(chain, read, lost, strict=True)
        ]

    def closed_form(self, hops: int) -> Bounded:
        plain = added(self.walks(hops), [1.0] * hops)
        solution = total(self.chain(hops, abs(self.a), None if self.u is None else abs(self.u)))
        size = plain.size.sum(0)
        noise = self.read(Exact.full((self.n, 1), 1) @ solution.largest(0), absolute=True)
        noise = noise.times(256 * self.n, eps_of(self.dtype)).where(size <= Exact.full((1, 1)))
        return Bounded(plain.exact, size.times(1, TOLERANCE) + plain.bound + noise, plain.size)

    def stays_within(self, hops: int) -> bool:
        """Whether the chain from either side, and the squares of the walks, are within the dtype."""
        forwards = self.chain(hops, abs(self.a), None if self.u is None else abs(self.u))
        backwards = self.chain(hops, abs(self.a).mT, None if self.v is None else abs(self.v).mT)
        walks = [self.read(each, absolute=True) for each in forwards]
        largest = Exact.of(torch.finfo(torch.float64 if self.dtype == torch.float64 else torch.float32).max)
        numbers = [*forwards, *backwards, *(each * each for each in walks)]
        return all(bool((each <= largest).all()) for each in numbers)

    def chain(self, hops: int, a: Exact, u: Exact | None, lost: Exact | None = None) -> list[Exact]:
        """X_0 = U, X_{m+1} = A X_m; ``lost`` is added every time."""
        chain = [Exact.eye(self.n) if u is None else u]
        if lost is not None:
            chain[0] = chain[0] + lost
        while len(chain) < hops:
            chain.append(a @ chain[-1] if lost is None else a @ chain[-1] + lost)
        return chain

    def read(self, x: Exact, absolute: bool = False) -> Exact:
        if self.v is None:
            return x
        return (abs(self.v) if absolute else self.v) @ x

    def _lost(self, hops: int, sizes: list[Exact]) -> list[Exact]:
        """For every hop, what underflow may take."""
        a, n = abs(self.a), self.n
        ones = Exact.full((n, 1), 1)
        unit = Exact.full((1, 1), n + 2, smallest_of(self.dtype))
        arriving, inside, lost = Exact.full((1, self.inputs), 0), Exact.full((n, self.inputs), 0), []
        for size in sizes:
            arriving = arriving + size.sum(0) + Exact.full((1, self.inputs), 1)
            inside = a @ inside + ones @ arriving
            leaving = Exact.full((self.outputs, 1), 1) @ arriving
            lost.append(unit * (self.read(inside, absolute=True) + leaving))
        return lost

    # -------------------------------------------------------------------------------------------------- infinite sums

    def converges(self) -> bool:
        return radius_is_below(self.a, Fraction(1))

    def clearly_converges(self) -> bool:
        """The radius is below 1 - 1e-6, and stays so where every number of the matrix is off by 2^-40."""
        below = radius_is_below(self.a, _CLEAR_RADIUS)
        rng = random.Random(0)
        for _ in range(3 if below else 0):
            nudges = Exact.full(self.a.shape, 2**40)
            for place in np.ndindex(*self.a.shape):
                nudges.integers[place] += rng.choice((-1, 1))
            below = below and radius_is_below(self.a * nudges.times(1, -40), _CLEAR_RADIUS)
        return below

    def infinite(self) -> Infinite:
        """Needs a sum that converges."""
        if self.between_all:
            return Infinite(self.a, self.a, None, self.dtype, turned=False)
        if self.v is None or (self.u is not None and self.inputs <= self.outputs):
            assert self.u is not None
            return Infinite(self.a, self.u, self.v, self.dtype, turned=False)
        return Infinite(self.a.mT, self.v.mT, None if self.u is None else self.u.mT, self.dtype, turned=True)


class Infinite:
    """V X with (I - A) X = B; ``turned``: of the transposed problem, whose columns are the rows of the sum."""

    def __init__(self, a: Exact, b: Exact, v: Exact | None, dtype: torch.dtype, turned: bool) -> None:
        self.n, self.a, self.b, self.v, self.dtype, self.turned = a.shape[0], a, b, v, dtype, turned
        eye = Exact.eye(self.n)
        self.inverse = (eye - a).solve(eye)
        self.x = (eye - a).solve(b)
        self.result = self.x if v is None else v @ self.x
        size, error = (self._read(each).sum(0) for each in (abs(self.x), self.x_error(abs(self.x))))
        self.size, self.error = size, error
        arriving = Exact.full((1, b.shape[1]), 1) + (abs(self.inverse) @ abs(b)).sum(0)
        leaving = Exact.full((self.result.shape[0], 1), 1) + self._read(abs(self.inverse)).sum(1)
        self.lost = (leaving @ arriving) * Exact.full((1, 1), self.n + 2, smallest_of(dtype))

    def x_error(self, sizes: Exact) -> Exact:
        """Of the solution, for each unit of rounding, where numbers of these sizes are added."""
        return abs(self.inverse) @ (abs(self.a) @ sizes + abs(self.b))

    def is_easy(self) -> bool:
        """Whether a condition of 1000 / n is enough for every column."""
        return bool((self.error.times(self.n) <= self.size.times(1000)).all())

    def is_tame(self) -> bool:
        """Whether the condition number of I - A, which knows nothing of units that differ in scale, is at most 1000."""
        norms = [abs(each).sum(1).largest(0) for each in (Exact.eye(self.n) - self.a, self.inverse)]
        return bool((norms[0] * norms[1] <= Exact.full((1, 1), 1000)).all())

    def sizes_of_terms(self, hops: int) -> Exact | None:
        """Roughly |B| + |A B| + |A^2 B| + ... as far as floats go; None where that does not end within ``hops``."""
        a, term = self.a.floats(), self.b.floats()
        sizes = np.zeros_like(term)
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(hops):
                sizes = sizes + np.abs(term)
                term = a @ term
                if not np.abs(term).sum() > 1e-30 * np.abs(sizes).sum():
                    break
            else:
                return None
        return Exact.of(torch.from_numpy(sizes)) if np.isfinite(sizes).all() else None

    def sum(self, series: bool) -> Bounded:
        """Bounded by columns, or by rows where turned."""
        bound = self._column_bound(series) + self.lost
        parts = self.result, bound, abs(self.result) + bound
        return Bounded(*(each.mT for each in parts)) if self.turned else Bounded(*parts)

    def norm(self, pair_weights: Exact, squared: bool, series: bool) -> Bounded:
        pair_weights = pair_weights.mT if self.turned else pair_weights
        bound = self._column_bound(series)
        sizes = abs(self.result) + self.lost
        exact = pair_weights * (self.result * self.result if squared else abs(self.result))
        # No entry is further off than its column, and all together are not either.
        error = pair_weights.largest(0) * (bound * (sizes.largest(0).times(2) + bound) if squared else bound)
        lost = pair_weights * (self.lost * (sizes.times(2) + bound) if squared else self.lost)
        size = (pair_weights * (sizes * sizes if squared else sizes)).sum()
        rounding = rounding_of_norm(self.result.shape, size, self.dtype)
        return Bounded(exact.sum(), error.sum() + lost.sum() + rounding, size)

    def _read(self, x: Exact) -> Exact:
        return x if self.v is None else abs(self.v) @ x

    def _column_bound(self, series: bool) -> Exact:
        """A series rounds its terms, which may be larger than their sum."""
        most = self.size.times(1, TOLERANCE)
        terms = self.sizes_of_terms(SERIES_HOPS) if series else abs(self.x)
        if terms is None:
            return most
        error = self.x_error(terms)
        unit = 256 * self.n
        bound = self._read(error).sum(0).times(unit, eps_of(self.dtype)).minimum(most)
        noise = self._read(Exact.full((self.n, 1), 1) @ error.largest(0)).sum(0).times(unit, eps_of(self.dtype))
        return bound + noise.where(self.size <= Exact.full((1, 1)))


def added(terms: list[Bounded], hop_weights: list[float]) -> Bounded:
    """The weighted sum of the hops."""
    factors = [Exact.of(weight) for weight in hop_weights]
    sizes = [abs(factor) for factor in factors]
    return Bounded(
        total([factor * term.exact for factor, term in zip(factors, terms, strict=True)]),
        total([size * term.bound for size, term in zip(sizes, terms, strict=True)]),
        total([size * term.size for size, term in zip(sizes, terms, strict=True)]),
    )


def norm_of(walks: Bounded, pair_weights: Exact, squared: bool, dtype: torch.dtype) -> Bounded:
    """The sum of D|M| or D M^2 over all entries."""
    exact = pair_weights * (walks.exact * walks.exact if squared else abs(walks.exact))
    bound = pair_weights * walks.bound
    if squared:
        bound = bound * (abs(walks.exact).times(2) + walks.bound)
    size = (pair_weights * (walks.size * walks.size if squared else walks.size)).sum()
    return Bounded(exact.sum(), bound.sum() + rounding_of_norm(walks.exact.shape, size, dtype), size)


def rounding_of_norm(shape: tuple[int, ...], size: Exact, dtype: torch.dtype) -> Exact:
    """That of adding up the entries, and what underflows."""
    pairs = shape[0] * shape[1] + 4
    return size.times(pairs, eps_of(dtype)) + Exact.full((1, 1), pairs, smallest_of(dtype))

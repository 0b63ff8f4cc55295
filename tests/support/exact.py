"""Matrices of dyadic rationals: what floats are, and what sums of products of floats stay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
from torch import Tensor

Integers = npt.NDArray[Any]  # of Python's own, which never overflow

# What lies this many bits below the largest number of a matrix is dropped: float64 reaches over 2100.
_BITS = 3000
_many_digits = mpmath.MPContext()
_many_digits.dps = 1000


@dataclass(frozen=True, eq=False)
class Exact:
    """The matrix ``integers * 2 ** exponent``. Immutable; every operation is exact but for what _BITS drops."""

    integers: Integers
    exponent: int

    @staticmethod
    def of(values: Tensor | float) -> Exact:
        """A matrix of finite floats; a number is 1 x 1."""
        rows = values.detach().cpu().double().tolist() if isinstance(values, Tensor) else [[float(values)]]
        shape = tuple(values.shape) if isinstance(values, Tensor) else (1, 1)
        ratios = [number.as_integer_ratio() for number in _flat(rows)]
        finest = max((denominator for _, denominator in ratios), default=1)
        integers = _array([numerator * (finest // denominator) for numerator, denominator in ratios], shape)
        return Exact(integers, 1 - finest.bit_length())

    @staticmethod
    def full(shape: tuple[int, ...], value: int = 0, exponent: int = 0) -> Exact:
        integers = np.empty(shape, dtype=object)
        integers.fill(value)
        return Exact(integers, exponent)

    @staticmethod
    def eye(n: int) -> Exact:
        integers = Exact.full((n, n)).integers
        for place in range(n):
            integers[place, place] = 1
        return Exact(integers, 0)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.integers.shape

    @property
    def mT(self) -> Exact:
        return Exact(self.integers.T, self.exponent)

    def __matmul__(self, other: Exact) -> Exact:
        if self.shape[1] == 0:
            return Exact.full((self.shape[0], other.shape[1]))
        return Exact(self.integers @ other.integers, self.exponent + other.exponent)._trimmed()

    def __mul__(self, other: Exact) -> Exact:
        """Entry by entry, with broadcasting."""
        return Exact(self.integers * other.integers, self.exponent + other.exponent)._trimmed()

    def times(self, factor: int, exponent: int = 0) -> Exact:
        """``factor * 2 ** exponent`` times this."""
        return Exact(self.integers * factor, self.exponent + exponent)

    def __add__(self, other: Exact) -> Exact:
        mine, its, exponent = _aligned(self, other)
        return Exact(mine + its, exponent)._trimmed()

    def __sub__(self, other: Exact) -> Exact:
        return self + other.times(-1)

    def __abs__(self) -> Exact:
        return Exact(np.abs(self.integers), self.exponent)

    def __le__(self, other: Exact) -> npt.NDArray[np.bool_]:
        mine, its, _ = _aligned(self, other)
        return np.asarray(mine <= its, dtype=bool)

    def sign(self) -> Exact:
        return Exact(_array([(x > 0) - (x < 0) for x in self.integers.flat], self.shape), 0)

    def where(self, mask: npt.NDArray[np.bool_]) -> Exact:
        """This where the mask is true, else 0."""
        return Exact(np.where(mask, self.integers, 0), self.exponent)

    def minimum(self, other: Exact) -> Exact:
        mine, its, exponent = _aligned(self, other)
        return Exact(np.where(np.asarray(mine <= its, dtype=bool), mine, its), exponent)

    def sum(self, axis: int | None = None) -> Exact:
        """1 x 1, or with one row (axis 0) or one column (axis 1)."""
        if axis is None:
            return Exact(_array([sum(self.integers.flat)], (1, 1)), self.exponent)
        lines = self.integers.T if axis == 0 else self.integers
        sums = _array([sum(line) for line in lines], (len(lines), 1))
        return Exact(sums.T if axis == 0 else sums, self.exponent)

    def largest(self, axis: int) -> Exact:
        """The largest entry of every column (axis 0) or row (axis 1), which are not negative."""
        lines = self.integers.T if axis == 0 else self.integers
        most = _array([max(line, default=0) for line in lines], (len(lines), 1))
        return Exact(most.T if axis == 0 else most, self.exponent)

    def solve(self, right: Exact) -> Exact:
        """self^{-1} right, to _BITS bits, by elimination without fractions (Bareiss)."""
        n, columns = right.shape
        if n == 0 or columns == 0:
            return right
        rows = np.concatenate([self.integers, right.integers], axis=1)
        before = 1
        for step in range(n):
            pivot = next(row for row in range(step, n) if rows[row, step] != 0)  # else the matrix is singular
            rows[[step, pivot]] = rows[[pivot, step]]
            others = [row for row in range(n) if row != step]
            rows[others] = (
                rows[step, step] * rows[others] - rows[others, step][:, None] * rows[step]
            ) // before  # exact
            before = rows[step, step]
        numerators = rows[:, n:]
        room = max(0, _BITS + before.bit_length() - _width(numerators))
        quotients = _array([(x << room) // before for x in numerators.flat], (n, columns))
        return Exact(quotients, right.exponent - self.exponent - room)

    def floats(self) -> npt.NDArray[np.float64]:
        numbers = [_float(x, self.exponent) for x in self.integers.flat]
        return np.array(numbers, dtype=np.float64).reshape(self.shape)

    def _trimmed(self) -> Exact:
        width = _width(self.integers)
        excess = width - _BITS
        if excess < _BITS // 4:
            return self if width else Exact(self.integers, 0)
        towards_zero = [x >> excess if x >= 0 else -(-x >> excess) for x in self.integers.flat]
        return Exact(_array(towards_zero, self.shape), self.exponent + excess)


def total(matrices: list[Exact]) -> Exact:
    result = matrices[0]
    for each in matrices[1:]:
        result = result + each
    return result


def radius_is_below(matrix: Exact, limit: Fraction) -> bool:
    """Whether the spectral radius is, by the characteristic polynomial and the criterion of Schur and Cohn.

    No eigenvalue is computed, so defective ones do no harm. A radius within some 1e-300 of the limit is not below it.
    """
    n = matrix.shape[0]
    if n == 0:
        return True
    # The coefficients of det(z I - B), B the integers, exactly (Faddeev and Le Verrier), from the leading one down.
    coefficients, product = [1], Exact.eye(n).integers
    for k in range(1, n + 1):
        image = matrix.integers @ product
        coefficients.append(-sum(image.diagonal()) // k)
        product = image + coefficients[-1] * Exact.eye(n).integers
    # Those of the matrix over the limit.
    scale = _many_digits.ldexp(1, matrix.exponent) * limit.denominator / limit.numerator
    polynomial = [coefficient * scale**k for k, coefficient in enumerate(coefficients)]
    while len(polynomial) > 1:
        reflection = polynomial[-1] / polynomial[0]
        if abs(reflection) >= 1 - _many_digits.mpf(10) ** -300:
            return False
        polynomial = [a - reflection * b for a, b in zip(polynomial, reversed(polynomial), strict=True)][:-1]
    return True


def _aligned(one: Exact, other: Exact) -> tuple[Integers, Integers, int]:
    exponent = min(one.exponent, other.exponent)
    return one.integers << (one.exponent - exponent), other.integers << (other.exponent - exponent), exponent


def _width(integers: Integers) -> int:
    """Bits of the largest."""
    return max((abs(x).bit_length() for x in integers.flat), default=0)


def _array(numbers: list[Any], shape: tuple[int, ...]) -> Integers:
    """Never of int64, which would overflow."""
    result = np.empty(len(numbers), dtype=object)
    result[:] = numbers
    return result.reshape(shape)


def _float(integer: int, exponent: int) -> float:
    excess = max(0, abs(integer).bit_length() - 64)
    try:
        return math.ldexp(integer >> excess, exponent + excess)
    except OverflowError:
        return math.inf if integer > 0 else -math.inf


def _flat(nested: Any) -> list[float]:
    return [number for inner in nested for number in _flat(inner)] if isinstance(nested, list) else [nested]

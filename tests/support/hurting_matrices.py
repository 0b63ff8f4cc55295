"""Matrices made to hurt, by kind, as hypothesis strategies."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from support.device import DEVICE

Rows = list[list[float]]
Family = Callable[[st.DrawFn, random.Random, int, torch.dtype], Rows]

NEAR_ONE = tuple(1 + sign * 10.0**-digits for digits in (3, 6, 9, 12) for sign in (-1, 1))
RADII = (0.5, 0.9, 1.0, *NEAR_ONE)


@dataclass(frozen=True)
class Weights:
    """The weights of one graph, rounded to their dtype, on the device of the tests."""

    weight_hh: Tensor
    weight_in: Tensor | None
    weight_out: Tensor | None
    alpha: float

    def given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("weight_hh", "weight_in", "weight_out", "alpha")}


def hump(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """Nilpotent: a chain whose walks fade and then grow, its units in any order, perhaps beside others that shrink."""
    fading, growing = draw(st.sampled_from(((2.0**-1, 2.0), (2.0**-12, 2.0**14), (2.0**-4, 2.0**3), (2.0**6, 2.0**-9))))
    length = n if draw(st.booleans()) else (n + 1) // 2
    gains = [fading if k < 2 * length // 5 else growing for k in range(length - 1)]
    matrix = _zeros(n)
    for k, gain in enumerate(gains):
        matrix[k + 1][k] = gain * rng.choice((-1, 1))
    for k in range(length, n):  # the others
        matrix[k][length + rng.randrange(n - length)] = 0.5
    if draw(st.booleans()):  # short cuts, which leave it nilpotent
        for k in range(0, length - 2, 2):
            matrix[k + 2][k] = rng.uniform(-1, 1)
    return _reordered(matrix, rng)


def defective(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """Jordan blocks, plain, rotated, or in a lopsided basis."""
    eigenvalue = draw(st.sampled_from((0.0, 0.5, -0.5, 0.9, -0.9, 0.999, *NEAR_ONE)))
    coupling = draw(st.sampled_from((1.0, 0.1, 8.0)))
    matrix = _zeros(n)
    for k in range(n):
        matrix[k][k] = eigenvalue
        if k and k != n // 2:
            matrix[k - 1][k] = coupling
    basis = draw(st.sampled_from(("plain", "rotated", "lopsided")))
    if basis == "rotated":
        for k in range(n - 1):
            matrix = _rotated(matrix, k, k + 1, rng.uniform(0, 2 * math.pi))
    if basis == "lopsided":  # E^{-1} M E with E = I + c e_row e_column'
        for _ in range(n if n > 1 else 0):
            row, column = rng.sample(range(n), 2)
            c = rng.choice((-2, -1, 1, 2))
            for k in range(n):
                matrix[k][column] += c * matrix[k][row]
            for k in range(n):
                matrix[row][k] -= c * matrix[column][k]
    return matrix


def rotating(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """Complex pairs of one modulus: signed permutations, quarter turns, any turns."""
    radius = draw(st.sampled_from(RADII))
    matrix = _zeros(n)
    if draw(st.booleans()):
        for row, column in enumerate(rng.sample(range(n), n)):
            matrix[row][column] = radius * rng.choice((-1, 1))
        return matrix
    quarter = draw(st.booleans())
    for k in range(0, n - 1, 2):
        angle = math.pi / 2 if quarter else rng.uniform(0, math.pi)
        cos, sin = (0.0 if quarter else radius * math.cos(angle)), radius * math.sin(angle)
        matrix[k][k], matrix[k][k + 1], matrix[k + 1][k], matrix[k + 1][k + 1] = cos, sin, -sin, cos
    if n % 2:
        matrix[n - 1][n - 1] = rng.choice((-1, 1)) * radius
    return _reordered(matrix, rng)


def stochastic(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """Rows that sum to the radius: I - A is singular, or nearly so."""
    radius = draw(st.sampled_from(RADII))
    matrix = _zeros(n)
    for row in matrix:
        drawn = torch.tensor([rng.random() + 1e-3 for _ in row], dtype=torch.float64).to(dtype)
        row[:] = (drawn / drawn.sum()).double().mul(radius).tolist()
    return matrix


def graded(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """A tame matrix in units that differ by up to 10^60 (float32: 10^30, halves: 10^4)."""
    most = {torch.float64: 60, torch.float32: 30}.get(dtype, 4)
    digits = draw(st.sampled_from((most, most // 2, min(most, 6))))
    tame = [[rng.uniform(-1, 1) * 0.95 / n for _ in range(n)] for _ in range(n)]
    scales = [10.0 ** (digits * k / max(n - 1, 1)) for k in range(n)]
    rng.shuffle(scales)
    return [[tame[r][c] * (scales[r] / scales[c]) for c in range(n)] for r in range(n)]


def permutation(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """Radius 1 exactly, or half of it."""
    size = draw(st.sampled_from((1.0, 0.5)))
    matrix = _zeros(n)
    for row, column in enumerate(rng.sample(range(n), n)):
        matrix[row][column] = size
    return matrix


def rank_one(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """x y', whose radius is |y' x|, with a norm that may be far larger."""
    radius = draw(st.sampled_from(RADII))
    x = [rng.uniform(0.5, 1) for _ in range(n)]
    y = [rng.uniform(0.5, 1) * (rng.choice((-1, 1)) if draw(st.booleans()) else 1) for _ in range(n)]
    inner = sum(a * b for a, b in zip(x, y, strict=True)) or 1.0
    return [[radius * a * b / inner for b in y] for a in x]


def denormal(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """Numbers at the lower end of the dtype, alone or among others."""
    info = torch.finfo(dtype)
    smallest = info.smallest_normal * info.eps
    tiny = [smallest, 3 * smallest, info.smallest_normal, 1.5 * info.smallest_normal, info.smallest_normal**0.5]
    others = draw(st.sampled_from(((), (0.0,), (0.5, 0.0), (1e-9, 0.25), (info.eps,))))
    return [[rng.choice((-1, 1)) * rng.choice((*tiny, *others)) / (1 + 0.5 * n) for _ in range(n)] for _ in range(n)]


def zeros(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """Mostly exact zeros; what is left is triangular after a change of order but for one small loop, and not small."""
    size = draw(st.sampled_from((0.5, 2.0, 30.0)))
    matrix = _zeros(n)
    for row in range(n):
        for column in range(row):
            if rng.random() < 0.4:
                matrix[row][column] = size * rng.uniform(-1, 1)
    if n:
        matrix[rng.randrange(n)][rng.randrange(n)] += draw(st.sampled_from((0.0, 1e-3, -0.5)))
    return _reordered(matrix, rng)


def growing(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """Radius above 1: sums that have no limit, and terms that cancel or overflow before long."""
    size = draw(st.sampled_from((1.5, -6.0, 40.0)))
    return [[size * (float(r == c) * rng.uniform(0.5, 1) + rng.uniform(-0.1, 0.1)) for c in range(n)] for r in range(n)]


def small_gains(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """Far below rounding of 1: I - A is I."""
    size = draw(st.sampled_from((1e-4, 1e-9, 1e-17, 1e-30)))
    return [[size * rng.uniform(-1, 1) for _ in range(n)] for _ in range(n)]


def tiny(draw: st.DrawFn, rng: random.Random, n: int, dtype: torch.dtype) -> Rows:
    """No unit, one or two, and every number that could mean something."""
    n = draw(st.sampled_from((0, 1, 1, 2)))
    number = st.sampled_from((0.0, -0.0, 0.5, -0.75, 2.0, -1.0, *RADII, 1e-9, -3e4))
    return [[draw(number) for _ in range(n)] for _ in range(n)]


FAMILIES: dict[str, Family] = {
    family.__name__: family
    for family in (
        hump,
        defective,
        rotating,
        stochastic,
        graded,
        permutation,
        rank_one,
        denormal,
        zeros,
        growing,
        small_gains,
        tiny,
    )
}


@dataclass(frozen=True)
class Sizes:
    """Of units, inputs and outputs; None: that side is not given."""

    n: int
    i: int | None
    o: int | None


NARROW = (None, None, 1, 2, 4)
SIZES = st.builds(Sizes, st.sampled_from((2, 3, 5, 8, 12)), st.sampled_from(NARROW), st.sampled_from(NARROW))


@st.composite
def weights(draw: st.DrawFn, family: str, dtype: torch.dtype, sizes: Sizes | None = None) -> Weights:
    """A matrix of the family with any of the two sides. Of tiny, the number of units is its own."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    if sizes is None:
        sizes = draw(SIZES)
    rows = FAMILIES[family](draw, rng, sizes.n, dtype)
    n, i, o = len(rows), sizes.i, sizes.o
    weight_hh = _tensor(rows, (n, n), dtype)
    weight_in = None if i is None else _tensor(_side(draw, rng, n, i), (n, i), dtype)
    weight_out = None if o is None else _tensor(_side(draw, rng, n, o), (n, o), dtype).mT.contiguous()
    alpha = draw(st.sampled_from((1.0, 1.0, 0.75, 0.9)))
    return Weights(weight_hh, weight_in, weight_out, alpha)


def _side(draw: st.DrawFn, rng: random.Random, n: int, columns: int) -> Rows:
    """n x columns: random, or each column picks a unit, or sizes that have nothing to do with one another."""
    kind = draw(st.sampled_from(("random", "picks", "uneven")))
    if kind == "random":
        return [[rng.gauss(0, 1) for _ in range(columns)] for _ in range(n)]
    if kind == "picks":
        picked = [rng.randrange(n) if n else 0 for _ in range(columns)]
        return [[float(row == unit) for unit in picked] for row in range(n)]
    return [[rng.choice((0.0, 1.0, -1.0, 1e-3, 1e3, -1e-4)) for _ in range(columns)] for _ in range(n)]


def _tensor(rows: Rows, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).reshape(shape).to(DEVICE, dtype)


def _zeros(n: int) -> Rows:
    return [[0.0] * n for _ in range(n)]


def _reordered(matrix: Rows, rng: random.Random) -> Rows:
    """The units renamed."""
    order = rng.sample(range(len(matrix)), len(matrix))
    return [[matrix[r][c] for c in order] for r in order]


def _rotated(matrix: Rows, first: int, second: int, angle: float) -> Rows:
    """G M G' for the rotation in one plane."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned = [list(row) for row in matrix]
    turned[first] = [cos * a - sin * b for a, b in zip(matrix[first], matrix[second], strict=True)]
    turned[second] = [sin * a + cos * b for a, b in zip(matrix[first], matrix[second], strict=True)]
    for row in turned:
        row[first], row[second] = cos * row[first] - sin * row[second], sin * row[first] + cos * row[second]
    return turned

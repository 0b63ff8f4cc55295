"""Bounds of the spectral radius, and of norms of powers, of a matrix that is seen by its products alone.

    Collatz & Wielandt   min (A x)_i / x_i <= rho <= max (A x)_i / x_i for an irreducible A >= 0 and any x > 0: certain
    probes               ||A^k|| from what A^k makes of Gaussian vectors, whatever A is: but for a stated probability

A graph that is reducible is given by its strong components, without the edges between them: the radius is the largest
of theirs, and each has bounds of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext._errors import ResolventConditionError
from rrnn_ext.infinite.krylov import solve_by_products
from rrnn_ext.infinite.operands import Operand
from rrnn_ext.infinite.probes import gaussian

PROBE_COLUMNS = 16
# ||B|| <= PROBE_FACTOR max_j ||B z_j|| for Gaussian z_j but with a probability of 5.7^-16 < 1e-12, whatever B is
# (Halko, Martinsson & Tropp 2011, Lemma 4.1, where 5.7 is called alpha).
PROBE_FACTOR = 5.7 * math.sqrt(2 / math.pi)

_POWER_STEPS = 24  # of a power iteration, before systems are solved
_INVERSE_STEPS = 12
_SHIFT = 0.5  # of the radius, lest a cycle turn the vector round and round
_SYSTEM_TOLERANCE = 1e-6
_SYSTEM_PRODUCTS = 240
_LEAST = 1e-150  # of a component's largest entry


class Bounds(NamedTuple):
    """Of a spectral radius."""

    lower: float
    upper: float


def bounds_of_nonnegative(operand: Operand, components: Tensor, tolerance: float, *, of_one: bool = False) -> Bounds:
    """Of A >= 0 in float64, (n, n), without edges between its ``components`` (n,): certain, rounding included.

    Until they are ``tolerance`` times the upper one apart, or, ``of_one``, until they say on which side of 1 the radius
    is; what a power iteration does not reach, Noda's inverse iteration does (Noda 1971), which converges quadratically.
    What neither reaches is still a bound.
    """
    n = operand.units
    if n == 0:
        return Bounds(0.0, 0.0)
    state = _ByComponents(operand, components.long())
    for step in range(_POWER_STEPS + 3 * _INVERSE_STEPS):
        bounds = state.look()
        if bounds.upper - bounds.lower <= (tolerance + 3 * state.rounding) * bounds.upper:
            break
        if of_one and (bounds.upper < 1 or bounds.lower >= 1):
            break
        if step < _POWER_STEPS or (step - _POWER_STEPS) % 3 or not state.inverse_step(tolerance):
            state.power_step()
    return bounds


class _ByComponents:
    """A positive vector, and what A makes of it, for each component by itself."""

    def __init__(self, operand: Operand, components: Tensor) -> None:
        self.operand, self.components = operand, components
        count = int(components.max()) + 1
        self.vector = torch.ones(operand.units, dtype=torch.float64, device=components.device)
        self.lower = self.vector.new_zeros(count)
        self.upper = self.vector.new_full((count,), torch.inf)
        # A sum of positive products is right to a rounding for each, and a ratio has two more.
        self.rounding = (operand.units + 2) * torch.finfo(torch.float64).eps / 2

    def look(self) -> Bounds:
        self.image = self.operand.forward(self.vector.unsqueeze(-1)).squeeze(-1)
        ratios = (self.image / self.vector).nan_to_num(nan=torch.inf)
        self.lower = self.lower.maximum(self._reduced(ratios, "amin"))
        self.upper = self.upper.minimum(self._reduced(ratios, "amax"))
        lower, upper = float(self.lower.max()), float(self.upper.max())
        return Bounds(lower * (1 - self.rounding), upper * (1 + self.rounding))

    def power_step(self) -> None:
        shift = _SHIFT * self.upper.where(self.upper.isfinite(), 1).index_select(0, self.components)
        self._take(self.image + shift * self.vector)

    def inverse_step(self, tolerance: float) -> bool:
        """A step of inverse iteration in each component that the bounds of the whole are still open for."""
        open_for = (self.upper > (1 + tolerance) * self.lower.max()) & self.upper.isfinite()
        shrinking = torch.where(open_for, 1 / self.upper, 0).index_select(0, self.components).unsqueeze(-1)
        right = self.vector.unsqueeze(-1)
        try:
            found = solve_by_products(
                _Scaled(self.operand, shrinking), right, tolerance=_SYSTEM_TOLERANCE, most_products=_SYSTEM_PRODUCTS
            )
        except ResolventConditionError:
            return False
        self._take(found.squeeze(-1))
        return True

    def _take(self, vector: Tensor) -> None:
        largest = self._reduced(vector, "amax").index_select(0, self.components)
        self.vector = (vector / torch.where(largest > 0, largest, 1)).nan_to_num(nan=0.0).clamp(_LEAST, 1)

    def _reduced(self, values: Tensor, how: str) -> Tensor:
        empty = torch.zeros_like(self.lower)
        return empty.scatter_reduce(0, self.components, values, how, include_self=False)


class _Scaled:
    """diag(d) A of an operand A and d (n, 1)."""

    def __init__(self, operand: Operand, factors: Tensor) -> None:
        self._operand, self._factors = operand, factors

    @property
    def units(self) -> int:
        return self._operand.units

    @property
    def dtype(self) -> torch.dtype:
        return self._operand.dtype

    def forward(self, vectors: Tensor) -> Tensor:
        return self._factors * self._operand.forward(vectors)

    def transposed(self, vectors: Tensor) -> Tensor:
        return self._operand.transposed(self._factors * vectors)

    def absolute(self) -> _Scaled:
        return _Scaled(self._operand.absolute(), self._factors.abs())

    def in_float64(self) -> _Scaled:
        return _Scaled(self._operand.in_float64(), self._factors.double())

    def poison(self) -> Tensor:
        return self._operand.poison()


class Power(NamedTuple):
    """A^hops as probes see it: ``images`` exp(``log_scale``) = A^hops Z for Gaussian Z (n, 16)."""

    hops: int
    images: Tensor
    log_scale: float

    @property
    def log_bound(self) -> float:
        """The logarithm of a bound of ||A^hops||_2, but with a probability below 1e-12; infinite where it overflows."""
        size = largest_length(self.images)
        if size == 0:
            return -math.inf
        return math.log(PROBE_FACTOR * size) + self.log_scale if math.isfinite(size) else math.inf


def largest_length(vectors: Tensor) -> float:
    """Of (n, c)."""
    return float(torch.linalg.vector_norm(vectors, dim=0).amax()) if vectors.numel() else 0.0


def probed_powers(operand: Operand) -> Iterator[Power]:
    """A, A^2, A^3, .. of an operand in float64, without end. Where A was made with regard to the probes, which are the
    same at every call, no probability holds."""
    device = operand.poison().device
    images = gaussian(operand.units, PROBE_COLUMNS, torch.empty(0, dtype=torch.float64, device=device))
    log_scale, hops = 0.0, 0
    while True:
        images, hops = operand.forward(images), hops + 1
        yield Power(hops, images, log_scale)
        size = largest_length(images)
        if 0 < size < math.inf:
            images, log_scale = images / size, log_scale + math.log(size)

"""The proof before an infinite sum that it converges, by products with the matrix alone; or an error.

In the order in which they are tried, the last two for the edges that a cycle can pass:

    norm         ||A||_1 or ||A||_inf < 1                                certain
    of |A|       the bounds of Collatz and Wielandt for rho(|A|)         certain; for a nonnegative A they decide where
                                                                         they meet, as in strong components they do
    probes       ||A^k|| < 1 for k = 1, 2, 4, ..                         but for a probability below 1e-10

rrnn_ext.infinite.bounds has what they are made of, and rrnn_ext.infinite.margins how sure each of them has to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from rrnn_ext._errors import ResolventDivergenceError
from rrnn_ext.infinite.bounds import Bounds, bounds_of_nonnegative, probed_powers
from rrnn_ext.infinite.margins import HOPELESS, HOPELESS_AT_FIRST, SHRUNK, norm_rounding
from rrnn_ext.infinite.operands import Operand
from rrnn_ext.infinite.radius import spectral_radius

_MOST_HOPS = 2**15
_FIRST_LOOK, _LATER_LOOK = 64, 1024  # at how fast probes grow
_RADIUS_TOLERANCE = 1e-9  # of what an error says
_MET = 1e-6  # of the upper bound: bounds that are so close decide


class Signed(Operand, Protocol):
    """An operand that knows its signs."""

    def is_nonnegative(self) -> bool: ...


Matrix = TypeVar("Matrix", bound=Signed)


class Cycles(NamedTuple):
    """What decides whether the walks of A have a sum: its strong components, or all units as one, and the edges within
    them, in float64."""

    components: Tensor  # (n,) int64
    operand: Operand

    def bounds_of_absolute(self, tolerance: float, *, of_one: bool = False) -> Bounds:
        """Of rho(|A|), certain."""
        return bounds_of_nonnegative(self.operand.absolute(), self.components, tolerance, of_one=of_one)


def norm_of(operand: Operand) -> float:
    """The smaller one of ||A||_1 and ||A||_inf."""
    if operand.units == 0:
        return 0.0
    absolute = operand.absolute()
    ones = torch.ones(operand.units, 1, dtype=operand.dtype, device=operand.poison().device)
    return float(torch.minimum(absolute.forward(ones).amax(), absolute.transposed(ones).amax()))


def prove_by_products(operand: Matrix, cycles_of: Callable[[Matrix], Cycles], alpha: float, rectify: bool) -> None:
    """Raises ResolventDivergenceError unless rho < 1 was proved. A with NaN or Inf passes: its sum is no number.

    ``cycles_of`` is asked of the operand in float64 where its norm says nothing.
    """
    wide = operand.in_float64()
    norm = norm_of(wide)
    if norm < 1 - norm_rounding(operand.units, torch.float64) or not bool(wide.poison().isfinite()):
        return
    cycles = cycles_of(wide)
    absolute = cycles.bounds_of_absolute(_RADIUS_TOLERANCE, of_one=True)
    if absolute.upper < 1:
        return
    if wide.is_nonnegative():
        absolute = cycles.bounds_of_absolute(_RADIUS_TOLERANCE)
        if absolute.lower >= 1 or absolute.upper - absolute.lower <= _MET * absolute.upper:
            radius = max(absolute.lower, min(absolute.upper, 1.0))
            raise ResolventDivergenceError(radius, alpha, rectify, None, absolute.upper)
    least_bound = absolute.upper
    before = 0.0
    for power in probed_powers(cycles.operand):
        hops = power.hops
        if hops & (hops - 1):
            continue
        log_bound = power.log_bound
        if log_bound < math.log(SHRUNK):
            return
        least_bound = min(least_bound, math.exp(min(log_bound / hops, 700.0)))
        growth = (log_bound - before) / max(1, hops // 2)
        before = log_bound
        if hops >= _MOST_HOPS or (hops >= _FIRST_LOOK and _is_hopeless(cycles.operand, hops, growth)):
            break
    radius = spectral_radius(cycles.operand, _RADIUS_TOLERANCE).radius
    raise ResolventDivergenceError(radius, alpha, rectify, None, max(radius, least_bound))


def _is_hopeless(operand: Operand, hops: int, growth: float) -> bool:
    """Whether the radius seems to be too large for a proof."""
    if growth >= math.log(HOPELESS_AT_FIRST if hops < _LATER_LOOK else HOPELESS):
        return True
    return hops == 4 * _FIRST_LOOK and spectral_radius(operand, 1e-4).radius >= HOPELESS

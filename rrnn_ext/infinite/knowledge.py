"""What products with a matrix alone tell of its walks: bounds of the radius, and of what truncation leaves out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from rrnn_ext.infinite.bounds import bounds_of_nonnegative, probed_powers
from rrnn_ext.infinite.operands import Operand
from rrnn_ext.infinite.radius import spectral_radius
from rrnn_ext.infinite.tails import probed_tail, tail_of_nonnegative

_TOLERANCE = 1e-10
_MOST_HOPS = 2**12
_CLOSE = 1.01  # of the upper bound to the estimate of the radius


class Knowledge(NamedTuple):
    """Of one matrix; rrnn_ext.ResolventInfo says how sure each is."""

    radius: float
    lower: float
    upper: float
    tail: float | None


def known_of(whole: Operand, cycles: Operand, components: Tensor, nonnegative: bool, hops: int | None) -> Knowledge:
    """Of ``whole``, in float64, of whose edges those within its ``components`` (n,) are in ``cycles``."""
    if not bool(whole.poison().isfinite()):
        return Knowledge(math.nan, math.nan, math.nan, None if hops is None else math.inf)
    absolute = bounds_of_nonnegative(cycles.absolute(), components, _TOLERANCE)
    if nonnegative:
        tail = None if hops is None else _tail(absolute.upper, lambda: tail_of_nonnegative(whole.absolute(), hops))
        return Knowledge((absolute.lower + absolute.upper) / 2, *absolute, tail)
    radius = min(spectral_radius(cycles, _TOLERANCE).radius, absolute.upper)
    upper = absolute.upper
    for power in probed_powers(cycles):
        if power.hops & (power.hops - 1) == 0:
            upper = min(upper, math.exp(min(power.log_bound / power.hops, 700.0)))
        if power.hops >= _MOST_HOPS or upper <= _CLOSE * radius:
            break
    upper = max(upper, radius)
    if hops is None:
        return Knowledge(radius, 0.0, upper, None)
    tails = [_tail(upper, lambda: probed_tail(whole, hops))]
    tails.append(_tail(absolute.upper, lambda: tail_of_nonnegative(whole.absolute(), hops)))
    return Knowledge(radius, 0.0, upper, min(tails))


def _tail(upper: float, bound: Callable[[], float]) -> float:
    return bound() if upper < 1 else math.inf

"""The scale of weights at which a layer has a rate."""

from __future__ import annotations

import math
from collections.abc import Callable

_EXACT = 1e-4  # of the rate
_LEAST_RATE = 1e-30
_NO_RATE = 1e-6  # Hz
_LARGEST_STEP = 0.2  # of the logarithm of the scale


class OutOfReachError(ValueError):
    """No scale gives the rate; `lowest` and `highest` are those of the rates at the ends."""

    def __init__(self, lowest: float, highest: float) -> None:
        self.lowest, self.highest = (lowest if lowest > _NO_RATE else 0.0), highest
        super().__init__(f"rates between {self.lowest:g} and {highest:g} Hz can be reached")


def solve_scale(rate: Callable[[float], float], target: float, *, guess: float, least: float, most: float) -> float:
    """The scale between the least and the most at which `rate`, which grows with it, is the target."""
    known: dict[float, float] = {}

    def excess(log_scale: float) -> float:
        if log_scale not in known:
            known[log_scale] = math.log(max(rate(math.exp(log_scale)), _LEAST_RATE) / target)
        return known[log_scale]

    bottom, top = math.log(least), math.log(most)
    low = high = min(max(math.log(guess), bottom), top)
    step = 0.1
    while excess(low) > 0 and low > bottom:
        high, low, step = low, max(low - step, bottom), 2 * step
    while excess(high) < 0 and high < top:
        low, high, step = high, min(high + step, top), 2 * step
    if excess(low) > 0 or excess(high) < 0:
        ends = [target * math.exp(excess(end)) for end in (bottom, top)]
        raise OutOfReachError(min(ends), max(ends))
    return math.exp(_root(excess, low, high))


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    """Regula falsi with Illinois' halving, on logarithms."""
    below, above = excess(low), excess(high)
    last = 0
    while high - low > 1e-9 and above > below:
        middle = low - below * (high - low) / (above - below)
        value = excess(middle)
        if abs(value) < _EXACT:
            return middle
        if value < 0:
            low, below, above = middle, value, above / 2 if last < 0 else above
        else:
            high, above, below = middle, value, below / 2 if last > 0 else below
        last = -1 if value < 0 else 1
    return (low + high) / 2


def correct_scale(
    measure: Callable[[float], float], target: float, *, guess: float, slope: float, exact: float, rounds: int
) -> tuple[float, float]:
    """The best scale that so many measurements of a rate find, and the rate there.

    The slope is that of the rate in the scale, both in logarithms, as far as it is known; measurements are noisy, so
    that what they say of the slope is believed within a factor of 4 only.
    """
    at, tried = math.log(guess), list[tuple[float, float]]()
    believed = slope
    for _ in range(rounds):
        excess = math.log(max(measure(math.exp(at)), _LEAST_RATE) / target)
        for before, other in tried[-1:]:
            if at != before:
                believed = min(max((excess - other) / (at - before), slope / 4), 4 * slope)
        tried.append((at, excess))
        if abs(excess) < exact:
            break
        at -= max(min(excess / believed, _LARGEST_STEP), -_LARGEST_STEP)
    at, excess = min(tried, key=lambda pair: abs(pair[1]))
    return math.exp(at), target * math.exp(excess)

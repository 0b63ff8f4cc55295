"""The most that walks of many edges add up to, || sum_{m >= hops} A^m ||_2, by products with A alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrnn_ext._errors import ResolventConditionError
from rrnn_ext.infinite.bounds import PROBE_FACTOR, largest_length, probed_powers
from rrnn_ext.infinite.krylov import solve_by_products
from rrnn_ext.infinite.operands import Mirrored, Operand

_TOLERANCE = 1e-6
_SHRUNK = 0.5  # ||A^k|| of a block of hops whose repetitions are a geometric series
_MOST_HOPS = 2**15


def tail_of_nonnegative(operand: Operand, hops: int) -> float:
    """Of A >= 0 in float64 whose radius is below 1; certain but for rounding, and infinite where it was not to be had.

    T = A^hops (I - A)^{-1} is not negative either, and its norm at most the root of ||T||_inf ||T||_1, which are the
    largest entries of T 1 and T' 1. A vector s with (I - A) s >= 1 is at least (I - A)^{-1} 1, so that no solution has
    to be exact.
    """
    return math.sqrt(_largest(operand, hops) * _largest(Mirrored(operand), hops))


def _largest(operand: Operand, hops: int) -> float:
    if operand.units == 0:
        return 0.0
    ones = torch.ones(operand.units, 1, dtype=torch.float64, device=operand.poison().device)
    try:
        sums = solve_by_products(operand, ones, tolerance=_TOLERANCE)
    except ResolventConditionError:
        return math.inf
    least = float((sums - operand.forward(sums)).min())
    if not least > 0:
        return math.inf
    for _ in range(hops):
        sums = operand.forward(sums)
    return float(sums.max()) / least


def probed_tail(operand: Operand, hops: int) -> float:
    """Of any A in float64, but for a probability of 1e-12 for each hop looked at; infinite where it was not to be had.

    For the first k with ||A^k|| <= q < 1/2, the tail is the block of hops from ``hops`` to ``hops`` + k - 1 times the
    sum of A^0, A^k, A^2k, .., and so at most 1 / (1 - q) times as large. What the probes make of the block bounds it.
    """
    block: Tensor | None = None
    length, shrinks = 0, 0.0
    for power in probed_powers(operand):
        if power.hops >= hops and (length == 0 or power.hops < hops + length):
            images = power.images * math.exp(min(power.log_scale, 700.0))
            block = images if block is None else block + images
        if length == 0 and power.log_bound < math.log(_SHRUNK):
            length, shrinks = power.hops, math.exp(power.log_bound)
        if block is not None and length and power.hops >= hops + length - 1:
            bound = PROBE_FACTOR * largest_length(block) / (1 - shrinks)
            return bound if math.isfinite(bound) else math.inf
        if power.hops >= hops + _MOST_HOPS:
            return math.inf
    raise AssertionError  # there is always another power

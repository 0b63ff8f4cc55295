"""Means over seeds with confidence intervals (Student's t), on the scale where the mean makes sense."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
FEWEST = 3  # networks with an interval: that of two is 13 standard errors wide to each side, and tells nothing
LARGEST_CORRELATION = 1 - 1e-9  # in size: one of exactly 1 has no finite z


class Interval(NamedTuple):
    """A mean over so many ``networks``, and the limits of its confidence interval; NaN limits for fewer than FEWEST."""

    mean: float
    low: float
    high: float
    networks: int

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        spec = spec or self._digits()
        if self.networks < FEWEST:
            return f"{self.mean:{spec}} (n = {self.networks})"
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def _digits(self) -> str:
        """Three, or four where three would write the mean as one of its limits: a ratio of 1.005 is not 1."""
        mean, low, high = (f"{number:.3g}" for number in self[:3])
        return ".4g" if mean in (low, high) else ".3g"


def of_mean(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Arithmetic mean. NaN among the values gives NaN; no value at all too."""
    numbers = np.asarray(values, dtype=float)
    mean = float(numbers.mean()) if len(numbers) else math.nan
    if len(numbers) < FEWEST:
        return Interval(mean, math.nan, math.nan, len(numbers))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(numbers) - 1) * stats.sem(numbers))
    return Interval(mean, mean - reach, mean + reach, len(numbers))


def of_geometric_mean(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Geometric mean of positive numbers: for errors and for ratios of errors."""
    return _mapped(of_mean([math.log(value) for value in values], confidence), math.exp)


def of_correlation(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean of correlations by Fisher's z = artanh(r), which keeps the limits within [-1, 1]."""
    scores = np.arctanh(np.clip(values, -LARGEST_CORRELATION, LARGEST_CORRELATION))
    return _mapped(of_mean(list(scores), confidence), math.tanh)


def _mapped(interval: Interval, function: Callable[[float], float]) -> Interval:
    mean, low, high = (function(value) for value in interval[:3])
    return Interval(mean, low, high, interval.networks)

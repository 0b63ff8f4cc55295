"""Confidence intervals against scipy's tests, and what they do at the edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from experiments.claims.intervals import Interval, of_correlation, of_geometric_mean, of_mean

VALUES = [0.31, 0.52, 0.47, 0.66, 0.12]


@pytest.mark.parametrize("confidence", [0.95, 0.995])
def test_mean(confidence: float) -> None:
    theirs = stats.ttest_1samp(VALUES, 0).confidence_interval(confidence)
    assert of_mean(VALUES, confidence) == pytest.approx((np.mean(VALUES), theirs.low, theirs.high, 5))


def test_geometric_mean() -> None:
    theirs = stats.ttest_1samp(np.log(VALUES), 0).confidence_interval(0.95)
    expected = (stats.gmean(VALUES), math.exp(theirs.low), math.exp(theirs.high), 5)
    assert of_geometric_mean(VALUES) == pytest.approx(expected)


def test_correlation() -> None:
    theirs = stats.ttest_1samp(np.arctanh(VALUES), 0).confidence_interval(0.95)
    assert of_correlation(VALUES)[1:3] == pytest.approx((math.tanh(theirs.low), math.tanh(theirs.high)))
    assert of_correlation([0.999, 0.2, 0.4]).high <= 1
    perfect = of_correlation([1.0, 1.0, 1.0])
    assert perfect.mean == pytest.approx(1)
    assert perfect.low == pytest.approx(1)


def test_coverage() -> None:
    """Of many samples, about as many intervals hold the true mean as they claim."""
    generator = np.random.default_rng(0)
    held = [of_mean(list(sample)) for sample in generator.normal(1.0, 2.0, (2000, 5))]
    assert np.mean([interval.low <= 1.0 <= interval.high for interval in held]) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("of", [of_mean, of_geometric_mean, of_correlation])
@pytest.mark.parametrize("values", [[0.5], [0.45, 0.55]])
def test_two_networks_have_no_limits(of: Callable[[list[float]], Interval], values: list[float]) -> None:
    few = of(values)
    assert few.mean == pytest.approx(0.5, abs=3e-3)
    assert math.isnan(few.low)
    assert math.isnan(few.high)
    assert few.networks == len(values)
    assert f"{few:.1f}" == f"0.5 (n = {len(values)})"
    assert of([*values, *values, *values]).low < few.mean + 1e-9


def test_nothing_and_nan_stay_unknown() -> None:
    assert math.isnan(of_mean([]).mean)
    assert math.isnan(of_mean([0.1, math.nan]).mean)
    assert math.isnan(of_correlation([0.1, math.nan]).mean)


def test_text() -> None:
    assert str(Interval(0.12345, 0.1, 0.15, 5)) == "0.123 [0.1, 0.15]"
    assert f"{Interval(0.12345, 0.1, 0.15, 5):.2f}" == "0.12 [0.10, 0.15]"
    assert str(Interval(1.0046, 1.0041, 1.0052, 5)) == "1.005 [1.004, 1.005]", "not 1 [1, 1.01]"

"""Networks that differ by their seed alone, taken together."""

from __future__ import annotations

import math

import pytest
from support.made_up_networks import around, curve, record

from experiments.claims.summaries import Table, of_least_error, strongest_sparing
from experiments.training.results import Record, Setting


def test_the_least_error_is_a_number() -> None:
    errors = {0.01: [math.nan] * 5, 0.1: around(0.2), 1.0: around(0.1)}
    table = Table(curve("averaging", "L1", errors))
    assert of_least_error(table.curve("averaging", "L1")).beta == 1


class TestStrongestSparing:
    def test_stops_at_the_first_that_costs_too_much(self) -> None:
        table = Table(
            [
                *curve("averaging", "none", {0.0: around(0.1)}),
                *curve(
                    "averaging", "L1", {1e-3: around(0.1), 1e-2: around(0.105), 1e-1: around(0.2), 1.0: around(0.1)}
                ),
            ]
        )
        base = table.unpenalised("averaging")
        assert base is not None
        found = strongest_sparing(table.curve("averaging", "L1"), base, factor=1.1)
        assert found is not None
        assert found.beta == 1e-2
        assert strongest_sparing(table.curve("averaging", "L1"), base, factor=0.9) is None


@pytest.mark.parametrize(("regulariser", "beta", "seed"), [("none", 0.0, 0), ("L1", 0.1, 0), ("none", 0.0, 1)])
def test_settings_that_differ_otherwise_are_not_mixed(regulariser: str, beta: float, seed: int) -> None:
    one = record("averaging", "none", 0.0, 0, 0.1)
    other = Record(Setting("averaging", regulariser, beta, seed, updates=8), 0.2, one.measures)
    with pytest.raises(ValueError, match="differ by more than task, regulariser, beta and seed"):
        Table([one, other])
    elsewhere = Record(Setting("lagged", regulariser, beta, seed, updates=8), 0.2, one.measures)
    assert Table([one, elsewhere]).networks() == 2

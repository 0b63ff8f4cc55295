"""The rules of verdicts, whichever way the numbers fall."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from support.made_up_networks import NOT_SHOWN, REFUTED, SHOWN

from experiments.claims.intervals import Interval
from experiments.claims.verdicts import Claim, Part, Verdict, at_least, below, within


class TestRules:
    @pytest.mark.parametrize(
        ("rule", "claimed", "outside"),
        [
            (lambda found: at_least(found, 0.9), (0.91, 0.95), (0.7, 0.89)),
            (lambda found: below(found, 0.9), (0.7, 0.89), (0.91, 0.95)),
            (lambda found: within(found, 0.3), (-0.2, 0.25), (0.31, 0.5)),
            (lambda found: within(found, 0.3), (-0.3, 0.3), (-0.5, -0.31)),
        ],
    )
    def test_by_the_whole_interval(
        self, rule: Callable[[Interval], Verdict], claimed: tuple[float, float], outside: tuple[float, float]
    ) -> None:
        def interval(low: float, high: float) -> Interval:
            return Interval((low + high) / 2, low, high, 5)

        assert rule(interval(*claimed)) is SHOWN
        assert rule(interval(*outside)) is REFUTED
        across = (min(claimed[0], outside[0]), max(claimed[1], outside[1]))
        assert rule(interval(*across)) is NOT_SHOWN
        assert rule(Interval(claimed[0], math.nan, math.nan, 1)) is NOT_SHOWN

    def test_the_limit_itself(self) -> None:
        assert at_least(Interval(0.95, 0.9, 1.0, 5), 0.9) is SHOWN
        assert below(Interval(0.85, 0.8, 0.9, 5), 0.9) is NOT_SHOWN
        assert below(Interval(0.95, 0.9, 1.0, 5), 0.9) is REFUTED

    @pytest.mark.parametrize(
        ("parts", "expected"),
        [
            ([SHOWN, SHOWN], SHOWN),
            ([SHOWN, None], SHOWN),
            ([SHOWN, NOT_SHOWN], NOT_SHOWN),
            ([SHOWN, NOT_SHOWN, REFUTED], REFUTED),
            ([None], NOT_SHOWN),
        ],
    )
    def test_a_claim_by_its_parts(self, parts: list[Verdict | None], expected: Verdict) -> None:
        found = Claim("", "", "", "", "", [Part("", Interval(0, 0, 0, 5), verdict) for verdict in parts])
        assert found.verdict is expected

    def test_tally_and_extremes(self) -> None:
        numbers = {"b": (0.5, SHOWN), "a": (0.1, REFUTED), "c": (0.9, SHOWN), "d": (2.0, None)}
        parts = [Part(what, Interval(x, x - 0.1, x + 0.1, 5), verdict) for what, (x, verdict) in numbers.items()]
        found = Claim("", "", "", "", "", parts)
        assert found.tally == "2 of 3 shown, 1 of 3 refuted"
        assert found.extremes == "0.1 [0, 0.2] (a) to 0.9 [0.8, 1] (c)"

    def test_a_part_without_a_number_is_no_extreme(self) -> None:
        parts = [Part(what, Interval(x, x, x, 5), NOT_SHOWN) for what, x in {"a": math.nan, "b": 0.5, "c": 0.1}.items()]
        assert Claim("", "", "", "", "", parts).extremes == "0.1 [0.1, 0.1] (c) to 0.5 [0.5, 0.5] (b)"

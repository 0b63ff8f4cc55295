"""The verdicts: each follows from its numbers by the stated rule, whichever way the numbers fall."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from support.made_up_networks import curve, record

from experiments.claims import findings, limits
from experiments.claims.intervals import Interval
from experiments.claims.judge import judge
from experiments.claims.summaries import Table, of_least_error, strongest_sparing
from experiments.claims.verdicts import Claim, Part, Verdict, at_least, below, within
from experiments.training.results import Measure, Record, Setting

SHOWN, REFUTED, NOT_SHOWN = Verdict.SHOWN, Verdict.REFUTED, Verdict.NOT_SHOWN
SEEDS = range(5)
NOISE = (1.0, 1.01, 0.99, 1.02, 0.98)


def around(value: float) -> list[float]:
    return [value * noise for noise in NOISE]


def claim(records: list[Record], title: str) -> Claim:
    (found,) = [claim for claim in judge(Table(records)) if claim.title == title]
    return found


def verdicts(found: Claim) -> dict[str, Verdict | None]:
    return {part.what: part.verdict for part in found.parts}


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


class TestReading:
    @pytest.mark.parametrize(
        ("title", "measure", "good", "bad"),
        [
            ("R_io reads off the function", "correlation", (0.95, 0.96), (0.8, 0.81)),
            ("The recurrent weights do not", "correlation_membership", (-0.1, 0.1), (0.5, 0.55)),
            ("Hop m is read off P_m", "correlation_per_hop", (0.95, 0.96), (0.8, 0.81)),
            ("One hop does not stand for all", "correlation_in_out", (0.5, 0.51), (0.98, 0.99)),
        ],
    )
    def test_of_networks_without_a_penalty(
        self, title: str, measure: str, good: tuple[float, float], bad: tuple[float, float]
    ) -> None:
        def networks(task: str, ends: tuple[float, float]) -> list[Record]:
            return [record(task, "none", 0.0, seed, 0.1, **{measure: ends[seed % 2]}) for seed in range(6)]

        assert claim([*networks("lagged", good), *networks("on-off", good)], title).verdict is SHOWN
        assert claim([*networks("lagged", good), *networks("on-off", bad)], title).verdict is REFUTED
        across = (good[0], bad[0])
        assert claim([*networks("lagged", good), *networks("on-off", across)], title).verdict is NOT_SHOWN

    def test_multiplication_has_no_target(self) -> None:
        networks = [record("multiplication", "none", 0.0, seed, 0.1, correlation=0.3) for seed in SEEDS]
        found = claim(networks, "R_io reads off the function")
        assert verdicts(found) == {"multiplication": None}

    def test_tasks_that_one_hop_solves_are_named(self) -> None:
        networks = [
            record(task, "none", 0.0, s, 0.1, correlation_in_out=0.98)
            for task in ("averaging", "on-off")
            for s in SEEDS
        ]
        assert "averaging and on-off" in claim(networks, "One hop does not stand for all").remarks[0]

    def test_one_hop_at_every_lag_is_not_judged(self) -> None:
        """The best single map has the correlation in the note: 5 of 10 lags alike, and windows of 2 or 3 lags of 10."""
        networks = [record(task, "none", 0.0, seed, 0.1) for task in ("on-off", "lagged") for seed in SEEDS]
        found = claim(networks, "One hop does not stand for all")
        assert {what for what, verdict in verdicts(found).items() if verdict} == {
            "on-off, in total",
            "lagged, in total",
        }
        notes = {part.what: part.note for part in found.parts}
        assert notes["on-off, lag by lag"].endswith("exceeds 0.655")
        assert notes["lagged, lag by lag"].endswith("exceeds 0.448")

    def test_signal_hops_at_the_strongest_penalty_that_spares(self) -> None:
        networks = [
            *curve("on-off", "none", {0.0: around(0.1)}, signal_share=0.5),
            *curve("on-off", "R-RNN", {0.01: around(0.1)}, signal_share=0.99),
            *curve("on-off", "R-RNN", {0.1: around(0.105)}, signal_share=0.97),
            *curve("on-off", "R-RNN", {1.0: around(0.12)}, signal_share=0.2),
        ]
        found = claim(networks, "On-off: the signal's hops carry the walks")
        assert verdicts(found) == {"no penalty": None, "R-RNN, β = 0.1": SHOWN, "R-RNN, β = 0.01": None}
        assert [part.found.mean for part in found.parts[1:]] == pytest.approx([0.97, 0.99])
        assert found.parts[1].note == "MSE 1.05 times that without a penalty"
        assert found.remarks[0].endswith("0.99 at β = 0.01, 0.97 at β = 0.1, 0.20 at β = 1.")

    def test_sparse_signals(self) -> None:
        networks = [
            *curve("lagged-sparse", "none", {0.0: around(0.1)}),
            *curve("lagged-sparse", "R-RNN", {0.01: around(0.1)}, correlation_per_hop=0.5),
        ]
        assert claim(networks, "Sparse signals").verdict is REFUTED

    def test_sparse_signals_at_the_least_error_for_comparison(self) -> None:
        networks = [
            *curve("lagged-sparse", "none", {0.0: around(0.1)}),
            *curve("lagged-sparse", "R-RNN", {0.001: around(0.09)}, correlation_per_hop=0.98),
            *curve("lagged-sparse", "R-RNN", {0.01: around(0.105)}, correlation_per_hop=0.5),
            *curve("lagged-sparse", "L1", {0.01: around(0.09)}),
        ]
        assert verdicts(claim(networks, "Sparse signals")) == {
            "lagged-sparse, R-RNN, β = 0.01": REFUTED,
            "lagged-sparse, R-RNN, β = 0.001": None,
            "lagged-sparse, L1, β = 0.01": None,
            "lagged-sparse, no penalty": None,
        }


class TestLowerError:
    TITLE = "Lower error than L1 at every strength"

    def networks(
        self, ours: dict[float, list[float]], theirs: dict[float, list[float]], task: str = "averaging"
    ) -> list[Record]:
        return [*curve(task, "none", {0.0: around(0.1)}), *curve(task, "R-RNN", ours), *curve(task, "L1", theirs)]

    def test_shown_if_lower_everywhere(self) -> None:
        found = claim(
            self.networks({0.1: around(0.1), 1.0: around(0.5)}, {0.1: around(0.2), 1.0: around(1)}), self.TITLE
        )
        assert verdicts(found) == {"averaging, β = 0.1": SHOWN, "averaging, β = 1": SHOWN}
        assert found.parts[0].found.mean == pytest.approx(0.5)

    def test_refuted_by_one_strength(self) -> None:
        found = claim(
            self.networks({0.1: around(0.3), 1.0: around(0.5)}, {0.1: around(0.2), 1.0: around(1)}), self.TITLE
        )
        assert verdicts(found) == {"averaging, β = 0.1": REFUTED, "averaging, β = 1": SHOWN}
        assert found.verdict is REFUTED

    def test_seeds_are_paired(self) -> None:
        """Seeds that differ tenfold among themselves hide nothing: each is compared with its own."""
        spread = [0.01, 0.1, 1.0, 0.05, 0.3]
        found = claim(
            self.networks({0.1: [0.9 * error * n for error, n in zip(spread, NOISE, strict=True)]}, {0.1: spread}),
            self.TITLE,
        )
        assert found.verdict is SHOWN

    def test_a_strength_of_zero_is_no_strength(self) -> None:
        networks = self.networks({0.0: around(0.1), 0.1: around(0.1)}, {0.0: around(0.1), 0.1: around(0.2)})
        assert verdicts(claim(networks, self.TITLE)) == {"averaging, β = 0.1": SHOWN}

    def test_a_refutation_allows_for_the_number_of_strengths(self) -> None:
        """An interval of 95 % just above 1 refutes a claim on one strength, and not one on fifty."""
        ratios = [1.0, 1.04, 1.06, 1.02, 1.05]
        one = {0.1: ratios}
        assert claim(self.networks(one, {0.1: [1.0] * 5}), self.TITLE).verdict is REFUTED
        many = {1.0 + index: around(0.5) for index in range(50)}
        found = claim(self.networks({**one, **many}, {beta: [1.0] * 5 for beta in {**one, **many}}), self.TITLE)
        assert found.parts[0].verdict is NOT_SHOWN

    def test_a_refutation_allows_for_the_number_of_tasks(self) -> None:
        """One strength on each of six tasks is as many chances as six strengths on one."""
        ratios = [1.0, 1.04, 1.06, 1.02, 1.05]
        networks = self.networks({0.1: ratios}, {0.1: [1.0] * 5})
        for task in limits.MODULAR[1:]:
            networks += self.networks({0.1: around(0.5)}, {0.1: [1.0] * 5}, task)
        found = claim(networks, self.TITLE)
        assert len(found.parts) == 6
        assert found.parts[0].found.low > 1
        assert found.parts[0].verdict is NOT_SHOWN


class TestDoubling:
    TITLE = "L1 gives way at lower strengths"

    @staticmethod
    def power_law(beta: float, doubles_at: float) -> list[float]:
        """Errors 0.1 (beta / doubles_at) up to noise, times two."""
        return [0.2 * (beta / doubles_at) * noise for noise in NOISE]

    def networks(
        self, ours_at: float, theirs_at: float, betas: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1)
    ) -> list[Record]:
        return [
            *curve("averaging", "none", {0.0: around(0.1)}),
            *curve("averaging", "R-RNN", {beta: self.power_law(beta, ours_at) for beta in betas}),
            *curve("averaging", "L1", {beta: self.power_law(beta, theirs_at) for beta in betas}),
        ]

    @pytest.mark.parametrize(("ours_at", "expected"), [(0.5, SHOWN), (0.02, REFUTED)])
    def test_is_interpolated_on_logarithmic_axes(self, ours_at: float, expected: Verdict) -> None:
        found = claim(self.networks(ours_at, 0.01), self.TITLE)
        assert found.parts[0].found.mean == pytest.approx(ours_at / 0.01)
        assert found.verdict is expected

    def test_never_doubled_is_at_least_the_end_of_the_grid(self) -> None:
        found = claim(self.networks(50.0, 0.01), self.TITLE)
        assert found.parts[0].found.mean == pytest.approx(1 / 0.01)
        assert found.verdict is SHOWN
        assert "did not double within the grid for 5 of 5 seeds" in found.parts[0].note

    def test_never_doubled_cannot_refute(self) -> None:
        assert claim(self.networks(50.0, 0.5), self.TITLE).verdict is NOT_SHOWN

    def test_an_error_that_falls_again_is_counted(self) -> None:
        falling = {1e-3: around(0.1), 1e-2: around(0.4), 1e-1: around(0.12), 1.0: around(0.9)}
        rising = {1e-3: around(0.1), 1e-2: around(0.4), 1e-1: around(0.5), 1.0: around(0.9)}
        records = [
            *curve("averaging", "none", {0.0: around(0.1)}),
            *curve("averaging", "R-RNN", falling),
            *curve("averaging", "L1", rising),
        ]
        (part,) = claim(records, self.TITLE).parts
        assert part.found.mean == pytest.approx(1), "the first doubling is what is compared"
        assert part.note.endswith("of 5, whose MSE is below twice again at a larger β: 5 of R-RNN and 0 of L1")

    def test_seeds_that_l1_never_doubles_are_told(self) -> None:
        networks = self.networks(0.5, 0.01)
        spared = [Record(r.setting, 0.1, r.measures) if r.regulariser == "L1" and r.seed == 4 else r for r in networks]
        (part,) = claim(spared, self.TITLE).parts
        assert part.found.low >= limits.STRENGTH_RATIO
        assert part.verdict is NOT_SHOWN
        assert part.note.startswith("L1 did not double within the grid for 1 of 5 seeds, which are left out")

    def test_a_network_without_an_error_has_doubled(self) -> None:
        records = [
            *curve("averaging", "none", {0.0: around(0.1)}),
            *curve("averaging", "R-RNN", {0.1: around(0.1), 1.0: around(0.3)}),
            *curve("averaging", "L1", {0.01: around(0.1), 0.1: [math.nan] * 5}),
        ]
        (part,) = claim(records, self.TITLE).parts
        assert 1 < part.found.mean < 10

    def test_a_strength_of_zero_is_no_strength(self) -> None:
        zero = [r for name in ("R-RNN", "L1") for r in curve("averaging", name, {0.0: around(0.3)})]
        records = self.networks(0.5, 0.01)
        one, other = (claim(networks, self.TITLE).parts for networks in (records, records + zero))
        assert one == other

    def test_says_nothing_where_l1_never_doubles(self) -> None:
        found = claim(self.networks(50.0, 70.0), self.TITLE)
        assert (found.parts, found.verdict, found.tally) == ([], NOT_SHOWN, "no number")


class TestEqualSparsity:
    TITLE = "Lower error than L1 at equal sparsity"

    def networks(
        self, ours: dict[float, tuple[float, float]], theirs: dict[float, tuple[float, float]]
    ) -> list[Record]:
        """Errors and shares off the support by beta."""
        records = curve("averaging", "none", {0.0: around(0.3)}, **self.shares(0.5))
        for name, points in (("R-RNN", ours), ("L1", theirs)):
            for beta, (error, share) in points.items():
                records += curve("averaging", name, {beta: around(error)}, **self.shares(share))
        return records

    @staticmethod
    def shares(of_map: float, of_walks: float = 0.5) -> dict[str, Measure]:
        return {"communication_sparsity": of_map, "communication_sparsity_per_hop": of_walks}

    def test_takes_the_best_network_that_is_sparse_enough(self) -> None:
        ours = {0.01: (0.1, 0.25), 0.1: (0.2, 0.04), 1.0: (0.4, 0.6)}
        theirs = {0.01: (0.3, 0.25), 0.1: (0.8, 0.04)}
        found = claim(self.networks(ours, theirs), self.TITLE)
        # At 0.3 it is 0.1 against 0.3; at 0.2, 0.1 and 0.05 it is 0.2 against 0.8; nobody reaches 0.02.
        assert found.parts[0].found.mean == pytest.approx(((1 / 3) * (1 / 4) ** 3) ** (1 / 4))
        assert found.parts[0].note.startswith("0.333 at 0.3, 0.25 at 0.2, 0.25 at 0.1, 0.25 at 0.05;")
        assert found.parts[0].note.endswith("; 3 strengths against 2")
        assert found.verdict is SHOWN

    def test_all_walks_are_compared_and_not_judged(self) -> None:
        """R-RNN is sparser in its map, and not in its walks."""
        records = [
            *curve("averaging", "none", {0.0: around(0.3)}, **self.shares(0.5)),
            *curve("averaging", "R-RNN", {0.1: around(0.1)}, **self.shares(0.02, 0.15)),
            *curve("averaging", "R-RNN", {1.0: around(0.2)}, **self.shares(0.02, 0.01)),
            *curve("averaging", "L1", {0.1: around(0.15)}, **self.shares(0.02, 0.02)),
        ]
        total, walks = claim(records, self.TITLE).parts
        assert (total.what, total.verdict) == ("averaging, R-RNN", SHOWN)
        assert (walks.what, walks.verdict) == ("averaging, R-RNN, on all walks", None)
        # At 0.3 and 0.2 it is 0.1 against 0.15; at 0.1, 0.05 and 0.02 it is 0.2 against that.
        assert walks.found.mean == pytest.approx((2 / 3) ** (2 / 5) * (4 / 3) ** (3 / 5))

    def test_can_be_refuted(self) -> None:
        assert claim(self.networks({0.1: (0.3, 0.1)}, {0.1: (0.2, 0.1)}), self.TITLE).verdict is REFUTED

    def test_says_nothing_where_no_share_is_reached_by_both(self) -> None:
        records = self.networks({0.1: (0.3, 0.1)}, {0.1: (0.2, 0.6)})
        assert claim(records, self.TITLE).parts == []

    def test_names_what_shares_no_level(self) -> None:
        remarks = claim(self.networks({0.1: (0.1, 0.1)}, {0.1: (0.2, 0.1)}), self.TITLE).remarks
        assert remarks[1] == "No share is reached by every seed of both: averaging, R-RNN, on all walks."

    def test_more_seeds_without_a_penalty_change_nothing(self) -> None:
        records = self.networks({0.1: (0.1, 0.1)}, {0.1: (0.2, 0.1)})
        more = [record("averaging", "none", 0.0, seed, 0.3, **self.shares(0.5)) for seed in range(5, 9)]
        one, other = (claim(networks, self.TITLE).parts for networks in (records, records + more))
        assert one == other


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


class TestFindings:
    def test_cancellation_names_where_the_reading_is_lost(self) -> None:
        records = [
            *curve("averaging", "none", {0.0: around(0.1)}),
            *curve("averaging", "R-RNN", {0.1: around(0.15)}, correlation=0.1, resolvent_l1=0.04),
            *curve("averaging", "R-RNN per hop", {0.1: around(0.15)}, correlation=0.97),
        ]
        found = findings.cancellation(Table(records))
        assert [row[:2] for row in found.rows] == [["averaging", "R-RNN"], ["averaging", "R-RNN per hop"]]
        assert found.rows[0][6] == "0.01"
        assert found.remarks[0].endswith("on averaging.")
        assert found.remarks[1].endswith("on none of these tasks.")

    def test_cancellation_looks_past_strengths_that_cost_more(self) -> None:
        records = [
            *curve("averaging", "none", {0.0: around(0.1)}),
            *curve("averaging", "R-RNN", {0.01: around(0.1)}, correlation=0.99),
            *curve("averaging", "R-RNN", {0.1: around(0.3)}, correlation=0.99),
            *curve("averaging", "R-RNN", {1.0: around(0.15)}, correlation=0.02, walks_l1=0.001),
        ]
        (row,) = findings.cancellation(Table(records)).rows
        assert row[2:5] == ["1", "1.50", "0.02 [0.02, 0.02]"]
        assert row[7] == "0.00025"

    def test_what_is_left_to_learn(self) -> None:
        records = [*curve("averaging", "none", {0.0: around(0.0588)}), *curve("lagged", "none", {0.0: around(0.3)})]
        found = findings.how_well_learnt(Table([*records, *curve("digits", "none", {0.0: around(0.1)})]))
        assert [(row[0], row[2], row[3]) for row in found.rows] == [
            ("averaging", "0.0588", "1.00"),
            ("lagged", "0.0588", "5.10"),
        ]
        assert found.remarks == ["More than 2 times the Bayes error, far from solved: lagged."]

    def test_sparsity_at_the_least_error(self) -> None:
        records = [
            *curve("on-off", "none", {0.0: around(0.1)}, hoyer=0.3),
            *curve("on-off", "L1", {0.01: around(0.08)}, hoyer=0.4),
            *curve("on-off", "L1", {0.1: around(0.09)}, hoyer=0.5),
        ]
        found = findings.sparsity(Table(records))
        # The optimum has five even lags of ten: Hoyer (√10 - √5) / (√10 - 1), Gini 1/2.
        assert [(row[1], row[2], row[4]) for row in found.rows] == [
            ("the optimum itself", "", "0.43"),
            ("none", "", "0.30"),
            ("L1", "0.01", "0.40"),
        ]
        assert found.rows[0][5] == "0.50"
        assert found.rows[2][6:] == ["0.90", "0.80"]

    def test_real_data_compares_the_best_of_each(self) -> None:
        records = [
            *curve("digits", "none", {0.0: around(0.04)}),
            *curve("digits", "L1", {1e-4: around(0.05), 1e-3: around(0.04), 1e-2: around(0.5)}),
            *curve("digits", "R-RNN", {1e-3: around(0.03), 1e-2: around(0.02)}),
        ]
        found = findings.real_data(Table(records))
        assert [row[2] for row in found.rows] == ["", "0.001", "0.01 (end of grid)"]
        assert found.remarks == ["digits: R-RNN's best is below L1's best, ratio 0.5 [0.5, 0.5], on this split."]

    def test_no_wrong_answer_counts_as_half_of_one(self) -> None:
        records = [
            *curve("digits", "none", {0.0: [0.0] * 3}),
            *curve("digits", "R-RNN", {1e-3: [1 / 450] * 3}),
        ]
        found = findings.real_data(Table(records))
        assert found.rows[1][4] == "2 [2, 2]", "450 digits are held out"

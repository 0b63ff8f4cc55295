"""The findings, from made-up numbers."""

from __future__ import annotations

from support.made_up_networks import around, curve

from experiments.claims import findings
from experiments.claims.summaries import Table


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

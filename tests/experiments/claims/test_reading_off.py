"""The claims on what is read off a network: each verdict follows from made-up numbers by its rule."""

from __future__ import annotations

import pytest
from support.made_up_networks import NOT_SHOWN, REFUTED, SEEDS, SHOWN, around, claim, curve, record, verdicts

from experiments.training.results import Record


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

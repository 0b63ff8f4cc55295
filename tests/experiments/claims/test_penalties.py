"""The claims on penalties against one another: each verdict follows from made-up numbers by its rule."""

from __future__ import annotations

import math

import pytest
from support.made_up_networks import NOISE, NOT_SHOWN, REFUTED, SHOWN, around, claim, curve, record, verdicts

from experiments.claims import limits
from experiments.claims.verdicts import Verdict
from experiments.training.results import Measure, Record


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

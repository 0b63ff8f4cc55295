"""The claims on networks that run: each verdict follows from made-up networks."""

from __future__ import annotations

from typing import Any

import pytest
from support.made_up_running_networks import claim, seeds

from experiments.claims.running import tables
from experiments.claims.running.judge import judge
from experiments.claims.verdicts import Claim, Verdict
from experiments.training.running.measures import Record
from experiments.training.running.networks import (
    L1,
    MEAN_PER_HOP,
    NETWORK,
    NETWORK_PER_HOP,
    THROUGH_GAINS_PER_HOP,
    UNPENALISED,
    WEIGHTS,
    WEIGHTS_PER_HOP,
)


def verdicts(found: Claim) -> dict[str, Verdict | None]:
    return {part.what: part.verdict for part in found.parts}


@pytest.mark.parametrize(
    ("title", "good", "bad"),
    [
        ("Walks of the mean gains are the mean Jacobians (one layer)", {"correlation": 0.995}, {"correlation": 0.97}),
        ("They are off by 5 % at most (one layer)", {"relative_error": 0.04}, {"relative_error": 0.07}),
        ("The walks of 4 sequences read the network", {"of_few": 0.995}, {"of_few": 0.9}),
    ],
)
def test_one_penalty_refutes_what_is_claimed_of_all(title: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    (measure,) = good
    plain = seeds("GRU", "lagged", UNPENALISED, **good)
    assert claim(plain, title).verdict is Verdict.SHOWN
    wrong = seeds("GRU", "lagged", WEIGHTS, noisy=measure, **bad)
    found = claim([*plain, *wrong, *seeds("RNN", "lagged", L1, **good)], title)
    assert verdicts(found) == {"RNN, lagged": Verdict.SHOWN, "GRU, lagged": Verdict.REFUTED}
    (part,) = [part for part in found.parts if part.verdict is Verdict.REFUTED]
    assert "3 of 6 networks; furthest off: R-RNN of the weights, β = 0.03" in part.note
    others = seeds("GRU", "lagged", THROUGH_GAINS_PER_HOP, **bad)
    assert claim([*plain, *others], title).verdict is Verdict.SHOWN, "other gains are compared elsewhere"


def test_networks_that_have_learnt_nothing_have_nothing_to_read() -> None:
    dead = seeds("GRU", "lagged", L1, error=1.0, correlation=0.1, relative_error=0.0, of_few=0.1)
    for title in ("Walks of the mean gains", "They are off", "Under the penalty", "The walks of 4 sequences"):
        assert all(not found.parts for found in judge(dead) if found.title.startswith(title))
    assert tables.by_penalty(dead).rows == tables.by_spread(dead).rows == []


def test_stacks_are_judged_apart_and_by_another_limit() -> None:
    records = seeds("LSTM", "on-off", L1, layers=2, relative_error=0.08)
    assert claim(records, "They are off by 10 % at most (stacks)").verdict is Verdict.SHOWN
    assert claim(records, "They are off by 5 % at most").parts == []
    worse = seeds("LSTM", "on-off", L1, layers=2, relative_error=0.12)
    assert claim(worse, "They are off by 10 % at most (stacks)").verdict is Verdict.REFUTED


def test_its_own_penalty_alone() -> None:
    title = "Under the penalty of the network per hop they are right"
    right = seeds("LSTM", "on-off", NETWORK_PER_HOP, noisy="relative_error", relative_error=0.03)
    others = seeds("LSTM", "on-off", UNPENALISED, relative_error=0.2)
    assert claim([*right, *others], title).verdict is Verdict.SHOWN
    wrong = seeds("LSTM", "on-off", NETWORK_PER_HOP, 0.1, noisy="relative_error", relative_error=0.08)
    (part,) = claim([*right, *wrong], title).parts
    assert part.verdict is Verdict.REFUTED
    assert part.note == "least correlation 0.9990; R-RNN of the network, per hop, β = 0.1"


def test_gains_by_the_task_that_is_furthest_off() -> None:
    records = [
        *seeds("GRU", "on-off", NETWORK_PER_HOP, correlation=0.999),
        *seeds("GRU", "multiplication", NETWORK_PER_HOP, correlation=0.9),
        *seeds("GRU", "on-off", MEAN_PER_HOP, correlation=0.3),
    ]
    found = claim(records, "Constant gains of a few sequences")
    default, mean = found.parts
    assert default.verdict is Verdict.REFUTED
    assert default.found.mean == pytest.approx(0.9)
    assert default.note.startswith("multiplication; relative error")
    assert mean.verdict is None
    assert mean.found.mean == pytest.approx(0.3)


def test_sparse_is_half_of_what_it_was() -> None:
    plain = seeds("RNN", "on-off", UNPENALISED, noisy="off_optimum", off_optimum=0.4)
    for share, verdict in ((0.1, Verdict.SHOWN), (0.3, Verdict.REFUTED)):
        records = [*plain, *seeds("RNN", "on-off", NETWORK_PER_HOP, noisy="off_optimum", off_optimum=share)]
        found = claim(records, "Per hop, the penalty of the network makes its Jacobians sparse")
        assert found.verdict is verdict
        assert found.parts[0].found.mean == pytest.approx(share / 0.4)
    others = [*plain, *seeds("RNN", "on-off", WEIGHTS_PER_HOP, off_optimum=0.01)]
    assert claim(others, "Per hop, the penalty of the network makes its Jacobians sparse").parts[0].verdict is None


def test_lags_that_cancel() -> None:
    def found(total: float) -> Claim:
        records = seeds("GRU", "lagged", NETWORK_PER_HOP, noisy="strength", strength=20.0, strength_in_total=total)
        return claim([*records, *seeds("GRU", "lagged", NETWORK, strength_in_total=0.1)], "Per hop, the lags")

    assert found(19.5).verdict is Verdict.SHOWN
    assert found(10.0).verdict is Verdict.REFUTED
    assert verdicts(found(19.5))["GRU, lagged: R-RNN of the network"] is None


class TestAtEqualSparsity:
    title = "Lower error than R-RNN of the weights, per hop"

    def records(self, ours: float, theirs: float, share: float = 0.05) -> list[Record]:
        return [
            *seeds("GRU", "lagged", UNPENALISED, off_optimum=0.4, error=0.01),
            *seeds("GRU", "lagged", NETWORK_PER_HOP, off_optimum=0.04, error=ours),
            *seeds("GRU", "lagged", WEIGHTS_PER_HOP, off_optimum=share, error=theirs),
        ]

    def test_by_the_errors_of_those_that_are_sparse(self) -> None:
        lower = claim(self.records(0.2, 0.4), self.title)
        assert lower.verdict is Verdict.SHOWN
        assert lower.parts[0].found.mean == pytest.approx(0.5)
        assert lower.parts[0].note.startswith("0.5 at 0.3, 0.5 at 0.2, 0.5 at 0.1, 0.5 at 0.05; all seeds reach 0.05")
        assert claim(self.records(0.4, 0.2), self.title).verdict is Verdict.REFUTED

    def test_no_share_that_both_reach(self) -> None:
        found = claim(self.records(0.2, 0.4, share=0.39), self.title)
        assert found.parts == []
        assert found.remarks[0].endswith("reach no such share: GRU, lagged (0.05, with the other none).")


def test_sparser_at_equal_error() -> None:
    title = "Sparser Jacobians than under L1"
    records = [
        *seeds("GRU", "lagged", UNPENALISED, off_optimum=0.4, error=0.1),
        *seeds("GRU", "lagged", NETWORK_PER_HOP, 0.01, off_optimum=0.1, error=0.12),
        *seeds("GRU", "lagged", NETWORK_PER_HOP, 0.1, off_optimum=0.001, error=0.2),
        *seeds("GRU", "lagged", L1, 0.01, off_optimum=0.2, error=0.11),
    ]
    (part,) = claim(records, title).parts
    assert part.found.mean == pytest.approx(0.5), "0.1 over 0.2: what is dearer than 1.5 times does not count"
    assert part.verdict is Verdict.SHOWN
    dear = [record for record in records if record.setting.beta != 0.01]
    dear += seeds("GRU", "lagged", L1, 0.01, noisy="off_optimum", off_optimum=0.2, error=0.11)
    (part,) = claim(dear, title).parts
    assert part.found.mean == pytest.approx(2, rel=0.01), "without a penalty, where none is cheap enough"
    assert part.verdict is Verdict.REFUTED


def test_nothing_is_claimed_of_nothing() -> None:
    assert all(found.verdict is Verdict.NOT_SHOWN and not found.parts for found in judge([]))
    assert len({found.title for found in judge([])}) == len(judge([]))


class TestTables:
    def test_reading_by_penalty(self) -> None:
        records = [
            *seeds("RNN", "on-off", L1, noisy="scale", scale=0.9),
            *seeds("RNN", "lagged", L1, 0.1, relative_error=0.06, correlation=0.995, scale=0.7),
            *seeds("GRU", "lagged", L1, layers=2, relative_error=0.06),
            *seeds("RNN", "multiplication, drive 2", L1, relative_error=0.5),
        ]
        one, two = tables.by_penalty(records).rows
        assert one == ["one layer", L1, "3 of 6; 0.995, 0.060, 0.80", "", ""]
        assert two == ["stacks", L1, "", "3 of 3; 0.999, 0.060, 0.99", ""]

    def test_where_the_mean_field_fails(self) -> None:
        records = [
            *seeds("RNN", "on-off", UNPENALISED, spread=0.05, relative_error=0.01),
            *seeds("RNN", "multiplication", UNPENALISED, spread=0.9, relative_error=0.2, spread_of_gains=0.05),
            *seeds("RNN", "multiplication", L1, spread=0.9, relative_error=0.0, error=1.1),
        ]
        sheet = tables.by_spread(records)
        assert [row[:4] for row in sheet.rows] == [["RNN", "0 to 0.1", "3", "100 %"], ["RNN", "0.5 to 1", "3", "0 %"]]
        (remark,) = sheet.remarks
        assert "the spread of the response with a rank correlation of 1.00, and that of the gains with -1.00." in remark

    def test_drives(self) -> None:
        records = [
            *seeds("GRU", "multiplication, drive 0.5", UNPENALISED, spread=0.4, relative_error=0.02),
            *seeds("GRU", "multiplication", UNPENALISED, spread=0.8, relative_error=0.1),
            *seeds("GRU", "multiplication", UNPENALISED, spread=0.1, layers=2),
        ]
        low, high = tables.by_drive(records).rows
        assert low == ["0.5", "0.49", "", "", "0.40", "0.020 [0.020, 0.020]", "", ""]
        assert high[:5] == ["1", "0.97", "", "", "0.80"]

    def test_what_the_networks_do_instead(self) -> None:
        records = [
            *seeds("LSTM", "lagged", UNPENALISED, weights=100.0, error=0.1),
            *seeds("LSTM", "multiplication", UNPENALISED, weights=100.0, error=0.1),
            *seeds("LSTM", "lagged", NETWORK, weights=300.0, error=0.2),
            *seeds("LSTM", "multiplication", NETWORK, weights=300.0, error=0.4),
            *seeds("LSTM", "lagged", MEAN_PER_HOP, weights=50.0, correlation=0.3),
        ]
        (row,) = tables.instead(records).rows
        assert row[:4] == ["LSTM", NETWORK, "2", "4"]
        assert row[7] == "3"
        default, mean = tables.other_gains(records).rows
        assert default == row
        assert mean[1:4] == [MEAN_PER_HOP, "1", ""]
        assert mean[7] == "0.5"
        assert mean[9] == "0.3"

    def test_every_kind_and_task(self) -> None:
        records = [
            *seeds("GRU", "lagged", UNPENALISED, error=0.2, off_optimum=0.5, strength=2.0, strength_in_total=1.0),
            *seeds("GRU", "lagged", L1, layers=2, error=0.25),
        ]
        one, two = tables.cures(records).rows
        assert one == ["GRU, lagged", "0.20, 0.50, 0.50", "", "", "", "", ""]
        assert two[0] == "GRU, lagged, 2 layers"
        assert two[2] == "0.25, 0.95, 0.40"

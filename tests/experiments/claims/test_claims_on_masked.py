"""Tables of networks masked by a connectome, from made-up records."""

from __future__ import annotations

import pytest

from experiments.claims import intervals
from experiments.claims import masked as claims
from experiments.training.masked import Record
from experiments.training.step_cost import StepCost


def record(penalty: str, beta: float, seed: int, wrong: float) -> Record:
    return Record(
        penalty, beta, seed, wrong, 1.0, walks=100.0 * 10**seed, total=50.0, mean_lag=2.0, hoyer=0.5, silent=0.1
    )


RECORDS = [
    record("none", 0.0, 0, 0.20), record("none", 0.0, 1, 0.30),
    record("L1", 1e-4, 0, 0.21), record("L1", 1e-4, 1, 0.31),
    record("L1", 1e-5, 0, 0.18), record("L1", 1e-5, 1, 0.26),
    record("R-RNN", 3e-5, 1, 0.22), record("R-RNN", 3e-5, 0, 0.10),
]  # fmt: skip


def test_every_penalty_and_strength_in_order() -> None:
    sheet = claims.table(RECORDS)
    assert [row[:3] for row in sheet.rows] == [
        ["none", "", "2"],
        ["L1", "1e-5", "2"],
        ["L1", "1e-4", "2"],
        ["R-RNN", "3e-5", "2"],
    ]
    assert sheet.rows[0][3] == "25.0 (n = 2)"
    walks = intervals.of_geometric_mean([100.0, 1000.0])
    assert sheet.rows[0][4] == f"{walks:.2g}"
    assert sheet.rows[0][5] == f"{(0.5 + 0.05) / 2:.3g}"


def test_differences_at_the_best_strength_are_seed_by_seed() -> None:
    sheet = claims.best(RECORDS)
    assert sheet.header[3:] == ["less none", "less L1", "less R-RNN"]
    assert [row[:2] for row in sheet.rows] == [["none", ""], ["L1", "1e-5"], ["R-RNN", "3e-5"]]
    assert sheet.rows[2][3] == f"{intervals.of_mean([-10.0, -8.0]):.1f}"
    assert sheet.rows[1][5] == f"{intervals.of_mean([8.0, 4.0]):.1f}"
    assert [row[3 + index] for index, row in enumerate(sheet.rows)] == ["", "", ""]


def test_cost() -> None:
    costs = [StepCost("sparse", 300, 4000, 2, 6.0, 8.0), StepCost("dense", 300, 90_000, 2, 6.0, 7.5)]
    sheet = claims.cost(costs)
    assert sheet.rows[0] == ["300 cells, sparse", "4,000", "6.0", "8.0", "25"]
    assert costs[1].share == pytest.approx(0.2)
    assert "with 2 threads" in sheet.text

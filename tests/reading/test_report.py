"""The report of a network: its pictures are drawn from the walks, beside others that are given."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rrnn_ext.reading import CheckpointError, Network
from rrnn_ext.reading.exhibit import Exhibit
from rrnn_ext.reading.report import Report

STEPS = 3


@pytest.fixture(scope="module")
def report() -> Report:
    network = Network.from_module(nn.GRU(3, 5), nn.Linear(5, 2))
    return Report(network, steps=STEPS, beside={"wanted": torch.arange(18.0).reshape(STEPS, 2, 3)})


@pytest.fixture(scope="module")
def exhibits(report: Report) -> dict[str, Exhibit]:
    return {exhibit.name: exhibit for exhibit in report.exhibits()}


def test_maps_stand_beside_what_is_wanted(report: Report, exhibits: dict[str, Exhibit]) -> None:
    rows = exhibits["influence_maps"].rows
    for name, walks in {**report.beside, **dict(zip(report.graphs, report.walks, strict=True))}.items():
        drawn = [row["value"] for row in rows if row["graph"] == name]
        assert drawn == pytest.approx(walks.sum(0).flatten().tolist())
    titles = [axes.get_title() for axes in exhibits["influence_maps"].figure.axes]
    assert titles == ["wanted", "reset gate", "update gate", "new gate"]


def test_each_profile_has_its_own_line(report: Report, exhibits: dict[str, Exhibit]) -> None:
    rows = exhibits["shares_by_lag"].rows
    for name, walks in zip(report.graphs, report.walks, strict=True):
        for line, drawn in {"wanted": report.beside["wanted"], name: walks}.items():
            sizes = drawn.abs().sum((1, 2))
            shares = [row["share"] for row in rows if (row["graph"], row["line"]) == (name, line)]
            assert shares == pytest.approx((sizes / sizes.sum()).tolist())
    for axes in exhibits["shares_by_lag"].figure.axes:
        assert [line.get_label() for line in axes.lines] == [axes.get_title(), "wanted"]


def test_walks_by_lag_are_all_there(report: Report, exhibits: dict[str, Exhibit]) -> None:
    rows = exhibits["walks_by_lag"].rows
    found = [row["value"] for row in rows if row["graph"] == "new gate"]
    assert found == pytest.approx(report.walks[2].flatten().tolist())
    assert [row["lag"] for row in rows if row["graph"] == "wanted"] == [lag for lag in range(STEPS) for _ in range(6)]


def test_the_network_as_it_ran_comes_first() -> None:
    """It has no spectral radius; those of the gates stand in their rows."""
    network = Network.from_module(nn.GRU(3, 5, batch_first=True), nn.Linear(5, 2))
    report = Report(network, sequences=torch.randn(2, STEPS, 3))
    radii = torch.linalg.eigvals(network.weight_hh).abs().amax(-1)
    expected = ["", *(f"{radius:.3g}" for radius in radii.tolist())]
    rows = report.sheets[0].rows
    assert [row[0] for row in rows] == report.graphs == ["as it ran", "reset gate", "update gate", "new gate"]
    assert [row[1] for row in rows] == expected
    assert [exhibit.figure.axes[0].get_title() for exhibit in report.exhibits()] == 3 * ["as it ran"]


def test_the_length_is_that_of_the_checkpoint_or_asked_for() -> None:
    network = Network.from_module(nn.RNN(3, 5))
    with pytest.raises(CheckpointError, match="does not tell how long the sequences were"):
        Report(network)
    with pytest.raises(ValueError, match="hops must be at least 1, got 0"):
        Report(network, steps=0)
    told = Network(network.weight_hh, network.weight_in, network.weight_out, network.graphs, steps=7)
    assert Report(told).walks.shape == (1, 7, 5, 3)
    assert Report(told, steps=2).walks.shape == (1, 2, 5, 3)


def test_pictures_are_told_in_words(report: Report, exhibits: dict[str, Exhibit]) -> None:
    assert "wanted: the largest entry, 33, leads from input 2 to output 1." in exhibits["influence_maps"].alt
    assert "wanted, lag 2: the largest entry, 17, leads from input 2 to output 1." in exhibits["walks_by_lag"].alt
    assert "wanted: most at lag 2, 57 %." in exhibits["shares_by_lag"].alt  # 87 of 153
    for exhibit in exhibits.values():
        assert all(name in exhibit.alt for name in report.graphs)

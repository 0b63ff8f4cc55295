"""RUNNING.md, its figures, and what RESULTS.md lists of it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.made_up_running_networks import claim, seeds
from typer.testing import CliRunner

from experiments.claims.verdicts import Verdict
from experiments.cli import app
from experiments.pages import reproduce
from experiments.pages import running as page
from experiments.pages.figures import running as figures
from experiments.training.running import networks, runs
from experiments.training.running.measures import Record
from rrnn_ext.reading import exhibit

FOLDER = page.PAGE.parent / page.FIGURES
LARGEST = 320_000  # bytes of all files beside the page


@pytest.fixture(scope="module", autouse=True)
def coarse_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exhibit, "DPI", 40)
        yield


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [
        record
        for kind in networks.KINDS
        for penalty, off in ((networks.UNPENALISED, 0.4), (networks.NETWORK_PER_HOP, 0.02), (networks.L1, 0.1))
        for task in ("lagged", "multiplication")
        for layers in (1, 2)
        for record in seeds(
            kind,
            task,
            penalty,
            layers=layers,
            off_optimum=off,
            noisy="relative_error",
            spread=1.1 * off + layers / 10,
            relative_error=off / 10,
            spread_of_gains=off,
        )
    ]


def test_a_mark_for_each_setting(records: list[Record]) -> None:
    exhibit = figures.error_by_spread(records)
    assert len(exhibit.rows) == len(records) / 3
    assert all(row["networks"] == 3 for row in exhibit.rows)
    marks = [line for axes in exhibit.figure.axes for line in axes.lines if line.get_marker() in ("o", "D")]
    assert len(marks) == 2 * len(exhibit.rows), "one by the spread of the response and one by that of the gains"
    unlearnt = [record.__class__(**{**vars(record), "error": 1.0}) for record in records]
    empty = figures.error_by_spread(unlearnt)
    assert not [line for axes in empty.figure.axes for line in axes.lines if line.get_marker() in ("o", "D")]
    assert len(empty.rows) == len(exhibit.rows)


def test_a_line_for_each_penalty(records: list[Record]) -> None:
    exhibit = figures.error_by_sparsity(records)
    assert [axes.get_title(loc="left") for axes in exhibit.figure.axes][:2] == ["(a) RNN, lagged", "(b) GRU, lagged"]
    drawn = [np.asarray(line.get_xdata(), dtype=float).round(6).tolist() for line in exhibit.figure.axes[0].lines]
    assert [0.4, 0.02] in drawn
    assert {row["penalty"] for row in exhibit.rows} == {networks.UNPENALISED, networks.NETWORK_PER_HOP, networks.L1}


def test_the_page_and_its_verdicts(records: list[Record], tmp_path: Path) -> None:
    judged = page.write(records, tmp_path / "RUNNING.md", asked=len(records) + 5)
    text = (tmp_path / "RUNNING.md").read_text()
    assert "Of the networks that the command trains, 5 are not among them." in text
    for found in judged:
        assert f"## {found.title}\n" in text
    for link in re.findall(r"\((running/[^)]+)\)", text):
        assert (tmp_path / link).exists()
    with (tmp_path / "running" / "verdicts.csv").open(newline="") as file:
        listed = {row["title"]: row["verdict"] for row in csv.DictReader(file)}
    assert listed == {found.title: str(found.verdict) for found in judged if found.parts}
    assert str(claim(records, "Per hop, the penalty").verdict) == str(Verdict.SHOWN)

    results = tmp_path / "RESULTS.md"
    results.write_text(f"before\n{page.BEGIN}old\n{page.END}after\n")
    page.renew(results, tmp_path / "running")
    renewed = results.read_text()
    assert renewed == f"before\n{page.section(tmp_path / 'running')}after\n"
    assert "old" not in renewed
    assert renewed.count("| **shown** |") == list(listed.values()).count("shown")


def test_results_list_the_verdicts_that_are_there() -> None:
    assert page.section() in reproduce.PAGE.read_text(encoding="utf-8")


def test_every_link_from_results_leads_to_a_claim() -> None:
    headings = re.findall(r"^## (.*)$", page.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    with (FOLDER / page.VERDICTS).open(newline="", encoding="utf-8") as file:
        assert {row["title"] for row in csv.DictReader(file)} <= set(headings)


def test_all_files_together_are_small() -> None:
    assert 0 < sum(path.stat().st_size for path in FOLDER.iterdir()) <= LARGEST


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.setattr(runs, "COMPARED", {networks.L1: networks.COMPARED[networks.L1]})
    monkeypatch.setattr(runs, "GAINS", {})
    monkeypatch.setattr(runs, "KINDS", {"GRU": networks.KINDS["GRU"]})
    monkeypatch.setattr(runs, "TASKS", ("on-off",))
    monkeypatch.setattr(runs, "SOME_TASKS", ("on-off",))
    monkeypatch.setattr(runs, "DRIVES", ())
    arguments = ["running", "--runs", str(tmp_path), "--page", str(tmp_path / "page.md"), "--updates", "2"]
    before = reproduce.PAGE.read_text(encoding="utf-8")
    result = CliRunner().invoke(app, [*arguments, "--hidden", "4", "--seeds", "1"])
    assert result.exit_code == 0, result.output
    assert reproduce.PAGE.read_text(encoding="utf-8") == before, "of its own page alone"
    text = (tmp_path / "page.md").read_text()
    assert text.startswith("# The network that runs\n\n6 networks.")
    assert "`nn.LSTM` of 4 units" in text
    assert "Walks of the mean gains are the mean Jacobians (one layer)" in result.output

"""Networks under a penalty of themselves as they ran: their training, what is kept of them, and the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from experiments.claims import running as claims
from experiments.claims.verdicts import Verdict
from experiments.cli import app
from experiments.pages import running as page
from experiments.training import running

SETTING = running.Setting("GRU", "on-off", "none", 0.0, 0, hidden=5, updates=3)


@pytest.mark.parametrize("kind", running.KINDS)
@pytest.mark.parametrize("penalty", ["none", *running.PENALTIES, *running.GAINS])
def test_trains_every_kind_under_every_penalty(kind: str, penalty: str) -> None:
    record = running.train(replace(SETTING, kind=kind, penalty=penalty, beta=0.01))
    assert 0.2 < record.error < 5
    assert record.correlation > 0.9  # three updates leave the gates near where they begin
    assert 0 <= record.off_optimum <= 1
    assert record.strength_in_total <= record.strength * (1 + 1e-6)


@pytest.mark.parametrize("kind", running.KINDS)
def test_trains_stacks(kind: str) -> None:
    record = running.train(replace(SETTING, kind=kind, penalty="R-RNN of the network", beta=0.01, layers=2))
    single = running.train(replace(SETTING, kind=kind, penalty="R-RNN of the network", beta=0.01))
    assert record.weights > single.weights
    assert record.correlation > 0.9


def test_a_penalty_of_the_network_makes_its_jacobians_small() -> None:
    plain, penalised = (
        running.train(replace(SETTING, penalty=penalty, beta=1.0, updates=60))
        for penalty in ("none", "R-RNN of the network, per hop")
    )
    assert penalised.strength < plain.strength / 2


def test_mean_jacobian_is_by_lag() -> None:
    network = running.Trained("LSTM", 3, 4, 2)
    x = torch.randn(5, 6, 3)
    whole = torch.autograd.functional.jacobian(lambda z: network(z).mean(0), x).sum(1)
    torch.testing.assert_close(running.mean_jacobian(network, x), whole.movedim(1, 0).flip(0))


def test_what_is_there_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [SETTING, replace(SETTING, seed=1)]
    first = list(running.run(tmp_path / "made" / "records.jsonl", settings[:1]))
    monkeypatch.setattr(running, "train", lambda setting: replace(first[0], setting=setting))
    again = list(running.run(tmp_path / "made" / "records.jsonl", settings))
    assert again == [first[0], replace(first[0], setting=settings[1])]
    assert running.read(tmp_path / "made" / "records.jsonl") == again


def test_one_network_refutes_what_is_claimed_of_all() -> None:
    record = running.Record(SETTING, 0.5, 0.995, 0.04, 0.1, 2.0, 1.0, 0.2, 0.0, 30.0)
    wrong = replace(record, setting=replace(SETTING, task="lagged"), correlation=0.98)
    other = replace(record, setting=replace(SETTING, penalty="L1", beta=0.1))
    none, l1 = claims.reads_right([record, wrong, other])
    assert (none.what, none.verdict, l1.verdict) == ("none", Verdict.REFUTED, Verdict.SHOWN)
    assert none.text.startswith("1 of 2 networks; least correlation 0.980 (GRU, lagged)")
    assert l1.text.endswith("0.040 (GRU, on-off, β = 0.1)")
    far = replace(record, relative_error=0.06)
    assert claims.reads_right([far])[0].verdict is Verdict.REFUTED


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PENALTIES", {"L1": running.PENALTIES["L1"]})
    monkeypatch.setattr(running, "KINDS", {"GRU": torch.nn.GRU})
    monkeypatch.setattr(page, "TASKS", ("on-off",))
    arguments = ["running", "--runs", str(tmp_path), "--page", str(tmp_path / "page.md"), "--updates", "2"]
    result = CliRunner().invoke(app, [*arguments, "--hidden", "4", "--seeds", "2"])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "page.md").read_text()
    assert text.startswith("# The network that runs\n\n10 networks: GRU of 4 units")
    rows = [line for line in text.splitlines() if line.startswith(("| none |  |", "| L1 | 0"))]
    assert len(rows) == 3
    assert all(line.count("|") == 13 for line in rows)

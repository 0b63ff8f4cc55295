"""Networks under a penalty of themselves as they ran: their training, and what is kept of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.tasks import modular
from experiments.training.running import measures, networks, runs
from experiments.training.running.networks import Setting

pytestmark = pytest.mark.usefixtures("one_thread")

SETTING = Setting("GRU", "on-off", networks.UNPENALISED, 0.0, 0, hidden=5, updates=3)


@pytest.mark.parametrize("kind", networks.KINDS)
@pytest.mark.parametrize("penalty", networks.PENALTIES)
def test_every_penalty_has_a_part_in_training(kind: str, penalty: str) -> None:
    setting = replace(SETTING, kind=kind, layers=2 if penalty == networks.NETWORK else 1)
    plain = networks.train(setting)
    penalised = networks.train(replace(setting, penalty=penalty, beta=0.01))
    for before, after in zip(plain.parameters(), penalised.parameters(), strict=True):
        assert after.isfinite().all()
        assert (before - after).abs().max() < 0.05, "both began with the same weights, on the same data"
    assert not torch.equal(plain.readout.weight, penalised.readout.weight)


def test_a_penalty_of_the_network_makes_its_jacobians_small() -> None:
    sequences = networks.TASKS["on-off"]().test_set()[0][:64]
    plain, penalised = (
        measures.jacobians(networks.train(replace(SETTING, penalty=penalty, beta=1.0, updates=60)), sequences)
        for penalty in (networks.UNPENALISED, networks.NETWORK_PER_HOP)
    )
    assert penalised.mean(0).abs().sum() < plain.mean(0).abs().sum() / 2


def test_the_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    first, second = (networks.untrained(SETTING) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.readout.weight, second.readout.weight)


@pytest.mark.parametrize("drive", [*networks.DRIVES, 1.0])
def test_drives(drive: float) -> None:
    """How far the response of the best solution depends on the sequence, by autograd through its guesses."""
    task = modular.multiplication(drive=drive)
    assert task.name in networks.TASKS
    assert networks.TASKS[task.name]().signal_mean == task.signal_mean
    deviation = task.sizes.signal / task.steps**0.5  # of an average
    assert task.signal_mean == pytest.approx(deviation / drive)
    sequences, targets = task.sample(20_000, seed=1)
    sequences.requires_grad_()
    modules, size = task.sizes.modules, task.sizes.module_size
    known = task.sizes.signal**2 / (task.sizes.signal**2 + task.sizes.noise**2 / size)
    averages = task.signal_mean + known * (sequences.unflatten(-1, (modules, size)).mean((1, 3)) - task.signal_mean)
    products = averages[:, 0::2] * averages[:, 1::2]
    (each,) = torch.autograd.grad(products[:, 0].sum(), sequences)
    mean = each.mean(0)
    assert isinstance(task, modular.Multiplication)
    assert ((each - mean).square().sum((1, 2)).mean().sqrt() / mean.norm()).item() == pytest.approx(
        task.spread, rel=0.05
    )
    guesses = (products - products.mean(0)) / products.std(0) * (1 - task.bayes_mse) ** 0.5
    assert (guesses - targets).square().mean().item() == pytest.approx(task.bayes_mse, rel=0.15)
    assert (task.linear_readout(sequences) - targets).square().mean() > task.bayes_mse


def test_drive_is_checked() -> None:
    with pytest.raises(ValueError, match="drive must be finite and above 0, got 0"):
        modular.multiplication(drive=0)


def test_the_plan_has_every_combination_once() -> None:
    planned = runs.plan(2, hidden=4, updates=1)
    assert len(set(planned)) == len(planned)
    one_layer = {setting for setting in planned if setting.layers == 1 and setting.task in runs.TASKS}
    for penalty in networks.COMPARED:
        own = [setting for setting in one_layer if setting.penalty == penalty]
        assert len(own) == len(runs.BETAS) * len(runs.TASKS) * len(networks.KINDS) * 2
        largest = max(setting.beta for setting in own)
        assert largest == (max(runs.BETAS) / runs.L1_BELOW if penalty == networks.L1 else max(runs.BETAS))
    assert all(setting.beta == 0 for setting in planned if setting.penalty == networks.UNPENALISED)
    assert {setting.task for setting in planned} <= networks.TASKS.keys()


class TestRun:
    settings = (SETTING, replace(SETTING, seed=1))

    def test_what_is_there_is_not_trained_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "made"
        first = list(runs.run(folder, self.settings))
        monkeypatch.setattr(runs, "train", lambda setting: pytest.fail("trained again"))
        assert list(runs.run(folder, self.settings)) == first
        assert runs.read(folder / "records.jsonl") == first

    def test_is_measured_anew_without_its_records(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = list(runs.run(tmp_path, self.settings))
        (tmp_path / "records.jsonl").unlink()
        monkeypatch.setattr(runs, "train", lambda setting: pytest.fail("trained again"))
        assert list(runs.run(tmp_path, self.settings)) == first

    def test_a_record_that_was_cut_off_is_made_again(self, tmp_path: Path) -> None:
        first = list(runs.run(tmp_path, self.settings))
        path = tmp_path / "records.jsonl"
        path.write_text(path.read_text()[:-20])
        assert list(runs.run(tmp_path, self.settings)) == first
        assert runs.read(path) == first

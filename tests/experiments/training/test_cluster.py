"""Sweeps on Dask's workers: the same folder as without them, also where workers die."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from experiments.__main__ import main
from experiments.cli import app
from experiments.training import results, sweep
from experiments.training.sweep import LostError, Progress

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
cluster = pytest.importorskip("experiments.training.cluster")

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[3]
SETTINGS = sweep.grid(["averaging", "lagged"], ["none", "L1", "R-RNN"], [1e-3, 1e-1], [0, 1], hidden=6, updates=60)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that comes out without Dask."""
    out = tmp_path_factory.mktemp("alone")
    sweep.run(out, SETTINGS)
    return out


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
    ) as workers:
        yield workers


def the_same(out: Path, expected: Path) -> None:
    """The folder has the same records in the same order, and the same weights."""
    assert (out / "results.jsonl").read_bytes() == (expected / "results.jsonl").read_bytes()
    for found, known in zip(results.networks(out, SETTINGS), results.networks(expected, SETTINGS), strict=True):
        assert torch.equal(found, known)
    assert not list(out.rglob("*.partial"))


class Killer:
    """Kills a worker that is training, once, when there is something to lose and something recorded."""

    def __init__(self, address: str) -> None:
        self.client = distributed.Client(address)
        self.process_of = self.client.run(os.getpid)
        self.killed: list[str] = []

    def __call__(self, progress: Progress) -> None:
        if progress.networks_done and not self.killed:
            busy = [worker for worker, stacks in self.client.processing().items() if stacks]
            if busy:
                self.killed.append(busy[0])
                os.kill(self.process_of[busy[0]], signal.SIGKILL)

    def close(self) -> None:
        self.client.close()


def test_the_same_folder_as_without_dask(two_workers: Any, alone: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    hire = partial(cluster.scheduled, two_workers.scheduler_address)
    records = sweep.run(tmp_path, SETTINGS, progress=seen.append, hire=hire)
    assert [record.setting for record in records] == SETTINGS
    the_same(tmp_path, alone)
    assert (seen[-1].networks_done, seen[-1].networks_total) == (20, 20)
    assert seen[-1].work_done == seen[-1].work_total == 20 * 60
    assert len(seen) >= 6 + 6  # six stacks: at their ends, and when they were recorded


def test_a_worker_that_dies_does_not_stop_the_sweep(two_workers: Any, alone: Path, tmp_path: Path) -> None:
    """Another one trains what it was at."""
    hire = partial(cluster.scheduled, two_workers.scheduler_address)
    with closing(Killer(two_workers.scheduler_address)) as killer:
        sweep.run(tmp_path, SETTINGS, progress=killer, hire=hire)
    assert killer.killed
    the_same(tmp_path, alone)


def test_what_workers_die_of_is_left_and_trained_by_the_next_sweep(
    two_workers: Any, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_workers.scheduler, "allowed_failures", 0)
    hire = partial(cluster.scheduled, two_workers.scheduler_address)
    with (
        closing(Killer(two_workers.scheduler_address)) as killer,
        pytest.raises(LostError, match=r"were lost, and with them the networks of (averaging|lagged), "),
    ):
        sweep.run(tmp_path, SETTINGS, progress=killer, hire=hire)
    assert killer.killed
    assert 0 < len(results.load(tmp_path)) < len(SETTINGS)
    sweep.run(tmp_path, SETTINGS)
    the_same(tmp_path, alone)


def test_a_scheduler_that_dies_leaves_what_was_recorded(alone: Path, tmp_path: Path) -> None:
    """The stacks that it had are lost, which no worker has begun here."""
    shutil.copytree(alone, tmp_path / "out")
    recorded = len(results.load(alone))
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    scheduler = subprocess.Popen([*command, "--no-dashboard"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert scheduler.stderr is not None
        address = next(found[1] for line in scheduler.stderr if (found := re.search(r"Scheduler at: +(tcp:\S+)", line)))

        @contextmanager
        def abandoned() -> Iterator[Any]:
            with cluster.scheduled(address) as workers:
                Timer(0.5, scheduler.kill).start()
                yield workers

        more = [replace(setting, seed=7) for setting in SETTINGS]
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
            pytest.raises(
                LostError, match=r"averaging, none; .* trains what is missing\. \(averaging, none: Cancelled"
            ),
        ):
            sweep.run(tmp_path / "out", [*SETTINGS, *more], hire=abandoned)
    finally:
        scheduler.kill()
        scheduler.communicate()
    assert len(results.load(tmp_path / "out")) == recorded


def test_other_versions_are_refused(two_workers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "1.0")
    with pytest.raises(
        cluster.ClusterError, match=r"the worker at tcp://\S+ has .*, and this sweep .*'PyTorch': '1.0'"
    ):
        sweep.run(tmp_path, SETTINGS[:1], hire=partial(cluster.scheduled, two_workers.scheduler_address))


class TestCommandLine:
    SIZES = ("--task", "averaging", "--regulariser", "none", "--seeds", "1", "--hidden", "3", "--updates", "2")

    def test_processes_of_this_machine(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(app, ["sweep", *self.SIZES, "--workers", "1", "--out", str(tmp_path)])
        assert result.exit_code == 0, result.output
        assert "1/1 networks" in result.output
        assert len(results.load(tmp_path)) == 1

    def test_no_scheduler(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cluster, "TIMEOUT", 0.2)
        result = CliRunner().invoke(
            app, ["sweep", *self.SIZES, "--scheduler", "tcp://127.0.0.1:9", "--out", str(tmp_path)]
        )
        assert result.exit_code == 2
        assert "Error: no Dask scheduler answers at tcp://127.0.0.1:9" in result.stderr

    def test_one_or_the_other(self) -> None:
        result = CliRunner().invoke(app, ["sweep", "--scheduler", "tcp://127.0.0.1:9", "--workers", "2"])
        assert result.exit_code == 2
        assert "--scheduler and --workers exclude each other" in re.sub(r"\W*\n\W*", " ", result.stderr)

    def test_without_the_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "experiments.training.cluster")
        monkeypatch.delattr("experiments.training.cluster")
        monkeypatch.setitem(sys.modules, "distributed", None)
        monkeypatch.setattr(sys, "argv", ["experiments", "sweep", "--workers", "2", "--out", str(tmp_path / "out")])
        with pytest.raises(SystemExit) as stopped:
            main()
        needed = "python -m experiments needs distributed: pip install --no-build-isolation -e '.[cluster]'"
        assert stopped.value.code == needed
        assert not (tmp_path / "out").exists()

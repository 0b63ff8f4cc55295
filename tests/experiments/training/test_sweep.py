"""Sweeps: what is trained, in which order, and going on after a stop."""

from __future__ import annotations

import json
import math
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import get_ident

import pytest
import torch
from support.stacked_networks import Module
from torch import nn

from experiments.tasks import problems
from experiments.training import results, sweep
from experiments.training.folders import BusyError
from experiments.training.results import Record, Setting
from experiments.training.sweep import Progress

pytestmark = pytest.mark.usefixtures("one_thread")


ROOT = Path(__file__).parents[3]


TINY = {"hidden": 6, "updates": 4}


SETTINGS = sweep.grid(["averaging", "lagged"], ["none", "L1", "R-RNN"], [1e-3, 1e-1], [0, 1], **TINY)


class TestGrid:
    def test_every_combination_and_none_once(self) -> None:
        found = sweep.grid(["lagged", "averaging"], ["none", "L1", "R-RNN"], [0.1, 1.0], [0, 1], hidden=8)
        assert len(found) == len(set(found)) == 2 * (1 + 2 + 2) * 2
        assert [s for s in found if s.regulariser == "none"] == [
            Setting(task, "none", 0.0, seed, hidden=8) for task in ("lagged", "averaging") for seed in (0, 1)
        ]
        assert Setting("averaging", "R-RNN", 0.1, 1, hidden=8) in found

    def test_unknown_names_list_the_known(self) -> None:
        with pytest.raises(ValueError, match=r"averaging.*digits"):
            sweep.grid(["averagin"], ["none"], [0.1], [0])
        with pytest.raises(ValueError, match="R-RNN per hop"):
            sweep.grid(["averaging"], ["L3"], [0.1], [0])

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"beta": -0.1}, "beta must be finite and not negative, got -0.1"),
            ({"beta": math.inf}, "beta must be finite and not negative, got inf"),
            ({"regulariser": "none"}, 'beta must be 0 for the regulariser "none", got 0.1'),
            ({"seed": -1}, "seed must not be negative, got -1"),
            ({"hidden": 0}, "hidden must be positive, got 0"),
            ({"updates": 0}, "updates must be positive, got 0"),
            ({"batch": 0}, "batch must be positive, got 0"),
            ({"learning_rate": 0.0}, r"learning_rate must be positive, got 0\.0"),
        ],
    )
    def test_settings_out_of_range(self, changed: dict[str, object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Setting(**{"task": "averaging", "regulariser": "L1", "beta": 0.1, "seed": 0, **changed})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record], list[Progress]]:
    out = tmp_path_factory.mktemp("sweep") / "made" / "here"
    seen: list[Progress] = []
    return out, sweep.run(out, SETTINGS, progress=seen.append), seen


class TestSweep:
    def test_records_every_setting(self, finished: tuple[Path, list[Record], list[Progress]]) -> None:
        out, records, _ = finished
        assert [record.setting for record in records] == SETTINGS
        assert len((out / "results.jsonl").read_text().splitlines()) == len(SETTINGS)
        assert {record.setting: record for record in results.load(out)} == {r.setting: r for r in records}
        for line in (out / "results.jsonl").read_text().splitlines():
            assert list(json.loads(line)) == ["setting", "test_error", "measures"]
        record = records[-1]
        assert (record.task, record.regulariser, record.beta, record.seed) == ("lagged", "R-RNN", 0.1, 1)
        assert len({record.test_error for record in records}) == len(SETTINGS)

    def test_weights_are_those_that_were_scored(self, finished: tuple[Path, list[Record], list[Progress]]) -> None:
        out, records, _ = finished
        record = records[7]
        networks = results.networks(out, [record.setting, records[8].setting])
        module = Module(networks, 0)
        saved = torch.load(results.weights_path(out, record.setting), weights_only=True)
        assert saved["steps"] == 10
        module.load_state_dict(saved["state_dict"])
        sequences, targets = problems.named(record.task).test_set()
        with torch.no_grad():
            assert nn.functional.mse_loss(module(sequences), targets).item() == pytest.approx(record.test_error)
        assert len(list((out / "weights").rglob("*.pt"))) == len(SETTINGS)

    def test_progress(self, finished: tuple[Path, list[Record], list[Progress]]) -> None:
        _, _, seen = finished
        total, updates = len(SETTINGS), TINY["updates"]
        assert {(step.networks_total, step.work_total) for step in seen} == {(total, total * updates)}
        assert [step.work_done for step in seen] == sorted(step.work_done for step in seen)
        assert (seen[-1].networks_done, seen[-1].work_done) == (total, total * updates)
        assert (seen[0].networks_done, seen[0].label) == (0, "averaging, none")
        assert len(seen) == 6 * (updates + 1)  # six stacks: after each update, and when it is recorded

    def test_same_seed_same_table(self, finished: tuple[Path, list[Record], list[Progress]], tmp_path: Path) -> None:
        sweep.run(tmp_path, SETTINGS)
        assert (tmp_path / "results.jsonl").read_bytes() == (finished[0] / "results.jsonl").read_bytes()

    def test_stacks_side_by_side(
        self,
        finished: tuple[Path, list[Record], list[Progress]],
        tmp_path: Path,
        set_threads: Callable[[int], None],
    ) -> None:
        """One stack for each of PyTorch's threads, each stack on one thread; the table is in order all the same."""
        set_threads(3)
        seen = []
        sweep.run(tmp_path, SETTINGS, progress=lambda progress: seen.append((get_ident(), torch.get_num_threads())))
        assert len({thread for thread, _ in seen}) == 1 + 3  # the one that records, and those that train
        assert {count for _, count in seen} == {1}
        assert torch.get_num_threads() == 3
        assert (tmp_path / "results.jsonl").read_bytes() == (finished[0] / "results.jsonl").read_bytes()

    def test_trained_alone_it_is_the_same_network(
        self, finished: tuple[Path, list[Record], list[Progress]], tmp_path: Path
    ) -> None:
        out, records, _ = finished
        setting = SETTINGS[4]
        (alone,) = sweep.run(tmp_path, [setting])
        assert alone.test_error == pytest.approx(records[4].test_error, rel=1e-5)
        for found, expected in zip(
            results.networks(tmp_path, [setting]), results.networks(out, [setting]), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

    def test_an_interrupted_sweep_goes_on(
        self, finished: tuple[Path, list[Record], list[Progress]], tmp_path: Path
    ) -> None:
        def interrupt(progress: Progress) -> None:
            if progress.networks_done == 6:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sweep.run(tmp_path, SETTINGS, progress=interrupt)
        assert 0 < len(results.load(tmp_path)) < len(SETTINGS)
        with (tmp_path / "results.jsonl").open("a") as file:
            file.write('{"setting": {"task": "aver')  # as if killed while writing
        done = len(results.load(tmp_path))
        seen: list[Progress] = []
        assert sweep.run(tmp_path, SETTINGS, progress=seen.append) == finished[1]
        assert seen[-1].networks_total == len(SETTINGS) - done
        assert (tmp_path / "results.jsonl").read_bytes() == (finished[0] / "results.jsonl").read_bytes()

    def test_a_killed_sweep_goes_on(self, tmp_path: Path) -> None:
        code = (
            "from pathlib import Path\n"
            "from experiments.training import sweep\n"
            "settings = sweep.grid(['averaging'], ['none', 'L1'], [1e-2], [0], hidden=6, updates=4)\n"
            f"sweep.run(Path({str(tmp_path)!r}), settings, progress=lambda p: input() if p.networks_done else None)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 120
            while not results.load(tmp_path) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            owner = rf"\(process {process.pid} on {re.escape(socket.gethostname())}\): wait for it"
            with pytest.raises(BusyError, match=f"another process is writing into .* {owner}"):
                sweep.run(tmp_path, SETTINGS)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        (first,) = results.load(tmp_path)
        assert first.regulariser == "none"
        settings = sweep.grid(["averaging"], ["none", "L1"], [1e-2], [0], **TINY)
        assert sweep.run(tmp_path, settings)[0] == first
        assert [record.regulariser for record in results.load(tmp_path)] == ["none", "L1"]

    def test_two_at_once_leave_a_whole_folder(
        self, finished: tuple[Path, list[Record], list[Progress]], tmp_path: Path
    ) -> None:
        """One of two processes that begin together trains; the other one is refused, and has written nothing."""
        code = (
            "import sys\n"
            "from pathlib import Path\n"
            "from experiments.training import folders, sweep\n"
            "settings = sweep.grid(['averaging', 'lagged'], ['none', 'L1', 'R-RNN'], [1e-3, 1e-1], [0, 1], hidden=6, "
            "updates=4)\n"
            "print(flush=True)\n"
            "input()\n"
            "try:\n"
            f"    sweep.run(Path({str(tmp_path)!r}), settings, progress=lambda p: p.networks_done or input())\n"
            "except folders.BusyError:\n"
            "    print('busy', flush=True)\n"
            "else:\n"
            "    print('trained', flush=True)\n"
        )
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
        both = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(2)]  # type: ignore[call-overload]
        for process in both:
            process.stdout.readline()  # it has imported all
        for process in both:
            process.stdin.write("\n")
            process.stdin.flush()
        # The one that is refused is told nothing more, and the one that trains goes on when it has been refused.
        ready = select.select([process.stdout for process in both], [], [], 120)[0]
        assert [file.readline() for file in ready] == ["busy\n"]
        said = [process.communicate("\n" * 200, timeout=120)[0] for process in both]
        assert sorted(said) == ["", "trained\n"]
        assert (tmp_path / "results.jsonl").read_bytes() == (finished[0] / "results.jsonl").read_bytes()

    def test_a_folder_of_other_networks_is_refused_before_training(
        self, finished: tuple[Path, list[Record], list[Progress]]
    ) -> None:
        out, before = finished[0], (finished[0] / "results.jsonl").read_bytes()
        asked = [replace(SETTINGS[-1], hidden=7, batch=64, beta=3.0)]
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            sweep.run(out, asked, progress=lambda _: pytest.fail("trained"))
        assert str(refused.value) == (
            f"{out} has networks of the task lagged with hidden = 6, batch = 128, and hidden = 7, batch = 64 was asked "
            "for: choose another folder"
        )
        assert (out / "results.jsonl").read_bytes() == before

    def test_records_of_other_sweeps_stay_first(self, tmp_path: Path) -> None:
        first, second = (sweep.grid([task], ["none", "L1"], [1e-2], [0, 1], **TINY) for task in ("lagged", "averaging"))
        sweep.run(tmp_path, first)
        sweep.run(tmp_path, [*second, first[0]])
        found = [record.setting for record in results.load(tmp_path)]
        assert found == [*first[1:], *second, first[0]]

    def test_large_groups_are_cut_evenly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sweep, "STACK", 4)
        group = sweep.grid(["averaging"], ["L1"], [0.1, 1.0], [0, 1, 2])
        stacks = list(sweep._stacks([*group, replace(group[0], hidden=8)]))
        assert [len(stack) for stack in stacks] == [3, 3, 1]
        assert [setting for stack in stacks for setting in stack] == [*group, replace(group[0], hidden=8)]

"""What processes leave in a folder that are killed, or that meet there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from experiments.training.folders import BusyError, add_lines, alone, lines, whole
from experiments.training.kept import kept

ROOT = Path(__file__).parents[3]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from experiments.training.folders import alone\n"
        f"with alone(Path({str(tmp_path / 'made')!r})):\n"
        "    print('locked', flush=True)\n"
        "    input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(BusyError, match=rf"\(process {process.pid} on "), alone(tmp_path / "made"):
            pytest.fail("two at once")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    with alone(tmp_path / "made"):
        owner = (tmp_path / "made" / ".lock").read_text(encoding="utf-8")
    assert owner.startswith(f"process {os.getpid()} on ")


def test_half_a_line_is_none(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    assert lines(path) == []
    add_lines(path, ["one", "two"])
    with path.open("a") as file:
        file.write("thr")
    assert lines(path) == ["one", "two"]
    add_lines(path, ["four"])
    assert path.read_text() == "one\ntwo\nfour\n"


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def killed() -> None:
        with whole(path) as unfinished:
            unfinished.write_text("half of what")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert path.read_text() == "before"
    with whole(path) as unfinished:
        add_lines(unfinished, ["after"])
    assert path.read_text() == "after\n"
    assert list(tmp_path.iterdir()) == [path]


@dataclass
class Found:
    square: float


def test_what_was_found_is_not_worked_out_again(tmp_path: Path) -> None:
    path, asked = tmp_path / "made" / "found.jsonl", list[int]()

    def work(number: int) -> Found:
        asked.append(number)
        return Found(number**2)

    jobs = [{"number": number} for number in (3, 1, 2)]
    first = kept(path, jobs, work)
    assert next(first) == {"square": 9}
    first.close()  # as if killed
    with path.open("a") as file:
        file.write('{"job": {"num')
    assert list(kept(path, jobs, work)) == [{"square": 9}, {"square": 1}, {"square": 4}]
    assert asked == [3, 1, 2]
    assert [json.loads(line)["found"]["square"] for line in lines(path)] == [9, 1, 4]

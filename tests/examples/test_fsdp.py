"""examples/fsdp.py: two processes take the steps of one, also where they stop at a checkpoint and go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="PyTorch was built without gloo")

EXAMPLE = Path(__file__).parents[2] / "examples" / "fsdp.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def losses(folder: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> list[float]:
    file = folder / "losses"
    command = [sys.executable, *launcher, str(EXAMPLE), "--losses", str(file), *arguments]
    search = os.pathsep.join(sys.path)  # the library under test, wherever the installed one is
    environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return [float(line) for line in file.read_text().split()]


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    alone = losses(tmp_path, "--steps", "12")
    checkpoint = "--folder", str(tmp_path / "checkpoint")
    before = losses(tmp_path, "--steps", "7", *checkpoint, launcher=TORCHRUN)
    after = losses(tmp_path, "--steps", "12", *checkpoint, launcher=TORCHRUN)
    assert len(after) == 5
    assert [*before, *after] == pytest.approx(alone, rel=1e-5)
    assert alone[-1] < alone[0]

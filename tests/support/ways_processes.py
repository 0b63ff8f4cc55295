"""Ways that want a process of their own, which a hang cannot outlive: `python ways_processes.py WHAT SYS_PATH...`

The process prints a line for each call that was right, and the errors of the others.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import cache
from typing import Any

TIMEOUT = 60  # seconds; it takes a few


@cache
def tried(what: str) -> tuple[frozenset[str], str]:
    """The lines that say what was right, and all that the process says."""
    command = [sys.executable, __file__, what, *sys.path]
    quiet = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait leave the cores to others
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=quiet)
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        lines = (output.decode() if isinstance(output, bytes) else output).splitlines()
        return frozenset(lines), f"it hangs after {lines[-1:]}"
    return frozenset(done.stdout.splitlines()), done.stdout + done.stderr


def _report(line: str, check: Callable[[Any], None], call: Any) -> None:
    try:
        check(call)
    except Exception:
        print(line, traceback.format_exc(), file=sys.stderr, flush=True)
    else:
        print(line, flush=True)


def _forks() -> None:
    """A child makes all calls before its parent did, and another one after."""
    import torch

    from support.ways import CALLS, check_eager, expected

    def child(moment: str) -> None:
        torch.set_num_threads(1)  # as torch.utils.data does in its workers: OpenMP's threads do not survive a fork
        for call in CALLS:
            _report(f"{moment}: {call.name}", check_eager, call)

    for call in CALLS:
        expected(call)  # known from here on
    torch.set_num_threads(2)
    for moment in ("before use", "after use"):
        process: Any = multiprocessing.get_context("fork").Process(target=child, args=(moment,))
        process.start()
        process.join()
        for call in CALLS:
            call.value(*(leaf.requires_grad_(call.differentiable) for leaf in call.leaves()))


def _large_batches() -> None:
    """Batches, vmapped or not, of matrices that LAPACK factorises in several threads, up to second derivatives."""
    import torch

    from support.ways import LARGE_BATCHES, check_large_batch

    torch.set_num_threads(2)
    for call in LARGE_BATCHES:
        _report(call.name, check_large_batch, call)


if __name__ == "__main__":
    what, *sys.path[:] = sys.argv[1:]
    {"forks": _forks, "large batches": _large_batches}[what]()

"""Ways that want a process of their own, which a hang cannot outlive: `python ways_processes.py WHAT SYS_PATH...`

The process prints the name of each call that was right, and the errors of the others.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import cache
from typing import Any

TIMEOUT = 60  # seconds; it takes a few


@cache
def tried(what: str) -> tuple[frozenset[str], str]:
    """The names of the calls that were right, and what else the process says."""
    command = [sys.executable, __file__, what, *sys.path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        lines = output.decode() if isinstance(output, bytes) else output
        return frozenset(lines.splitlines()), f"it hangs after {lines.splitlines()[-1:]}"
    return frozenset(done.stdout.splitlines()), done.stdout + done.stderr


def _report(call: Any, attempt: Callable[[Any], None]) -> None:
    try:
        attempt(call)
    except Exception:
        print(call.name, traceback.format_exc(), file=sys.stderr, flush=True)
    else:
        print(call.name, flush=True)


def _fork(after_use: bool) -> None:
    """A child makes all calls, before or after its parent did."""
    import torch
    from ways import CALLS, check_eager, expected

    def child() -> None:
        torch.set_num_threads(1)  # as torch.utils.data does in its workers: OpenMP's threads do not survive a fork
        for call in CALLS:
            _report(call, check_eager)

    for call in CALLS:
        expected(call)  # known from here on
    torch.set_num_threads(2)
    if after_use:
        for call in CALLS:
            call.value(*(leaf.requires_grad_(call.differentiable) for leaf in call.leaves()))
    process: Any = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()


def _large_batches() -> None:
    """Batches, vmapped or not, of matrices that LAPACK factorises in several threads, up to second derivatives."""
    import torch
    from ways import LARGE_BATCHES, check_large_batch

    torch.set_num_threads(2)
    for call in LARGE_BATCHES:
        _report(call, check_large_batch)


if __name__ == "__main__":
    what, *sys.path[:] = sys.argv[1:]
    {"fork": lambda: _fork(False), "fork after use": lambda: _fork(True), "large batches": _large_batches}[what]()

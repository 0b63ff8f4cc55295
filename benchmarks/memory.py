"""The peak of memory during one value and gradient, in a process of its own: ``python -m benchmarks.memory <penalty>``.

Prints the bytes of resident memory that value and gradient needed at their peak beyond the weights, less one
n x n gradient. The kernel counts them (Linux: VmHWM, reset through /proc/self/clear_refs), so that the buffers of every
allocator and library are in. A small evaluation comes first: code is loaded and threads are started by then.
"""

from __future__ import annotations

import ctypes
import functools
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

import rrnn_ext
from benchmarks import peers, problems
from benchmarks.contenders import value_and_gradient
from benchmarks.names import OURS

N, INPUTS, OUTPUTS, HOPS = 4096, 8, 8, 100
FLOAT = 4  # bytes
PENALTIES = {
    OURS: rrnn_ext.resolvent_penalty,
    "horner_from_outputs": peers.horner_from_outputs,
}


def extra_floats(name: str) -> float:
    """The peak of the penalty ``name``, measured in a fresh process, in floats per n^2."""
    command = [sys.executable, "-m", "benchmarks.memory", name]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True)
    return int(done.stdout) / FLOAT / N**2


def peak_beyond(warm_up: Callable[[], object], measured: Callable[[], object]) -> int:
    """Bytes of resident memory that ``measured`` needs at its peak beyond what there is before, its result included."""
    warm_up()
    ctypes.CDLL(None).malloc_trim(0)  # what the small evaluation freed must not hide what the large one takes
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    measured()
    return _resident("VmHWM") - before


def _measure(name: str) -> int:
    penalty = functools.partial(PENALTIES[name], hops=HOPS)

    def evaluate() -> None:
        found.append(value_and_gradient(penalty, weights)())

    found: list[tuple[Tensor, Sequence[Tensor]]] = []
    weights = problems.thin(N, INPUTS, OUTPUTS)
    peak = peak_beyond(value_and_gradient(penalty, problems.thin(256, INPUTS, OUTPUTS)), evaluate)
    value, gradients = found.pop()  # looked at when the peak is known: that takes memory of its own
    assert all(bool(result.isfinite().all()) for result in (value, *gradients))
    return peak - FLOAT * N**2


def _resident(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


if __name__ == "__main__":
    print(_measure(sys.argv[1]))

"""``python -m benchmarks.spiking_lif``: leaky integrate-and-fire neurons through time, there and back, against peers.

Prints a table: the fastest of the rounds, in which everybody takes a turn, and how much memory a call takes at its peak
beyond what it was given. A peer that is not installed is left out with a word. Nothing here runs in ``make bench``.
"""

from __future__ import annotations

import importlib.util
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.device import description, now
from benchmarks.memory import peak_beyond
from benchmarks.spiking_peers import LEAK, PEERS, SLOPE, Run
from benchmarks.tables import as_table, as_time
from rrnn_ext.spiking import lif

OURS = "rrnn_ext"
STEPS, SAMPLES = 500, 32
ROUNDS = 3
DT = 1e-3
"""A step in seconds; with it, TAU makes the leak of the peers."""
TAU = -DT / torch.log(torch.tensor(LEAK, dtype=torch.float64)).item()

Call = Callable[[], tuple[Tensor, tuple[Tensor, ...]]]


def ours(current: Tensor, weight_rec: Tensor | None) -> Tensor:
    return lif(current, weight_rec, tau=TAU, dt=DT, slope=SLOPE)[0]


def problem(n: int, recurrent: bool) -> tuple[tuple[Tensor, ...], Tensor]:
    """The current, and the recurrent weights; and the gradient that comes from above."""
    torch.manual_seed(0)
    current = (0.25 * torch.randn(STEPS, SAMPLES, n) + 0.03).requires_grad_()
    weights = ((0.3 * torch.randn(n, n) / n**0.5).requires_grad_(),) if recurrent else ()
    return (current, *weights), torch.randn(STEPS, SAMPLES, n)


def call(run: Run, n: int, recurrent: bool) -> Call:
    inputs, upstream = problem(n, recurrent)

    def forwards_and_back() -> tuple[Tensor, tuple[Tensor, ...]]:
        spikes = run(inputs[0], inputs[1] if recurrent else None)
        return spikes, torch.autograd.grad(spikes, inputs, upstream)

    return forwards_and_back


def difference(own: tuple[Tensor, tuple[Tensor, ...]], other: tuple[Tensor, tuple[Tensor, ...]]) -> tuple[int, float]:
    """Spikes that are not the same, of which rounding moves a few; and how far the gradients are apart, by norm, in the
    samples where all are."""
    same = (own[0] == other[0]).all(-1).all(0)
    gradients = own[1][0][:, same], other[1][0][:, same]
    apart = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    return int((own[0] != other[0]).sum()), apart.item()


def table(n: int, recurrent: bool) -> str:
    calls = {OURS: call(ours, n, recurrent)}
    left_out = []
    for name, peer in PEERS.items():
        if " " not in name and importlib.util.find_spec(name) is None:
            left_out.append(name)
        else:
            calls[name] = call(peer(False), n, recurrent)
    calls["eager loop over current[t]"] = call(PEERS["eager loop"](True), n, recurrent)
    first = calls[OURS]()
    differences = {name: difference(first, each()) for name, each in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, each in calls.items():
            start = now()
            each()
            seconds[name].append(now() - start)
    fastest = {name: min(times) for name, times in seconds.items()}
    cpu = cpu_times(calls)
    rows = [
        (
            name,
            as_time(fastest[name]),
            as_time(statistics.median(seconds[name])),
            f"{fastest[name] / fastest[OURS]:.1f}×",
            as_time(cpu[name]),
            f"{cpu[name] / cpu[OURS]:.1f}×",
            f"{differences[name][0]}",
            f"{differences[name][1]:.1e}",
        )
        for name in calls
    ]
    header = (
        *("who", "fastest round", "median", "times ours", "CPU time, one thread", "times ours"),
        *("other spikes", "gradient apart"),
    )
    what = f"T={STEPS} B={SAMPLES} n={n}, {'recurrent' if recurrent else 'feed-forward'}, rate {first[0].mean():.3f}"
    missing = f" Not installed, and left out: {', '.join(left_out)}." if left_out else ""
    return f"{what}, float32, {torch.get_num_threads()} threads.{missing}\n\n{as_table(header, rows)}\n"


def cpu_times(calls: Mapping[str, Call]) -> dict[str, float]:
    """The least processor time of some calls on one thread, which neighbours on the machine do not add to."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    least = dict.fromkeys(calls, math.inf)
    for _ in range(ROUNDS):
        for name, each in calls.items():
            start = time.process_time()
            each()
            least[name] = min(least[name], time.process_time() - start)
    torch.set_num_threads(threads)
    return least


def memory(n: int, recurrent: bool) -> float:
    """The peak of a call in a process of its own, in floats per T B n, without what it was given."""
    command = [sys.executable, "-m", "benchmarks.spiking_lif", str(n), str(int(recurrent))]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True)
    return int(done.stdout) / 4 / (STEPS * SAMPLES * n)


def main() -> None:
    if len(sys.argv) > 1:
        n, recurrent = int(sys.argv[1]), sys.argv[2] == "1"
        print(peak_beyond(call(ours, 8, recurrent), call(ours, n, recurrent)))
        return
    print(", ".join(f"{key} {value}" for key, value in description().items()), end="\n\n")
    for n, recurrent in ((512, False), (256, True)):
        print(table(n, recurrent))
        print(f"Ours takes {memory(n, recurrent):.2f} T B n floats at its peak.\n", flush=True)


if __name__ == "__main__":
    main()

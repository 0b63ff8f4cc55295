"""Times on a GPU: of the device by itself, and of one eager call as a caller waits for it."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.gpu.record import Times
from benchmarks.gpu.where import EMULATED, synchronize

Step = Callable[[], object]

ROUND_S = 4e-3  # calls are queued in rounds that take about as long
ROUNDS = 15
BUDGET_S = 1.0  # of all rounds of one measurement

# PyTorch's allocator may believe that a capture which failed goes on: none is begun after it in this process.
_capture_failed = False


def measure(step: Step, *, capture: bool = True) -> Times:
    """``step`` has run before; whatever it compiles is compiled. Emulated, one call by the host's clock stands in."""
    if EMULATED:
        seconds = _once(step)
        return Times(None, seconds, seconds)
    gc.collect()
    gc.disable()
    try:
        eager = queued(step), wall(step)
        replay = captured(step) if capture and not _capture_failed else None
        return Times(None if replay is None else queued(replay), *eager)
    finally:
        gc.enable()
        torch.cuda.synchronize()


def captured(step: Step) -> Step | None:
    """What replays the CUDA graph of ``step``, or None if PyTorch cannot capture it."""
    global _capture_failed
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            step()
    except RuntimeError as error:
        _capture_failed = True
        torch.cuda.synchronize()
        print(f"  no CUDA graph: {str(error).splitlines()[0]}", flush=True)
        return None
    return graph.replay


def queued(step: Step) -> float:
    """Between two events around so many calls that the queue runs full."""

    def round_of(calls: int) -> float:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(calls):
            step()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e-3 / calls

    first = min(round_of(1), round_of(1))
    calls = max(1, math.ceil(ROUND_S / first))
    rounds = max(3, min(ROUNDS, int(BUDGET_S / (calls * first))))
    return statistics.median(round_of(calls) for _ in range(rounds))


def wall(step: Step) -> float:
    first = min(_once(step), _once(step))
    return statistics.median(_once(step) for _ in range(max(5, min(200, int(0.3 / first)))))


def _once(step: Step) -> float:
    synchronize()
    start = time.perf_counter()
    step()
    synchronize()
    return time.perf_counter() - start


def peak_bytes(step: Step) -> int:
    """The most that PyTorch's allocator held during one call, all that was held before included; 0 emulated."""
    step()
    if EMULATED:
        return 0
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()

"""What is measured on, and the clock that measures it. Nothing else in benchmarks/ names a device or waits for one."""

from __future__ import annotations

import importlib.util
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

DEVICE = torch.device("cpu")


def synchronize() -> None:
    """Returns once everything asked of DEVICE is done. A CPU op has done its work when it returns."""


def now() -> float:
    """Seconds on a monotonic clock, read when DEVICE is idle. pytest-benchmark's timer and the peers' alike."""
    synchronize()
    return time.perf_counter()


def quickest(step: Callable[[], object], budget_s: float) -> float:
    """The least seconds a call of ``step`` took, over ``budget_s`` and two calls at least, after one to warm up."""
    step()
    times: list[float] = []
    end = now() + budget_s
    while len(times) < 2 or now() < end:
        start = now()
        step()
        times.append(now() - start)
    return min(times)


def description() -> dict[str, str | float]:
    """The machine, what else it was doing, and the software, as far as they bear on speed."""
    return {
        "device": DEVICE.type,
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "jax": version("jax") if importlib.util.find_spec("jax") else "not installed",
        "python": platform.python_version(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

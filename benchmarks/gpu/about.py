"""``python -m benchmarks.gpu.about [FOLDER]``: the device and the software that speed depends on."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.gpu.record import Recorder
from benchmarks.tables import today

# Without the first no test runs; the others make tests run side by side, and end those that hang.
WANTED = ("pytest", "hypothesis", "numpy", "scipy", "mpmath", "xdist", "pytest_timeout")


def about() -> dict[str, str | bool]:
    emulated = not torch.cuda.is_available()
    return {
        "emulated": emulated,
        "device": "a CPU that emulates the kernels" if emulated else torch.cuda.get_device_name(),
        "driver": "none" if emulated else _driver(),
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "python": platform.python_version(),
        "date": today(),
        "missing": " ".join(name for name in WANTED if importlib.util.find_spec(name) is None),
    }


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


if __name__ == "__main__":
    Recorder("about", Path(sys.argv[1]) if sys.argv[1:] else None).line("about", about=about())

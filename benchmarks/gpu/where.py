"""The device that is measured: a GPU, or, to try everything out without one, the CPU that emulates its kernels."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from rrnn_ext import _C

EMULATED = not torch.cuda.is_available()
DEVICE = torch.device("cpu" if EMULATED else "cuda")

Size = TypeVar("Size", int, tuple[int, ...])


def check() -> None:
    if EMULATED and not _C.build_info()["cuda_emulated"]:
        raise SystemExit("benchmarks.gpu needs a GPU that PyTorch can use, or the emulated build, and there is neither")


def wait_for_turn(folder: Path | None) -> None:
    """Until no other process measures into the folder; as long as this one lives, the others wait."""
    if not EMULATED:
        torch.cuda.init()
        torch.cuda.synchronize()
    if folder is not None:
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)


def sized(on_gpu: Size, emulated: Size) -> Size:
    """A size that the emulation manages in seconds, where it is in a GPU's place."""
    return emulated if EMULATED else on_gpu


def leaves(*weights: Tensor) -> tuple[Tensor, ...]:
    return tuple(weight.detach().to(DEVICE).requires_grad_() for weight in weights)


def release_memory() -> None:
    if not EMULATED:
        torch.cuda.empty_cache()


def synchronize() -> None:
    if not EMULATED:
        torch.cuda.synchronize()


@contextmanager
def profiled() -> Iterator[None]:
    """What a profiler that was told to wait looks at."""
    synchronize()
    if EMULATED:
        yield
        return
    torch.cuda.profiler.start()
    yield
    synchronize()
    torch.cuda.profiler.stop()

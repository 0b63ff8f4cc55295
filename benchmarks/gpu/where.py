"""The device that is measured: a GPU, or, to try everything out without one, the CPU that emulates its kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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

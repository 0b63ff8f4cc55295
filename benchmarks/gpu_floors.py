"""The least time of each case on a GPU: bytes at the rate of a large copy, flops at that of a large matrix product.

A multiplication and an addition are two flops, a float has 4 bytes; n hidden units, i inputs, o outputs, L hops,
k = min(i, o). What fits in the shared memory of all multiprocessors together counts as read once.

thin_total
    6 n^2 k L flops: the chain, its reverse, and the product that is the gradient of weight_hh. Bytes: weight_hh read
    once where it fits on the chip, else L - 1 times, a pass serving both chains; the gradient written once.
rectified_total
    The flops of k = 1. The bytes of thin_total.
all_pairs_infinite
    6 n^3 flops a matrix: the inverse takes 2 n^3, the gradient Q' G Q' two products. 8 n^2 bytes a matrix: weight_hh
    read, the gradient written.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from benchmarks.gpu_timing import queued

FLOAT = 4


@dataclass(frozen=True)
class Work:
    flops: float
    bytes: float

    @property
    def floor_s(self) -> float:
        return max(self.flops / matmul_rate(), self.bytes / copy_rate())


def thin_total(n: int, i: int, o: int, hops: int, batch: int = 1) -> Work:
    passes = 1 if FLOAT * n**2 <= shared_bytes() else hops - 1
    return Work(6.0 * batch * n**2 * min(i, o) * hops, float(FLOAT * batch * n**2 * (passes + 1)))


def rectified_total(n: int, hops: int) -> Work:
    return thin_total(n, 1, 1, hops)


def all_pairs_infinite(n: int, batch: int) -> Work:
    return Work(6.0 * n**3 * batch, 2.0 * FLOAT * n**2 * batch)


def shared_bytes() -> int:
    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    return int(device.multi_processor_count * device.shared_memory_per_multiprocessor)


@functools.cache
def copy_rate() -> float:
    """Bytes a second, read and written ones counted, between two buffers of 1 GiB."""
    source, target = torch.rand(2, 2**28, device="cuda")
    return 2.0 * FLOAT * 2**28 / queued(functools.partial(target.copy_, source))


@functools.cache
def matmul_rate() -> float:
    """Flops a second of torch.mm on 8192 x 8192 float32 matrices, TF32 off as PyTorch has it by default."""
    a, b, c = torch.randn(3, 8192, 8192, device="cuda")
    return 2.0 * 8192**3 / queued(functools.partial(torch.mm, a, b, out=c))

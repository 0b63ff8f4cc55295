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
sparse_total
    For e edges: 6 e k (L - 1) flops. 2 (L - 1) passes over the edges, 8 bytes each, and 8 more for a gradient. The
    vectors, which a cache may hold, are not counted.
"""

from __future__ import annotations

import functools

import torch

from benchmarks.gpu.record import FLOAT, Rates, Recorder, Work
from benchmarks.gpu.timing import measure
from benchmarks.gpu.where import DEVICE, EMULATED, sized


def thin_total(n: int, i: int, o: int, hops: int, batch: int = 1) -> Work:
    passes = 1 if FLOAT * n**2 <= shared_bytes() else hops - 1
    return Work(6.0 * batch * n**2 * min(i, o) * hops, float(FLOAT * batch * n**2 * (passes + 1)))


def rectified_total(n: int, hops: int) -> Work:
    return thin_total(n, 1, 1, hops)


def all_pairs_infinite(n: int, batch: int) -> Work:
    return Work(6.0 * n**3 * batch, 2.0 * FLOAT * n**2 * batch)


def sparse_total(edges: int, width: int, hops: int) -> Work:
    return Work(6.0 * edges * width * (hops - 1), 8.0 * edges * (2 * (hops - 1) + 1))


def shared_bytes() -> int:
    if EMULATED:
        return 0
    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    return int(device.multi_processor_count * device.shared_memory_per_multiprocessor)


def rates(recorder: Recorder) -> None:
    """Between two buffers of 1 GiB, read and written bytes counted; torch.mm of 8192 x 8192 float32 matrices, TF32 off
    as PyTorch has it by default."""
    floats, n = sized(2**28, 2**10), sized(8192, 64)
    source, target = torch.rand(2, floats, device=DEVICE)
    copy = 2.0 * FLOAT * floats / measure(functools.partial(target.copy_, source), capture=False).queued
    a, b, c = torch.randn(3, n, n, device=DEVICE)
    matmul = 2.0 * n**3 / measure(functools.partial(torch.mm, a, b, out=c), capture=False).queued
    found = Rates(copy, matmul)
    recorder.line("rates", copy=found.copy, matmul=found.matmul)

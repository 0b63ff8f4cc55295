"""The least time the arithmetic allows: flops at matmul's rate or bytes at the memory's, whichever takes longer.

The rates are probed in every round of every race, in turn with the contenders, and the best of the whole run counts: a
rate from a slow spell of the machine would raise the floor, and with it every share that is reported of it.

The counts, for n hidden units, i inputs, o outputs, L hops, k = min(i, o) and floats of 4 bytes; a multiplication and
an addition are two flops:

thin_total
    6 n^2 k L flops: the chain of L products n x n by n x k, the chain of the gradient, and the product n x kL by kL x n
    that is the gradient of weight_hh. 4 n^2 L bytes: L - 1 passes over weight_hh, each serving a step of both chains,
    and the gradient written once. At copy's rate.
rectified_total
    The flops of k = 1: no column is needed but the sum over the inputs. 4 n^2 (L + 1) bytes: L - 1 passes, one more for
    the signs of weight_hh in its gradient, and the gradient written once. At the reading rate.
thin_infinite
    6 n^2 k flops, 8 n^2 bytes: one pass, and the gradient written. The passes that a solver needs depend on the
    spectrum, so this bounds every method and describes none. At copy's rate.
rectified_infinite
    The flops of k = 1, the same bytes.
sparse_total
    For e edges: 6 e k (L - 1) flops. 2 (L - 1) passes over the edges, 8 bytes each, and 8 more for a gradient, at
    the rate at which so much is copied; 4 k bytes of vectors for an edge and pass, and 4 k (L - 1) for its gradient,
    at the rate at which the vectors of a hop are.
all_pairs_infinite
    6 n^3 flops a matrix: the inverse takes 2 n^3, the gradient Q' G Q' two products. 8 n^2 bytes a matrix: weight_hh
    read, its gradient written. At copy's rate.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.device import DEVICE

FLOAT = 4  # bytes
MATMUL_SIZE = 1024  # square; large enough for the full rate of a few cores, small enough for every round
LEAST_BUFFER = 2**20  # bytes; with a smaller one the call of copy_ would be timed, not the copy


@dataclass(frozen=True)
class Probe:
    """A call of ``step`` does ``amount`` flops or moves ``amount`` bytes; ``kind`` and ``buffer`` name the rate."""

    kind: str
    buffer: int
    amount: float
    step: Callable[[], object]

    def record(self, seconds: float) -> None:
        key = (self.kind, self.buffer)
        _best[key] = max(self.amount / seconds, _best.get(key, 0.0))


@dataclass(frozen=True)
class Work:
    flops: float
    bytes: float
    weights: int  # bytes of the weights that are gone over: the size at which the memory's rate is probed
    memory: str = "copy"  # the rate that bounds the bytes, "copy" or "read"

    @property
    def buffer(self) -> int:
        return max(self.weights, LEAST_BUFFER)

    def probes(self) -> list[Probe]:
        """What measures the rates that this floor rests on."""
        return [_matmul(), *(_copy(self.buffer) if self.memory == "copy" else _read(self.buffer))]

    @property
    def floor_s(self) -> float:
        """By the best rates of the run so far."""
        return max(self.flops / _best["matmul", 0], self.bytes / _best[self.memory, self.buffer])


@dataclass(frozen=True)
class SparseWork(Work):
    looked_up: float = 0.0  # bytes of vectors
    vectors: int = 0  # bytes of those of a hop

    @property
    def vector_buffer(self) -> int:
        return max(self.vectors, LEAST_BUFFER)

    def probes(self) -> list[Probe]:
        return [*super().probes(), *_copy(self.vector_buffer)]

    @property
    def floor_s(self) -> float:
        of_bytes = self.bytes / _best["copy", self.buffer] + self.looked_up / _best["copy", self.vector_buffer]
        return max(self.flops / _best["matmul", 0], of_bytes)


def sparse_total(n: int, edges: int, width: int, hops: int) -> SparseWork:
    passes = hops - 1
    return SparseWork(
        flops=6.0 * edges * width * passes,
        bytes=2 * FLOAT * edges * (2 * passes + 1),
        weights=2 * FLOAT * edges,
        looked_up=FLOAT * width * edges * 3.0 * passes,
        vectors=FLOAT * width * n,
    )


def thin_total(n: int, i: int, o: int, hops: int, batch: int = 1) -> Work:
    return Work(6.0 * n**2 * min(i, o) * hops * batch, FLOAT * n**2 * hops * batch, FLOAT * n**2 * batch)


def thin_infinite(n: int, i: int, o: int) -> Work:
    return Work(6.0 * n**2 * min(i, o), 2 * FLOAT * n**2, FLOAT * n**2)


def rectified_total(n: int, hops: int) -> Work:
    return Work(6.0 * n**2 * hops, FLOAT * n**2 * (hops + 1), FLOAT * n**2, memory="read")


def rectified_infinite(n: int) -> Work:
    return Work(6.0 * n**2, 2 * FLOAT * n**2, FLOAT * n**2)


def all_pairs_infinite(n: int, batch: int = 1) -> Work:
    return Work(6.0 * n**3 * batch, 2 * FLOAT * n**2 * batch, FLOAT * n**2 * batch)


def matmul_rate() -> float:
    """The best of this run, in flops a second."""
    return _best["matmul", 0]


def best_rates() -> dict[str, float]:
    """The best of each rate in this run, in 1e9 flops or bytes a second."""
    return {
        "matmul, Gflop/s" if kind == "matmul" else f"{kind} of {buffer} bytes, GB/s": rate / 1e9
        for (kind, buffer), rate in sorted(_best.items())
    }


_best: dict[tuple[str, int], float] = {}


def _matmul() -> Probe:
    """torch.mm on square float32 matrices."""
    a, b, c = torch.ones(3, MATMUL_SIZE, MATMUL_SIZE, device=DEVICE)
    return Probe("matmul", 0, 2.0 * MATMUL_SIZE**3, functools.partial(torch.mm, a, b, out=c))


def _copy(size: int) -> list[Probe]:
    """Tensor.copy_ between two buffers of ``size`` bytes; bytes read and bytes written are counted."""
    source, target = torch.ones(2, size // FLOAT, device=DEVICE)
    return [Probe("copy", size, 2.0 * size, functools.partial(target.copy_, source))]


def _read(size: int) -> list[Probe]:
    """Three readers of ``size`` bytes, the fastest of which counts: a sum, a dot, a matrix-vector product."""
    rows = int((size // FLOAT) ** 0.5)
    matrix = torch.ones(rows, rows, device=DEVICE)
    vector, out = torch.ones(2, rows, device=DEVICE)
    readers = (
        matrix.sum,
        functools.partial(torch.dot, *matrix.flatten().chunk(2)),
        functools.partial(torch.mv, matrix, vector, out=out),
    )
    return [Probe("read", size, float(FLOAT * rows**2), reader) for reader in readers]

"""Sharded weights on this machine: ``python -m benchmarks.sharded [messages] [memory] [times]``.

messages  what 2, 4 and 8 processes send in a value and gradient by rows, beside the model (benchmarks/sharded_model.py)
memory    the peak of 4 processes, beyond the shard of the weights and of the gradient, beside n w (L - 1) numbers
times     of 2 processes with a thread each, by rows and gathered in turn, minima of rounds
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.multiprocessing.spawn import spawn

import rrnn_ext
from benchmarks.memory import peak_beyond
from benchmarks.sharded_model import FLOAT, Problem, messages
from benchmarks.sharded_traffic import Traffic
from benchmarks.tables import as_table, as_time
from rrnn_ext.sharded import route

INPUTS = OUTPUTS = 16
HOPS = 20
ROUNDS = 5
NAMES = ("messages", "memory", "times")


class Weights:
    """Of a mesh: the recurrent one sharded by rows, never whole, and the sides on every rank."""

    def __init__(self, units: int, mesh: Any) -> None:
        own = len(torch.empty(units, 0).chunk(mesh.size())[mesh.get_local_rank()])
        shard = torch.randn(own, units).mul_(0.9 / units**0.5)
        self.weight_hh = DTensor.from_local(
            shard, mesh, [Shard(0)], shape=torch.Size((units, units)), stride=(units, 1)
        )
        self.weight_in = DTensor.from_local(torch.ones(units, INPUTS), mesh, [Replicate()])
        self.weight_out = DTensor.from_local(torch.ones(OUTPUTS, units), mesh, [Replicate()])
        for each in vars(self).values():
            each.requires_grad_()

    def value_and_gradient(self) -> None:
        rrnn_ext.resolvent_penalty(self.weight_hh, self.weight_in, self.weight_out, hops=HOPS).backward()

    def forget(self) -> None:
        for each in vars(self).values():
            each.grad = None


@contextmanager
def least_units(units: int) -> Iterator[None]:
    before, route.LEAST_UNITS = route.LEAST_UNITS, units
    yield
    route.LEAST_UNITS = before


def count_messages(mesh: Any) -> list[tuple[str, ...]]:
    units, found = 1000, []
    weights = Weights(units, mesh)
    with least_units(1), Traffic() as traffic:
        weights.value_and_gradient()
    wanted = messages(Problem(units, INPUTS, HOPS, mesh.size()), INPUTS * OUTPUTS)
    for kind, numbers in sorted(wanted | traffic.messages):
        counts = traffic.messages[kind, numbers], wanted[kind, numbers]
        found.append((str(mesh.size()), kind, f"{numbers:,}", *map(str, counts)))
    return found


def measure_memory(mesh: Any) -> list[tuple[str, ...]]:
    found = []
    for units in (2048, 4096, 8192):
        small, weights = Weights(256, mesh), Weights(units, mesh)
        with least_units(1):
            peak = peak_beyond(small.value_and_gradient, weights.value_and_gradient)
        shard = FLOAT * weights.weight_hh.to_local().numel()
        vectors = FLOAT * units * INPUTS * (HOPS - 1)
        whole = FLOAT * units**2
        beyond = peak - shard
        found.append((f"{units:,}", *(f"{each / 2**20:,.0f}" for each in (whole, shard, beyond, vectors))))
    return found


def measure_times(mesh: Any) -> list[tuple[str, ...]]:
    found = []
    for units in (256, 512, 1024, 2048, 4096):
        weights = Weights(units, mesh)
        best = [torch.inf, torch.inf]
        for _ in range(ROUNDS):
            for way, least in enumerate((1, units + 1)):
                weights.forget()
                dist.barrier()
                begin = time.perf_counter()
                with least_units(least):
                    weights.value_and_gradient()
                dist.barrier()
                best[way] = min(best[way], time.perf_counter() - begin)
        found.append((f"{units:,}", *map(as_time, best), f"{best[1] / best[0]:.2f}"))
    return found


def _worker(rank: int, ranks: int, folder: str, measure: Callable[[Any], list[tuple[str, ...]]]) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    try:
        found = measure(init_device_mesh("cpu", (ranks,)))
        torch.save(found, f"{folder}/{rank}.pt")
        gc.collect()  # gloo's threads end with the group's last owner
        dist.barrier()
    finally:
        dist.destroy_process_group()


def over(ranks: int, measure: Callable[[Any], list[tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """What the first of so many processes found."""
    with tempfile.TemporaryDirectory() as folder:
        spawn(_worker, args=(ranks, folder, measure), nprocs=ranks)
        found: list[tuple[str, ...]] = torch.load(f"{folder}/0.pt")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharded", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[[], *NAMES], default=NAMES)
    wanted = parser.parse_args().what
    if "messages" in wanted:
        rows = [row for ranks in (2, 4, 8) for row in over(ranks, count_messages)]
        print(as_table(("ranks", "message", "numbers", "sent", "by the model"), rows), flush=True)
    if "memory" in wanted:
        header = "n", "W", "shard of W", "peak beyond shard and gradient", "n w (L - 1)"
        print("\n4 ranks, MiB of a rank\n\n" + as_table(header, over(4, measure_memory)), flush=True)
    if "times" in wanted:
        columns = "n", "by rows", "gathered", "gathered / by rows"
        print("\n2 ranks\n\n" + as_table(columns, over(2, measure_times)), flush=True)


if __name__ == "__main__":
    main()

"""A group of processes in which many cases are run, one after another: to start one takes seconds, most of which go to
imports, so that all are forked from one that has done them."""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

MODULES = ("support.sharded.functions", "support.sharded.wrappings", "support.sharded.rows", "support.sharded.traffic")
_IMPORTS = ["torch.distributed.fsdp", "torch.distributed.tensor"]
_TIMEOUT = timedelta(seconds=60)  # of a message: a rank that failed sends none


class Ranks(NamedTuple):
    """The group as a case sees it, from one of its ranks."""

    rank: int
    size: int
    mesh: Any  # a DeviceMesh of one dimension
    seen: list[bytes]  # what has to be the same on all ranks

    def place(self, weight: Tensor, *placements: Any) -> Any:
        """A Parameter of the whole weight, which is the same on all ranks: a DTensor, or without placements a plain
        one."""
        from torch.distributed.tensor import distribute_tensor

        own = weight.detach().clone()
        return nn.Parameter(distribute_tensor(own, self.mesh, placements) if placements else own)

    def agree(self, value: Tensor) -> None:
        """All ranks must have the same bits: looked at when the case is done."""
        self.seen.append(value.detach().numpy().tobytes())

    def check_agreement(self) -> None:
        own = hashlib.sha256(b"".join(self.seen)).hexdigest(), len(self.seen)
        every: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(every, own)
        assert all(other == own for other in every), every


Case = Callable[[Ranks], None]
_cases: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Registers what is to be run on every rank, under the function's name."""
    _cases[function.__name__] = function
    return function


def names() -> list[str]:
    for module in MODULES:
        import_module(module)
    return list(_cases)


@cache
def failures(size: int) -> dict[str, str]:
    """By case, the tracebacks of the ranks on which it failed; run in a group of so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.set_forkserver_preload(_IMPORTS)
        start_processes(_worker, args=(size, folder), nprocs=size, start_method="forkserver")
        found: dict[str, str] = {}
        for rank in range(size):
            for name, text in torch.load(f"{folder}/{rank}.pt").items():
                found[name] = found.get(name, "") + f"\nrank {rank}: {text}"
    return found


def _worker(rank: int, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size, timeout=_TIMEOUT
    )
    try:
        torch.save(_run(rank, size), f"{folder}/{rank}.pt")
        # Gloo's threads end with the group's last owner, which is to be nobody that lives until the interpreter ends.
        gc.collect()
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def _run(rank: int, size: int) -> dict[str, str]:
    from torch.distributed.device_mesh import init_device_mesh

    mesh, failed = init_device_mesh("cpu", (size,)), {}
    for name in names():
        try:
            ranks = Ranks(rank, size, mesh, [])
            _cases[name](ranks)
            ranks.check_agreement()
        except Exception:
            failed[name] = traceback.format_exc()
            break  # the other ranks are elsewhere now
    return failed

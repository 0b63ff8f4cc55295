"""What a call sends and what it holds: n w numbers a hop and direction, and nothing of the size of the whole matrix."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import rrnn_ext
from rrnn_ext.sharded import blocks, route
from support.sharded.functions import INPUTS, OUTPUTS, weights
from support.sharded.ranks import Ranks, case

UNITS, HOPS, BLOCK = 256, 5, 512


class Seen(TorchDispatchMode):
    """The messages, by name and by the numbers of all ranks in them, and the memory of the tensors that ops made."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: Counter[tuple[str, int]] = Counter()
        self.memory: dict[int, int] = {}  # numbers, by where they begin

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func.namespace == "c10d":
            largest = max(each.numel() for each in tree_leaves(args) if isinstance(each, Tensor))
            self.messages[func._opname, largest] += 1
        elif not func.is_view:
            for each in tree_leaves(made):
                if type(each) is Tensor:
                    at = each.untyped_storage().data_ptr()
                    self.memory[at] = max(self.memory.get(at, 0), each.numel())
        return made


@case
def messages_and_memory(ranks: Ranks) -> None:
    from torch.distributed.tensor import Shard

    wholes = weights(UNITS)
    padded = -(-UNITS // ranks.size) * ranks.size  # messages of all ranks are of one size
    for placement in (Shard(0), Shard(1)):
        for rectify in (False, True):
            given = [ranks.place(each, Shard(dim)) for each, dim in zip(wholes, (placement.dim, 0, 1), strict=True)]
            options: dict[str, Any] = {"hops": HOPS, "rectify": rectify, "norm": "l2"}
            rrnn_ext.resolvent_penalty(*given, **options)  # what the first call alone makes is made
            with pytest.MonkeyPatch.context() as patch, Seen() as seen:
                patch.setattr(route, "LEAST_UNITS", 1)
                patch.setattr(blocks, "_BLOCK", BLOCK)
                rrnn_ext.resolvent_penalty(*given, **options).backward()
            width = padded * min(INPUTS, OUTPUTS)
            assert seen.messages == {
                ("_allgather_base_", width): HOPS - 1,
                ("_reduce_scatter_base_", width): HOPS - 1,
                ("allreduce_", INPUTS * OUTPUTS): 1,
            }
            shard = given[0].to_local().numel()
            *others, largest = sorted(seen.memory.values())
            assert largest == shard  # the gradient, once
            assert others[-1] <= max(width * HOPS, BLOCK)

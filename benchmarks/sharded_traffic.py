"""What is sent between ranks, and what is made on one, while it is looked at."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_KINDS = {"_allgather_base_": "all-gather", "_reduce_scatter_base_": "reduce-scatter", "allreduce_": "all-reduce"}


class Traffic(TorchDispatchMode):
    """Counts while it is entered, of one rank; what ops of DTensor do within is not seen.

    Attributes:
        messages: by kind and by the numbers of all ranks in one.
        memory: how many numbers tensors were made for, by where they begin.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages: Counter[tuple[str, int]] = Counter()
        self.memory: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func.namespace == "c10d":
            largest = max(each.numel() for each in tree_leaves(args) if isinstance(each, Tensor))
            self.messages[_KINDS.get(func._opname, func._opname), largest] += 1
        elif not func.is_view:
            for each in tree_leaves(made):
                if type(each) is Tensor:
                    at = each.untyped_storage().data_ptr()
                    self.memory[at] = max(self.memory.get(at, 0), each.numel())
        return made

"""Weights that are sharded over processes, as DTensors or by FSDP2 (``fully_shard``): docs/sharded.md.

The public functions and ResolventPenalty take such weights as they take all others. Nothing here imports
torch.distributed, which takes seconds, before there is a sharded weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from rrnn_ext._options import PenaltyOptions
from rrnn_ext._route import Weights

Answer: TypeAlias = Callable[[Weights, PenaltyOptions], Tensor]

_PLAIN = (Tensor, nn.Parameter, float, type(None))


def is_sharded(*tensors: Any) -> bool:
    """Whether one of them is a DTensor, sharded or replicated."""
    return any(type(each) not in _PLAIN and hasattr(type(each), "full_tensor") for each in tensors)


def over_ranks(function: Answer, weights: Weights, options: PenaltyOptions) -> Tensor:
    """A function of weights of which one, or alpha, is a DTensor; the same on every rank.

    Whatever is wrong with shapes and options is an error on each rank before the first message between them.
    """
    if torch.compiler.is_compiling():  # a graph breaks here, or with fullgraph=True is refused
        return torch.compiler.disable(function)(weights, options)
    from rrnn_ext.sharded.route import routed

    return routed(function, weights, options)

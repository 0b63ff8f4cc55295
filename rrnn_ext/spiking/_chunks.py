"""Functions of many neurons that take much memory for each, a few neurons at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_chunks(function: Callable[..., Tensor], at_once: int, *arguments: Tensor) -> Tensor:
    """`function` of flat tensors, applied to broadcast ones; what it keeps is computed again in the backward pass."""
    broadcast = torch.broadcast_tensors(*arguments)
    shape, flat = broadcast[0].shape, [argument.reshape(-1) for argument in broadcast]
    if shape.numel() == 0:
        return broadcast[0].clone()
    if torch._C._are_functorch_transforms_active() or shape.numel() <= at_once:
        return function(*flat).reshape(shape)
    chunks = zip(*(argument.split(at_once) for argument in flat), strict=True)
    return torch.cat(
        [checkpoint(function, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
    ).reshape(shape)

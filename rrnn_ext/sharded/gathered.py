"""Sharded weights, whole on every rank: their gradient goes back in the placements they came from."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from rrnn_ext.sharded import is_sharded

T = TypeVar("T")


class _Whole(torch.autograd.Function):
    """``full_tensor()`` whose gradient can be differentiated again, which that of PyTorch 2.11 cannot."""

    @staticmethod
    def forward(ctx: Any, sharded: Any) -> Tensor:
        from torch.distributed.tensor import Replicate

        ctx.mesh = sharded.device_mesh
        # Each part of a sum has the gradient of the sum.
        ctx.placements = [Replicate() if each.is_partial() else each for each in sharded.placements]
        return sharded.detach().full_tensor()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        from torch.distributed.tensor import DTensor, Replicate

        whole = DTensor.from_local(grad, ctx.mesh, [Replicate()] * ctx.mesh.ndim, run_check=False)
        return whole.redistribute(placements=ctx.placements)


def gathered(weight: T) -> T:
    """A DTensor as an ordinary tensor, the same on every rank; anything else as it is.

    Each rank is to make the same of it, and has the whole gradient then: of that it keeps what its shard is of.
    """
    if not is_sharded(weight):
        return weight
    return _Whole.apply(weight)


def gathered_for_runs(weight: T) -> T:
    """The same where each rank makes something else of it, of a batch of its own: the gradient is the mean over ranks,
    as that of a loss is under FSDP2 and DistributedDataParallel."""
    if not is_sharded(weight):
        return weight
    from torch.distributed.tensor import Partial

    sharded: Any = weight
    mesh = sharded.device_mesh
    whole: Tensor = sharded.full_tensor(grad_placements=[Partial()] * mesh.ndim)
    if whole.requires_grad:
        whole.register_hook(lambda gradient: gradient / mesh.size())
    return whole  # type: ignore[return-value]

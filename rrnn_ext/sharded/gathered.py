"""Sharded weights, whole on every rank: their gradient goes back in the placements they came from."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from rrnn_ext.sharded import is_sharded

T = TypeVar("T")


class _Whole(torch.autograd.Function):
    """``full_tensor()`` whose gradient can be differentiated again, which that of PyTorch 2.11 cannot.

    What each rank has of the gradient is all of it, or, where the ranks go on with batches of their own, one of the
    parts whose mean it is.
    """

    @staticmethod
    def forward(ctx: Any, sharded: Any, of_runs: bool) -> Tensor:
        from torch.distributed.tensor import Replicate

        ctx.mesh, ctx.of_runs = sharded.device_mesh, of_runs
        # Each part of a sum has the gradient of the sum.
        ctx.placements = [Replicate() if each.is_partial() else each for each in sharded.placements]
        return sharded.detach().full_tensor()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        from torch.distributed.tensor import DTensor, Partial, Placement, Replicate

        placement: Placement = Partial() if ctx.of_runs else Replicate()
        part = grad / ctx.mesh.size() if ctx.of_runs else grad
        whole = DTensor.from_local(part, ctx.mesh, [placement] * ctx.mesh.ndim, run_check=False)
        return whole.redistribute(placements=ctx.placements), None


def gathered(weight: T) -> T:
    """A DTensor as an ordinary tensor, the same on every rank; anything else as it is.

    Each rank is to make the same of it, and has the whole gradient then: of that it keeps what its shard is of.
    """
    return _Whole.apply(weight, False) if is_sharded(weight) else weight


def gathered_for_runs(weight: T) -> T:
    """The same where each rank makes something else of it, of a batch of its own: the gradient is the mean over ranks,
    as that of a loss is under FSDP2 and DistributedDataParallel."""
    return _Whole.apply(weight, True) if is_sharded(weight) else weight

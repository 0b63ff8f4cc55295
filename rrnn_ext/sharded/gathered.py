"""Sharded weights, whole on every rank: their gradient goes back in the placements they came from."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from rrnn_ext.sharded import is_sharded

T = TypeVar("T")


class _Whole(torch.autograd.Function):
    """``full_tensor()``, whose gradient goes to the shards by :class:`_Shard`, and that one's comes by this one. The
    second derivatives of PyTorch's own are an error in 2.11, and later ones know nothing of a mean over ranks."""

    @staticmethod
    def forward(ctx: Any, sharded: Any, of_runs: bool) -> Tensor:
        from torch.distributed.tensor import Replicate

        ctx.mesh, ctx.of_runs = sharded.device_mesh, of_runs
        # Each part of a sum has the gradient of the sum.
        ctx.placements = [Replicate() if each.is_partial() else each for each in sharded.placements]
        return sharded.detach().full_tensor()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _Shard.apply(grad, ctx.mesh, ctx.placements, ctx.of_runs), None


class _Shard(torch.autograd.Function):
    """What a rank keeps of a gradient of the whole. Each rank has all of that or, ``of_runs``, one of those whose mean
    it is: all go on with the same mean, and the gradient of what they make of it is again the mean of theirs."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, mesh: Any, placements: Any, of_runs: bool) -> Any:
        from torch.distributed.tensor import DTensor, Partial, Placement, Replicate

        ctx.of_runs = of_runs
        placement: Placement = Partial() if of_runs else Replicate()
        part = grad / mesh.size() if of_runs else grad
        whole = DTensor.from_local(part.detach(), mesh, [placement] * mesh.ndim, run_check=False)
        return whole.redistribute(placements=placements)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return _Whole.apply(grad, ctx.of_runs), None, None, None


def gathered(weight: T) -> T:
    """A DTensor as an ordinary tensor, the same on every rank; anything else as it is.

    Each rank is to make the same of it, and has the whole gradient then: of that it keeps what its shard is of.
    """
    return _Whole.apply(weight, False) if is_sharded(weight) else weight


def gathered_for_runs(weight: T) -> T:
    """The same where each rank makes something else of it, of a batch of its own: the gradient is the mean over ranks,
    as that of a loss is under FSDP2 and DistributedDataParallel."""
    return _Whole.apply(weight, True) if is_sharded(weight) else weight

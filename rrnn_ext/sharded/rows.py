"""A matrix whose rows lie on several ranks, and the messages that its products take.

The rows are those of torch.chunk, as DTensor's Shard has them: as many on each rank, fewer on the last ones, which may
have none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

# Named anew in PyTorch 2.13, where the older names warn.
_all_gather: Any = getattr(torch.distributed, "all_gather_single", None) or torch.distributed.all_gather_into_tensor
_reduce_scatter: Any = (
    getattr(torch.distributed, "reduce_scatter_single", None) or torch.distributed.reduce_scatter_tensor
)


class Rows(NamedTuple):
    """Which of ``units`` rows are on this rank, and who has the others: a dimension ``dim`` of a mesh."""

    mesh: DeviceMesh
    dim: int
    units: int

    @property
    def ranks(self) -> int:
        return self.mesh.size(self.dim)

    @property
    def most(self) -> int:
        """Rows on a rank."""
        return -(-self.units // self.ranks)

    @property
    def begin(self) -> int:
        return min(self.units, self.mesh.get_local_rank(self.dim) * self.most)

    @property
    def end(self) -> int:
        return min(self.units, self.begin + self.most)

    def own(self, vectors: Tensor) -> Tensor:
        """This rank's rows of (n, c)."""
        return vectors[self.begin : self.end]

    def gather(self, own: Tensor) -> Tensor:
        """(n, c), the rows of all ranks."""
        padded = _padded(own, self.most)
        every = padded.new_empty(self.ranks * self.most, own.shape[1])
        _all_gather(every, padded, group=self._group)
        return every[: self.units]

    def scatter(self, parts: Tensor) -> Tensor:
        """This rank's rows of the sum over ranks of (n, c)."""
        padded = _padded(parts, self.ranks * self.most)
        own = padded.new_empty(self.most, parts.shape[1])
        _reduce_scatter(own, padded, group=self._group)
        return own[: self.end - self.begin]

    def total(self, part: Tensor) -> Tensor:
        """The sum over ranks, the same bits on each."""
        total = part.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total, group=self._group)
        return total

    @property
    def _group(self) -> Any:
        return self.mesh.get_group(self.dim)


def _padded(vectors: Tensor, rows: int) -> Tensor:
    """With zeros below, as messages of all ranks are of one size."""
    if len(vectors) == rows:
        return vectors.contiguous()
    padded = vectors.new_zeros(rows, vectors.shape[1])
    padded[: len(vectors)] = vectors
    return padded

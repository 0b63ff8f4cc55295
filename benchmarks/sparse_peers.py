"""The penalty of a sparse graph as a user would write it in PyTorch: what rrnn_ext is measured against.

Each function takes a pattern and gives a penalty of ``values`` (edges,), ``weight_in`` and ``weight_out``: ||R||_1 with
alpha = 1, by Horner's scheme from the narrower side, the outputs. The gradient is left to autograd.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.peers import Penalty
from benchmarks.sparse_graphs import rows_of
from rrnn_ext.sparse import Pattern


def csr(pattern: Pattern, hops: int) -> Penalty:
    """torch.sparse.mm of the CSR tensor of W, from the inputs: a transposed one has no backward."""
    crow, columns, shape = pattern.crow, pattern.columns, (pattern.units, pattern.units)

    def penalty(values: Tensor, weight_in: Tensor, weight_out: Tensor) -> Tensor:
        weight_hh = torch.sparse_csr_tensor(crow, columns, values, shape, check_invariants=False)
        walks = weight_in
        for _ in range(hops - 1):
            walks = weight_in + torch.sparse.mm(weight_hh, walks)
        return (weight_out @ walks).abs().sum()

    return penalty


def csr_mirrored(pattern: Pattern, hops: int) -> Penalty:
    """The same from the outputs, of the CSR tensor of W', whose values are a permutation of those of W."""
    crow, columns, shape = pattern.t_crow, pattern.t_columns, (pattern.units, pattern.units)
    order = pattern.t_from.long()

    def penalty(values: Tensor, weight_in: Tensor, weight_out: Tensor) -> Tensor:
        transposed = torch.sparse_csr_tensor(crow, columns, values[order], shape, check_invariants=False)
        walks = weight_out.mT
        for _ in range(hops - 1):
            walks = weight_out.mT + torch.sparse.mm(transposed, walks)
        return (weight_in.mT @ walks).abs().sum()

    return penalty


def gather(pattern: Pattern, hops: int) -> Penalty:
    """Messages along the edges: gathered where an edge ends, added up where it begins."""
    rows, columns = rows_of(pattern), pattern.columns.long()

    def penalty(values: Tensor, weight_in: Tensor, weight_out: Tensor) -> Tensor:
        walks = weight_out.mT
        for _ in range(hops - 1):
            walks = weight_out.mT.index_add(0, columns, values.unsqueeze(1) * walks[rows])
        return (weight_in.mT @ walks).abs().sum()

    return penalty


def rectified_gather(pattern: Pattern, hops: int) -> Penalty:
    """The rectified sum: with no sign to cancel, one vector is enough."""
    of_one = gather(pattern, hops)

    def penalty(values: Tensor, weight_in: Tensor, weight_out: Tensor) -> Tensor:
        return of_one(values.abs(), weight_in.abs().sum(1, keepdim=True), weight_out.abs().sum(0, keepdim=True))

    return penalty

"""torch.sparse tensors as rows, columns and stored values; what is malformed in them is an error here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

COMPRESSED = {torch.sparse_csr, torch.sparse_csc}
LAYOUTS = {*COMPRESSED, torch.sparse_coo}
MOST = 2**31  # units and stored values are counted in int32


def check_layout(weight_hh: Tensor) -> None:
    if weight_hh.layout not in LAYOUTS:
        raise TypeError(
            f"weight_hh must be dense, CSR, CSC or COO, got {weight_hh.layout}; try weight_hh.to_sparse_csr()"
        )
    shape = tuple(weight_hh.shape)
    if len(shape) != 2 or shape[0] != shape[1] or (weight_hh.layout == torch.sparse_coo and weight_hh.dense_dim()):
        raise ValueError(f"a sparse weight_hh must be one square matrix (n, n), got {shape}")
    count = weight_hh._nnz()
    if shape[0] >= MOST or count >= MOST:
        raise ValueError(
            f"a sparse weight_hh must have fewer than 2^31 units and stored values, got {shape[0]} and {count}"
        )


def index_tensors(weight_hh: Tensor) -> tuple[Tensor, ...]:
    """The tensors that say where the values stand, as the tensor holds them."""
    if weight_hh.layout == torch.sparse_csr:
        return weight_hh.crow_indices(), weight_hh.col_indices()
    if weight_hh.layout == torch.sparse_csc:
        return weight_hh.ccol_indices(), weight_hh.row_indices()
    return (weight_hh._indices(),)


def rows_and_columns(weight_hh: Tensor) -> tuple[Tensor, Tensor]:
    """Of each stored value, in the order in which they are stored; int64, checked."""
    n, count = weight_hh.shape[0], weight_hh._nnz()
    if weight_hh.layout == torch.sparse_coo:
        rows, columns = weight_hh._indices().detach()
        _check_inside("row indices of weight_hh", rows, n)
        _check_inside("column indices of weight_hh", columns, n)
        return rows, columns
    by_rows = weight_hh.layout == torch.sparse_csr
    pointers, others = (each.detach() for each in index_tensors(weight_hh))
    name = "crow_indices" if by_rows else "ccol_indices"
    _check_pointers(f"{name} of weight_hh", pointers, n, count)
    _check_inside(f"{'col' if by_rows else 'row'}_indices of weight_hh", others, n)
    own = torch.repeat_interleave(torch.arange(n, device=pointers.device), pointers.diff(), output_size=count)
    return (own, others.long()) if by_rows else (others.long(), own)


def _check_inside(name: str, indices: Tensor, n: int) -> None:
    if not indices.numel():
        return
    low, high = (int(each) for each in torch.aminmax(indices))
    if low < 0 or high >= n:
        raise ValueError(f"{name} must be from 0 to {n - 1} for {n} units, got {low if low < 0 else high}")


def _check_pointers(name: str, pointers: Tensor, n: int, count: int) -> None:
    if pointers.shape != (n + 1,):
        raise ValueError(f"{name} must be ({n + 1},) for {n} units, got {tuple(pointers.shape)}")
    ends = int(pointers[0]), int(pointers[-1])
    if ends != (0, count):
        raise ValueError(f"{name} must lead from 0 to {count}, the number of stored values, got {ends[0]} to {ends[1]}")
    falls = (pointers.diff() < 0).nonzero()
    if falls.numel():
        at = int(falls[0])
        raise ValueError(f"{name} must not fall, got {int(pointers[at])} before {int(pointers[at + 1])} at {at}")


def stored_values(weight_hh: Tensor) -> Tensor:
    """The stored values, in their order, with a gradient to the tensor."""
    if weight_hh.layout in COMPRESSED or weight_hh.is_coalesced():
        return weight_hh.values()
    stored: Tensor = _StoredValues.apply(weight_hh)
    return stored


class _StoredValues(Function):
    """Of a COO tensor that is not coalesced, whose values() PyTorch does not differentiate. Entries of one place are
    one edge: the gradient of each is that of their sum, which is what stands there in a coalesced gradient."""

    @staticmethod
    def forward(ctx: Any, weight_hh: Tensor) -> Tensor:
        ctx.indices, ctx.shape = weight_hh._indices(), weight_hh.shape
        return weight_hh._values().clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        rows, columns = ctx.indices
        places, slots = torch.unique(rows * ctx.shape[1] + columns, return_inverse=True)
        by_place = grad.new_zeros(len(places)).index_copy(0, slots, grad)
        indices = torch.stack([places // ctx.shape[1], places % ctx.shape[1]])
        return torch.sparse_coo_tensor(
            indices, by_place, ctx.shape, device=grad.device, is_coalesced=True, check_invariants=False
        )

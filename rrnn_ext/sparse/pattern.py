"""Where the stored values of a sparse matrix stand, in the form in which the native ops take it, made once for each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from rrnn_ext.ops.sparse_hop import transposed
from rrnn_ext.sparse.layouts import COMPRESSED, check_layout, index_tensors, rows_and_columns, stored_values


@dataclass(frozen=True, eq=False, repr=False)
class Pattern:
    """The places of a sparse (n, n) matrix at which values are stored.

    ::

        pattern = rrnn_ext.sparse.Pattern.of(torch.eye(3).to_sparse_csr())
        values = torch.nn.Parameter(torch.tensor([0.5, -0.2, 0.1]))
        rrnn_ext.resolvent_penalty(pattern.with_values(values), torch.ones(3, 1), torch.ones(1, 3), hops=4)

    Attributes:
        units: how many there are, n.
        stored: how many values a tensor of this pattern stores.
        crow, columns: (n + 1,) and (edges,), int32: the columns of row r, rising, are columns[crow[r]:crow[r + 1]].
        t_crow, t_columns, t_from: the same of the transposed matrix, and (edges,) which value stands there.
        slots: (stored,) which edge each stored value is part of; None where each is the one of its own number. Values
            that are stored at the same place are one edge, of their sum.
        in_order: whether the stored values came one by one in the order of the layout, as PyTorch wants them.
    """

    units: int
    stored: int
    crow: Tensor
    columns: Tensor
    t_crow: Tensor
    t_columns: Tensor
    t_from: Tensor
    slots: Tensor | None
    in_order: bool = True

    @staticmethod
    def of(weight_hh: Tensor) -> Pattern:
        """That of a CSR, CSC or COO tensor; found again where one with the same index tensors has been seen before.

        Raises:
            TypeError: of another layout.
            ValueError: not (n, n); row pointers that fall or do not lead to the number of stored values; an index
                outside the matrix; 2^31 units or values and more.
        """
        check_layout(weight_hh)
        indices = index_tensors(weight_hh)
        key = (weight_hh.layout, weight_hh.shape, weight_hh._nnz(), *map(_identity, indices))
        known = _known.get(key)
        if known is not None and known.is_still_of(indices):
            return known.pattern
        for other in [each for each, known in _known.items() if known.is_gone()]:
            del _known[other]
        pattern = Pattern._made(weight_hh)
        _known[key] = _Known.of(pattern, weight_hh, indices)
        return pattern

    @staticmethod
    def _made(weight_hh: Tensor) -> Pattern:
        n, count = weight_hh.shape[0], weight_hh._nnz()
        rows, columns = rows_and_columns(weight_hh)
        slots, in_order = None, _rises(rows, columns)
        if not in_order:
            in_order = weight_hh.layout == torch.sparse_csc and _rises(columns, rows)
            places, slots = torch.unique(rows * n + columns, return_inverse=True)
            rows, columns = places // n, places % n
        columns = columns.to(torch.int32, copy=True)
        t_rows, t_from = torch.sort(columns, stable=True)
        t_columns = rows.index_select(0, t_from).int()
        crow, t_crow = _pointers(rows, n), _pointers(t_rows, n)
        return Pattern(n, count, crow, columns, t_crow, t_columns, t_from.int(), slots, in_order)

    @property
    def edges(self) -> int:
        return len(self.columns)

    @property
    def indices(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """As the native ops take them."""
        return self.crow, self.columns, self.t_crow, self.t_columns, self.t_from

    @cached_property
    def transposed(self) -> Pattern:
        """That of the transposed matrix, whose values are ``values[pattern.t_from]`` of those of the edges."""
        _, crow, columns, t_crow, t_columns, t_from = transposed(self.t_from, self.indices)
        return Pattern(self.units, self.edges, crow, columns, t_crow, t_columns, t_from, None)

    def edges_of(self, values: Tensor) -> Tensor:
        """(edges,) from (stored,), differentiable."""
        if self.slots is None:
            return values
        return values.new_zeros(self.edges).index_add(0, self.slots, values)

    def with_values(self, values: Tensor) -> SparseWeight:
        """The matrix of this pattern and of ``values`` (stored,), in the order in which the tensor stored them that the
        pattern was made of: a ``weight_hh`` for every function, also under torch.func and torch.compile."""
        if not isinstance(values, Tensor):
            raise TypeError(f"values must be a tensor, got {type(values).__name__}")
        if values.shape != (self.stored,):
            raise ValueError(f"values must be ({self.stored},) for this pattern, got {tuple(values.shape)}")
        return SparseWeight(self, values)

    def __repr__(self) -> str:
        return f"Pattern(units={self.units}, edges={self.edges})"


class SparseWeight(NamedTuple):
    """A sparse recurrent weight: a pattern and the values that are stored at its places."""

    pattern: Pattern
    values: Tensor

    @property
    def shape(self) -> torch.Size:
        return torch.Size((self.pattern.units, self.pattern.units))

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        return self.values.device


def edges_of(weight_hh: Tensor | SparseWeight) -> tuple[Pattern, Tensor]:
    """The pattern of a sparse weight and the values (edges,) of its edges, differentiable.

    Raises what :meth:`Pattern.of` raises, and ValueError where PyTorch would give gradients to the wrong values.
    """
    if isinstance(weight_hh, SparseWeight):
        return weight_hh.pattern, weight_hh.pattern.edges_of(weight_hh.values)
    pattern = Pattern.of(weight_hh)
    if not pattern.in_order and weight_hh.layout in COMPRESSED and weight_hh.grad_fn is not None:
        raise ValueError(
            f"weight_hh is a {weight_hh.layout} tensor that was made of values with a gradient, out of order or "
            "twice at a place, and PyTorch would give their gradients to others; take "
            "rrnn_ext.sparse.Pattern.of(weight_hh).with_values(values)"
        )
    return pattern, pattern.edges_of(stored_values(weight_hh))


class _Known(NamedTuple):
    """A pattern, and what it was made of, which it does not keep alive."""

    pattern: Pattern
    indices: tuple[Tensor, ...]  # as they were then
    storages: tuple[StorageWeakRef, ...]

    @staticmethod
    def of(pattern: Pattern, weight_hh: Tensor, indices: tuple[Tensor, ...]) -> _Known:
        kept = indices
        if weight_hh.layout == torch.sparse_csr:
            kept = pattern.crow, pattern.columns
        elif weight_hh.layout == torch.sparse_csc:
            kept = pattern.t_crow, pattern.t_columns
        if kept is indices or not pattern.in_order:
            kept = tuple(each.clone() for each in indices)
        return _Known(pattern, kept, tuple(StorageWeakRef(each.untyped_storage()) for each in indices))

    def is_gone(self) -> bool:
        return any(storage.expired() for storage in self.storages)

    def is_still_of(self, indices: tuple[Tensor, ...]) -> bool:
        """Whether nobody has written to the indices since. On a GPU that is taken for granted: nothing waits for it."""
        if self.is_gone() or self.pattern.crow.is_cuda:
            return not self.is_gone()
        return all(bool((a == b).all()) for a, b in zip(self.indices, indices, strict=True))


_known: dict[object, _Known] = {}


def _identity(indices: Tensor) -> tuple[object, ...]:
    """Of a tensor of indices: no other has it as long as a weak reference to its storage is held."""
    storage = indices.untyped_storage()
    return storage._cdata, indices.data_ptr(), indices.shape, indices.stride(), indices.dtype, indices.device


def _rises(rows: Tensor, columns: Tensor) -> bool:
    """Whether each place comes after the one before it, row by row."""
    next_row, next_column = rows.diff(), columns.diff()
    return bool(((next_row > 0) | ((next_row == 0) & (next_column > 0))).all())


def _pointers(rows: Tensor, n: int) -> Tensor:
    """Where each row begins among sorted rows."""
    ends = torch.bincount(rows, minlength=n).cumsum(0)
    return torch.cat([ends.new_zeros(1), ends]).int()

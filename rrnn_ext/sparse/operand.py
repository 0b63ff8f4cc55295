"""The operand of iterations: A = alpha phi(W) of a sparse W, forwards and transposed, without derivatives."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from rrnn_ext.ops import native
from rrnn_ext.ops.sparse_hop import Indices, sparse_hop


class SparseOperand:
    """A = alpha phi(W) for values (edges,) at the places of ``indices`` (``Pattern.indices``).

    Attributes:
        units: n.
        dtype: of the values, and of the vectors that it takes: float32 or float64.
    """

    def __init__(self, values: Tensor, indices: Indices, alpha: float, rectify: bool) -> None:
        self._values, self._indices, self._alpha, self._rectify = values.detach(), tuple(indices), alpha, rectify
        self.units = len(self._indices[0]) - 1
        self.dtype = values.dtype

    @cached_property
    def _by_columns(self) -> tuple[Tensor, ...]:
        crow, columns, t_crow, t_columns, t_from = self._indices
        # Nothing that runs through here is differentiated, so nobody asks where the values by columns came from.
        return self._values.index_select(0, t_from), t_crow, t_columns, crow, columns, t_from

    def forward(self, vectors: Tensor) -> Tensor:
        """A X for X (n, c)."""
        return sparse_hop(self._values, *self._indices, vectors, self._alpha, self._rectify)

    def transposed(self, vectors: Tensor) -> Tensor:
        """A' Y for Y (n, c)."""
        return sparse_hop(*self._by_columns, vectors, self._alpha, self._rectify)

    def sweep(self, vectors: Tensor) -> Tensor:
        """G V for V (n, c), on the CPU: rrnn_ext.infinite.sweeps says what G is."""
        image: Tensor = native.sparse_infinite_walks_sweep(
            self._values, *self._indices[:2], vectors, self._alpha, self._rectify
        )
        return image

    def polynomial(self, right: Tensor, roots: Tensor) -> Tensor:
        """Likewise, (n, c) of B (n, c) and the ``roots`` (k, 2) of a polynomial of G."""
        sums: Tensor = native.sparse_infinite_walks_polynomial(
            self._values, *self._indices[:2], right, roots, self._alpha, self._rectify
        )
        return sums

    def absolute(self) -> SparseOperand:
        """That of |A|."""
        return SparseOperand(self._values, self._indices, self._alpha, True)

    def in_float64(self) -> SparseOperand:
        if self.dtype == torch.float64:
            return self
        return SparseOperand(self._values.to(torch.float64), self._indices, self._alpha, self._rectify)

    def within(self, components: Tensor) -> SparseOperand:
        """That of the edges between units (n,) of the same component."""
        crow, columns, *_ = self._indices
        rows = torch.repeat_interleave(components, crow.diff())
        inside = torch.where(rows == components.index_select(0, columns), self._values, 0)
        return SparseOperand(inside, self._indices, self._alpha, self._rectify)

    def dense(self) -> Tensor:
        """A, (n, n)."""
        return self.forward(torch.eye(self.units, dtype=self.dtype, device=self._values.device))

    def is_nonnegative(self) -> bool:
        return self._rectify or not bool((self._values < 0).any())

    def poison(self) -> Tensor:
        """(1, 1): zero, or NaN where a value is no finite number."""
        return (0 * self._values).sum().reshape(1, 1)

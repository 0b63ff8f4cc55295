"""The operand of iterations: A = alpha phi(W) of a W whose rows lie on several ranks, without derivatives.

The vectors that it takes and gives are whole, and the same on every rank; so is all that an iteration makes of them,
and every rank ends it at the same step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.sharded.blocks import times, times_transposed
from rrnn_ext.sharded.rows import Rows


class RowOperand:
    """A = alpha phi(W) for this rank's ``own`` rows (r, n) of W.

    Attributes:
        units: n.
        dtype: of the vectors: float32 or float64. That of W may be lower.
    """

    def __init__(
        self,
        rows: Rows,
        own: Tensor,
        alpha: float,
        rectify: bool,
        dtype: torch.dtype,
        told: tuple[bool, bool] | None = None,
    ) -> None:
        self._rows, self._own, self._alpha, self._rectify = rows, own.detach(), alpha, rectify
        self.units, self.dtype = rows.units, dtype
        # Whether all of W is finite, and whether none of it is negative: a message, which only the first one needs.
        self._told = _told(rows, self._own) if told is None else told

    def forward(self, vectors: Tensor) -> Tensor:
        """A X for X (n, c)."""
        return self._rows.gather(self._alpha * times(self._own, vectors, self._rectify))

    def transposed(self, vectors: Tensor) -> Tensor:
        """A' Y for Y (n, c)."""
        own = self._rows.own(vectors)
        return self._rows.total(self._alpha * times_transposed(self._own, own, self._rectify))

    def absolute(self) -> RowOperand:
        """That of |A|."""
        return RowOperand(self._rows, self._own, self._alpha, True, self.dtype, self._told)

    def in_float64(self) -> RowOperand:
        return RowOperand(self._rows, self._own, self._alpha, self._rectify, torch.float64, self._told)

    def is_nonnegative(self) -> bool:
        return self._rectify or self._told[1]

    def poison(self) -> Tensor:
        """(1, 1): zero, or NaN where a value of any rank is no finite number."""
        return torch.full((1, 1), 0.0 if self._told[0] else torch.nan, dtype=self.dtype, device=self._own.device)


def _told(rows: Rows, own: Tensor) -> tuple[bool, bool]:
    found = torch.zeros(2, dtype=torch.float32, device=own.device)
    if own.numel():
        least, most = torch.aminmax(own)
        found[0] = ~(least.isfinite() & most.isfinite())
        found[1] = ~(least >= 0)
    no_number, negative = (bool(each) for each in rows.total(found))
    return not no_number, not negative

"""The matrix A = alpha phi(W) as solvers see it: what it makes of vectors, however its weights are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from rrnn_ext.ops import native

Self = TypeVar("Self")


class Operand(Protocol):
    """A matrix, or a batch of them, that multiplies bundles of c vectors (..., n, c) of its own dtype and device."""

    @property
    def units(self) -> int: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def forward(self, vectors: Tensor) -> Tensor:
        """A X."""
        ...

    def transposed(self, vectors: Tensor) -> Tensor:
        """A' Y."""
        ...

    def absolute(self) -> Operand:
        """|A|, element by element."""
        ...

    def in_float64(self: Self) -> Self:
        """A as it was given, before anything of it was rounded to float32."""
        ...

    def poison(self) -> Tensor:
        """(..., 1, 1): zero, or NaN where an element of A is no finite number."""
        ...


class DenseOperand:
    """Of contiguous matrices (b, n, n), or one without the batch, on the CPU; ``widened`` makes them in float64."""

    def __init__(self, matrix: Tensor, widened: Callable[[], Tensor], rectify: bool = False) -> None:
        self.matrix = matrix
        self._widened = widened
        self._rectify = rectify

    @property
    def units(self) -> int:
        return self.matrix.shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        return self.matrix.dtype

    def forward(self, vectors: Tensor) -> Tensor:
        return self._hop(vectors, transposed=False)

    def transposed(self, vectors: Tensor) -> Tensor:
        return self._hop(vectors, transposed=True)

    def _hop(self, vectors: Tensor, transposed: bool) -> Tensor:
        """Of large matrices two to ten times as fast as torch.matmul, which is made for two wide ones."""
        if self.matrix.dim() == 2:
            one = native.hop(self.matrix.unsqueeze(0), vectors.mT.unsqueeze(0), 1.0, self._rectify, transposed)
            return one.squeeze(0).mT
        return native.hop(self.matrix, vectors.mT, 1.0, self._rectify, transposed).mT

    def absolute(self) -> DenseOperand:
        return DenseOperand(self.matrix, self._widened, rectify=True)

    def in_float64(self) -> DenseOperand:
        return self if self.dtype == torch.float64 else DenseOperand(self._widened(), self._widened, self._rectify)

    def poison(self) -> Tensor:
        return 0 * self.matrix.sum((-2, -1), keepdim=True)


class Mirrored:
    """A' of an operand A."""

    def __init__(self, operand: Operand) -> None:
        self._operand = operand

    @property
    def units(self) -> int:
        return self._operand.units

    @property
    def dtype(self) -> torch.dtype:
        return self._operand.dtype

    def forward(self, vectors: Tensor) -> Tensor:
        return self._operand.transposed(vectors)

    def transposed(self, vectors: Tensor) -> Tensor:
        return self._operand.forward(vectors)

    def absolute(self) -> Mirrored:
        return Mirrored(self._operand.absolute())

    def in_float64(self) -> Mirrored:
        return Mirrored(self._operand.in_float64())

    def poison(self) -> Tensor:
        return self._operand.poison()

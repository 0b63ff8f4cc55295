"""LAPACK's factorisations of large matrices, one at a time.

PyTorch 2.13 hands the matrices of a batch to MKL from several threads at once. From n = 150 or so MKL's LU then hangs
or returns wrong numbers, once torch.set_num_threads was called (https://github.com/pytorch/pytorch/issues/141358).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rrnn_ext._modes import transforming

_SAFE_BATCH = 96  # the largest n that goes in as a batch


def inverse(matrices: Tensor) -> Tensor:
    """torch.linalg.inv_ex without the error code, (b, n, n): what a singular matrix has is no number."""
    return _joined([torch.linalg.inv_ex(part)[0] for part in _parts(matrices)])


class Factorised:
    """I - A for each of ``a`` (b, n, n), or one without the batch, by one LU factorisation of each: solutions from both
    sides."""

    def __init__(self, a: Tensor) -> None:
        self._parts = [_factors(part) for part in _parts(a)]

    def solve(self, right: Tensor) -> Tensor:
        """X (..., n, c) with (I - A) X = ``right``."""
        return self._solve(right, adjoint=True)

    def solve_transposed(self, right: Tensor) -> Tensor:
        """Y (..., n, c) with (I - A') Y = ``right``."""
        return self._solve(right, adjoint=False)

    def _solve(self, right: Tensor, adjoint: bool) -> Tensor:
        sides = [right] if len(self._parts) == 1 else right.split(1)
        return _joined(
            [torch.linalg.lu_solve(*lu, side, adjoint=adjoint) for lu, side in zip(self._parts, sides, strict=True)]
        )


def one_minus(a: Tensor) -> Tensor:
    """I - A."""
    matrices = a.neg()
    matrices.diagonal(dim1=-2, dim2=-1).add_(1)
    return matrices


def _factors(a: Tensor) -> tuple[Tensor, Tensor]:
    """Those of (I - A)', which lies as LAPACK wants it: they take its place."""
    columns = one_minus(a).mT
    if transforming(a):
        return torch.linalg.lu_factor_ex(columns)[:2]
    pivots = torch.empty(a.shape[:-1], dtype=torch.int32, device=a.device)
    status = torch.empty(a.shape[:-2], dtype=torch.int32, device=a.device)
    return torch.linalg.lu_factor_ex(columns, out=(columns, pivots, status))[:2]


def _parts(matrices: Tensor) -> Sequence[Tensor]:
    is_one = matrices.dim() == 2 or matrices.shape[0] <= 1
    is_safe = is_one or matrices.shape[-1] <= _SAFE_BATCH or matrices.is_cuda
    return [matrices] if is_safe else matrices.split(1)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))

"""LAPACK's factorisations of large matrices, one at a time.

PyTorch 2.13 hands the matrices of a batch to MKL from several threads at once. From n = 150 or so MKL's LU then hangs
or returns wrong numbers, once torch.set_num_threads was called (https://github.com/pytorch/pytorch/issues/141358).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Solver: TypeAlias = Callable[[Tensor], Tensor]  # (b, n, c) -> (b, n, c)

_SAFE_BATCH = 96  # the largest n that goes in as a batch


def inverse(matrices: Tensor) -> Tensor:
    """torch.linalg.inv_ex without the error code, (b, n, n): what a singular matrix has is no number."""
    return _joined([torch.linalg.inv_ex(part)[0] for part in _parts(matrices)])


def factorised(matrices: Tensor) -> Solver:
    """The solutions X of M X = B for each of ``matrices`` (b, n, n), from one LU factorisation of each."""
    factors = [torch.linalg.lu_factor_ex(part)[:2] for part in _parts(matrices)]

    def solve(right: Tensor) -> Tensor:
        sides = [right] if len(factors) == 1 else right.split(1)
        return _joined([torch.linalg.lu_solve(*lu, side) for lu, side in zip(factors, sides, strict=True)])

    return solve


def _parts(matrices: Tensor) -> Sequence[Tensor]:
    is_safe = matrices.shape[0] <= 1 or matrices.shape[-1] <= _SAFE_BATCH or matrices.is_cuda
    return [matrices] if is_safe else matrices.split(1)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))

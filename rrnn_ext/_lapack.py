"""LAPACK's factorisations of large matrices, one at a time.

PyTorch 2.13 hands the matrices of a batch to MKL from several threads at once. From n = 150 or so MKL's LU then hangs
or returns wrong numbers, once torch.set_num_threads was called (https://github.com/pytorch/pytorch/issues/141358).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_SAFE_BATCH = 96  # the largest n that goes in as a batch


def inverse(matrices: Tensor) -> Tensor:
    """torch.linalg.inv_ex without the error code, (..., n, n). Differentiable, as the others are."""
    return _each(lambda matrix: torch.linalg.inv_ex(matrix)[0], matrices)


def solve(matrices: Tensor, right: Tensor) -> Tensor:
    """torch.linalg.solve_ex without the error code, (..., n, n) and (..., n, c)."""
    return _each(lambda matrix, side: torch.linalg.solve_ex(matrix, side)[0], matrices, right)


def checked_solve(matrices: Tensor, right: Tensor) -> Tensor:
    """torch.linalg.solve: raises torch.linalg.LinAlgError where a matrix is singular. On CUDA, where that would wait
    for the device, the solution is NaN there."""
    if matrices.is_cuda:
        solution, info = torch.linalg.solve_ex(matrices, right)
        return torch.where((info == 0).unsqueeze(-1).unsqueeze(-1), solution, torch.nan)
    return _each(torch.linalg.solve, matrices, right)


def _each(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    batch = torch.broadcast_shapes(*(tensor.shape[:-2] for tensor in tensors))
    if batch.numel() <= 1 or tensors[0].shape[-1] <= _SAFE_BATCH or tensors[0].is_cuda:
        return function(*tensors)
    graphs = zip(*(tensor.expand(*batch, -1, -1).flatten(0, -3).unbind() for tensor in tensors), strict=True)
    return torch.stack([function(*graph) for graph in graphs]).unflatten(0, batch)

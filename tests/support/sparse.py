"""Sparse matrices for tests, and what they are as dense ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from support.device import DEVICE

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "csr": lambda dense: dense.to_sparse_csr(),
    "csc": lambda dense: dense.to_sparse_csc(),
    "coo": lambda dense: dense.to_sparse_coo(),
}


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(DEVICE, dtype)


def masked(n: int, share: float, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """A dense (n, n) of which about so many weights are not zero; some rows and columns are empty where it is small."""
    kept = torch.rand(n, n, generator=torch.Generator().manual_seed(seed + 1)) < share
    return drawn(n, n, seed=seed, dtype=dtype) * kept.to(DEVICE)


def coo(n: int, places: Tensor, values: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(places, values, (n, n))


def unsorted_csr(n: int, places: Tensor, values: Tensor) -> Tensor:
    """By rows, with what stands in a row, duplicates too, in the order in which it was given."""
    rows, order = torch.sort(places[0], stable=True)
    crow = torch.cat([rows.new_zeros(1), torch.bincount(rows, minlength=n).cumsum(0)])
    return torch.sparse_csr_tensor(crow, places[1][order], values[order], (n, n), check_invariants=False)


def dense_of(n: int, places: Tensor, values: Tensor) -> Tensor:
    """The same as a dense matrix, differentiable in the values."""
    return values.new_zeros(n * n).index_add(0, places[0] * n + places[1], values).reshape(n, n)

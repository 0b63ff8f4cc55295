"""Sparse matrices for tests, and what they are as dense ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import strategies as st
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


@st.composite
def coordinates(draw: st.DrawFn, most_units: int = 7) -> tuple[int, Tensor, Tensor]:
    """Units, places (2, stored) and values of a COO tensor: in any order, with duplicates, zeros and self-loops, rows
    that are full and rows that are empty, or nothing at all."""
    n = draw(st.integers(0, most_units))
    unit = st.integers(0, max(0, n - 1))
    pairs = draw(st.lists(st.tuples(unit, unit), max_size=3 * n if n else 0))
    if n and draw(st.booleans()):
        full = draw(unit)
        pairs += [(full, column) for column in reversed(range(n))]
    weight = st.sampled_from([0.0, 1.0, -0.5, 0.75, -2.0, 0.125])
    values = draw(st.lists(weight, min_size=len(pairs), max_size=len(pairs)))
    places = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T.contiguous()
    return n, places.to(DEVICE), torch.tensor(values, dtype=torch.float64, device=DEVICE)


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

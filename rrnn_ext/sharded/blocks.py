"""Products with phi(W) of a shard of W, its own rows (r, n), in the dtype of the vectors.

Neither |W| nor W in another dtype is made: a block of rows at a time is.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_BLOCK = 2**22  # numbers of W that are made anew at a time


def times(rows: Tensor, vectors: Tensor, rectify: bool) -> Tensor:
    """phi(W) X, (r, c), for X (n, c)."""
    if _is_as_given(rows, vectors.dtype, rectify):
        return rows @ vectors
    images = vectors.new_empty(len(rows), vectors.shape[1])
    for block in _blocks(rows):
        torch.mm(_phi(rows[block], vectors.dtype, rectify), vectors, out=images[block])
    return images


def times_transposed(rows: Tensor, vectors: Tensor, rectify: bool) -> Tensor:
    """phi(W)' Y, (n, c), for Y (r, c): what these rows of W give of it."""
    if _is_as_given(rows, vectors.dtype, rectify):
        return rows.mT @ vectors
    images = vectors.new_zeros(rows.shape[1], vectors.shape[1])
    for block in _blocks(rows):
        images.addmm_(_phi(rows[block], vectors.dtype, rectify).mT, vectors[block])
    return images


def outer_product(rows: Tensor, left: Tensor | None, right: Tensor | None, scale: float, rectify: bool) -> Tensor:
    """The gradient of W, (r, n) in its dtype and layout: scale L R' for L (r, c) and R (n, c), zero without them."""
    gradient = torch.empty_like(rows)
    if left is None or right is None:
        return gradient.zero_()
    left, right = scale * left, right.mT
    if _is_as_given(rows, left.dtype, rectify):
        return torch.mm(left, right, out=gradient)
    for block in _blocks(rows):
        own = left[block] @ right
        gradient[block] = own.mul_(rows[block].sign()) if rectify else own
    return gradient


def dot(rows: Tensor, gradient: Tensor) -> Tensor:
    """The sum of their products, () in float64."""
    total = torch.zeros((), dtype=torch.float64, device=rows.device)
    for block in _blocks(rows):
        total += (rows[block].double() * gradient[block]).sum()
    return total


def _is_as_given(rows: Tensor, dtype: torch.dtype, rectify: bool) -> bool:
    return not rectify and rows.dtype == dtype


def _phi(rows: Tensor, dtype: torch.dtype, rectify: bool) -> Tensor:
    wide = rows.to(dtype)
    return wide.abs() if rectify else wide


def _blocks(rows: Tensor) -> Iterator[slice]:
    together = max(1, _BLOCK // max(1, rows.shape[1]))
    for begin in range(0, len(rows), together):
        yield slice(begin, begin + together)

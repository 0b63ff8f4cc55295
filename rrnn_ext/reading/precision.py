"""Sums of what was given in any dtype, none of which overflows or underflows on the way."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(values: Tensor) -> Tensor:
    return values.to(torch.float64)


def relative(values: Tensor) -> Tensor:
    """To the largest one along the last dimension; NaN where that is 0 or no number."""
    if values.shape[-1] == 0:
        return values
    return values / values.abs().amax(-1, keepdim=True)


def of_dtype(given: Tensor, result: Tensor) -> Tensor:
    """A result in the dtype of what was given, or float32 for integers."""
    return result.to(given.dtype if given.is_floating_point() else torch.float32)

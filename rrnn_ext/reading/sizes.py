"""Products of many numbers, which neither overflow nor underflow: fractions and powers of two, apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

_OF_ZERO = -(2**30)  # below every exponent of a product


class Sizes(NamedTuple):
    """fraction 2^exponent, none of them negative; fraction is 0, or from 1/2 to 1, and so the larger one of two has the
    larger exponent."""

    fraction: Tensor  # float64
    exponent: Tensor  # int32

    @staticmethod
    def of(values: Tensor) -> Sizes:
        """Of the numbers' sizes."""
        return _normal(values.abs(), 0)

    def __mul__(self, other: Sizes) -> Sizes:  # type: ignore[override]
        return _normal(self.fraction * other.fraction, self.exponent + other.exponent)

    def times(self, fraction: float, exponent: int) -> Sizes:
        """By the size of a number."""
        return _normal(self.fraction * abs(fraction), self.exponent + exponent)

    def at(self, index: Any) -> Sizes:
        return Sizes(self.fraction[index], self.exponent[index])

    def largest_by(self, group: Tensor, groups: int) -> Sizes:
        """The largest one of each group; 0 of one that has none."""
        exponent = torch.full((groups,), _OF_ZERO, dtype=torch.int32, device=group.device)
        exponent = exponent.scatter_reduce(0, group, self.exponent, "amax")
        fraction = torch.where(self.exponent == exponent[group], self.fraction, 0)
        return Sizes(self.fraction.new_zeros(groups).scatter_reduce(0, group, fraction, "amax"), exponent)

    def largest(self) -> Sizes:
        """Of one dimension, a Sizes of one element."""
        everything = torch.zeros(len(self.fraction), dtype=torch.int64, device=self.fraction.device)
        return self.largest_by(everything, 1)

    def falling(self) -> Tensor:
        """(count,) where they stand that are not 0, the largest one first."""
        by_fraction = self.fraction.argsort(descending=True, stable=True)
        order = by_fraction[self.exponent[by_fraction].argsort(descending=True, stable=True)]
        return order[: int((self.fraction > 0).sum())]

    def share_of(self, other: Sizes) -> Tensor:
        """self / other; above 0 where self is."""
        share = torch.ldexp(self.fraction / other.fraction, self.exponent - other.exponent)
        return torch.where(self.fraction > 0, share.clamp(min=torch.finfo(share.dtype).tiny), 0)


def _normal(fraction: Tensor, exponent: Tensor | int) -> Sizes:
    fraction, more = torch.frexp(fraction)
    return Sizes(fraction, torch.where(fraction > 0, exponent + more, _OF_ZERO))

"""Finite sums by method="inverse" as a CUDA device makes them, compared with walks added up hop by hop."""

from __future__ import annotations

import pytest
import torch

from rrnn_ext import reference
from rrnn_ext.ops.truncated_inverse import sum_by_doubling


@pytest.mark.parametrize("hops", [*range(1, 10), 31, 32, 33])
def test_by_doubling(hops: int) -> None:
    """Also where all walks have no sum, and where I - A is singular."""
    generator = torch.Generator().manual_seed(hops)
    a = torch.randn(3, 6, 6, generator=generator, dtype=torch.float64)
    a *= torch.tensor([0.5, 1.2, 1.0]).double().view(3, 1, 1) / torch.linalg.eigvals(a).abs().amax(-1).view(3, 1, 1)
    a[2] = torch.eye(6)
    b = torch.randn(3, 6, 2, generator=generator, dtype=torch.float64)
    expected = reference.resolvent(a, b, hops=hops)
    torch.testing.assert_close(sum_by_doubling(a, b, hops), expected)


def test_the_result_is_the_callers_own() -> None:
    a, b = torch.rand(1, 2, 2), torch.rand(1, 2, 1)
    before = b.clone()
    sum_by_doubling(a, b, hops=1).zero_()
    torch.testing.assert_close(b, before, rtol=0, atol=0)


def test_a_nan_stays_in_its_column() -> None:
    a, b = torch.rand(1, 3, 3), torch.rand(1, 3, 2)
    b[0, 0, 0] = torch.nan
    walks = sum_by_doubling(a, b, hops=6)
    assert walks[..., 0].isnan().all()
    assert walks[..., 1].isfinite().all()

"""Lopsided matrices, of whose radius rounding leaves nothing unless they are balanced, against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from operator import mul
from typing import Any

import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from torch import Tensor

import rrnn_ext
from rrnn_ext.infinite.balance import balanced

pytestmark = pytest.mark.skipif(DEVICE.type == "cuda" or CUDA_EMULATED, reason="a GPU has proofs of its own")


def long_way_round(n: int, back: float) -> Tensor:
    """A chain of n units with a gain of 2, and one weak edge back: its radius is (2^(n - 1) back)^(1 / n)."""
    a = 2 * torch.diag(torch.ones(n - 1, dtype=torch.float64), -1)
    a[0, -1] = back
    return a


@pytest.mark.parametrize("n", [20, 60, 120, 280])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_radius_of_a_long_cycle(n: int, sign: int) -> None:
    a = long_way_round(n, sign * 2.0 ** -(n + 3))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(n))
    for matrix in (a, a.mT, a[order][:, order]):
        info = rrnn_ext.resolvent_info(matrix)
        assert info.spectral_radius.item() == pytest.approx(2 ** (-4 / n), rel=1e-12)
        assert info.converges
    diverging = rrnn_ext.resolvent_info(long_way_round(n, sign * 2.0 ** -(n - 3)))
    assert diverging.spectral_radius.item() == pytest.approx(2 ** (2 / n), rel=1e-12)
    assert not diverging.converges


@pytest.mark.parametrize("n", [20, 60, 120])
@pytest.mark.parametrize("method", ["auto", "inverse"])
def test_the_sum_of_a_long_cycle(n: int, method: Any) -> None:
    """Each time round is worth 2^-4; unit k is 2^k from the first."""
    a = long_way_round(n, 2.0 ** -(n + 3))
    walks = rrnn_ext.resolvent(a, torch.eye(n, dtype=torch.float64)[:, :1], method=method).squeeze(-1)
    torch.testing.assert_close(walks, 2.0 ** torch.arange(n, dtype=torch.float64) * 16 / 15, rtol=1e-12, atol=0.0)


def test_no_error_says_that_what_may_converge_diverges() -> None:
    weight_hh = long_way_round(400, 2.0**-403).to_sparse_csr()
    with pytest.raises(rrnn_ext.ResolventDivergenceError) as raised:
        rrnn_ext.resolvent(weight_hh, torch.tensor([0]))
    assert "was not proved to converge" in str(raised.value)
    with pytest.raises(rrnn_ext.ResolventDivergenceError, match="diverges"):
        rrnn_ext.resolvent(1.5 * torch.eye(3), torch.ones(3, 1))


def traces(a: Tensor) -> list[Fraction]:
    """Of A, A^2, .. A^n, exactly: they say what the eigenvalues are."""
    rows = [[Fraction(entry) for entry in row] for row in a.tolist()]
    power, found = rows, []
    for _ in rows:
        found.append(sum((power[k][k] for k in range(len(rows))), Fraction()))
        columns = list(zip(*rows, strict=True))
        power = [[sum(map(mul, row, column), Fraction()) for column in columns] for row in power]
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_eigenvalues_stay_exactly(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    a *= torch.rand(6, 6, generator=generator) < 0.4
    scales = torch.randn(6, generator=generator, dtype=torch.float64).mul(60).exp2()
    lopsided = scales.unsqueeze(-1) * a / scales
    (found,) = balanced(lopsided.unsqueeze(0))
    assert traces(found) == traces(lopsided)
    assert torch.linalg.matrix_norm(found) <= 2 * torch.linalg.matrix_norm(lopsided)


def test_the_smallest_number_closes_a_cycle() -> None:
    a = torch.tensor([[0.0, 2.0**1000], [2.0**-1074, 0.0]], dtype=torch.float64)
    assert rrnn_ext.resolvent_info(a).spectral_radius.item() == pytest.approx(2.0**-37, rel=1e-12)
    assert rrnn_ext.resolvent_info(torch.triu(a)).spectral_radius == 0

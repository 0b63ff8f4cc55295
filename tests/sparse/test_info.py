"""resolvent_info by products alone, of sparse and of large dense weights, against eigenvalues and norms."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.sparse import LAYOUTS, drawn, masked
from torch import Tensor

import rrnn_ext
from rrnn_ext import diagnostics
from rrnn_ext.sparse import Pattern

pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")


def scaled(dense: Tensor, radius: float) -> Tensor:
    return dense * (radius / torch.linalg.eigvals(dense.cpu()).abs().max().item())


def check(info: rrnn_ext.ResolventInfo, dense: Tensor, hops: int) -> None:
    """``dense`` is A."""
    exact = rrnn_ext.resolvent_info(dense, hops=hops)
    radius = exact.spectral_radius.item()
    assert all(each is not None and each.shape == () for each in info)
    assert info.spectral_radius.item() == pytest.approx(radius, rel=1e-9)
    assert info.lower_bound.item() <= radius * (1 + 1e-12)
    assert radius <= info.upper_bound.item() * (1 + 1e-12)
    assert bool(info.converges) == (info.upper_bound.item() < 1)
    assert info.tail_bound is not None
    assert exact.tail_bound is not None
    assert info.tail_bound.item() >= exact.tail_bound.item() * (1 - 1e-9)
    if radius < 0.95:
        assert info.converges
        assert info.tail_bound.item() < math.inf
    if radius >= 1:
        assert not info.converges
        assert info.tail_bound.item() == math.inf


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("radius", [0.5, 0.9, 1.0, 1.5])
@pytest.mark.parametrize("rectify", [False, True])
def test_of_sparse_weights(layout: str, radius: float, rectify: bool) -> None:
    dense = masked(60, 0.15)
    dense = dense * (radius / torch.linalg.eigvals((dense.abs() if rectify else dense).cpu()).abs().max().item())
    alpha = torch.tensor(0.5, dtype=torch.float64, device=DEVICE)
    info = rrnn_ext.resolvent_info(LAYOUTS[layout](2 * dense), alpha=alpha, hops=5, rectify=rectify)
    check(info, dense.abs() if rectify else dense, 5)
    assert info.max_alpha.item() == pytest.approx(0.5 / info.upper_bound.item())
    if rectify:
        assert (info.upper_bound - info.lower_bound).item() <= 1e-9 * radius
    assert rrnn_ext.resolvent_info(LAYOUTS[layout](dense)).tail_bound is None


@pytest.mark.parametrize("kind", ["signed", "positive", "with zeros"])
def test_of_large_dense_weights(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = {"signed": drawn(50, 50), "positive": drawn(50, 50).abs(), "with zeros": torch.tril(drawn(50, 50).abs())}
    matrix = scaled(dense[kind], 0.9).cpu()
    exact = matrix.clone()
    batch = torch.stack([matrix, 2 * matrix])
    with monkeypatch.context() as patch:
        patch.setattr(diagnostics, "_MANY_UNITS", 40)
        info = rrnn_ext.resolvent_info(matrix, hops=3)
        several = rrnn_ext.resolvent_info(batch, alpha=torch.tensor([1.0, 0.5]), hops=3)
    check(info, exact, 3)
    for each in several:
        assert each is not None
        assert each.shape == (2,)
        assert each[0].item() == pytest.approx(each[1].item(), rel=1e-9) or each is several.max_alpha


@pytest.mark.emulated
def test_what_has_no_cycles_and_what_is_empty() -> None:
    chain = 100 * torch.diag(torch.ones(4, dtype=torch.float64, device=DEVICE), -1)
    info = rrnn_ext.resolvent_info(chain.to_sparse_csr(), hops=5)
    assert [each.item() for each in (info.spectral_radius, info.upper_bound, info.max_alpha)] == [0, 0, math.inf]
    assert info.tail_bound == 0
    for n in (0, 3):
        info = rrnn_ext.resolvent_info(torch.zeros(n, n, device=DEVICE).to_sparse_csr(), hops=1)
        assert info.converges
        assert info.tail_bound == 0


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_no_number_does_not_converge(number: float) -> None:
    dense = torch.tensor([[0.0, 0.5], [number, 0.0]], device=DEVICE)
    info = rrnn_ext.resolvent_info(dense.to_sparse_csr(), hops=2)
    assert info.spectral_radius.isnan()
    assert not info.converges


@pytest.mark.emulated
def test_a_pattern_and_errors() -> None:
    sparse = (0.5 * torch.eye(3, device=DEVICE)).to_sparse_csr()
    weight: Any = Pattern.of(sparse).with_values(sparse.values())
    assert rrnn_ext.resolvent_info(weight, alpha=0.5).spectral_radius.item() == pytest.approx(0.25)
    with pytest.raises(ValueError, match=re.escape("hops must be at least 1, got 0")):
        rrnn_ext.resolvent_info(sparse, hops=0)
    with pytest.raises(ValueError, match=re.escape("alpha must be finite and positive")):
        rrnn_ext.resolvent_info(sparse, alpha=-1.0)

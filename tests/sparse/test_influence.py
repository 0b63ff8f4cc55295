"""The influence score of connectomics against SciPy's direct solve, and its logarithm."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from support.device import DEVICE
from support.sparse import masked
from torch import Tensor

import rrnn_ext
from rrnn_ext import resolvent
from rrnn_ext.sparse import Pattern, adjusted, influence

pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")


def expected_of(dense: Tensor, drive: np.ndarray[Any, Any], share: float = 0.99) -> Tensor:
    """By eigenvalues and a sparse factorisation."""
    matrix = dense.double().cpu().numpy()
    rho = np.abs(np.linalg.eigvals(matrix)).max()
    system = scipy.sparse.csc_matrix(np.eye(len(matrix)) - share / rho * matrix)
    return torch.from_numpy(scipy.sparse.linalg.splu(system).solve(drive.astype(np.float64)))


@pytest.mark.parametrize("n", [5, 300])
@pytest.mark.parametrize("rectify", [False, True])
def test_as_by_a_direct_solve(n: int, rectify: bool) -> None:
    dense = masked(n, max(10 / n, 0.1))
    sources = torch.tensor([n - 1, 0, 2], device=DEVICE)
    expected = expected_of(dense.abs() if rectify else dense, np.eye(n)[:, sources.cpu()])
    for weight_hh in (dense.to_sparse_csr(), dense.to_sparse_csc(), dense.to_sparse_coo(), dense):
        scores = influence(weight_hh, sources, rectify=rectify)
        assert scores.dtype == torch.float64
        assert ((scores.cpu() - expected).abs() <= 1e-8 * expected.abs().amax(0)).all()


@pytest.mark.emulated
def test_a_complex_pair_is_the_largest() -> None:
    dense = torch.block_diag(torch.tensor([[0.0, 3.0], [-3.0, 0.0]]), torch.eye(2)).double().to(DEVICE)
    scores = influence(dense.to_sparse_csr(), torch.arange(4, device=DEVICE), share=0.5)
    torch.testing.assert_close(scores.cpu(), expected_of(dense, np.eye(4), 0.5), rtol=1e-10, atol=1e-12)


@pytest.mark.emulated
def test_a_group_is_the_sum_of_its_units_and_the_scale_of_weights_does_not_matter() -> None:
    dense = masked(40, 0.2)
    pattern = Pattern.of(dense.to_sparse_csr())
    sources = torch.tensor([3, 8, 21], device=DEVICE)
    alone = influence(pattern.with_values(dense.to_sparse_csr().values()), sources, share=0.9)
    group = torch.zeros(40, 1, dtype=torch.float64, device=DEVICE)
    group[sources] = 1
    together = influence(1000 * dense, group, share=0.9)
    torch.testing.assert_close(together, alone.sum(-1, keepdim=True), rtol=1e-8, atol=1e-9)


def test_a_radius_that_is_known_is_taken() -> None:
    dense = torch.tensor([[0.0, 0.5], [0.5, 0.0]], dtype=torch.float64, device=DEVICE)
    scores = influence(dense, torch.tensor([0], device=DEVICE), share=0.5, spectral_radius=1.0)
    torch.testing.assert_close(scores, torch.tensor([[16.0], [4.0]], dtype=torch.float64, device=DEVICE) / 15)


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("units", [2, 300])
def test_a_radius_that_is_too_small_is_refused(units: int, rectify: bool) -> None:
    """(I - share W / rho)^{-1} is there, and has negative influences of positive weights: it is no sum of walks."""
    weight_hh = torch.rand(units, units, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(DEVICE)
    if not rectify:
        weight_hh = weight_hh - weight_hh.mean()
    rho = torch.linalg.eigvals(weight_hh.cpu().abs() if rectify else weight_hh.cpu()).abs().max().item()
    source = torch.tensor([0], device=DEVICE)
    scores = influence(weight_hh, source, rectify=rectify, spectral_radius=1.5 * rho)
    torch.testing.assert_close(
        scores, influence(weight_hh, source, rectify=rectify, share=0.99 / 1.5), rtol=1e-8, atol=1e-9
    )
    with pytest.raises(rrnn_ext.ResolventDivergenceError):
        influence(weight_hh, source, rectify=rectify, spectral_radius=rho / 2)


def test_the_logarithm() -> None:
    scores = torch.tensor([1.0, -1.0, math.e**-23, -(math.e**-23), 1e-20, -1e-20, 0.0, torch.nan], dtype=torch.float64)
    expected = torch.tensor([24.0, -24.0, 1.0, -1.0, 0.0, 0.0, 0.0, torch.nan], dtype=torch.float64)
    torch.testing.assert_close(adjusted(scores), expected, rtol=1e-12, atol=0.0, equal_nan=True)
    torch.testing.assert_close(adjusted(scores[:1], floor=3.0), torch.tensor([3.0], dtype=torch.float64))


UNITS = torch.tensor([0])


@pytest.mark.parametrize(
    ("weight_hh", "sources", "options", "text"),
    [
        (torch.eye(3), torch.tensor([3]), {}, "sources must be units from 0 to 2"),
        (torch.eye(3), UNITS, {"share": 1.0}, "share must be above 0 and below 1, got 1.0"),
        (torch.eye(3), UNITS, {"tol": 0.0}, "tol must be above 0 and below 1, got 0.0"),
        (torch.eye(3), UNITS, {"spectral_radius": -1.0}, "rho must be finite and positive"),
        (
            torch.triu(torch.ones(3, 3), 1),
            UNITS,
            {},
            "rho must be finite and positive, the spectral radius of weight_hh",
        ),
        (torch.tensor([[torch.nan]]), UNITS, {}, "weight_hh must be finite, got NaN or Inf among its values"),
        (torch.tensor([[1.0, torch.inf], [0, 0]]), UNITS, {"spectral_radius": 1.0}, "weight_hh must be finite"),
        (torch.ones(2, 3), UNITS, {}, "weight_hh must be square (..., n, n), got (2, 3)"),
    ],
)
def test_errors(weight_hh: Tensor, sources: Tensor, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        influence(weight_hh.to(DEVICE), sources.to(DEVICE), **options)


def test_it_is_a_sum_of_walks() -> None:
    """The docstring's way to a gradient."""
    dense = masked(12, 0.4).abs()
    rho = torch.linalg.eigvals(dense.cpu()).abs().max().item()
    units = torch.tensor([4], device=DEVICE)
    walks = resolvent(dense.to_sparse_csr(), units, alpha=0.99 / rho)
    torch.testing.assert_close(walks, 0.99 / rho * influence(dense, units), rtol=1e-8, atol=1e-10)

"""Where rounding, or an estimate, would decide: no proof of convergence and no value rests on that alone."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

import rrnn_ext
from rrnn_ext import reference
from rrnn_ext._options import Method, NormName
from rrnn_ext.infinite.margins import LARGEST_ERROR
from rrnn_ext.infinite.probes import gaussian


def largest_eigenvalue(matrix: Tensor) -> float:
    """|lambda| of exactly these numbers, rounded once."""
    with mpmath.workdps(60):
        values = mpmath.eig(mpmath.matrix(matrix.tolist()), left=False, right=False)
        return float(max(abs(value) for value in values))


def rotation(n: int, seed: int) -> Any:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


@pytest.mark.parametrize("method", ["auto", "series", "inverse"])
def test_a_matrix_that_the_probes_hardly_see(method: Method) -> None:
    """Nearly orthogonal to the vectors whose images tell of the norms of its powers: they come out five times less."""
    n = 40
    probes = gaussian(n, 8, torch.zeros((), dtype=torch.float64))
    basis = torch.linalg.qr(probes)[0]
    hidden = torch.linspace(-1, 1, n, dtype=torch.float64)
    hidden = hidden - basis @ (basis.mT @ hidden)
    along = basis[:, 0] / (probes.mT @ basis[:, 0]).norm() * math.sqrt(8)
    direction = hidden / hidden.norm() + 0.2 * along
    w = 1.01 * torch.outer(direction, direction) / direction.dot(direction)
    assert (w.matrix_power(64) @ probes).norm() / math.sqrt(8) < 0.5 < 1 < w.matrix_power(64).norm()
    with pytest.raises(rrnn_ext.ResolventDivergenceError):
        rrnn_ext.resolvent(w, method=method)


def test_eigenvalues_that_rounding_moves_inside_the_circle() -> None:
    """Near -1, where I - A is as regular as can be: nothing but the proof would tell."""
    triangle = np.array([[-1 - 1e-10, 1e6, 1e6], [0, 0.5, 1e3], [0, 0, 0.3]])
    moved = 0
    for seed in range(60):
        w = torch.tensor(rotation(3, seed) @ triangle @ rotation(3, seed).T)
        if largest_eigenvalue(w) > 1 > float(torch.linalg.eigvals(w).abs().max()):
            moved += 1
            with pytest.raises(rrnn_ext.ResolventDivergenceError):
                rrnn_ext.resolvent(w)
    assert moved >= 5


def test_a_faint_pathway_of_radius_one_whose_alpha_is_rounded_down() -> None:
    """In float32 its sum converges, by less than the rounding of alpha; with the alpha that was given it diverges. It
    adds too little to what goes through the other unit for the condition to tell."""
    side = torch.tensor([[1.0], [2.0**-26]])
    rounded_down = 0
    for step in range(20):
        w = 1 + (2 * step + 1) / 64
        alpha = 1 / w
        while Fraction(alpha) * Fraction(w) < 1:
            alpha = math.nextafter(alpha, 2)
        if Fraction(float(np.float32(alpha))) * Fraction(w) < 1:
            rounded_down += 1
            with pytest.raises(rrnn_ext.ResolventDivergenceError):
                rrnn_ext.resolvent_penalty(torch.diag(torch.tensor([0.5, w])), side, side.mT, alpha=alpha, rectify=True)
    assert rounded_down >= 5


@pytest.mark.parametrize("seed", range(6))
def test_a_residual_that_is_small_where_the_error_is_not(seed: int) -> None:
    """One eigenvalue of six units, far from 1 and with powers that first grow: rounding alone is too much."""
    turned = rotation(6, seed)
    a = torch.tensor(turned @ (np.diag(np.full(6, -0.5)) + np.diag(np.full(5, 600.0), 1)) @ turned.T)
    b = torch.tensor(np.random.default_rng(seed).standard_normal((6, 1)))
    with mpmath.workdps(60):
        exact = mpmath.lu_solve(mpmath.eye(6) - mpmath.matrix(a.tolist()), mpmath.matrix(b.tolist()))
        expected = torch.tensor([[float(value)] for value in exact], dtype=torch.float64)
    allowed = 2**-11 * expected.abs().max()
    plain = torch.linalg.solve(torch.eye(6, dtype=torch.float64) - a, b)
    assert (plain - expected).abs().max() > allowed, "the case is not hard enough"
    try:
        walks = rrnn_ext.resolvent(a, b)
    except (rrnn_ext.ResolventConditionError, rrnn_ext.ResolventDivergenceError):
        return
    assert (walks - expected).abs().max() <= allowed


@pytest.mark.parametrize("method", ["auto", "inverse"])
def test_a_norm_just_below_one(method: Method) -> None:
    """It proves convergence, and says nothing of how far a float32 solution is right."""
    n = 30
    generator = torch.Generator().manual_seed(0)
    w = torch.rand(n, n, generator=generator, dtype=torch.float64)
    w = ((1 - 1e-6) * w / w.sum(-1, keepdim=True)).float()
    u = torch.rand(n, 2, generator=generator)
    expected = torch.linalg.solve(torch.eye(n, dtype=torch.float64) - w.double(), u.double())
    assert 1 - 1e-5 < w.double().sum(-1).max() < 1
    actual = rrnn_ext.resolvent(w, u, method=method)
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("hops", [30, 33])
@pytest.mark.parametrize("seed", range(3))
def test_a_truncated_inverse_whose_power_is_rounding_alone(seed: int, hops: int) -> None:
    """B is an eigenvector of -0.5, and A^hops of 3^hops: what rounding leaves of A^hops B is most of it."""
    turned = rotation(4, seed)
    a, b = torch.tensor(turned @ np.diag([3, -0.5, 0.4, 0.3]) @ turned.T), torch.tensor(turned[:, 1:2].copy())
    with mpmath.workdps(60):
        exact, walk = mpmath.matrix(a.tolist()), mpmath.matrix(b.tolist())
        total = walk
        for _ in range(hops - 1):
            walk = exact * walk
            total = total + walk
        expected = torch.tensor([[float(value)] for value in total], dtype=torch.float64)
    power = torch.linalg.matrix_power(a, hops)
    walks = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - a, b - power @ b)
    assert (walks - expected).abs().max() > 2**-11 * expected.abs().max(), "the case is not hard enough"
    with pytest.raises(rrnn_ext.ResolventConditionError):
        rrnn_ext.resolvent(a, b, hops=hops, method="inverse")


@pytest.mark.parametrize("gap", [1e-4, 1e-6])
def test_the_gradient_where_float32_does_not_reach_the_bound(gap: float) -> None:
    """The adjoint is solved in float64 then, with the transpose of the weights that were given."""
    n = 24
    generator = torch.Generator().manual_seed(0)
    w = torch.rand(n, n, generator=generator, dtype=torch.float64) * torch.rand(n, 1, generator=generator) ** 3
    w = ((1 - gap) * w / torch.linalg.eigvals(w).abs().max()).float().requires_grad_()
    u = torch.rand(n, 2, generator=generator)
    (gradient,) = torch.autograd.grad(rrnn_ext.resolvent_penalty(w, u, norm="l2"), w)
    wide = w.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(reference.resolvent_penalty(wide, u.double(), norm="l2"), wide)
    torch.testing.assert_close(gradient.double(), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_small_walks_beside_large_ones_in_a_batch() -> None:
    """All pairs of graphs beyond the cache: those of small weights would drown in the 1 of the empty walk."""
    n = 200
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(2, n, n, generator=generator) / math.sqrt(n) * torch.tensor([0.5, 1e-6])[:, None, None]
    actual = rrnn_ext.resolvent_penalty(w, reduction="none", norm="l2")
    expected = torch.stack([reference.resolvent_penalty(graph.double(), norm="l2") for graph in w])
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_gradient_to_be_differentiated_again_of_one_graph_that_needs_float64(norm: NormName) -> None:
    """Of rank one and radius r: R = W / (1 - r). More units than LAPACK takes as a batch."""
    n, radius = 120, 1 - 2.0**-16
    weight = torch.full((n, n), radius / n, requires_grad=True)
    value = rrnn_ext.resolvent_penalty(weight, norm=norm, hops=None)
    (plain,) = torch.autograd.grad(value, weight, retain_graph=True)
    (again,) = torch.autograd.grad(value, weight, create_graph=True)
    torch.testing.assert_close(again.detach(), plain, rtol=2e-3, atol=0)


@pytest.mark.parametrize("smallest", [5e-324, 1e-310])
def test_a_direction_that_underflows(smallest: float) -> None:
    """torch.func.linearize traces with tangents that nobody wrote, which may be anything."""
    w = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / 4
    assert 1.1 * torch.linalg.matrix_norm(w, ord=1) > 0.9 and 1.1 * torch.linalg.eigvals(w).abs().max() < 1  # noqa: PT018
    direction = torch.full_like(w, smallest)
    slope = torch.func.jvp(lambda w: rrnn_ext.resolvent(w, w[:, :2], alpha=1.1).sum(), (w,), (direction,))[1]
    assert slope.abs() < 1e4 * smallest


def test_hardly_anything_comes_in_where_float32_is_singular() -> None:
    """I - A is 0 in float32 there, and what is divided by it no number: float64 has the sum."""
    w, least = torch.eye(3), torch.full((3, 1), 2.0**-149)
    walks = rrnn_ext.resolvent(w, least, alpha=1 - 2.0**-30)
    torch.testing.assert_close(walks.double(), torch.full((3, 1), 2.0**-119, dtype=torch.float64), rtol=1e-6, atol=0)


def test_native_kernels_leave_the_error_that_solutions_may_have() -> None:
    header = (Path(__file__).resolve().parents[2] / "csrc" / "common" / "convergence.h").read_text()
    (over,) = re.findall(r"kTolerance = 1\.0 / (\d+);", header)
    assert 1 / int(over) == LARGEST_ERROR

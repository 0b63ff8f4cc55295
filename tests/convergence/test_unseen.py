"""Infinite sums as a GPU makes them, without a look at a value: against LAPACK in float64, and in the same precision.

On a GPU and emulated. Graphs of up to 128 units are made by a block each, others by tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from support.launches import recorded
from support.skewed import skewed
from torch import Tensor

import rrnn_ext
from rrnn_ext import reference
from rrnn_ext.infinite import deferred
from rrnn_ext.infinite.unseen import Inverse
from rrnn_ext.ops import infinite_pathways, infinite_walks

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(DEVICE.type == "cpu" and not CUDA_EMULATED, reason="needs the CUDA ops"),
]

SMALL_CHIP = 32 << 10  # here, graphs of more than 32 units go by tiles
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@pytest.fixture(autouse=True)
def small_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATED_SHARED_BYTES", str(SMALL_CHIP))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_radius(radius: float, n: int, seed: int = 0) -> Tensor:
    matrix = drawn(n, n, seed=seed)
    return matrix * (radius / torch.linalg.eigvals(matrix).abs().max())


def rotation(radius: float, n: int) -> Tensor:
    """All eigenvalues have this size."""
    return radius * torch.eye(n, dtype=torch.float64).roll(1, 0)


def defective(value: float, n: int) -> Tensor:
    """Jordan blocks of three, in another basis."""
    joins = torch.ones(n - 1, dtype=torch.float64)
    joins[2::3] = 0
    basis = torch.linalg.qr(drawn(n, n, seed=3))[0]
    return basis @ (value * torch.eye(n, dtype=torch.float64) + joins.diag(1)) @ basis.mT


def nilpotent(n: int) -> Tensor:
    """No walk is longer than n, but they grow before they end."""
    return 3 / n**0.5 * drawn(n, n).triu(1)


def singular_first_half(n: int) -> Tensor:
    """I - A is regular, and what an elimination that does not pivot begins with is not."""
    half = n // 2
    a, unit = torch.zeros(n, n, dtype=torch.float64), torch.arange(half)
    a[unit, unit] = 1.0
    a[unit, unit + half] = 0.5
    a[unit + half, unit] = -0.5
    return a


KINDS: dict[str, Callable[[int], Tensor]] = {
    **{f"radius {radius}": partial(of_radius, radius) for radius in (0.5, 0.9, 0.99, 0.999)},
    "cycle": partial(rotation, 1 - 1e-5),
    "nilpotent": nilpotent,
    "defective": partial(defective, 0.9),
    "nearly one": partial(defective, 0.99),
    "singular first half": singular_first_half,
}


def solved_exactly(matrix: Tensor, right: Tensor) -> Tensor:
    """(I - A)^{-1} B of (n, n) and (n, c), by elimination with 64 binary digits."""
    n = matrix.shape[-1]
    a = np.hstack([np.eye(n, dtype=np.longdouble) - matrix.numpy(), right.numpy().astype(np.longdouble)])
    for k in range(n):
        pivot = k + np.abs(a[k:, k]).argmax()
        a[[k, pivot]] = a[[pivot, k]]
        a[k] /= a[k, k]
        others = np.arange(n) != k
        a[others] -= np.outer(a[others, k], a[k])
    return torch.from_numpy(a[:, n:].astype(np.float64))


def assert_backward_stable(matrix: Tensor, right: Tensor, found: Tensor) -> None:
    """The error is no larger than what becomes of a few roundings of each term of the equations, as a factorisation
    with pivoting makes them."""
    exact = solved_exactly(matrix, right)
    inverse = torch.linalg.inv(torch.eye(matrix.shape[-1], dtype=torch.float64) - matrix.double()).abs()
    roundings = inverse @ (exact.abs() + matrix.double().abs() @ exact.abs())
    error = (found.double() - exact).abs().amax(-2)
    assert (error <= 4 * torch.finfo(matrix.dtype).eps * roundings.amax(-2)).all()


@DTYPES
@pytest.mark.parametrize("n", [7, 30, 70])
@pytest.mark.parametrize("kind", list(KINDS))
def test_as_accurate_as_a_factorisation(kind: str, n: int, dtype: torch.dtype) -> None:
    matrix = KINDS[kind](n).to(dtype)
    sources, targets = drawn(n, 3, seed=1).to(dtype), drawn(n, 2, seed=2).to(dtype)
    inverse = Inverse(matrix.to(DEVICE).unsqueeze(0))
    assert bool(inverse.known.all())
    for a, right, solve in ((matrix, sources, inverse.solve), (matrix.mT, targets, inverse.solve_transposed)):
        assert_backward_stable(a, right, solve(right.to(DEVICE).unsqueeze(0)).cpu().squeeze(0))


@DTYPES
@pytest.mark.parametrize(("batch", "n"), [(1, 33), (3, 40), (17, 5)])
def test_each_graph_of_a_batch_by_itself(batch: int, n: int, dtype: torch.dtype) -> None:
    """One of them diverges by a thousandth, one has a NaN."""
    alpha = 0.8
    graphs = torch.stack([of_radius(0.9 / alpha, n, seed) for seed in range(batch)])
    if batch > 1:
        graphs[1] = rotation(1.001 / alpha, n)
        graphs[2, 1, 0] = torch.nan
    right = drawn(batch, n, 2, seed=1)
    inverse = Inverse(graphs.to(DEVICE, dtype), alpha)
    assert inverse.known.tolist() == [1, 0, 1][:batch] + [1] * (batch - 3)
    found = inverse.solve(right.to(DEVICE, dtype)).cpu()
    assert found[1:3].isnan().all()
    sound = [0, *range(3, batch)]
    a = alpha * graphs[sound]
    exact = torch.linalg.solve(torch.eye(n, dtype=torch.float64) - a, right[sound])
    assert (found[sound].double() - exact).abs().max() <= 500 * torch.finfo(dtype).eps * exact.abs().max()


@DTYPES
def test_rectified(dtype: torch.dtype) -> None:
    """With an alpha that does not round the weights."""
    n, alpha = 35, 0.25
    weights = of_radius(1, n)
    weights = (weights * (0.9 / alpha / torch.linalg.eigvals(weights.abs()).abs().max())).to(dtype)
    right = drawn(n, 2).to(dtype)
    found = Inverse(weights.to(DEVICE).unsqueeze(0), alpha, True).solve(right.to(DEVICE).unsqueeze(0))
    assert_backward_stable(alpha * weights.abs(), right, found.cpu().squeeze(0))


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is noted of each graph, in this order, of calls that go as they do on a GPU."""
    known: list[float] = []
    monkeypatch.setattr(deferred, "note", lambda proved: known.extend(proved.tolist()))
    monkeypatch.setattr(
        infinite_pathways,
        "_both",
        lambda a, sources, targets, _: infinite_pathways._both_unseen(a, sources, targets, 1.0, False),
    )
    monkeypatch.setattr(
        infinite_walks, "_sum", lambda a, b, _, series, proved: infinite_walks._sum_unseen(a, b, proved)
    )
    return known


@pytest.mark.parametrize("sides", [(3, 2), (2, 4), (3, None), (None, 2)], ids=str)
@pytest.mark.parametrize(("batch", "n"), [(3, 40), (17, 6)])
def test_penalties_and_gradients(noted: list[float], batch: int, n: int, sides: tuple[int | None, int | None]) -> None:
    inputs, outputs = sides
    alpha = 0.9
    leaves = [torch.stack([of_radius(1.0, n, seed) for seed in range(batch)]).to(DEVICE).requires_grad_()]
    leaves += [drawn(batch, n, inputs, seed=1).to(DEVICE).requires_grad_()] if inputs else []
    leaves += [drawn(batch, outputs, n, seed=2).to(DEVICE).requires_grad_()] if outputs else []

    def penalty(compute: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        given = iter(leaves)
        weights = next(given), next(given) if inputs else None, next(given) if outputs else None
        value = compute(*weights, alpha=alpha, hops=None, norm="l2").sum()
        return value, *torch.autograd.grad(value, leaves)

    for ours, expected in zip(penalty(rrnn_ext.resolvent_penalty), penalty(reference.resolvent_penalty), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())
    assert noted == [1] * batch  # once, of the value


def test_divergence_is_noted(noted: list[float]) -> None:
    weight_hh = torch.stack([of_radius(0.9, 9), rotation(1.001, 9)]).to(DEVICE)
    for sides in ((3, 2), (3, None)):
        weights = weight_hh, drawn(9, 3), None if sides[1] is None else drawn(2, 9)
        value = rrnn_ext.resolvent_penalty(*weights, reduction="none")
        assert value.isnan().tolist() == [False, True]
    assert noted == [1, 0, 1, 0]


@pytest.mark.parametrize("kind", ["singular first half", "nearly one"])
def test_the_same_bits_again(kind: str) -> None:
    matrix = KINDS[kind](70).float().expand(2, 70, 70).to(DEVICE)
    once, again = Inverse(matrix), Inverse(matrix)
    assert torch.equal(once.walks, again.walks)
    assert torch.equal(once.walks[0], once.walks[1])


@DTYPES
def test_inverses_that_were_mended_are_told(dtype: torch.dtype) -> None:
    """Newton's iteration begins anew where the inverse by halves is none, and goes on from one that is inaccurate."""
    n = 132
    graphs = torch.stack([of_radius(0.9, n), singular_first_half(n), defective(0.99, n), of_radius(0.5, n)])
    assert Inverse(graphs.to(DEVICE, dtype)).known.tolist() == [1, 2, 2, 1]


@DTYPES
@pytest.mark.parametrize("n", [24, 40])
def test_solutions_much_smaller_than_the_inverse(n: int, dtype: torch.dtype) -> None:
    """What rounding an inverse does to them, a factorisation would not do."""
    ours_off = lapack_off = 0.0
    for seed in range(4):
        matrix = skewed(n, 0.9, 2.0, seed).to(dtype)
        one_minus = torch.eye(n, dtype=torch.float64) - matrix.double()
        right = (one_minus @ drawn(n, 4, seed=seed)).to(dtype)
        exact = solved_exactly(matrix, right)
        ours = Inverse(matrix.to(DEVICE).unsqueeze(0)).solve(right.to(DEVICE).unsqueeze(0)).cpu().squeeze(0)
        lapack = torch.linalg.solve(torch.eye(n, dtype=dtype) - matrix, right)
        ours_off = max(ours_off, (ours.double() - exact).abs().max().item())
        lapack_off = max(lapack_off, (lapack.double() - exact).abs().max().item())
    assert ours_off <= 2 * lapack_off


def test_where_float64_is_hardly_enough_and_where_it_is_not() -> None:
    """Rounding keeps Newton's iteration from going on, within what is allowed or above it; or there is no proof."""
    n = 20
    graphs = [skewed(n, 0.5, 7.0, 0), skewed(n, 0.5, 7.3, 3), skewed(n, 0.5, 8.0, 0), defective(0.5, n)]
    inverse = Inverse(torch.stack(graphs).to(DEVICE))
    assert inverse.known.tolist() == [2, 0, 0, 1]
    assert inverse.walks.isnan().flatten(1).all(-1).tolist() == [False, True, True, False]
    for graph in (0, 3):
        expected = solved_exactly(graphs[graph], graphs[graph])
        assert (inverse.walks[graph].cpu() - expected).norm() <= 2**-11 * expected.norm()


@pytest.mark.skipif(not CUDA_EMULATED, reason="emulated launches are recorded")
def test_newton_ends_where_rounding_stops_it() -> None:
    with recorded() as launches:
        known = Inverse(skewed(20, 0.5, 7.0, 0).unsqueeze(0)).known
    assert known.tolist() == [2]
    _, newton = (launch.barriers for launch in launches if launch.barriers)
    assert newton <= 11  # of two a step

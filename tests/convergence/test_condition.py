"""The kernels of infinite sums leave a sum open, rather than give it, where rounding decides its digits.

On the CPU, on a GPU and for the emulated kernels alike. The oracle has more digits: float64 for float32, and mpmath for
float64.
"""

from __future__ import annotations

import mpmath
import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from support.skewed import skewed
from torch import Tensor

import rrnn_ext  # noqa: F401  (registers the ops)

pytestmark = pytest.mark.emulated

ops = torch.ops.rrnn_ext
TOLERANCE = 2.0**-11
NATIVE = DEVICE.type == "cpu" and not CUDA_EMULATED
SIZES = [1, 2, 9, 40] if CUDA_EMULATED else [1, 2, 9, 40, 300]
# How far from one radii are. Nearer still, CUDA kernels try the series, which takes minutes to emulate.
GAPS = {
    torch.float32: [0.1, 1e-3, 1e-4] if CUDA_EMULATED else [10.0**-k for k in range(1, 8)],
    torch.float64: [0.1, 1e-12, 1e-13] if CUDA_EMULATED else [10.0**-k for k in range(1, 16)],
}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def positive(kind: str, n: int) -> Tensor:
    """Of spectral radius one."""
    matrix = torch.rand(n, n, dtype=torch.float64, generator=generator(n))
    if kind == "equal":
        matrix = torch.ones(n, n, dtype=torch.float64)
    elif kind == "uneven":
        matrix = torch.exp(2 * torch.randn(n, n, dtype=torch.float64, generator=generator(n)))
    return matrix / torch.linalg.eigvals(matrix).abs().max()


def exact_sum(a: Tensor, sources: Tensor, targets: Tensor) -> float:
    """v . (I - A)^{-1} u, where A is what it is; with 40 digits."""
    n = a.shape[-1]
    with mpmath.workdps(40):
        one_minus = mpmath.eye(n) - mpmath.matrix(a.double().tolist())
        x = mpmath.lu_solve(one_minus, mpmath.matrix(sources.double().tolist()))
        return float(mpmath.fsum(v * x[i] for i, v in enumerate(targets.double().tolist())))


def solve(a: Tensor, sources: Tensor, targets: Tensor) -> tuple[float, bool]:
    x, _, found = ops.pathway(*(each.unsqueeze(0).to(DEVICE) for each in (a, sources, targets)), 1.0)
    return (targets.double() * x[0].cpu().double()).sum().item(), bool(found[0])


@DTYPES
@pytest.mark.parametrize("kind", ["random", "equal", "uneven"])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13])
def test_a_single_pathway_near_the_limit(n: int, kind: str, dtype: torch.dtype) -> None:
    sources, targets = (0.1 + torch.rand(n, generator=generator(seed)).to(dtype) for seed in (1, 2))
    given = []
    for gap in GAPS[dtype]:
        a = ((1 - gap) * positive(kind, n)).to(dtype)
        value, found = solve(a, sources, targets)
        exact = exact_sum(a, sources, targets)
        given.append(found)
        if found:  # where A rounds to a radius of one or more, the exact number is no sum of walks, and far from any
            assert value == pytest.approx(exact, rel=TOLERANCE)
    assert given[0]
    assert not given[-1]


@pytest.mark.parametrize("n", SIZES)
def test_larger_ones_near_the_limit(n: int) -> None:
    wrong = 0
    sources, targets = (0.1 + torch.rand(n, generator=generator(seed)) for seed in (1, 2))
    for kind in ("random", "equal", "uneven"):
        for gap in GAPS[torch.float32]:
            a = ((1 - gap) * positive(kind, n)).float()
            value, found = solve(a, sources, targets)
            one_minus = torch.eye(n, dtype=torch.float64) - a.double()
            exact = (targets.double() @ torch.linalg.solve(one_minus, sources.double())).item()
            off = not abs(value - exact) <= TOLERANCE * exact
            wrong += off
            assert not (found and off)
    assert wrong > 0  # so that there was something to find


@DTYPES
@pytest.mark.parametrize("radius", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [*SIZES, 1024] if NATIVE or DEVICE.type == "cuda" else SIZES)
def test_ordinary_pathways_are_found(n: int, radius: float, dtype: torch.dtype) -> None:
    a = (radius * positive("random", n)).to(dtype)
    sources, targets = (0.1 + torch.rand(n, generator=generator(seed)).to(dtype) for seed in (1, 2))
    value, found = solve(a, sources, targets)
    assert found
    one_minus = torch.eye(n, dtype=torch.float64) - a.double()
    exact = (targets.double() @ torch.linalg.solve(one_minus, sources.double())).item()
    assert value == pytest.approx(exact, rel=1e-4)


def walks_of_all_pairs(a: Tensor) -> tuple[Tensor, Tensor, bool]:
    value, walks, converges = ops.all_pairs_penalty(a.unsqueeze(0).to(DEVICE), None, 1.0, False, False)
    return value[0].cpu().double(), walks[0].cpu().double(), bool(converges[0])


@pytest.mark.parametrize("n", [2, 8, 32, 40] if CUDA_EMULATED else [2, 3, 8, 32, 64, 130])
def test_an_inverse_that_lost_its_digits(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Powers are seen to shrink, and I - A is so near to a singular one that float32 cannot tell: CUDA kernels go on in
    float64, those of the CPU leave it open."""
    wrong = 0
    # Bytes of shared memory. On the smaller chip, graphs of more than 32 units go by tiles.
    for chip in (227 << 10, 32 << 10) if CUDA_EMULATED else (0,):
        monkeypatch.setenv("EMULATED_SHARED_BYTES", str(chip))
        for radius, condition in ((0.5, 3.0), (0.5, 4.0), (0.9, 3.0), (0.99, 2.0), (0.99, 3.0)):
            for seed in range(3 if CUDA_EMULATED else 10):
                a = skewed(n, radius, condition, seed).float()
                value, walks, converges = walks_of_all_pairs(a)
                eye = torch.eye(n, dtype=torch.float64)
                exact = torch.linalg.inv(eye - a.double()) - eye
                off = not (value - exact.abs().sum()).abs() <= TOLERANCE * exact.abs().sum()
                off = off or not (walks - exact).norm() <= TOLERANCE * exact.norm()
                wrong += off
                assert not (converges and off)
    assert wrong > 0 if NATIVE else wrong == 0


@DTYPES
@pytest.mark.parametrize("n", [1, 2, 20, 33] if CUDA_EMULATED else [1, 2, 20, 64, 130, 160])
def test_ordinary_inverses_are_given(n: int, dtype: torch.dtype) -> None:
    for radius, condition in ((0.5, 0.0), (0.9, 1.0), (0.99, 0.5)):
        a = skewed(n, radius, condition, 0).to(dtype)
        value, _, converges = walks_of_all_pairs(a)
        assert converges
        eye = torch.eye(n, dtype=torch.float64)
        exact = (torch.linalg.inv(eye - a.double()) - eye).abs().sum()
        assert value.item() == pytest.approx(exact.item(), rel=1e-4)

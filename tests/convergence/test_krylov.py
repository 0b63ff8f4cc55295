"""Solutions by products with a matrix: as right as a factorisation's, whatever the matrix, or an error."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rrnn_ext import ResolventConditionError
from rrnn_ext.infinite.krylov import solve_by_products
from rrnn_ext.infinite.margins import LARGEST_ERROR
from rrnn_ext.infinite.operands import DenseOperand, Mirrored, Operand
from rrnn_ext.infinite.solve import by_products, solve

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def perron(n: int, radius: float) -> Tensor:
    matrix = normal(n, n).abs()
    return radius * matrix / torch.linalg.eigvals(matrix).abs().max()


QUARTER_TURN = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
SHIFT = torch.roll(torch.eye(100, dtype=torch.float64), 1, 0)
MATRICES = {  # and the most products that a column may take in float64
    "zero": (torch.zeros(10, 10, dtype=torch.float64), 2),
    "one unit": (torch.full((1, 1), 0.5, dtype=torch.float64), 2),
    "half of one": (0.5 * torch.eye(10, dtype=torch.float64), 2),
    "rank one": (torch.outer(normal(80, seed=1), normal(80, seed=2)) / 100, 4),
    "rotations": (torch.block_diag(*[0.9 * QUARTER_TURN] * 20), 4),
    "nilpotent": (torch.triu(normal(40, 40), 1) / 2, 45),
    "a ring": (0.9 * SHIFT, 101),
    "signed 0.5": (0.5 * normal(300, 300) / 300**0.5, 60),
    "signed 0.9": (0.9 * normal(300, 300) / 300**0.5, 200),
    "positive 0.9": (perron(300, 0.9), 16),
    "positive 0.999": (perron(300, 0.999), 20),
}


def operand(a: Tensor, widened: Tensor | None = None) -> DenseOperand:
    return DenseOperand(a, a.double if widened is None else (lambda: widened))


def solution(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.solve(torch.eye(len(a), dtype=torch.float64) - a.double(), b.double())


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What dense operands were multiplied with, one after another."""
    seen: list[Tensor] = []
    whole = DenseOperand.forward

    def forward(self: DenseOperand, vectors: Tensor) -> Tensor:
        seen.append(vectors)
        return whole(self, vectors)

    monkeypatch.setattr(DenseOperand, "forward", forward)
    return seen


@DTYPES
@pytest.mark.parametrize("name", MATRICES)
def test_both_sides(name: str, dtype: torch.dtype, products: list[Tensor]) -> None:
    matrix, most_products = MATRICES[name]
    a, b = matrix.to(dtype), normal(len(matrix), 5, seed=3).to(dtype)
    eye = torch.eye(len(a), dtype=torch.float64)
    ways: list[tuple[Operand, Tensor]] = [(operand(a), a), (Mirrored(operand(a)), a.mT)]
    for way, exact_a in ways:
        x = solve_by_products(way, b)
        left = b.double() - (eye - exact_a.double()) @ x.double()
        terms = b.double().abs() + (eye + exact_a.double().abs()) @ x.double().abs()
        assert (left.norm(dim=0) <= 20 * torch.finfo(dtype).eps * terms.norm(dim=0)).all()
        condition = torch.linalg.cond(eye - exact_a.double())
        error = (x - solution(exact_a, b)).norm(dim=0) / solution(exact_a, b).norm(dim=0)
        assert (error <= 20 * condition * torch.finfo(dtype).eps).all()
    assert 0 < len(products) <= most_products + 2  # and for a look at the residual


def test_columns_of_any_size_stop_for_themselves() -> None:
    a = (0.8 * normal(50, 50) / 50**0.5).float()
    b = normal(50, 6).float()
    b[:, 1] = 0
    b[:, 2] *= 1e-30
    b[:, 3] *= 1e30
    b[0, 4] = torch.nan
    b[0, 5] = torch.inf
    x, expected = solve_by_products(operand(a), b), solution(a, b)
    assert torch.isnan(x[:, 4:]).all()
    for column in (0, 1, 2, 3):
        torch.testing.assert_close(
            x[:, column].double(), expected[:, column], rtol=0, atol=1e-5 * expected[:, column].abs().max().item()
        )


def test_a_tolerance_of_ones_own_takes_fewer_products(products: list[Tensor]) -> None:
    a = 0.9 * normal(300, 300) / 300**0.5
    b = normal(300, 3)
    x = solve_by_products(operand(a), b, tolerance=1e-3)
    left = b - (x - a @ x)
    assert ((left.norm(dim=0) / b.norm(dim=0) > 1e-10) & (left.norm(dim=0) < 2e-3 * b.norm(dim=0))).all()
    assert len(products) < 80


@pytest.mark.parametrize(
    "matrix",
    [torch.eye(10), torch.triu(normal(300, 300), 1), 0.9999 * SHIFT],
    ids=["identity", "far from normal", "a slow ring"],
)
def test_what_is_not_reached_is_an_error(matrix: Tensor) -> None:
    b = normal(len(matrix), 2, seed=1)
    with pytest.raises(ResolventConditionError, match="products did not reach it"):
        solve_by_products(operand(matrix.double()), b, most_products=90)


@pytest.mark.parametrize("name", MATRICES)
def test_with_a_certificate_it_is_right(name: str) -> None:
    matrix = MATRICES[name][0]
    b = normal(len(matrix), 3, seed=3)
    way = operand(matrix.float(), matrix)
    x = solve(way, lambda wide: (b.to(wide.dtype), None), by_products, float("inf"), "take a smaller alpha")
    expected = solution(matrix, b)
    assert ((x - expected).abs().amax(0) <= LARGEST_ERROR * expected.abs().amax(0)).all()


def test_rounding_that_decides_is_an_error() -> None:
    """I - A is singular but for rounding, or altogether."""
    rotation = torch.linalg.qr(normal(2, 2))[0]
    for a in (
        rotation @ torch.diag(torch.tensor([1 - 2.0**-50, 0.5], dtype=torch.float64)) @ rotation.mT,
        QUARTER_TURN.abs(),
    ):
        with pytest.raises(ResolventConditionError):
            solve(operand(a), lambda wide: (rotation[:, :1], None), by_products, 1.0, "take a smaller alpha")


@DTYPES
@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_dense_operand(batch: tuple[int, ...], dtype: torch.dtype) -> None:
    a, x = normal(*batch, 7, 7).to(dtype), normal(*batch, 7, 3, seed=1).to(dtype)
    way = operand(a, a.double() + 1)
    torch.testing.assert_close(way.forward(x), a @ x)
    torch.testing.assert_close(way.transposed(x), a.mT @ x)
    torch.testing.assert_close(way.absolute().forward(x), a.abs() @ x)
    torch.testing.assert_close(Mirrored(way).absolute().forward(x), a.mT.abs() @ x)
    torch.testing.assert_close(Mirrored(way).transposed(x), a @ x)
    wide = way.in_float64()
    assert wide.dtype == torch.float64
    widened = a if dtype == torch.float64 else a.double() + 1
    torch.testing.assert_close(wide.forward(x.double()), widened.double() @ x.double())
    assert not way.poison().any()
    a[..., 3, 4] = torch.inf
    assert way.poison().isnan().all()

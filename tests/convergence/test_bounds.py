"""Bounds by products alone, of the radius, of powers and of tails: against eigenvalues and norms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import scipy.sparse
import scipy.sparse.csgraph
import torch
from hypothesis import given, settings
from support.sparse import dense_of, drawn, masked
from support.strategies import coordinates
from torch import Tensor

import rrnn_ext
from rrnn_ext.infinite.bounds import bounds_of_nonnegative, probed_powers
from rrnn_ext.infinite.operands import DenseOperand
from rrnn_ext.infinite.radius import spectral_radius
from rrnn_ext.infinite.tails import probed_tail, tail_of_nonnegative
from rrnn_ext.sparse import Pattern
from rrnn_ext.sparse.convergence import cycles_of, prove_convergence, strong_components
from rrnn_ext.sparse.operand import SparseOperand


def operand_of(dense: Tensor) -> tuple[SparseOperand, tuple[Tensor, ...]]:
    sparse = dense.to_sparse_csr()
    indices = Pattern.of(sparse).indices
    return SparseOperand(sparse.values(), indices, 1.0, False), indices


def radius_of(dense: Tensor) -> float:
    return torch.linalg.eigvals(dense).abs().max().item() if dense.numel() else 0.0


def ring(weights: Tensor) -> Tensor:
    return torch.roll(torch.diag(weights), 1, 0)


def rank_one(n: int, radius: float) -> Tensor:
    left, right = drawn(n, seed=1), drawn(n, seed=2)
    return radius * torch.outer(left, right) / (left @ right)


def far_from_normal(n: int, diagonal: float, step: float) -> Tensor:
    return diagonal * torch.eye(n, dtype=torch.float64) + step * torch.diag(torch.ones(n - 1, dtype=torch.float64), 1)


def hidden(n: int, radius: float) -> Tensor:
    """A diverging cycle of two units that hardly shows beside all others."""
    dense = 0.5 * masked(n, 0.2) / n**0.5
    dense[:2], dense[:, :2] = 0, 0
    dense[0, 1] = 1e-8
    dense[1, 0] = -1e8 * radius**2
    return dense


@settings(max_examples=60)
@given(coordinates())
def test_components_are_those_of_scipy(graph: tuple[int, Tensor, Tensor]) -> None:
    n, places, _ = graph
    sparse = torch.sparse_coo_tensor(places, torch.ones(places.shape[1]), (n, n))
    labels = strong_components(Pattern.of(sparse).indices).tolist()
    if n == 0:
        assert labels == []
        return
    matrix = scipy.sparse.csr_matrix(sparse.to_dense().cpu().numpy())
    count, expected = scipy.sparse.csgraph.connected_components(matrix, connection="strong")
    assert len(set(labels)) == len(set(zip(labels, expected.tolist(), strict=True))) == count
    for row, column in zip(*places.tolist(), strict=True):
        assert labels[column] <= labels[row]


def test_components_of_a_path_longer_than_any_stack() -> None:
    n = 300_000
    units = torch.arange(n)
    for closed in (False, True):
        rows = torch.cat([units[1:], units[:1]]) if closed else units[1:]
        columns = units if closed else units[:-1]
        pattern = Pattern.of(torch.sparse_coo_tensor(torch.stack([rows, columns]), torch.ones(len(rows)), (n, n)))
        assert len(strong_components(pattern.indices).unique()) == (1 if closed else n)


NONNEGATIVE = {
    "zero": torch.zeros(4, 4, dtype=torch.float64),
    "one unit": torch.full((1, 1), 0.5, dtype=torch.float64),
    "a cycle": ring(torch.tensor([2.0, 0.25, 4.0, 1.0], dtype=torch.float64)),
    "two cycles": torch.block_diag(ring(torch.full((3,), 0.5)), ring(torch.full((2,), 0.75))).double(),
    "no cycle": 100 * torch.triu(torch.ones(30, 30, dtype=torch.float64), 1),
    "a long uneven ring": ring(torch.linspace(0.5, 1.5, 60, dtype=torch.float64)),
    "random": masked(80, 0.1).abs(),
    "many components": masked(120, 0.012).abs(),
    "wide range": masked(60, 0.2).abs() ** 12,
    "cycles in a row": torch.block_diag(*[ring(torch.full((4,), 0.9)).double()] * 10)
    + torch.diag(torch.full((39,), 5.0, dtype=torch.float64), -1),
}


@pytest.mark.parametrize("name", NONNEGATIVE)
def test_of_nonnegative_weights_the_radius_is_between_them(name: str) -> None:
    dense = NONNEGATIVE[name]
    operand, indices = operand_of(dense)
    bounds = cycles_of(operand, indices).bounds_of_absolute(1e-10)
    # By eigenvalues of the components: those of the whole matrix are ill-conditioned where there are many.
    labels = strong_components(indices)
    radius = max(radius_of(dense[labels == each][:, labels == each]) for each in labels.unique())
    slack = 1e-11 * radius
    assert bounds.lower <= radius + slack
    assert bounds.upper >= radius - slack
    assert bounds.upper - bounds.lower <= 2e-10 * bounds.upper


@settings(max_examples=60)
@given(coordinates())
def test_bounds_are_bounds(graph: tuple[int, Tensor, Tensor]) -> None:
    """Whether or not the iteration gets anywhere: explicit zeros make components that fall apart."""
    n, places, values = graph
    sparse = torch.sparse_coo_tensor(places.cpu(), values.cpu().abs(), (n, n))
    pattern = Pattern.of(sparse)
    operand = SparseOperand(pattern.edges_of(values.cpu().abs()), pattern.indices, 1.0, False)
    bounds = cycles_of(operand, pattern.indices).bounds_of_absolute(1e-10)
    radius = radius_of(dense_of(n, places.cpu(), values.cpu().abs()))
    # Rounding moves the eigenvalue of a Jordan block of 7 by its 7th root.
    assert bounds.lower <= radius + 1e-2
    assert bounds.upper >= radius - 1e-2


@pytest.mark.parametrize("side", [1 - 1e-9, 1 + 1e-9])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_proof_of_nonnegative_weights_decides_near_one(side: float, sign: int) -> None:
    dense = masked(300, 0.05).abs()
    dense = sign * dense * (side / cycles_of(*operand_of(dense)).bounds_of_absolute(1e-13).upper)
    operand, indices = operand_of(dense)
    if side < 1:
        prove_convergence(operand, indices, 1.0, False)
        return
    with pytest.raises(rrnn_ext.ResolventDivergenceError) as raised:
        prove_convergence(operand, indices, 1.0, False)
    assert raised.value.spectral_radius == pytest.approx(side, rel=1e-10)


SIGNED: dict[str, Callable[[float], Tensor]] = {
    "random": lambda radius: masked(300, 0.1) * (radius / radius_of(masked(300, 0.1))),
    "rank one": lambda radius: rank_one(300, radius),
    "far from normal": lambda radius: far_from_normal(40, radius, -2.0),
    "a signed ring": lambda radius: ring(radius * (-1.0) ** torch.arange(31, dtype=torch.float64)),
    "rotations": lambda radius: radius * torch.block_diag(*[torch.tensor([[0.0, 1.0], [-1.0, 0.0]])] * 20).double(),
    "hidden": lambda radius: hidden(300, radius),
}


@pytest.mark.parametrize("name", SIGNED)
def test_the_proof_of_signed_weights(name: str) -> None:
    prove_convergence(*operand_of(SIGNED[name](0.9)), 1.0, False)
    with pytest.raises(rrnn_ext.ResolventDivergenceError) as raised:
        prove_convergence(*operand_of(SIGNED[name](1.1)), 1.0, False)
    if name != "far from normal":  # whose eigenvalues are at rounding's mercy
        assert raised.value.spectral_radius == pytest.approx(1.1, rel=1e-6)
    assert raised.value.max_alpha <= 1 / 1.1 * (1 + 1e-6)


@pytest.mark.parametrize("name", [*SIGNED, "nilpotent"])
def test_probes_do_not_underestimate_powers(name: str) -> None:
    dense = torch.triu(drawn(40, 40), 1) if name == "nilpotent" else SIGNED[name](0.9)
    operand, _ = operand_of(dense)
    power = torch.eye(len(dense), dtype=torch.float64)
    for seen in itertools.islice(probed_powers(operand), 60):
        power = dense @ power
        size = torch.linalg.matrix_norm(power, 2).item()
        assert math.exp(seen.log_bound) >= size, seen.hops
        if name != "nilpotent":
            assert math.exp(seen.log_bound) <= 40 * len(dense) ** 0.5 * size


@pytest.mark.parametrize("name", ["random", "rank one", "a signed ring", "rotations", "hidden"])
def test_the_radius_of_both_signs(name: str) -> None:
    operand, indices = operand_of(SIGNED[name](0.7))
    found = spectral_radius(cycles_of(operand, indices).operand, 1e-12)
    assert found.radius == pytest.approx(0.7, rel=1e-6 if name == "hidden" else 1e-9)  # ill-conditioned
    assert found.residual <= 1e-12


def test_the_radius_of_many_complex_pairs() -> None:
    """By restarts of a basis, not by a matrix that is made."""
    dense = masked(700, 0.05)
    operand, _ = operand_of(dense)
    found = spectral_radius(operand, 1e-11)
    assert found.residual <= 1e-11
    assert found.radius == pytest.approx(radius_of(dense), rel=1e-9)


def tail_of(dense: Tensor, hops: int) -> float:
    inverse = torch.linalg.inv(torch.eye(len(dense), dtype=torch.float64) - dense)
    return torch.linalg.matrix_norm(torch.linalg.matrix_power(dense, hops) @ inverse, 2).item()


@pytest.mark.parametrize("hops", [1, 7, 40])
def test_tails_are_bounds(hops: int) -> None:
    for name, make in SIGNED.items():
        dense = make(0.9)
        operand, _ = operand_of(dense)
        bound, expected = probed_tail(operand, hops), tail_of(dense, hops)
        assert expected <= bound, name
        assert bound <= 200 * expected or name in ("far from normal", "hidden"), name
    for name in ("a cycle", "two cycles", "random", "many components", "a long uneven ring"):
        dense = NONNEGATIVE[name]
        dense = 0.9 / max(radius_of(dense), 0.1) * dense
        operand, _ = operand_of(dense)
        assert (
            tail_of(dense, hops)
            <= tail_of_nonnegative(operand, hops) * (1 + 1e-9)
            <= 20 * len(dense) * tail_of(dense, hops)
        )


def test_what_cannot_be_had_is_infinite() -> None:
    shift = DenseOperand(torch.tensor([[1.0]], dtype=torch.float64), lambda: torch.ones(1, 1, dtype=torch.float64))
    assert tail_of_nonnegative(shift, 3) == math.inf
    growing = DenseOperand(torch.tensor([[-1.5]], dtype=torch.float64), lambda: torch.ones(1, 1, dtype=torch.float64))
    assert probed_tail(growing, 3) == math.inf
    assert bounds_of_nonnegative(growing.absolute(), torch.zeros(1, dtype=torch.int64), 1e-9).lower >= 1.4

"""All pairs of graphs in cache: which of them are proved to converge, and the sizes of their walks."""

from __future__ import annotations

import pytest
import torch
from support.device import DEVICE
from torch import Tensor

from rrnn_ext._options import Norm

ops = torch.ops.rrnn_ext
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(shape[-1]), dtype=torch.float64)


def with_eigenvalue(eigenvalue: float, directions: Tensor) -> Tensor:
    """(b, n, n) that take ``directions`` (b, n) to ``eigenvalue`` times themselves, and shrink all others."""
    units = directions.shape[-1]
    directions = directions / torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
    onto = directions.unsqueeze(-1) * directions.unsqueeze(-2)
    rest = torch.eye(units, dtype=torch.float64) - onto
    return eigenvalue * onto + 0.1 * rest @ torch.linalg.qr(drawn(units, units))[0] @ rest


@DTYPES
@pytest.mark.parametrize("n", [1, 7, 33, 64, 150])
@pytest.mark.parametrize("radius", [0.3, 0.9, 0.99, 0.998])
def test_graphs_that_converge_are_proved_to(n: int, radius: float, dtype: torch.dtype) -> None:
    weight_hh = drawn(3, n, n)
    weight_hh *= (radius / torch.linalg.eigvals(weight_hh).abs().amax(-1))[:, None, None]
    value, walks, converges = ops.all_pairs_penalty(weight_hh.to(DEVICE, dtype), None, 1.0, False, int(Norm.l1))
    assert bool((converges > 0).all())
    torch.testing.assert_close(value, walks.double().abs().sum((-2, -1)).to(dtype))


@DTYPES
@pytest.mark.parametrize("n", [7, 64, 150])
@pytest.mark.parametrize("eigenvalue", [1.0005, -1.0005, 1.2])
def test_a_single_direction_that_does_not_shrink_is_seen(n: int, eigenvalue: float, dtype: torch.dtype) -> None:
    directions = torch.cat([torch.eye(n, dtype=torch.float64), drawn(n, n)])
    weight_hh = with_eigenvalue(eigenvalue, directions).to(DEVICE, dtype)
    _, _, converges = ops.all_pairs_penalty(weight_hh, None, 1.0, False, int(Norm.l1))
    assert not bool(converges.any())


@pytest.mark.parametrize("n", [1, 7, 33, 64])
@pytest.mark.parametrize("norm", list(Norm))
def test_sizes_of_walks_and_their_derivative(n: int, norm: Norm) -> None:
    weight_hh = (0.5 / n**0.5 * drawn(2, n, n)).to(DEVICE).requires_grad_()
    value, _, _ = ops.all_pairs_penalty(weight_hh.detach(), None, 1.0, False, int(norm))
    eye = torch.eye(n, dtype=torch.float64, device=DEVICE)
    walks = torch.stack([torch.linalg.inv(eye - each) - eye for each in weight_hh])
    expected = (walks.abs() if norm == Norm.l1 else walks.square()).sum((-2, -1))
    torch.testing.assert_close(value, expected.detach(), rtol=1e-12, atol=0)
    grad_value = torch.tensor([0.7, -1.3], dtype=torch.float64, device=DEVICE)
    (expected_gradient,) = torch.autograd.grad(expected, weight_hh, grad_value)
    gradient = ops.all_pairs_penalty_backward(
        grad_value, walks.detach(), weight_hh.detach(), None, 1.0, False, int(norm)
    )
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-11, atol=1e-12)

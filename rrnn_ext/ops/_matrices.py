"""Small pieces of the formulas of several families."""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext._options import Norm


def phi(weight: Tensor, rectify: bool) -> Tensor:
    return weight.abs() if rectify else weight


def identity(a: Tensor) -> Tensor:
    """I for each of (..., n, n)."""
    return torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand_as(a)


def block_triangular(a: Tensor, tangent: Tensor) -> Tensor:
    """[[A, dA], [0, A]]: the upper right block of a function of it is the function's derivative."""
    return torch.cat([torch.cat([a, tangent], -1), torch.cat([torch.zeros_like(a), a], -1)], -2)


def of_weight(walks: Tensor, factors: Tensor) -> Tensor:
    """The walks that have a weight: what has none takes no part, even where it overflows."""
    return torch.where(factors == 0, 0, walks)


def walk_size(walks: Tensor, norm: int) -> Tensor:
    return walks.square() if norm == Norm.l2 else walks.abs()


def walk_size_derivative(walks: Tensor, norm: int) -> Tensor:
    return 2 * walks if norm == Norm.l2 else walks.sign()


def sums_of_sides(
    weight_hh: Tensor, weight_in: Tensor | None, weight_out: Tensor | None, alpha: float
) -> tuple[Tensor, Tensor]:
    """|U| 1 and 1' |V|, (..., n, 1) and (..., 1, n), the sides of the graph with all inputs as one and all outputs as
    one. A side left out has no edge of its own."""
    left_out = weight_hh.shape[:-1]
    sources = weight_hh.new_full(left_out, 1 / alpha) if weight_in is None else weight_in.abs().sum(-1)
    targets = weight_hh.new_full(left_out, 1 / alpha) if weight_out is None else weight_out.abs().sum(-2)
    return sources.unsqueeze(-1), targets.unsqueeze(-2)


def pair_norm(matrices: Tensor, pair_weights: Tensor | None, norm: int) -> Tensor:
    """sum D|M| or sum D M^2 over the last two dimensions."""
    matrices = matrices if pair_weights is None else of_weight(matrices, pair_weights)
    sizes = walk_size(matrices, norm)
    return (sizes if pair_weights is None else pair_weights * sizes).sum((-2, -1))

"""Random weights, and the penalty as a function of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import rrnn_ext
from support.device import DEVICE

# Batches of weight_hh, weight_in, weight_out that broadcast together.
BATCHES: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...] = (
    ((), (), ()),
    ((2,), (2,), (2,)),
    ((3, 1), (2,), ()),
    ((), (3,), (1,)),
    ((2,), (), ()),
    ((), (), (2,)),
    ((0,), (), (1,)),
)


def recurrent(n: int, batch: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Signed weights whose absolute values have no row sum above 0.9: (*batch, n, n), float64.

    Mostly a signed permutation, so that long walks weigh as much as short ones, under both signs and absolute values.
    """
    count = math.prod(batch)
    order = torch.argsort(torch.rand(count, n, generator=generator), -1)
    permutation = torch.nn.functional.one_hot(order, max(n, 1))[..., :n].double()
    dense = 2 * torch.rand(count, n, n, generator=generator, dtype=torch.float64) - 1
    return (0.6 * permutation * _signs((count, n, n), generator) + 0.3 * dense / max(n, 1)).reshape(*batch, n, n)


def side(rows: int, columns: int, n: int, batch: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Input or read-out weights, none near zero: (*batch, rows, columns), float64."""
    shape = (*batch, rows, columns)
    return (0.3 + torch.rand(shape, generator=generator, dtype=torch.float64)) * _signs(shape, generator) / max(n, 1)


def weights(
    n: int,
    i: int | None,
    o: int | None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    batches: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] = BATCHES[0],
) -> dict[str, Any]:
    """Random weight_hh and, unless their size is None, weight_in and weight_out, on the device of the tests."""
    return {name: matrix.to(DEVICE) for name, matrix in on_cpu(n, i, o, seed, dtype, batches).items()}


def on_cpu(
    n: int,
    i: int | None,
    o: int | None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    batches: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] = BATCHES[0],
) -> dict[str, Any]:
    """The same weights on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {"weight_hh": recurrent(n, batches[0], generator)}
    if i is not None:
        drawn["weight_in"] = side(n, i, n, batches[1], generator)
    if o is not None:
        drawn["weight_out"] = side(o, n, n, batches[2], generator)
    return {name: matrix.to(dtype) for name, matrix in drawn.items()}


def penalty_of(i: int | None, o: int | None, **options: Any) -> Callable[..., Tensor]:
    """The penalty as a function of the weights that are there."""

    def penalty(*matrices: Tensor) -> Tensor:
        w, rest = matrices[0], list(matrices[1:])  # a starred name is a tuple to older compilers
        u = rest.pop(0) if i is not None else None
        v = rest.pop(0) if o is not None else None
        return rrnn_ext.resolvent_penalty(w, u, v, **options)

    return penalty


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1.0

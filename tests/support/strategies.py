"""Random weights, and hypothesis strategies for whole calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

import rrnn_ext
from support.device import DEVICE
from support.oracle import View

SIZES = (0, 1, 2, 3, 17, 64, 129)
HOPS = (1, 2, 3, 7, 20)
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
LAYOUTS = ("contiguous", "transposed", "sliced", "expanded")


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


@dataclass(frozen=True)
class Call:
    """Arguments of one call in the form oracle.check takes."""

    leaves: dict[str, Tensor]
    views: dict[str, View]
    options: dict[str, Any]


@st.composite
def calls(draw: st.DrawFn, function: str, dtype: torch.dtype, sizes: tuple[int, ...] = SIZES) -> Call:
    """Any valid call of ``function``: sizes, hops, options, memory layouts, broadcast batches."""
    n = draw(st.sampled_from(sizes))
    i = draw(st.sampled_from((None, *sizes)))
    o = draw(st.sampled_from((None, *sizes)))
    batches = draw(st.sampled_from(BATCHES if n <= 17 else BATCHES[:2]))
    drawn = weights(n, i, o, draw(st.integers(0, 2**20)), dtype, batches)
    batch = torch.broadcast_shapes(*(matrix.shape[:-2] for matrix in drawn.values()))
    laid_out = {name: lay_out(matrix, draw(st.sampled_from(LAYOUTS))) for name, matrix in drawn.items()}
    leaves = {name: leaf for name, (leaf, _) in laid_out.items()}
    views = {name: view for name, (_, view) in laid_out.items()}

    hops = draw(st.sampled_from(HOPS if function == "hop_decomposition" else (*HOPS, None)))
    options: dict[str, Any] = {"hops": hops, "rectify": draw(st.booleans())}
    alpha = draw(st.sampled_from(("one", "float", "scalar", "batch") if dtype.itemsize > 2 else ("one", "float")))
    if alpha == "float":
        options["alpha"] = 0.75
    elif alpha != "one":
        shape = batch if alpha == "batch" else ()
        leaves["alpha"] = torch.linspace(0.75, 1.0, math.prod(shape), dtype=dtype, device=DEVICE).reshape(shape)
    if function == "resolvent_penalty":
        options["norm"] = draw(st.sampled_from(("l1", "l2")))
        options["per_hop"] = hops is not None and draw(st.booleans())
        options["reduction"] = draw(st.sampled_from(("sum", "mean", "none") if math.prod(batch) else ("sum", "none")))
        if draw(st.booleans()):
            shape = (n if o is None else o, n if i is None else i)
            rows = draw(st.sampled_from(((), batch)))
            options["pair_weights"] = torch.arange(math.prod(rows + shape)).remainder(5).div(4).reshape(rows + shape)
            options["pair_weights"] = options["pair_weights"].to(DEVICE, dtype)
    if function != "hop_decomposition":
        if hops is not None and draw(st.booleans()):
            rows = draw(st.sampled_from(((), batch)))
            wave = torch.arange(math.prod((*rows, hops))).remainder(7).sub(3).div(2)
            options["hop_weights"] = wave.reshape(*rows, hops).to(DEVICE, dtype)
        closed_form = not options.get("per_hop") and "hop_weights" not in options
        options["method"] = draw(st.sampled_from(("auto", "series", "inverse") if closed_form else ("auto", "series")))
    return Call(leaves, views, options)


def lay_out(matrix: Tensor, layout: str) -> tuple[Tensor, View]:
    """A leaf, and the view of it that holds the numbers of ``matrix`` (expanded: of its first batch element)."""
    rows, columns = matrix.shape[-2:]
    if layout == "transposed":
        return matrix.mT.contiguous(), lambda leaf: leaf.mT
    if layout == "sliced":
        leaf = matrix.new_full((*matrix.shape[:-2], rows + 3, 2 * columns + 1), 0.5)
        leaf[..., 2 : 2 + rows, 1::2] = matrix
        return leaf, lambda leaf: leaf[..., 2 : 2 + rows, 1::2]
    if layout == "expanded" and matrix.dim() > 2 and matrix.numel():
        return matrix[(0,) * (matrix.dim() - 2)], lambda leaf: leaf.expand(matrix.shape)
    if layout == "expanded" and rows != columns and matrix.numel():
        # One row or one column repeated with stride zero. Not for weight_hh, whose walks would then grow.
        return matrix[..., :1], lambda leaf: leaf.expand(matrix.shape)
    return matrix, lambda leaf: leaf


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1.0

"""Hypothesis strategies for whole calls and for sparse matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from support.device import DEVICE
from support.oracle import View
from support.random_weights import BATCHES, weights

SIZES = (0, 1, 2, 3, 17, 64, 129)
HOPS = (1, 2, 3, 7, 20)
LAYOUTS = ("contiguous", "transposed", "sliced", "expanded")


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


@st.composite
def coordinates(draw: st.DrawFn, most_units: int = 7) -> tuple[int, Tensor, Tensor]:
    """Units, places (2, stored) and values of a COO tensor: in any order, with duplicates, zeros and self-loops, rows
    that are full and rows that are empty, or nothing at all."""
    n = draw(st.integers(0, most_units))
    unit = st.integers(0, max(0, n - 1))
    pairs = draw(st.lists(st.tuples(unit, unit), max_size=3 * n if n else 0))
    if n and draw(st.booleans()):
        full = draw(unit)
        pairs += [(full, column) for column in reversed(range(n))]
    weight = st.sampled_from([0.0, 1.0, -0.5, 0.75, -2.0, 0.125])
    values = draw(st.lists(weight, min_size=len(pairs), max_size=len(pairs)))
    places = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T.contiguous()
    return n, places.to(DEVICE), torch.tensor(values, dtype=torch.float64, device=DEVICE)

"""Sparse graphs that are measured: a larval fly's connectome where its file is there, and generated ones like it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rrnn_ext.sparse import Pattern, SparseWeight

LARVA_FILE = Path(__file__).parents[2] / "shared" / "data" / "larva_inprop.npz"
LARVA_SIZE = 2952, 63_545  # units, edges
SPECTRAL_RADIUS = 0.9


def larva() -> tuple[str, SparseWeight]:
    """The larval *Drosophila* (Winding et al. 2023), shares of the input of each neuron; without the file, one of its
    size. Its name with it."""
    if not LARVA_FILE.exists():
        return "generated, of the larva's size", generated(*LARVA_SIZE)
    with np.load(LARVA_FILE) as file:  # SciPy's COO: [pre, post]
        places = torch.tensor(np.stack([file["col"], file["row"]]), dtype=torch.int64)
        values, units = torch.tensor(file["data"], dtype=torch.float32), int(file["shape"][0])
    sparse = torch.sparse_coo_tensor(places, SPECTRAL_RADIUS * values, (units, units)).coalesce()
    return "larval fly", _leaf(Pattern.of(sparse), sparse.values())


def generated(units: int, edges: int) -> SparseWeight:
    """Log-normal numbers of incoming and of outgoing edges, as connectomes have them, and normal weights of spectral
    radius near 0.9; exactly so many edges, none of them twice."""
    generator = np.random.default_rng(0)
    shares = generator.lognormal(size=(2, units))
    places = np.zeros(0, dtype=np.int64)
    while len(places) < edges:
        rows, columns = (generator.choice(units, edges, p=each / each.sum()) for each in shares)
        places = np.unique(np.concatenate([places, rows * np.int64(units) + columns]))
    places = np.sort(generator.permutation(places)[:edges])
    values = SPECTRAL_RADIUS * generator.standard_normal(edges, dtype=np.float32) / (edges / units) ** 0.5
    stacked = torch.from_numpy(np.stack([places // units, places % units]))
    sparse = torch.sparse_coo_tensor(stacked, torch.from_numpy(values), (units, units), is_coalesced=True)
    return _leaf(Pattern.of(sparse), sparse.values())


def half_full(units: int) -> SparseWeight:
    """A dense matrix every other weight of which is zero."""
    generator = torch.Generator().manual_seed(0)
    dense = SPECTRAL_RADIUS * torch.randn(units, units, generator=generator) / (units / 2) ** 0.5
    sparse = (dense * (torch.rand(units, units, generator=generator) < 0.5)).to_sparse_csr()
    return _leaf(Pattern.of(sparse), sparse.values())


def sides(units: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """weight_in (units, inputs) and weight_out (outputs, units)."""
    generator = torch.Generator().manual_seed(1)
    weight_in = torch.randn(units, inputs, generator=generator) / inputs**0.5
    weight_out = torch.randn(outputs, units, generator=generator) / units**0.5
    return weight_in.requires_grad_(), weight_out.requires_grad_()


def dense_leaf(weight: SparseWeight) -> Tensor:
    """The same weights as a dense matrix (units, units)."""
    dense = torch.zeros(weight.shape)
    dense[rows_of(weight.pattern), weight.pattern.columns.long()] = weight.values.detach()
    return dense.requires_grad_()


def rows_of(pattern: Pattern) -> Tensor:
    """(edges,), int64."""
    return torch.repeat_interleave(torch.arange(pattern.units), pattern.crow.diff(), output_size=pattern.edges)


def _leaf(pattern: Pattern, values: Tensor) -> SparseWeight:
    return pattern.with_values(values.detach().clone().requires_grad_())

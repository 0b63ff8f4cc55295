"""Penalties of sparse weights against torch.sparse and messages along the edges."""

from __future__ import annotations

import torch
from torch import Tensor

import rrnn_ext
from benchmarks import sparse_peers
from benchmarks.gpu import floors
from benchmarks.gpu.race import race
from benchmarks.gpu.record import Race, Recorder
from benchmarks.gpu.where import DEVICE, leaves, sized
from benchmarks.names import SPARSE
from benchmarks.sparse_graphs import generated, sides
from rrnn_ext.sparse import Pattern

HOPS, INPUTS, OUTPUTS = sized(20, 3), 16, 8


def sparse(units: int, edges: int, recorder: Recorder) -> None:
    given = generated(sized(units, 40), sized(edges, 120))
    crow, columns = given.pattern.crow.to(DEVICE), given.pattern.columns.to(DEVICE)
    values = given.values.detach().to(DEVICE)
    pattern = Pattern.of(torch.sparse_csr_tensor(crow, columns, values, 2 * [given.pattern.units]))
    weights = leaves(given.values, *sides(pattern.units, INPUTS, OUTPUTS))
    sizes = {"n": pattern.units, "edges": pattern.edges, "i": INPUTS, "o": OUTPUTS, "hops": HOPS}
    work = floors.sparse_total(pattern.edges, min(INPUTS, OUTPUTS), HOPS)

    def ours(values: Tensor, *both: Tensor) -> Tensor:
        return rrnn_ext.resolvent_penalty(pattern.with_values(values), *both, hops=HOPS)

    def direct(values: Tensor, *both: Tensor) -> Tensor:
        return rrnn_ext.accumulate_penalty_grad(pattern.with_values(values), *both, hops=HOPS)

    peers = {"gather and index_add": sparse_peers.gather(pattern, HOPS)}
    if pattern.units <= 50_000:  # its backward makes a dense matrix
        peers["torch.sparse, CSR of W'"] = sparse_peers.csr_mirrored(pattern, HOPS)
    race(recorder, Race(SPARSE, sizes, work), weights, ours, peers, direct=direct)

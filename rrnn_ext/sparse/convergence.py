"""What decides whether the walks through a sparse matrix have a sum: the edges that a cycle can pass."""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.infinite.proof_by_products import Cycles, prove_by_products
from rrnn_ext.ops import native
from rrnn_ext.ops.sparse_hop import Indices
from rrnn_ext.sparse.operand import SparseOperand


def cycles_of(operand: SparseOperand, indices: Indices) -> Cycles:
    components = strong_components(indices)
    return Cycles(components, operand.in_float64().within(components))


def strong_components(indices: Indices) -> Tensor:
    """(n,) int64, from 0: units are in the same one where each reaches the other."""
    crow, columns = indices[:2]
    labels: Tensor = native.sparse_infinite_walks_components(crow.cpu(), columns.cpu())
    return labels.to(crow.device, torch.int64)


def prove_convergence(operand: SparseOperand, indices: Indices, alpha: float, rectify: bool) -> None:
    """Raises ResolventDivergenceError unless rho < 1 was proved, without eigenvalues."""
    prove_by_products(operand, lambda wide: cycles_of(wide, indices), alpha, rectify)

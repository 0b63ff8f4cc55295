"""The definitions in plain PyTorch: short enough to check by eye, slow, the oracle of the tests.

Shapes: ``weight_hh`` (..., n, n), ``weight_in`` (..., n, i), ``weight_out`` (..., o, n); column = source,
row = target. A side that is left out is the identity. Nothing here checks its arguments.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def hop_decomposition(
    weight_hh: Tensor,
    weight_in: Tensor | None = None,
    weight_out: Tensor | None = None,
    *,
    hops: int,
    alpha: float | Tensor = 1.0,
    rectify: bool = False,
) -> Tensor:
    """P_m = alpha^e phi(V) A^m phi(U) for the ``hops`` shortest walks, (..., hops, o, i)."""
    phi = torch.abs if rectify else (lambda matrix: matrix)
    alpha = _per_batch(alpha)
    a = alpha * phi(weight_hh)
    if weight_in is not None:
        walk = alpha * phi(weight_in)
    elif weight_out is not None:
        walk = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    else:
        walk = a
    terms = []
    for _ in range(hops):
        terms.append(walk if weight_out is None else alpha * phi(weight_out) @ walk)
        walk = a @ walk
    return torch.stack(torch.broadcast_tensors(*terms), dim=-3)


def resolvent(
    weight_hh: Tensor,
    weight_in: Tensor | None = None,
    weight_out: Tensor | None = None,
    *,
    alpha: float | Tensor = 1.0,
    hops: int | None = None,
    rectify: bool = False,
    hop_weights: Tensor | None = None,
) -> Tensor:
    """R = sum_m w_m P_m over ``hops`` terms; the closed form of the infinite sum for ``hops=None``."""
    if hops is not None:
        terms = hop_decomposition(weight_hh, weight_in, weight_out, hops=hops, alpha=alpha, rectify=rectify)
        if hop_weights is not None:
            terms = hop_weights[..., None, None] * terms
        return terms.sum(-3)
    phi = torch.abs if rectify else (lambda matrix: matrix)
    alpha = _per_batch(alpha)
    a = alpha * phi(weight_hh)
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    walks = _inverse(eye - a)
    if weight_in is None and weight_out is None:
        return walks - eye
    if weight_in is not None:
        walks = walks @ (alpha * phi(weight_in))
    if weight_out is not None:
        walks = (alpha * phi(weight_out)) @ walks
    return walks


def resolvent_penalty(
    weight_hh: Tensor,
    weight_in: Tensor | None = None,
    weight_out: Tensor | None = None,
    *,
    alpha: float | Tensor = 1.0,
    hops: int | None = None,
    rectify: bool = False,
    per_hop: bool = False,
    norm: str = "l1",
    hop_weights: Tensor | None = None,
    pair_weights: Tensor | None = None,
    reduction: str = "sum",
) -> Tensor:
    """||sum_m w_m P_m||, or sum_m w_m ||P_m|| for ``per_hop``; ||M|| is sum D|M| ("l1") or sum D M^2 ("l2")."""
    size = torch.abs if norm == "l1" else torch.square
    if per_hop:
        assert hops is not None
        terms = size(hop_decomposition(weight_hh, weight_in, weight_out, hops=hops, alpha=alpha, rectify=rectify))
        if hop_weights is not None:
            terms = hop_weights[..., None, None] * terms
        pairs = terms.sum(-3)
    else:
        pairs = size(
            resolvent(
                weight_hh, weight_in, weight_out, alpha=alpha, hops=hops, rectify=rectify, hop_weights=hop_weights
            )
        )
    if pair_weights is not None:
        pairs = pair_weights * pairs
    value = pairs.sum((-2, -1))
    reductions: dict[str, Callable[[Tensor], Tensor]] = {
        "sum": torch.sum,
        "mean": torch.mean,
        "none": lambda batch: batch,
    }
    return reductions[reduction](value)


def driven_hop_decomposition(recurrent: Tensor, incoming: Tensor, weight_out: Tensor) -> Tensor:
    """P_m = V A_T A_{T-1} .. A_{T-m+1} U_{T-m}, (..., T, o, i), of a network that ran: of its T steps, the last one
    last, A = ``recurrent`` (..., T, n, n) and U = ``incoming`` (..., T, n, i), and V = ``weight_out`` (o, n)."""
    reading, walks = weight_out, []
    for step in reversed(range(recurrent.shape[-3])):
        walks.append(reading @ incoming[..., step, :, :])
        reading = reading @ recurrent[..., step, :, :]
    return torch.stack(walks, dim=-3)


def _inverse(matrices: Tensor) -> Tensor:
    """One matrix at a time: LAPACK's batches can hang (https://github.com/pytorch/pytorch/issues/141358)."""
    if matrices.dim() == 2 or matrices.numel() == 0:
        return torch.linalg.inv(matrices)
    return torch.stack([_inverse(matrix) for matrix in matrices])


def _per_batch(alpha: float | Tensor) -> float | Tensor:
    """A tensor of the batch's shape, ready to scale matrices."""
    return alpha[..., None, None] if isinstance(alpha, Tensor) else alpha

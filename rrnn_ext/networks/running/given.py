"""The gains of weights of one's own, as the caller has them."""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.networks.constants import Constant
from rrnn_ext.networks.leaks import rows_of, widened
from rrnn_ext.networks.running.steps import Vectors
from rrnn_ext.networks.running.walks import DrivenLayer, Edges, Walks, driven_walks
from rrnn_ext.ops._matrices import phi
from rrnn_ext.sparse.call import is_sparse


def walks_of_gains(
    weights: tuple[Tensor, Tensor | None, Tensor | None],
    gains: Tensor,
    *,
    alpha: float | Tensor,
    rectify: bool,
    leak: float | Tensor | Constant | None,
) -> list[Walks]:
    """P (steps, k, o, i) by lag, ``V A_T .. A_{T-m+1} diag(d_{T-m}) U`` with ``A_t = diag(d_t) W``; of a leak, with
    ``A_t = 1 - leak + leak diag(d_t) W`` and ``leak diag(d_{T-m}) U``.

    Args:
        weights: weight_hh, weight_in, weight_out.
        gains: d, (steps, n) or (k, steps, n), the last step last.
    """
    weight_hh, weight_in, weight_out = weights
    units = weight_hh.shape[-1]
    if is_sparse(weight_hh):
        raise TypeError("gains must be None for a sparse weight_hh; weight_hh.to_dense() may have them")
    if weight_hh.dim() != 2:
        raise ValueError(f"weight_hh must be (n, n) where gains are given, got {tuple(weight_hh.shape)}")
    if gains.dim() not in (2, 3) or gains.shape[-1] != units or gains.shape[-2] < 1:
        raise ValueError(
            f"gains must be (steps, {units}) or (sequences, steps, {units}) to match weight_hh "
            f"{tuple(weight_hh.shape)}, got {tuple(gains.shape)}"
        )
    if gains.device != weight_hh.device or not gains.is_floating_point():
        raise ValueError(
            f"gains must be of a floating-point dtype on {weight_hh.device} like weight_hh, "
            f"got {gains.dtype} on {gains.device}"
        )
    weight_hh = phi(widened(weight_hh), rectify)
    by_lag = gains.to(weight_hh.dtype).reshape(-1, *gains.shape[-2:]).transpose(0, 1).flip(0).unsqueeze(-2)
    carries = None
    if leak is not None:
        rows = rows_of(leak, weight_hh, (units,))
        rows = rows.squeeze(-1) if isinstance(rows, Tensor) and rows.dim() > 0 else rows
        by_lag = rows * by_lag
        carries = ((1.0 - rows) * torch.ones_like(by_lag)).unsqueeze(-2)
    eye = torch.eye(units, dtype=weight_hh.dtype, device=weight_hh.device)
    edges = Edges(alpha, rectify)
    incoming = eye if weight_in is None else edges.of(weight_in.to(weight_hh.dtype))
    readout = eye if weight_out is None else edges.of(weight_out.to(weight_hh.dtype))
    vectors = Vectors(by_lag, None, carries)
    if rectify:
        vectors = vectors.mapped(torch.abs)
    ends = (weight_in is not None) + (weight_out is not None)
    layer = DrivenLayer(weight_hh, incoming, None, vectors)
    return driven_walks([[layer]], [readout], edges=edges, ends=ends, readout_lag=0)

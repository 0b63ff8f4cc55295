"""A call of a public function whose recurrent weight is sharded by rows, in the form in which row walks take it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard

from rrnn_ext._call import Checked
from rrnn_ext._options import Norm, cannot_cancel
from rrnn_ext.sharded import is_sharded
from rrnn_ext.sharded.gathered import gathered
from rrnn_ext.sharded.rows import Rows
from rrnn_ext.sharded.walks import RowWalks


class Layout(NamedTuple):
    """How a matrix lies on the ranks: its rows, or those of its transpose, that is its columns."""

    rows: Rows
    transposed: bool


class RowCall(NamedTuple):
    """The walks, through W' from the outputs to the inputs where it is W' whose rows lie on the ranks."""

    walks: RowWalks
    hops: int | None
    pair_weights: Tensor | None
    norm: Norm
    transposed: bool
    cannot_cancel: bool
    dtype: torch.dtype  # of the result


def layout_of(weight_hh: Any) -> Layout | None:
    """None where it is not one matrix sharded over one dimension of its mesh by rows or by columns."""
    if not is_sharded(weight_hh) or weight_hh.dim() != 2:
        return None
    mesh, placements = weight_hh.device_mesh, weight_hh.placements
    over = [dim for dim, placement in enumerate(placements) if not placement.is_replicate() and mesh.size(dim) > 1]
    if len(over) != 1 or type(placements[over[0]]) is not Shard:
        return None
    return Layout(Rows(mesh, over[0], weight_hh.shape[0]), placements[over[0]].dim == 1)


def own_rows(weight_hh: Any, layout: Layout) -> Tensor:
    """This rank's rows of W, or of W', (r, n), with a gradient to the DTensor."""
    own: Tensor = weight_hh.to_local()
    return own.mT if layout.transposed else own


def row_call(given: Checked, layout: Layout, per_hop: bool) -> RowCall:
    dtype = given.weight_hh.dtype
    wide = torch.promote_types(dtype, torch.float32)
    inputs, outputs = _side(given.weight_in, 0, layout.rows, wide), _side(given.weight_out, 1, layout.rows, wide)
    options, norm = given.options, Norm[given.options.norm]
    hop_weights = None if options.hop_weights is None else options.hop_weights.to(wide)
    pair_weights = None if options.pair_weights is None else options.pair_weights.to(wide)
    if layout.transposed:
        inputs, outputs = outputs, inputs
        pair_weights = None if pair_weights is None else pair_weights.mT
    own = own_rows(given.weight_hh, layout)
    hops = 0 if options.hops is None else options.hops
    walks = RowWalks(layout.rows, own, inputs, outputs, options.alpha, hop_weights, hops, options.rectify, per_hop)
    is_one_sum = cannot_cancel(options, norm)
    return RowCall(walks, options.hops, pair_weights, norm, layout.transposed, is_one_sum, dtype)


def _side(weight: Any, dim: int, rows: Rows, dtype: torch.dtype) -> Tensor | None:
    """This rank's units of a side, (r, count), of whose dimension ``dim`` they are."""
    if weight is None:
        return None
    mesh = rows.mesh
    if not (is_sharded(weight) and weight.device_mesh == mesh):
        replicated = [Replicate()] * mesh.ndim
        weight = DTensor.from_local(gathered(weight), mesh, replicated, run_check=False)
    placements = [Shard(dim) if at == rows.dim else Replicate() for at in range(mesh.ndim)]
    own: Tensor = weight.redistribute(placements=placements).to_local().to(dtype)
    return own.mT if dim == 1 else own

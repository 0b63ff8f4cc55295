"""The weights of a stack, of both directions or of a projection, multiplied into those of one graph or of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from rrnn_ext.networks.readers import Layer, Reader
from rrnn_ext.ops.product import product


class _Partial(NamedTuple):
    """A graph over the layers so far."""

    choice: tuple[int, ...]  # of a direction in each layer
    rows: list[Tensor]  # the layers' rows of the joint weight_hh
    in_rows: list[Tensor]  # and of the joint weight_in


def compose(
    reader: Reader,
    layers: Sequence[Sequence[Layer]],
    weight_out: Tensor | None,
    alpha: float | Tensor,
    rectify: bool,
) -> tuple[tuple[Tensor, Tensor, Tensor | None], list[str]]:
    """One graph for each choice of a direction in every layer, over the hidden units of those directions; and what
    the choices are called.

    h_l[t] = W_l h_l[t-1] + C_l h_{l-1}[t] (every W, C and U with its alpha; x in place of h_{-1}) holds within a
    graph. Put the right side of layer l-1 in place of h_{l-1}[t]: row l of the joint weight is C_l times row l-1,
    and W_l on the diagonal.
    """
    like = layers[0][0].recurrent
    device, dtype = like.device, torch.promote_types(like.dtype, torch.float32)
    step = alpha
    if isinstance(alpha, Tensor):  # a number on the CPU multiplies tensors anywhere, and a copy of it would wait
        step = alpha.to(dtype) if alpha.dim() == 0 else alpha.to(device, dtype)[..., None, None]

    def edges(weight: Tensor) -> Tensor:
        return weight.to(dtype).abs() if rectify else weight.to(dtype)

    partial: list[_Partial] = []
    for at, directions in enumerate(layers):
        extended: list[_Partial] = []
        for direction, layer in enumerate(directions):
            recurrent, incoming = edges(layer.recurrent), edges(layer.incoming)
            if layer.projection is not None:
                projection = step * edges(layer.projection)
                recurrent, incoming = _times(projection, recurrent), _times(projection, incoming)
            if at == 0:
                extended.append(_Partial((direction,), [recurrent], [incoming]))
                continue
            for choice, rows, in_rows in partial:
                between = step * reader.columns_of(incoming, choice[-1])
                row = torch.cat([_times(between, rows[-1]), recurrent], dim=-1)
                extended.append(_Partial((*choice, direction), [*rows, row], [*in_rows, _times(between, in_rows[-1])]))
        partial = extended

    width = reader.layers * reader.size
    above = width - reader.size  # the units below the last layer, which no output reads
    weight_hh = [torch.cat([pad(row, (0, width - row.shape[-1])) for row in each.rows], -2) for each in partial]
    weight_in = [torch.cat(each.in_rows, -2) for each in partial]
    if weight_out is not None:
        wide = weight_out.to(dtype)
        readouts = [pad(reader.columns_of(wide, each.choice[-1]), (above, 0)) for each in partial]
    elif above:
        # Reading the last layer's units is no edge: take back the alpha that the op gives to weight_out.
        readouts = [pad(torch.eye(reader.size, dtype=dtype, device=device) / step, (above, 0))] * len(partial)
    else:
        readouts = []
    choices = [", ".join(("forward", "backward")[direction] for direction in each.choice) for each in partial]
    if len(partial) == 1:
        return (weight_hh[0], weight_in[0], readouts[0] if readouts else None), choices
    outputs = torch.stack(readouts) if readouts else None
    if outputs is not None and len(reader.gates) > 1 and outputs.dim() == 3:
        outputs = outputs.unsqueeze(1)  # the gates share a read-out
    return (torch.stack(weight_hh), torch.stack(weight_in), outputs), choices


def _times(left: Tensor, right: Tensor) -> Tensor:
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    return product(left.expand(*batch, *left.shape[-2:]), right.expand(*batch, *right.shape[-2:]))

"""How a public function of sharded weights is computed: of weights that are gathered, or hop by hop over the ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rrnn_ext._call import Checked, check
from rrnn_ext._modes import without_autocast
from rrnn_ext._options import PenaltyOptions
from rrnn_ext._route import Weights
from rrnn_ext.ops._matrices import of_weight, pair_norm
from rrnn_ext.sharded import Answer
from rrnn_ext.sharded.call import Layout, RowCall, layout_of, own_rows, row_call
from rrnn_ext.sharded.gathered import gathered
from rrnn_ext.sharded.infinite import infinite_row_walks
from rrnn_ext.sharded.operand import RowOperand
from rrnn_ext.sharded.walks import row_walks

# From so many units on each rank computes with its own rows. Below, a message at each hop takes longer than the
# products that it saves: benchmarks/sharded_model.py has the times of both.
LEAST_UNITS = 4096


def routed(function: Answer, weights: Weights, options: PenaltyOptions) -> Tensor:
    """``function`` is penalty, total or hop_by_hop of rrnn_ext._dispatch."""
    options = PenaltyOptions._make(map(gathered, options))
    given = check(*weights, options)
    layout = layout_of(given.weight_hh)
    if layout is None or layout.rows.units < LEAST_UNITS:
        weight_hh, weight_in, weight_out = map(gathered, weights)
        return function((weight_hh, weight_in, weight_out), options)
    _refuse_what_rows_have_not(given)
    with without_autocast(given.weight_hh.device.type):
        return _BY_ROWS[function.__name__](given, layout)


def row_operand(weight_hh: Any, alpha: float, rectify: bool) -> RowOperand | None:
    """A, or its transpose, in float64; None where it is to be gathered."""
    layout = layout_of(weight_hh)
    if layout is None or layout.rows.units < LEAST_UNITS:
        return None
    return RowOperand(layout.rows, own_rows(weight_hh, layout), alpha, rectify, torch.float64)


def _refuse_what_rows_have_not(given: Checked) -> None:
    wanted = None
    if given.options.method == "inverse":
        wanted = "method='inverse' factorises I - A"
    elif given.weight_in is None and given.weight_out is None:
        wanted = "the walks between all pairs of units, neither weight_in nor weight_out given, are (n, n)"
    if wanted is not None:
        raise ValueError(
            f"{wanted}, which a weight_hh of {tuple(given.weight_hh.shape)} that is sharded by rows does not do: give "
            "it whole, weight_hh.full_tensor(), where it fits a rank"
        )


def _penalty(given: Checked, layout: Layout) -> Tensor:
    call = row_call(given, layout, given.options.per_hop)
    if call.cannot_cancel:
        walks = call.walks
        sides = (None if side is None else side.abs().sum(-1, keepdim=True) for side in (walks.inputs, walks.outputs))
        inputs, outputs = sides
        call = call._replace(walks=walks._replace(inputs=inputs, outputs=outputs, per_hop=False))
        return _sums(call).sum().to(call.dtype)
    sums, hop_weights = _sums(call), call.walks.hop_weights
    if not given.options.per_hop or hop_weights is None:
        return pair_norm(sums, call.pair_weights, call.norm).sum().to(call.dtype)
    weighed = of_weight(sums, hop_weights[:, None, None])
    return (hop_weights * pair_norm(weighed, call.pair_weights, call.norm)).sum().to(call.dtype)


def _sums(call: RowCall) -> Tensor:
    """(terms, ., .), between the ends of the walks."""
    return infinite_row_walks(call.walks).unsqueeze(0) if call.hops is None else row_walks(call.walks)


def _total(given: Checked, layout: Layout) -> Tensor:
    return _in_place(row_call(given, layout, False)).squeeze(0)


def _hop_by_hop(given: Checked, layout: Layout) -> Tensor:
    return _in_place(row_call(given, layout, True))


def _in_place(call: RowCall) -> Tensor:
    """(terms, outputs, inputs)."""
    sums = _sums(call).to(call.dtype)
    return sums.mT if call.transposed else sums


_BY_ROWS: Mapping[str, Callable[[Checked, Layout], Tensor]] = {
    "penalty": _penalty,
    "total": _total,
    "hop_by_hop": _hop_by_hop,
}

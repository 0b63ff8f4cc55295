"""What a public function is asked of a sparse recurrent weight, checked and in the form in which the ops take it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from rrnn_ext._arguments import check_numbers, check_tensor_options
from rrnn_ext._modes import has_values
from rrnn_ext._options import Norm, PenaltyOptions, check_options
from rrnn_ext.sparse.pattern import Pattern, SparseWeight, edges_of

if TYPE_CHECKING:
    from typing_extensions import TypeIs

_HALVES = (torch.float16, torch.bfloat16)


class SparseCall(NamedTuple):
    """The walks through one sparse graph, and what is asked of them.

    Sides are dense, (n, i) and (o, n), or int64 units: the columns of the identity that they are the numbers of.
    """

    pattern: Pattern
    values: Tensor  # (edges,)
    weight_in: Tensor | None
    weight_out: Tensor | None
    hop_weights: Tensor | None
    pair_weights: Tensor | None
    alpha: float  # what the ops have to apply: 1 where alpha is a tensor, which is in the values and dense sides then
    hops: int | None
    rectify: bool
    per_hop: bool
    norm: Norm
    edge: Tensor | None  # such a tensor alpha, once for each side of units, in which it is not
    given_alpha: float | Tensor  # what the user gave, and
    given_values: Tensor  # the values without it
    dtype: torch.dtype  # of the result


def is_sparse(weight_hh: object) -> TypeIs[Tensor | SparseWeight]:
    if isinstance(weight_hh, Tensor):
        return weight_hh.layout != torch.strided
    return isinstance(weight_hh, SparseWeight)


def prepare_sparse(
    weight_hh: Tensor | SparseWeight,
    weight_in: Tensor | None,
    weight_out: Tensor | None,
    options: PenaltyOptions,
) -> SparseCall:
    """Checks what a function was given; halves to float32, a tensor alpha into the weights."""
    options = check_options(options)
    if options.method == "inverse":
        raise ValueError(
            "method='inverse' factorises I - A, which is dense: a sparse weight_hh needs method='series' or 'auto', or "
            "weight_hh.to_dense()"
        )
    pattern, values = edges_of(weight_hh)
    check_numbers(values)
    if weight_in is None and weight_out is None:
        raise ValueError(
            "weight_in or weight_out must be given for a sparse weight_hh, as the walks between all pairs of units are "
            f"a dense ({pattern.units}, {pattern.units}); take some units, weight_in=torch.tensor([..]), or "
            "weight_hh.to_dense()"
        )
    device = values.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        values, weight_in, weight_out = _autocast(values, weight_in, weight_out)
    for name, weight in (("weight_in", weight_in), ("weight_out", weight_out)):
        if weight is not None:
            check_side(name, weight, values, pattern.units)
    inputs = pattern.units if weight_in is None else weight_in.shape[-1]
    outputs = pattern.units if weight_out is None else weight_out.shape[0]
    options = check_tensor_options(options, values, (outputs, inputs), ())
    alpha, hop_weights, pair_weights = options.alpha, options.hop_weights, options.pair_weights
    dtype = values.dtype
    if dtype in _HALVES:
        values = values.float()
        weight_in, weight_out = _times(None, weight_in, torch.float32), _times(None, weight_out, torch.float32)
    given_alpha, given_values, edge = alpha, values, None
    if isinstance(alpha, Tensor):
        factor = alpha.to(values.device, values.dtype)
        units = sum(side is not None and not side.is_floating_point() for side in (weight_in, weight_out))
        edge = factor**units if units else None
        values = factor * values
        weight_in, weight_out = _times(factor, weight_in, values.dtype), _times(factor, weight_out, values.dtype)
        alpha = 1.0
    hop_weights = None if hop_weights is None else hop_weights.to(values.dtype)
    pair_weights = None if pair_weights is None else pair_weights.to(values.dtype)
    return SparseCall(
        pattern,
        values,
        weight_in,
        weight_out,
        hop_weights,
        pair_weights,
        alpha,
        options.hops,
        options.rectify,
        options.per_hop,
        Norm[options.norm],
        edge,
        given_alpha,
        given_values,
        dtype,
    )


def check_side(name: str, weight: Any, values: Tensor, units: int) -> None:
    """A dense side, or one of unit numbers, beside sparse values."""
    wanted = f"(o, {units})" if name == "weight_out" else f"({units}, i)"
    if not isinstance(weight, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(weight).__name__}")
    if weight.layout != torch.strided:
        raise TypeError(f"{name} must be dense (torch.strided) or int64 unit numbers, got {weight.layout}")
    if weight.dtype == torch.int64:
        if weight.dim() != 1:
            raise ValueError(
                f"{name} must be (units,) where it is of unit numbers, or {wanted}, got {tuple(weight.shape)}"
            )
        if weight.numel() and has_values(weight):
            low, high = (int(each) for each in torch.aminmax(weight))
            if low < 0 or high >= units:
                outside = low if low < 0 else high
                raise ValueError(f"{name} must be units from 0 to {units - 1} of weight_hh, got {outside}")
    elif weight.dtype != values.dtype:
        raise TypeError(
            f"{name} must have the dtype of weight_hh, {values.dtype}, or be int64 unit numbers, got {weight.dtype}"
        )
    elif weight.dim() != 2 or weight.shape[1 if name == "weight_out" else 0] != units:
        raise ValueError(f"{name} must be {wanted} to match a sparse weight_hh, got {tuple(weight.shape)}")
    if weight.device != values.device:
        raise ValueError(f"{name} must be on the device of weight_hh, {values.device}, got {weight.device}")


def _times(factor: Tensor | None, side: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A dense side in the dtype, times the factor; others as they are."""
    if side is None or not side.is_floating_point():
        return side
    side = side.to(dtype)
    return side if factor is None else factor * side


def _autocast(values: Tensor, *sides: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Under autocast, halves and mixtures become float32 (float64 where there is one)."""
    dtype = torch.float32
    for weight in (values, *sides):
        if isinstance(weight, Tensor) and weight.is_floating_point():
            dtype = torch.promote_types(dtype, weight.dtype)
    weight_in, weight_out = (_times(None, side, dtype) if isinstance(side, Tensor) else side for side in sides)
    return values.to(dtype), weight_in, weight_out

"""What a public function is asked: weights and options, checked and in the form in which the ops take them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext._arguments import check_tensor_options, check_weight, check_weight_hh, common_batch
from rrnn_ext._modes import may_be_batched
from rrnn_ext._options import Method, Norm, PenaltyOptions, Reduction, check_options

_HALVES = (torch.float16, torch.bfloat16)


class Call(NamedTuple):
    """The weights of one graph, or of a batch of them flattened to one dimension, and what is asked of it."""

    weight_hh: Tensor
    weight_in: Tensor | None
    weight_out: Tensor | None
    hop_weights: Tensor | None
    pair_weights: Tensor | None
    alpha: float  # what the ops have to apply: 1 where alpha is a tensor, which is in the weights then
    hops: int | None
    rectify: bool
    per_hop: bool
    norm: Norm
    method: Method
    given_alpha: float | Tensor  # (), or (b,): what the user gave, and
    given_hh: Tensor  # the recurrent weight without it
    batch: tuple[int, ...]
    dtype: torch.dtype  # of the result


def is_between_all(call: Call) -> bool:
    """Whether the walks run between all pairs of units."""
    return call.weight_in is None and call.weight_out is None


def given_apart(call: Call) -> tuple[Tensor | None, Tensor | None]:
    """The recurrent weight and a tensor alpha as they were given, where the weights of the call are their product."""
    if not isinstance(call.given_alpha, Tensor):
        return None, None
    return call.given_hh, call.given_alpha.to(call.weight_hh.device, torch.float64)


class Checked(NamedTuple):
    """What a function was given, once it fits together; nothing of it is computed yet."""

    weight_hh: Tensor  # under autocast the three are in the dtype that is computed in
    weight_in: Tensor | None
    weight_out: Tensor | None
    options: PenaltyOptions
    batch: tuple[int, ...]


def check(weight_hh: Tensor, weight_in: Tensor | None, weight_out: Tensor | None, options: PenaltyOptions) -> Checked:
    """Refuses what does not fit. Of the weights it looks at shapes, dtypes and devices alone."""
    options = check_options(options)
    check_weight_hh(weight_hh)
    device = weight_hh.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        cast = _autocast(weight_hh, weight_hh, weight_in, weight_out)
        assert cast[0] is not None
        weight_hh, weight_in, weight_out = cast[0], cast[1], cast[2]
    if weight_in is not None:
        check_weight("weight_in", weight_in, weight_hh)
    if weight_out is not None:
        check_weight("weight_out", weight_out, weight_hh)
    batch = common_batch(weight_hh, weight_in, weight_out)
    n = weight_hh.shape[-1]
    pairs = n if weight_out is None else weight_out.shape[-2], n if weight_in is None else weight_in.shape[-1]
    return Checked(weight_hh, weight_in, weight_out, check_tensor_options(options, weight_hh, pairs, batch), batch)


def prepare(weight_hh: Tensor, weight_in: Tensor | None, weight_out: Tensor | None, options: PenaltyOptions) -> Call:
    """Checks what a function was given; halves to float32, a tensor alpha into the weights."""
    weight_hh, weight_in, weight_out, options, batch = check(weight_hh, weight_in, weight_out, options)
    alpha, hop_weights, pair_weights = options.alpha, options.hop_weights, options.pair_weights
    dtype = weight_hh.dtype
    if dtype in _HALVES:
        weight_hh = weight_hh.float()
        weight_in = None if weight_in is None else weight_in.float()
        weight_out = None if weight_out is None else weight_out.float()
    if hop_weights is not None and hop_weights.dtype != weight_hh.dtype:
        hop_weights = hop_weights.to(weight_hh.dtype)
    if pair_weights is not None and pair_weights.dtype != weight_hh.dtype:
        pair_weights = pair_weights.to(weight_hh.dtype)
    given_alpha, given_hh = alpha, weight_hh
    if isinstance(alpha, Tensor):
        # alpha scales every edge: let autograd, vmap and the rest see it do so.
        if alpha.dim() == 0 and not may_be_batched():
            factor = alpha.to(weight_hh.dtype)  # one on the CPU stays there: to copy it would wait for the device
        else:
            factor = alpha.to(dtype=weight_hh.dtype, device=weight_hh.device)[..., None, None]
        weight_hh = factor * weight_hh
        weight_in = None if weight_in is None else factor * weight_in
        weight_out = None if weight_out is None else factor * weight_out
        alpha = 1.0

    if batch:
        given_hh = _flatten(given_hh, batch, 2)
        weight_hh = _flatten(weight_hh, batch, 2) if isinstance(given_alpha, Tensor) else given_hh
        weight_in = None if weight_in is None else _flatten(weight_in, batch, 2)
        weight_out = None if weight_out is None else _flatten(weight_out, batch, 2)
        if hop_weights is not None and hop_weights.dim() > 1:
            hop_weights = _flatten(hop_weights, batch, 1)
        if pair_weights is not None and pair_weights.dim() > 2:
            pair_weights = _flatten(pair_weights, batch, 2)
        if isinstance(given_alpha, Tensor) and given_alpha.dim() > 0:
            given_alpha = _flatten(given_alpha, batch, 0)
    return Call(
        weight_hh,
        weight_in,
        weight_out,
        hop_weights,
        pair_weights,
        alpha,
        options.hops,
        options.rectify,
        options.per_hop,
        Norm[options.norm],
        options.method,
        given_alpha,
        given_hh,
        batch,
        dtype,
    )


def _autocast(weight_hh: Tensor, *weights: Tensor | None) -> list[Tensor | None]:
    """Under autocast, halves and mixtures become float32 (float64 where there is one)."""
    dtype = torch.float32
    for weight in (weight_hh, *weights):
        if weight is not None and weight.is_floating_point():
            dtype = torch.promote_types(dtype, weight.dtype)
    return [weight if weight is None or not weight.is_floating_point() else weight.to(dtype) for weight in weights]


def _flatten(tensor: Tensor, batch: tuple[int, ...], dims: int) -> Tensor:
    """One dimension for all of a batch."""
    own = tensor.shape[tensor.dim() - dims :]
    if len(batch) == 1 and tensor.dim() == dims + 1 and tensor.shape[0] == batch[0]:
        return tensor
    return tensor.expand(*batch, *own).reshape(math.prod(batch), *own)


def reduced(value: Tensor, call: Call, reduction: Reduction) -> Tensor:
    """The penalties of a batch, put together, in the weights' dtype."""
    if call.batch:
        value = value.reshape(call.batch) if reduction == "none" else getattr(value, reduction)()
    return value if value.dtype == call.dtype else value.to(call.dtype)


def unflatten(result: Tensor, call: Call, dims: int) -> Tensor:
    """The batch's own dimensions before `dims` of the result's, and the weights' dtype."""
    if call.batch:
        result = result.reshape(*call.batch, *result.shape[result.dim() - dims :])
    return result.to(call.dtype)

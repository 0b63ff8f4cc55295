"""The tensors that the public functions are given, checked. Errors say what was needed and what came."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rrnn_ext._modes import has_values
from rrnn_ext._options import PenaltyOptions
from rrnn_ext.ops import CUDA_ARCHS


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def check_weight(name: str, weight: Tensor, weight_hh: Tensor) -> None:
    if not isinstance(weight, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(weight).__name__}")
    if weight.layout != torch.strided:
        raise TypeError(f"{name} must be dense (torch.strided), got {weight.layout}")
    n, shape, units = weight_hh.shape[-1], weight.shape, -2 if name == "weight_in" else -1
    if len(shape) < 2 or shape[units] != n:
        wanted = f"(..., {n}, i)" if name == "weight_in" else f"(..., o, {n})"
        raise ValueError(f"{name} must be {wanted} to match weight_hh {_shape(weight_hh)}, got {_shape(weight)}")
    if weight.dtype != weight_hh.dtype:
        raise TypeError(f"{name} must have the dtype of weight_hh, {weight_hh.dtype}, got {weight.dtype}")
    if weight.device != weight_hh.device:
        raise ValueError(f"{name} must be on the device of weight_hh, {weight_hh.device}, got {weight.device}")


def check_weight_hh(weight_hh: Tensor) -> None:
    if not isinstance(weight_hh, Tensor):
        raise TypeError(f"weight_hh must be a tensor, got {type(weight_hh).__name__}")
    shape = weight_hh.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"weight_hh must be square (..., n, n), got {_shape(weight_hh)}")
    if weight_hh.layout != torch.strided:
        raise TypeError(f"weight_hh must be dense (torch.strided), got {weight_hh.layout}")
    check_numbers(weight_hh)


def check_numbers(weight_hh: Tensor) -> None:
    """Of recurrent weights, dense or the values of sparse ones."""
    if not weight_hh.is_floating_point():
        raise TypeError(f"weight_hh must be of a floating-point dtype, got {weight_hh.dtype}")
    if weight_hh.dtype.itemsize < 2:
        raise TypeError(f"weight_hh must be of 16 bits or more, got {weight_hh.dtype}")
    device = weight_hh.device.type
    if device not in ("cpu", "cuda", "meta"):
        raise ValueError(f"weight_hh must be on the CPU or on a CUDA device, got {weight_hh.device}")
    if device == "cuda" and not CUDA_ARCHS:
        raise ValueError(
            f"weight_hh must be on the CPU, got {weight_hh.device}: this build of rrnn_ext has no CUDA kernels; "
            "install nvcc and build it again with RRNN_CUDA=1"
        )


def check_alpha(alpha: float | Tensor, weight_hh: Tensor, batch: tuple[int, ...]) -> float | Tensor:
    """A float, or a tensor that is NaN where it is not a positive number."""
    if not isinstance(alpha, Tensor):
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float, torch.SymFloat, numbers.Real)):
            raise TypeError(f"alpha must be a float or a tensor, got {alpha!r} ({type(alpha).__name__})")
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha must be finite and positive, got {alpha}")
        if torch.compiler.is_compiling() and alpha != 1:
            # A graph keeps the float that it was made with: what may change has to be a tensor.
            return torch.ones((), dtype=torch.float64, device="cpu") * alpha
        return float(alpha)
    if not alpha.is_floating_point():
        raise TypeError(f"alpha must be of a floating-point dtype, got {alpha.dtype}")
    if alpha.device != weight_hh.device and alpha.dim() > 0:
        raise ValueError(f"alpha must be on the device of weight_hh, {weight_hh.device}, got {alpha.device}")
    if alpha.dim() > 0 and not _broadcasts_to(alpha.shape, batch):
        raise ValueError(f"alpha must be a scalar or of the batch's shape {tuple(batch)}, got {_shape(alpha)}")
    valid = alpha.isfinite() & (alpha > 0)
    if not has_values(alpha):
        return torch.where(valid, alpha, torch.nan)  # no number instead of an error
    if not bool(valid.all()):
        raise ValueError(f"alpha must be finite and positive, got {alpha.detach()[~valid].flatten()[0].item()}")
    return alpha


def _check_factors(name: str, factors: Tensor, weight_hh: Tensor) -> Tensor:
    if not isinstance(factors, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(factors).__name__}")
    if not factors.is_floating_point():
        raise TypeError(f"{name} must be of a floating-point dtype, got {factors.dtype}")
    if factors.device != weight_hh.device:
        raise ValueError(f"{name} must be on the device of weight_hh, {weight_hh.device}, got {factors.device}")
    is_dual = forward_ad._current_level >= 0 and forward_ad.unpack_dual(factors).tangent is not None
    if factors.requires_grad or is_dual:
        raise ValueError(
            f"{name} must be a constant, and nothing is differentiated by it; got a tensor that has or "
            f"requires a gradient: pass {name}.detach()"
        )
    return factors


def _only_valid(name: str, factors: Tensor, valid: Tensor, wanted: str) -> Tensor:
    """The factors; where some are not valid an error, or NaN for them where their values cannot be seen."""
    if not has_values(factors):
        return torch.where(valid, factors, torch.nan)
    if not bool(valid.all()):
        raise ValueError(f"{name} must {wanted}, got {factors[~valid].flatten()[0].item()}")
    return factors


def check_pair_weights(
    pair_weights: Tensor, weight_hh: Tensor, pairs: tuple[int, int], batch: tuple[int, ...]
) -> Tensor:
    """For so many outputs and inputs."""
    pair_weights = _check_factors("pair_weights", pair_weights, weight_hh)
    fits = pair_weights.dim() >= 2 and all(
        size in (1, wanted) for size, wanted in zip(pair_weights.shape[-2:], pairs, strict=True)
    )
    if not fits:
        raise ValueError(f"pair_weights must be (..., {pairs[0]}, {pairs[1]}), (..., o, i), got {_shape(pair_weights)}")
    _check_batch("pair_weights", pair_weights, 2, batch)
    valid = pair_weights.isfinite() & (pair_weights >= 0)
    pair_weights = _only_valid("pair_weights", pair_weights, valid, "be finite and not negative")
    return pair_weights.expand(*pair_weights.shape[:-2], *pairs).contiguous()


def _broadcasts_to(shape: Sequence[int], batch: tuple[int, ...]) -> bool:
    return len(shape) <= len(batch) and all(
        size in (1, wanted) for size, wanted in zip(reversed(shape), reversed(batch), strict=False)
    )


def _check_batch(name: str, factors: Tensor, dims: int, batch: tuple[int, ...]) -> None:
    own, matrix = factors.shape[: factors.dim() - dims], factors.shape[factors.dim() - dims :]
    if not _broadcasts_to(own, batch):
        wanted = ", ".join(map(str, (*batch, *matrix)))
        raise ValueError(f"{name} must be ({wanted}) or the same for all of the batch, got {_shape(factors)}")


def check_hop_weights(hop_weights: Tensor, weight_hh: Tensor, hops: int | None, batch: tuple[int, ...]) -> Tensor:
    hop_weights = _check_factors("hop_weights", hop_weights, weight_hh)
    if hop_weights.dim() < 1 or hop_weights.shape[-1] != hops:
        raise ValueError(f"hop_weights must be (..., {hops}) to match hops={hops}, got {_shape(hop_weights)}")
    _check_batch("hop_weights", hop_weights, 1, batch)
    return _only_valid("hop_weights", hop_weights, hop_weights.isfinite(), "be finite")


def check_tensor_options(
    options: PenaltyOptions, weight_hh: Tensor, pairs: tuple[int, int], batch: tuple[int, ...]
) -> PenaltyOptions:
    """Those that may be tensors, beside the weights: of so many outputs and inputs, and of a batch."""
    alpha = check_alpha(options.alpha, weight_hh, batch)
    hop_weights, pair_weights = options.hop_weights, options.pair_weights
    if hop_weights is not None:
        hop_weights = check_hop_weights(hop_weights, weight_hh, options.hops, batch)
    if pair_weights is not None:
        pair_weights = check_pair_weights(pair_weights, weight_hh, pairs, batch)
    return options._replace(alpha=alpha, hop_weights=hop_weights, pair_weights=pair_weights)


def common_batch(weight_hh: Tensor, weight_in: Tensor | None, weight_out: Tensor | None) -> tuple[int, ...]:
    """The batch dimensions of the weights, broadcast together."""
    sides = weight_in is None or weight_in.dim() == 2, weight_out is None or weight_out.dim() == 2
    if weight_hh.dim() == 2 and all(sides):
        return ()
    named = {"weight_hh": weight_hh, "weight_in": weight_in, "weight_out": weight_out}
    shapes = {name: tuple(weight.shape[:-2]) for name, weight in named.items() if weight is not None}
    try:
        return tuple(torch.broadcast_shapes(*shapes.values()))
    except RuntimeError:
        got = ", ".join(f"{name} {tuple(weight.shape)}" for name, weight in named.items() if weight is not None)
        raise ValueError(f"the batch dimensions of the weights must broadcast together, got {got}") from None

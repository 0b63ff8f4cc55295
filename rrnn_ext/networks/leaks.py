"""The leak of a continuous-time network, a number or one for each unit, and the weights that it makes."""

from __future__ import annotations

import numbers

import torch
from torch import Tensor

from rrnn_ext._modes import has_values
from rrnn_ext.networks.constants import Constant


def checked_leak(leak: object) -> float | Tensor:
    """A float, or a tensor that is NaN where it is not in (0, 1]."""
    if not isinstance(leak, Tensor):
        if isinstance(leak, bool) or not isinstance(leak, numbers.Real):
            raise TypeError(f"leak must be a number or a tensor, got {leak!r} ({type(leak).__name__})")
        if not 0.0 < float(leak) <= 1.0:
            raise ValueError(f"leak must be in (0, 1], got {leak}")
        return float(leak)
    if not leak.is_floating_point():
        raise TypeError(f"leak must be of a floating-point dtype, got {leak.dtype}")
    valid = (leak > 0) & (leak <= 1)
    if not has_values(leak):
        return leak.masked_fill(~valid, torch.nan)  # no number instead of an error
    if not bool(valid.all()):
        raise ValueError(f"leak must be in (0, 1], got {leak.detach()[~valid].flatten()[0].item()}")
    return leak


def rows_of(leak: float | Tensor | Constant, weight_hh: Tensor, shape: tuple[int, ...]) -> float | Tensor:
    """The leak as a factor of rows, ready for `leaky`: a number, or (*shape, 1)."""
    leak = checked_leak(leak.beside("leak", weight_hh) if isinstance(leak, Constant) else leak)
    if not isinstance(leak, Tensor):
        return leak
    if leak.dim() > 0 and leak.device != weight_hh.device:
        raise ValueError(f"leak must be on the device of the weights, {weight_hh.device}, got {leak.device}")
    leak = leak.to(_wide(weight_hh.dtype))
    if leak.dim() == 0:
        return leak
    fits = all(own in (1, size) for own, size in zip(reversed(leak.shape), reversed(shape), strict=False))
    if leak.dim() > len(shape) or not fits:
        wanted = " or ".join(str(tuple(shape[at:])) for at in reversed(range(len(shape))))
        raise ValueError(f"leak must be a number or {wanted}, got {tuple(leak.shape)}")
    return leak.expand(shape).unsqueeze(-1)


def in_layer(rows: float | Tensor, layer: int) -> float | Tensor:
    return rows[layer] if isinstance(rows, Tensor) and rows.dim() > 0 else rows


def leaky(weight_hh: Tensor, rows: float | Tensor) -> Tensor:
    """(1 - leak) I + leak W, in float32 at least."""
    wide = widened(weight_hh)
    eye = torch.eye(wide.shape[-1], dtype=wide.dtype, device=wide.device)
    return (1.0 - rows) * eye + rows * wide


def widened(weight: Tensor) -> Tensor:
    """In float32 at least."""
    return weight.to(_wide(weight.dtype))


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)

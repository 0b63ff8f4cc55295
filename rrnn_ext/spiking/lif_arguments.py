"""What :func:`rrnn_ext.spiking.lif` is given, checked. Errors say what was needed and what came."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rrnn_ext._modes import has_values
from rrnn_ext.spiking.state import LIFState

_HALVES = (torch.float16, torch.bfloat16)


def check_current(current: Tensor) -> torch.dtype:
    """The dtype to compute in."""
    if not isinstance(current, Tensor):
        raise TypeError(f"current must be a tensor, got {type(current).__name__}")
    if current.dtype not in (torch.float32, torch.float64, *_HALVES):
        raise TypeError(f"current must be float16, bfloat16, float32 or float64, got {current.dtype}")
    if current.layout != torch.strided:
        raise TypeError(f"current must be dense (torch.strided), got {current.layout}")
    if current.dim() < 2:
        raise ValueError(f"current must be (T, ..., n), time first, got {_shape(current)}")
    return torch.float32 if current.dtype in _HALVES else current.dtype


def check_weight_rec(weight_rec: Tensor, current: Tensor) -> None:
    if not isinstance(weight_rec, Tensor):
        raise TypeError(f"weight_rec must be a tensor or None, got {type(weight_rec).__name__}")
    n = current.shape[-1]
    if weight_rec.shape != (n, n):
        raise ValueError(f"weight_rec must be ({n}, {n}) to match current {_shape(current)}, got {_shape(weight_rec)}")
    # Under autocast, weights are float32 where what a layer gives is half precision.
    if weight_rec.dtype != current.dtype and not (current.dtype in _HALVES and weight_rec.dtype == torch.float32):
        raise TypeError(f"weight_rec must have the dtype of current, {current.dtype}, got {weight_rec.dtype}")
    _check_device("weight_rec", weight_rec, current)


def check_times(dt: float, tau: float | Tensor, tau_syn: float | Tensor | None, refractory: float) -> None:
    # Texts are made only where they are needed: torch.compile may know no numbers for them.
    if not 0 < dt < math.inf:
        raise ValueError(f"dt must be positive and finite, got {dt}")
    if _is_wrong(tau, lambda value: value >= dt):
        raise ValueError(f"tau must be at least dt = {dt}, got {_values(tau)}")
    if tau_syn is not None and _is_wrong(tau_syn, lambda value: value > 0):
        raise ValueError(f"tau_syn must be positive, or None, got {_values(tau_syn)}")
    if not 0 <= refractory < math.inf:
        raise ValueError(f"refractory must be 0 or more and finite, got {refractory}")


def check_potentials(threshold: float | Tensor, reset: float | Tensor | str) -> None:
    if isinstance(reset, str):
        if reset != "subtract":
            raise ValueError(f"reset must be a potential or 'subtract', got {reset!r}")
        if _is_wrong(threshold, lambda value: value > 0):
            raise ValueError(f"threshold must be positive where reset is 'subtract', got {_values(threshold)}")
    elif not (isinstance(reset, Tensor) and not has_values(reset)) and _is_wrong(
        threshold, lambda value: value > reset
    ):
        raise ValueError(f"threshold must be above reset = {_values(reset)}, got {_values(threshold)}")


def check_bridge(
    bridge: bool | float | Tensor, current: Tensor, weight_rec: Tensor | None, tau_syn: float | Tensor | None
) -> None:
    if bridge is False:
        return
    if tau_syn is not None:
        raise ValueError(
            "bridge must be False with tau_syn: between two looks the potential is no Brownian motion then"
        )
    if bridge is not True:
        if _is_wrong(bridge, lambda value: value >= 0):
            raise ValueError(f"bridge must be True, False or the potential's std, 0 or more, got {_values(bridge)}")
    elif weight_rec is not None:
        raise ValueError(
            "bridge must be the std of the free membrane potential with weight_rec: True takes it from current alone"
        )
    elif current.shape[0] < 2:
        raise ValueError(f"bridge=True needs a current of at least 2 steps to measure, got {_shape(current)}")


def check_state(state: LIFState, current: Tensor, dtype: torch.dtype, has_synapses: bool) -> None:
    if not isinstance(state, LIFState):
        raise TypeError(f"state must be an LIFState or None, got {type(state).__name__}")
    if (state.synaptic is None) == has_synapses:
        raise ValueError(
            f"state.synaptic must be {'a tensor with' if has_synapses else 'None without'} tau_syn, "
            f"got {None if state.synaptic is None else _shape(state.synaptic)}"
        )
    for name, tensor in zip(state._fields, state, strict=True):
        if tensor is None:
            continue
        if tensor.shape != current.shape[1:]:
            raise ValueError(
                f"state.{name} must be {tuple(current.shape[1:])} to match current {_shape(current)}, "
                f"got {_shape(tensor)}"
            )
        if tensor.dtype != dtype:
            raise TypeError(f"state.{name} must be {dtype} to match current, got {tensor.dtype}")
        _check_device(f"state.{name}", tensor, current)


def per_neuron(name: str, value: float | Tensor, current: Tensor, dtype: torch.dtype) -> Tensor:
    """A parameter as (1, n)."""
    n = current.shape[-1]
    if not isinstance(value, Tensor):
        return torch.full((1, n), float(value), dtype=dtype, device=current.device)
    if value.dim() > 1 or value.numel() not in (1, n):
        raise ValueError(
            f"{name} must be a number or ({n},), one for each neuron of current {_shape(current)}, got {_shape(value)}"
        )
    _check_device(name, value, current)
    return value.to(dtype).expand(1, n)


def _is_wrong(value: float | Tensor, fits: Callable[[Any], Any]) -> bool:
    """Whether it does not fit, as far as its values can be looked at."""
    if isinstance(value, Tensor):
        if not has_values(value):
            return False
        value = value.detach()
    fitting = fits(value)  # a number beside a tensor of others fits each of them or does not
    return not (bool(fitting.all()) if isinstance(fitting, Tensor) else fitting)


def _values(value: Any) -> str:
    return str(value.tolist() if isinstance(value, Tensor) else value)


def _check_device(name: str, tensor: Tensor, current: Tensor) -> None:
    if tensor.device != current.device:
        raise ValueError(f"{name} must be on the device of current, {current.device}, got {tensor.device}")


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))

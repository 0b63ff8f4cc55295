"""The options of ResolventPenalty: checked when they are set, read at every call."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from rrnn_ext import functional
from rrnn_ext._modes import has_values
from rrnn_ext.networks.constants import Constant
from rrnn_ext.networks.leaks import checked_leak
from rrnn_ext.networks.sources import WeightSource, check_source, read

NumberSource: TypeAlias = float | WeightSource

CONSTANTS = ("hop_weights", "pair_weights")
_NUMBERS = ("alpha", "leak")
_OWN = ("leak", "gains", "detach_gains")  # what the function does not know


def constants_of(options: Mapping[str, Any]) -> dict[str, Constant]:
    """The options whose tensors are wanted where the weights are."""
    given = {name: options[name] for name in (*CONSTANTS, "leak")}
    return {name: Constant(value) for name, value in given.items() if isinstance(value, Tensor)}


def check_options(options: Mapping[str, Any], model: nn.Module | None) -> None:
    """Refuses what no weights could go with."""
    for name in CONSTANTS:
        _check_constant(name, options[name])
    for name in _NUMBERS:
        value = options[name]
        if isinstance(value, (Tensor, str)) or callable(value):
            check_source(name, value, model, kinds="a number, a tensor")
    leak = options["leak"]
    if leak is not None and not isinstance(leak, str) and not callable(leak):
        checked_leak(leak)
    _let_the_function_refuse({name: value for name, value in options.items() if name not in _OWN})


def _check_constant(name: str, constant: object) -> None:
    if constant is None:
        return
    if not isinstance(constant, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(constant).__name__}")
    if constant.is_complex():
        raise TypeError(f"{name} must be of a real dtype, got {constant.dtype}")
    if isinstance(constant, nn.Parameter) or constant.requires_grad:
        kind = "a Parameter" if isinstance(constant, nn.Parameter) else "a tensor that requires a gradient"
        raise ValueError(f"{name} is a constant, to which no gradient flows, got {kind}; detach it")


def _let_the_function_refuse(options: dict[str, Any]) -> None:
    """In its own words: it is asked for graphs without an edge, of the shapes that the options have."""
    alpha, hop_weights, pair_weights = options["alpha"], options["hop_weights"], options["pair_weights"]
    if isinstance(alpha, str) or callable(alpha) or (isinstance(alpha, Tensor) and not has_values(alpha)):
        alpha = 1.0  # it is looked at in the call
    hop_weights, pair_weights = _in_sight(hop_weights), _in_sight(pair_weights)
    batch = torch.broadcast_shapes(
        alpha.shape if isinstance(alpha, Tensor) else (),
        () if hop_weights is None else hop_weights.shape[:-1],
        () if pair_weights is None else pair_weights.shape[:-2],
    )
    outputs, inputs = (1, 1) if pair_weights is None or pair_weights.dim() < 2 else pair_weights.shape[-2:]
    shapes = (1, 1), (1, inputs), (outputs, 1)
    graph = [torch.zeros(*batch, *shape, dtype=torch.float32, device="cpu") for shape in shapes]
    with torch.no_grad():
        functional.resolvent_penalty(
            *graph, **{**options, "alpha": alpha, "hop_weights": hop_weights, "pair_weights": pair_weights}
        )


def _in_sight(constant: Tensor | None) -> Tensor | None:
    """Its values, where they can be looked at; else its shape."""
    if constant is None:
        return None
    return (
        Constant(constant).given
        if has_values(constant)
        else torch.ones(constant.shape, dtype=torch.float32, device="cpu")
    )


def read_alpha(alpha: object, model: nn.Module | None) -> float | Tensor:
    value = read("alpha", alpha, model)
    # A number of NumPy's would make an array of a tensor that it multiplies.
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else value

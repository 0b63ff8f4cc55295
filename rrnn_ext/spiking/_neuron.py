"""The arguments that describe a neuron, checked and brought into one form."""

from __future__ import annotations

import functools
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

Number: TypeAlias = float | Tensor

# The least standard deviation, as a share of the distance from the reset to the threshold: less is as good as none.
_LEAST_STD = 1e-12


class Neuron(NamedTuple):
    """Float64 tensors of one shape; times in seconds."""

    mean: Tensor
    std: Tensor
    tau: Tensor
    threshold: Tensor
    reset: Tensor
    refractory: Tensor
    dtype: torch.dtype  # of the result
    is_unknown: (
        Tensor  # where one of them was NaN: in its place is a neuron like any other, whose result does not count
    )
    dt: Tensor | None = None

    def standardised(self, potential: Tensor) -> Tensor:
        """In standard deviations of the free potential from its mean."""
        return (potential - self.mean) / self.std

    def is_noiseless(self) -> Tensor:
        return self.std <= _LEAST_STD * (self.threshold - self.reset)

    def is_silent(self) -> Tensor:
        """Without noise, and with a mean that the threshold is not below: it comes near the threshold for ever."""
        return self.is_noiseless() & (self.mean <= self.threshold)


def checked_neuron(
    mean: Number,
    std: Number,
    *,
    tau: Number,
    threshold: Number,
    reset: Number,
    refractory: Number,
    dt: Number | None,
) -> Neuron:
    """All of it, or an error that names the argument; std is at least a tiny positive number."""
    given = {"mean": mean, "std": std, "tau": tau, "threshold": threshold, "reset": reset, "refractory": refractory}
    values, dtype = to_float64(**given, **({} if dt is None else {"dt": dt}))
    named = dict(zip([*given, "dt"], values, strict=False))
    check_all(named["std"] >= 0, "std must be >= 0", named["std"])
    check_all(named["tau"] > 0, "tau must be > 0 (seconds)", named["tau"])
    check_all(named["refractory"] >= 0, "refractory must be >= 0 (seconds)", named["refractory"])
    check_all(~(named["reset"] >= named["threshold"]), "reset must be below the threshold", named["reset"])
    if dt is not None:
        check_time_step(named["dt"], named["tau"])
    named, is_unknown = without_nan(named)
    named["std"] = torch.maximum(named["std"], _LEAST_STD * (named["threshold"] - named["reset"]))
    return Neuron(**named, dtype=dtype, is_unknown=is_unknown)


# Of a neuron in place of one that is not known.
_ANY = {"std": 1.0, "tau": 1.0, "threshold": 1.0, "dt": 1.0, "rate_exc": 1.0, "size_exc": 1.0, "size_std": 1.0}


def without_nan(named: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """The arguments of neurons, and which of these had one that is NaN: searches and integrals do without. Under vmap
    nobody searches, and arguments that are the same for all of a batch stay so."""
    is_unknown = torch.stack([value.isnan() for value in named.values()]).any(0)
    if not all(map(has_values, named.values())):
        return named, is_unknown
    return {name: torch.where(is_unknown, _ANY.get(name, 0.0), value) for name, value in named.items()}, is_unknown


def check_time_step(dt: Tensor, tau: Tensor) -> None:
    check_all(dt > 0, "dt must be > 0 (seconds), or None for continuous time", dt)
    check_all(~(dt > tau), "dt must be at most tau", dt)


def check_all(holds: Tensor, needed: str, value: Tensor) -> None:
    """A ValueError unless it holds everywhere; NaN passes, and gives NaN. So of two arguments it is to be said that one
    is not on the wrong side of the other."""
    if not (has_values(value) and has_values(holds)):
        return
    holds, value = torch.broadcast_tensors(holds, value)
    wrong = value[~holds & ~value.isnan()]
    if wrong.numel() > 0:
        raise ValueError(f"{needed}, got {wrong[0].item():g}")


def has_values(tensor: Tensor) -> bool:
    """Whether they can be looked at: not those of a batch that torch.func.vmap goes through."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        if torch._C._functorch.is_batchedtensor(tensor):
            return False
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return not tensor.is_meta


def to_float64(**arguments: Number) -> tuple[list[Tensor], torch.dtype]:
    """The arguments as float64 tensors of one shape on one device, and the dtype that a result of them has."""
    tensors = {name: value for name, value in arguments.items() if isinstance(value, Tensor)}
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            if not value.is_floating_point():
                raise TypeError(f"{name} must be of a floating-point dtype, got {value.dtype}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name} must be a number or a tensor, got {value!r} ({type(value).__name__})")
    devices = {tensor.device for tensor in tensors.values()}
    if len(devices) > 1:
        where = ", ".join(f"{name} on {tensor.device}" for name, tensor in tensors.items())
        raise ValueError(f"all tensors must be on one device, got {where}")
    device = devices.pop() if devices else torch.device("cpu")
    dtypes = [tensor.dtype for tensor in tensors.values()] or [torch.get_default_dtype()]
    try:
        values = torch.broadcast_tensors(
            *(torch.as_tensor(value, dtype=torch.float64, device=device) for value in arguments.values())
        )
    except RuntimeError:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(f"all tensors must broadcast to one shape, got {shapes}") from None
    return list(values), functools.reduce(torch.promote_types, dtypes)

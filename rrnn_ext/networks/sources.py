"""Where a weight or an option of ResolventPenalty comes from: it is asked at every call, so that it cannot go stale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from rrnn_ext.sharded.fsdp import sharded_parameter
from rrnn_ext.sparse.pattern import SparseWeight

WeightSource: TypeAlias = Tensor | Callable[[], Tensor] | str

_FROM_MODEL = "ResolventPenalty.from_weights(model, ...) or ResolventPenalty.from_model(model, ...)"
_WAYS = f"name it, with its model, in {_FROM_MODEL}, or give a callable that returns it"


def check_source(argument: str, source: object, model: nn.Module | None, *, kinds: str = "a tensor") -> None:
    """Refuses what is no source, and tensors that go stale. ``kinds`` may come besides a callable and a name."""
    if isinstance(source, str):
        check_name(argument, source, model)
    elif isinstance(source, nn.Parameter):
        raise TypeError(
            f"{argument} must not be a Parameter: its model may get another one in its place (loaded with assign=True, "
            f"pruned, parametrized), and nobody trains one that has no model; {_WAYS}"
        )
    elif isinstance(source, Tensor) and not source.is_leaf:
        raise TypeError(
            f"{argument} must not be a tensor that was computed from others with a gradient: it stays what it is when "
            f"they change; {_WAYS}"
        )
    elif not isinstance(source, Tensor) and (isinstance(source, nn.Linear) or not callable(source)):
        raise TypeError(
            f"{argument} must be {kinds}, a callable that returns one, or its name in a model, "
            f"got {type(source).__name__}"
        )


def check_name(argument: str, path: str, model: nn.Module | None) -> None:
    """Refuses a name that leads nowhere, without computing what it leads to: a parametrization may be dear."""
    if model is None:
        raise TypeError(f"{argument} is a name, {path!r}, and a name needs its model: use {_FROM_MODEL}")
    owner, name = _owner(argument, model, path)
    if path and not is_parametrized(owner, name):
        step(argument, path, owner, name)


def read(argument: str, source: object, model: nn.Module | None) -> Any:
    """What a source gives now."""
    if isinstance(source, str):
        assert model is not None  # or check_source would have refused the name
        return read_attribute(argument, *_owner(argument, model, source), path=source)
    if isinstance(source, Tensor) or not callable(source):
        return source
    return sharded_parameter(source())


def read_weight(argument: str, source: WeightSource, model: nn.Module | None) -> Any:
    """A tensor, or what stands for a sparse one."""
    weight = read(argument, source, model)
    if isinstance(weight, (Tensor, SparseWeight)):
        return weight
    if isinstance(source, str):
        hint = f"; name its weight: {source + '.weight'!r}" if isinstance(weight, nn.Linear) else ""
        raise TypeError(f"{argument}={source!r} must lead to a tensor, got {type(weight).__name__}{hint}")
    raise TypeError(f"{argument} must return a tensor, got {type(weight).__name__}")


def read_attribute(argument: str, module: nn.Module, name: str, path: str | None = None) -> Any:
    """The weight that the module's next forward will use.

    Pruning and the hook-based weight_norm and spectral_norm refresh the attribute only in forward: between a step of
    the optimiser and that forward it is stale, so ask the hook. Parametrizations are properties, always fresh. Of a
    parameter that FSDP2 shards it is the sharded one, whatever stands in its place now.
    """
    if not torch.compiler.is_compiling() and not module._forward_pre_hooks and name not in module.__dict__:
        found = module._parameters.get(name)  # as nn.Module.__getattr__ finds it, in a third of the time
        if type(found) is nn.Parameter:
            return sharded_parameter(found)
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            return hook.apply_mask(module)
        if isinstance(hook, WeightNorm) and hook.name == name:
            return hook.compute_weight(module)
        if isinstance(hook, SpectralNorm) and hook.name == name:
            return hook.compute_weight(module, do_power_iteration=False)
    try:
        value = getattr(module, name)
    except AttributeError as error:
        raise _leads_nowhere(argument, name if path is None else path, module, name) from error
    if isinstance(value, UninitializedParameter):
        raise ValueError(
            f"{argument} is read from the {name} of a {type(module).__name__} that has no shape yet: "
            "call its model once before"
        )
    return sharded_parameter(value)


def find(argument: str, model: nn.Module, path: str) -> Any:
    """What a dotted name leads to now; the model itself for an empty one."""
    if not path:
        return model
    owner, name = _owner(argument, model, path)
    return step(argument, path, owner, name)


def find_module(argument: str, model: nn.Module, path: str) -> Any:
    """The submodule of a dotted name, None where it leads to something else."""
    if not path:
        return model
    owner, name = _owner(argument, model, path)
    return step(argument, path, owner, name) if name in owner._modules else None


def _owner(argument: str, model: nn.Module, path: str) -> tuple[nn.Module, str]:
    *parts, name = path.split(".")
    owner: Any = unwrapped(model)
    for part in parts:
        owner = unwrapped(step(argument, path, owner, part))
    if not isinstance(owner, nn.Module):
        raise ValueError(f"{argument}={path!r} must lead from module to module, got {type(owner).__name__}")
    return owner, name


def step(argument: str, path: str, holder: object, name: str) -> Any:
    """``holder.name``, which may be an nn.RNN, an nn.GRU or an nn.LSTM, in compiled code too."""
    if torch.compiler.is_compiling():
        before = _let_compile_see_rnns(True)
        try:
            found = getattr(holder, name)
            if isinstance(found, nn.Module):
                _ = found._modules  # it is refused or not at the first look
        finally:
            _let_compile_see_rnns(before)
        return found
    try:
        return getattr(holder, name)
    except AttributeError as error:
        raise _leads_nowhere(argument, path, holder, name) from error


def _leads_nowhere(argument: str, path: str, holder: object, name: str) -> ValueError:
    return ValueError(f"{argument}={path!r} leads nowhere: {type(holder).__name__} has no {name!r}")


def _let_compile_see_rnns(allowed: bool) -> bool:
    """By default torch.compile refuses to look at recurrent modules, whose forward it does not trace. Their weights are
    tensors as all others are. Returns what it was."""
    import torch._dynamo.config as config

    before, config.allow_rnn = config.allow_rnn, allowed
    return before


# As torch.compiler.assume_constant_result says it, which would import the compiler with this module: the function runs
# while torch.compile traces, and not in the compiled code.
_let_compile_see_rnns._dynamo_marked_constant = True  # type: ignore[attr-defined]


def unwrapped(module: Any) -> Any:
    """The module within what torch.compile(module) returns."""
    while isinstance(module, nn.Module) and "_orig_mod" in module._modules:
        module = module._modules["_orig_mod"]
    return module


def refuse_quantised(argument: str, module: object) -> None:
    if isinstance(module, nn.Module) and type(module).__module__.startswith("torch.ao.nn.quantized."):
        raise TypeError(
            f"{argument} is quantised ({type(module).__module__}.{type(module).__name__}), and the walks need weights "
            "with gradients: give the float module from which it was made"
        )


def describe(source: object) -> str:
    source = unwrapped(source)
    if isinstance(source, nn.Linear):
        return f"Linear({source.in_features}, {source.out_features})"
    if isinstance(source, Tensor):
        return f"tensor{tuple(source.shape)}"
    if callable(source):
        return str(getattr(source, "__qualname__", type(source).__name__))
    return repr(source)

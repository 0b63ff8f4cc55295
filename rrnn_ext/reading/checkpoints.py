"""A network's weights out of a checkpoint: any state_dict with a recurrent module and a linear read-out."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rrnn_ext.networks.readers import find_reader
from rrnn_ext.networks.states import CheckpointError, module_of, names_under, prefix_of

# Taken as the length of the sequences, wherever they stand; where they count updates, the caller has to know better.
STEPS_KEYS = ("steps", "hops", "seq_len", "sequence_length")
_OF_CELLS = re.compile(r"weight_(hh|ih|hr|in)")


class Found(NamedTuple):
    """What a checkpoint holds."""

    module: nn.Module  # the recurrent one
    readout: Tensor | None  # (o, d); None: the units are the outputs
    names: Mapping[str, str]  # of the tensors that were read, by role
    steps: int | None  # the length of the sequences, if the checkpoint tells


def read(
    path: Path,
    *,
    weight_hh: str | None = None,
    weight_in: str | None = None,
    weight_out: str | None = None,
    units_are_outputs: bool = False,
) -> Found:
    """See :meth:`rrnn_ext.reading.Network.from_checkpoint`."""
    if units_are_outputs and weight_out is not None:
        raise CheckpointError(f"weight_out must be left out where the units are the outputs, got {weight_out!r}")
    tensors, steps = _load(path)
    for role, name in (("weight_hh", weight_hh), ("weight_in", weight_in), ("weight_out", weight_out)):
        if name is not None and name not in tensors:
            raise CheckpointError(f"{role}: no tensor is called {name!r}; there are\n{_listed(tensors)}")
    own = _recurrent_weights(tensors, weight_hh, weight_in)
    module = module_of({name: _matrix(tensors, name, "weight_hh") for name in own.values()}, own)
    reader = find_reader(module, None)
    names = _by_role(own)
    if units_are_outputs:
        return Found(_with_biases(module, tensors, own), None, names, steps)
    width = reader.size * reader.directions
    weight_out = weight_out or _readout(tensors, width, taken=set(own.values()))
    readout = _matrix(tensors, weight_out, "weight_out")
    if readout.shape[1] != width:
        raise CheckpointError(
            f"the read-out must be (o, {width}) to match {names['weight_hh']}, got {weight_out} {tuple(readout.shape)}"
        )
    return Found(_with_biases(module, tensors, own), readout, {**names, "weight_out": weight_out}, steps)


def _with_biases(module: nn.Module, tensors: Mapping[str, Tensor], own: Mapping[str, str]) -> nn.Module:
    """The module with the biases that stand beside its weights, for a run; of itself it has none. Where there are some,
    those that are missing are zero."""
    names = {
        name.replace("weight_", "bias_"): "bias_".join(tensor.rsplit("weight_", 1))
        for name, tensor in own.items()
        if "weight_" in tensor and not name.startswith("weight_hr")
    }
    names = {name: tensor for name, tensor in names.items() if tensor in tensors}
    if not isinstance(module, nn.RNNBase) or not names:
        return module
    options = {"num_layers": module.num_layers, "bidirectional": module.bidirectional, "dtype": torch.float64}
    options |= {"proj_size": module.proj_size} if module.proj_size else {}
    made: nn.RNNBase = type(module)(module.input_size, module.hidden_size, **options)  # type: ignore[arg-type]
    for name, bias in made.named_parameters():
        if name.startswith("bias_"):
            nn.init.zeros_(bias)
            if name in names and tensors[names[name]].shape != bias.shape:
                raise CheckpointError(
                    f"{names[name]} must be {tuple(bias.shape)} to match {own['weight_hh_l0']}, "
                    f"got {tuple(tensors[names[name]].shape)}"
                )
    biases = {name: tensors[tensor].double() for name, tensor in names.items()}
    made.load_state_dict({**module.state_dict(), **biases}, strict=False)
    return made.requires_grad_(False)


# The file ------------------------------------------------------------------------------------------------------------


def _load(path: Path) -> tuple[dict[str, Tensor], int | None]:
    """Every tensor of the file by its dotted name, and the length of the sequences if the file has it."""
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    content: Mapping[Any, Any]
    if path.suffix == ".safetensors":
        content = _load_safetensors(path)
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, EOFError, RuntimeError, UnicodeDecodeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{path} does not load as plain tensors (torch.load with weights_only=True): save model.state_dict(). "
                "A whole module, if the file is to be trusted, is read by "
                "Network.from_module(model.rnn, model.readout) of model = torch.load(path, weights_only=False)"
            ) from error
        if not isinstance(content, Mapping):
            raise CheckpointError(
                f"{path} must hold a state_dict, a mapping of names to tensors, got {type(content).__name__}"
            )
    flat = dict(_flatten(content))
    steps = next(
        (int(value) for key in STEPS_KEYS for name, value in flat.items() if _is_steps(name, key, value)), None
    )
    return {name: value for name, value in flat.items() if isinstance(value, Tensor)}, steps


def _load_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {**(file.metadata() or {}), **{name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} does not load as safetensors ({error})") from error


def _flatten(content: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = []
    for key, value in content.items():
        name = f"{prefix}{key}"
        items += _flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return items


def _is_steps(name: str, key: str, value: object) -> bool:
    is_count = str(value).isdecimal() if isinstance(value, str | int) else False
    return name.rpartition(".")[2] == key and is_count and int(str(value)) >= 1


# The network in it ---------------------------------------------------------------------------------------------------


def _recurrent_weights(tensors: Mapping[str, Tensor], weight_hh: str | None, weight_in: str | None) -> dict[str, str]:
    """The names of the recurrent module's weights, by those that they have in the module."""
    if weight_hh is None:
        weight_hh = _the_recurrent_weight(tensors)
    prefix = prefix_of(weight_hh)
    if prefix is None or weight_in is not None:
        return {"weight_hh_l0": weight_hh, "weight_ih_l0": weight_in or _by_shape(tensors, "weight_in", weight_hh)}
    names = names_under(prefix, tensors)
    for own, name in names.items():
        partner = own.replace("_hh_", "_ih_")
        if partner not in names:
            beside = name.replace("weight_hh", "weight_ih")
            raise CheckpointError(f"{name} has no {beside} beside it; name it by --weight-in, of\n{_listed(tensors)}")
    return names


def _by_role(names: Mapping[str, str]) -> dict[str, str]:
    roles = {"weight_hh": "weight_hh", "weight_ih": "weight_in", "weight_hr": "projection"}
    found: dict[str, list[str]] = {}
    for own in sorted(names, key=lambda own: (int(own.split("_")[2][1:]), own)):
        found.setdefault(roles[own[: len("weight_hh")]], []).append(names[own])
    return {role: " ".join(found[role]) for role in roles.values() if role in found}


def _the_recurrent_weight(tensors: Mapping[str, Tensor]) -> str:
    networks: dict[str, str] = {}
    for name in tensors:
        prefix = prefix_of(name)
        if prefix is not None:
            networks.setdefault(prefix, name)
    if len(networks) > 1:
        raise CheckpointError(
            "there is more than one recurrent network: name the one to read by --weight-hh, of "
            f"{', '.join(networks.values())}"
        )
    return next(iter(networks.values())) if networks else _by_shape(tensors, "weight_hh", None)


def _by_shape(tensors: Mapping[str, Tensor], role: str, weight_hh: str | None) -> str:
    """The only tensor that can play the role by its shape: square, or as high as ``weight_hh`` and not as wide."""
    matrices = {name: tensor.shape for name, tensor in tensors.items() if tensor.dim() == 2}
    if weight_hh is None:
        fitting, wanted = [name for name, (rows, columns) in matrices.items() if rows == columns], "(n, n)"
    else:
        height, n = _matrix(tensors, weight_hh, "weight_hh").shape
        fitting = [name for name, (rows, columns) in matrices.items() if rows == height and columns != n]
        wanted = f"({height}, i)"
    if len(fitting) != 1:
        found = "more than one tensor is" if fitting else "no tensor is"
        raise CheckpointError(
            f"{role} is missing: no name tells it, and {found} {wanted}; name it by --{role.replace('_', '-')}, of\n"
            f"{_listed(tensors)}"
        )
    _refuse_a_part(role, fitting[0], tensors)
    return fitting[0]


def _readout(tensors: Mapping[str, Tensor], hidden: int, taken: set[str]) -> str:
    """The only other matrix (o, hidden); those called weight come first, for optimisers keep copies of every shape."""
    fitting = [
        name
        for name, tensor in tensors.items()
        if tensor.dim() == 2 and tensor.shape[1] == hidden and name not in taken and not _OF_CELLS.search(name)
    ]
    weights = [name for name in fitting if name.endswith(("weight", "weight_out")) or _is_part(name, tensors)]
    fitting = weights or fitting
    if len(fitting) != 1:
        found = f"{len(fitting)} fit ({', '.join(fitting)})" if fitting else "none fits"
        raise CheckpointError(
            f"the read-out is missing: of matrices (o, {hidden}), {found}; name it by --weight-out, "
            f"or give --units-are-outputs if there is none, of\n{_listed(tensors)}"
        )
    _refuse_a_part("weight_out", fitting[0], tensors)
    return fitting[0]


def _is_part(name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a module computes its weight from this tensor and from others: weight_norm, spectral_norm, pruning and
    parametrizations name them so."""
    stem, _, ending = name.rpartition("_")
    of_norm = ending in ("g", "v") and f"{stem}_g" in tensors and f"{stem}_v" in tensors
    return "parametrizations." in name or ending == "orig" or of_norm


def _refuse_a_part(role: str, name: str, tensors: Mapping[str, Tensor]) -> None:
    if _is_part(name, tensors):
        raise CheckpointError(
            f"{role} is missing: {name} is one of the tensors from which the module computed it. Save the state_dict "
            "after torch.nn.utils.parametrize.remove_parametrizations, remove_weight_norm, remove_spectral_norm or "
            f"prune.remove, or name the weight by --{role.replace('_', '-')}, of\n{_listed(tensors)}"
        )


def _matrix(tensors: Mapping[str, Tensor], name: str, role: str) -> Tensor:
    tensor = tensors[name]
    if tensor.dim() != 2 or not tensor.is_floating_point():
        raise CheckpointError(
            f"{role} must be a floating-point matrix, got {name} {tuple(tensor.shape)} {tensor.dtype}"
        )
    return tensor.double()


def _listed(tensors: Mapping[str, Tensor]) -> str:
    return "\n".join(f"  {name} {tuple(tensor.shape)}" for name, tensor in tensors.items()) or "  (no tensors)"

"""A network's weights out of a checkpoint: any state_dict with a recurrent layer and a linear read-out.

The recurrent layer is found by the names that PyTorch gives its weights (``...weight_hh_l0``, ``...weight_hh``) or that
rrnn_ext gives them (``...weight_hh``, ``...weight_in``, ``...weight_out``), or by shape where no name matches; whatever
stays ambiguous is an error that lists what is there and asks for the name.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

GATES = {
    1: ("",),
    3: ("reset gate", "update gate", "new gate"),
    4: ("input gate", "forget gate", "cell gate", "output gate"),
}
# Taken as the length of the sequences, wherever they stand; where they count updates, the caller has to know better.
STEPS_KEYS = ("steps", "hops", "seq_len", "sequence_length")
_RECURRENT = re.compile(r"(?P<prefix>.*?)weight_hh(?:_l(?P<layer>\d+))?")
_OF_CELLS = re.compile(r"weight_(hh|ih|hr|in)")


class CheckpointError(ValueError):
    """A file or a network that cannot be read: the message says what is missing."""


@dataclass(frozen=True)
class Network:
    """The graphs of one network: one for a plain RNN, one for each gate of a GRU or an LSTM.

    Attributes:
        weight_hh, weight_in, weight_out: (graphs, n, n), (graphs, n, i), (graphs, o, n), float64. Of stacked layers,
            one graph over the hidden units of all of them: edges between layers take no time.
        graphs: what each graph is called; "" for the only one of a plain RNN.
        names: the tensors that were read, by role, for the reader to check.
        steps: the length of the sequences, if the checkpoint tells.
    """

    weight_hh: Tensor
    weight_in: Tensor
    weight_out: Tensor
    graphs: tuple[str, ...]
    names: Mapping[str, str]
    steps: int | None


def read(
    path: Path, *, weight_hh: str | None = None, weight_in: str | None = None, weight_out: str | None = None
) -> Network:
    """The network in ``path``: safetensors, or whatever ``torch.load(weights_only=True)`` accepts.

    The checkpoint may nest its state_dict (beside an optimiser's, say): names are then joined by dots. ``weight_hh``,
    ``weight_in`` and ``weight_out`` name tensors where they are not found, or not the right ones.

    Raises:
        CheckpointError: no such file, not a checkpoint, no network in it, or more than one.
    """
    tensors, steps = _load(path)
    for role, name in (("weight_hh", weight_hh), ("weight_in", weight_in), ("weight_out", weight_out)):
        if name is not None and name not in tensors:
            raise CheckpointError(f"{role}: no tensor is called {name!r}; there are\n{_listed(tensors)}")
    names, layers = _recurrent_layers(tensors, weight_hh, weight_in)
    graphs = len(layers[0][0])
    hidden = layers[-1][0].shape[-1]
    weight_out = weight_out or _readout(tensors, hidden, taken=" ".join(names.values()).split())
    readout = _matrix(tensors, weight_out, "weight_out")
    if readout.shape[1] != hidden:
        raise CheckpointError(
            f"the read-out must be (o, {hidden}) to match {names['weight_hh']}, got {weight_out} {tuple(readout.shape)}"
        )
    wide_hh, wide_in = _one_graph(layers)
    wide_out = readout.new_zeros(graphs, len(readout), wide_hh.shape[-1])
    wide_out[..., -hidden:] = readout
    return Network(wide_hh, wide_in, wide_out, GATES[graphs], {**names, "weight_out": weight_out}, steps)


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
                f"{path} does not load as plain tensors (torch.load with weights_only=True): save model.state_dict()"
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


def _recurrent_layers(
    tensors: Mapping[str, Tensor], weight_hh: str | None, weight_in: str | None
) -> tuple[dict[str, str], list[tuple[Tensor, Tensor]]]:
    """Names by role; (graphs, n, n) and (graphs, n, i) of each layer."""
    if weight_hh is None:
        weight_hh = _the_recurrent_weight(tensors)
    match = _RECURRENT.fullmatch(weight_hh)
    if match is None or weight_in is not None:
        weight_in = weight_in or _by_shape(tensors, "weight_in", weight_hh)
        return {"weight_hh": weight_hh, "weight_in": weight_in}, [_layer(tensors, weight_hh, weight_in)]
    prefix = match["prefix"]
    for ending, kind in (("_reverse", "a bidirectional"), ("weight_hr", "a projected")):
        if any(name.startswith(prefix) and ending in name for name in tensors):
            raise CheckpointError(f"{prefix}* is {kind} network, which is more than one graph: it cannot be read")
    pairs = []
    for name in sorted(tensors, key=_layer_number):
        found = _RECURRENT.fullmatch(name)
        if found and found["prefix"] == prefix:
            ending = name.removeprefix(f"{prefix}weight_hh")
            partners = [f"{prefix}{entering}{ending}" for entering in ("weight_ih", "weight_in")]
            partner = next((partner for partner in partners if partner in tensors), None)
            if partner is None:
                raise CheckpointError(
                    f"{name} has no {partners[0]} beside it; name it by --weight-in, of\n{_listed(tensors)}"
                )
            pairs.append((name, partner))
    layers = [_layer(tensors, *pair) for pair in pairs]
    for (name, partner), (_, below), (_, above) in zip(pairs[1:], layers, layers[1:], strict=False):
        if above.shape[-1] != below.shape[-2]:
            raise CheckpointError(
                f"{partner} must take the {below.shape[-2]} units of the layer below {name}, "
                f"got {tuple(tensors[partner].shape)}"
            )
    recurrent, entering = zip(*pairs, strict=True)
    return {"weight_hh": " ".join(recurrent), "weight_in": " ".join(entering)}, layers


def _the_recurrent_weight(tensors: Mapping[str, Tensor]) -> str:
    named = [name for name in tensors if _RECURRENT.fullmatch(name)]
    networks = {name.rpartition("weight_hh")[0]: name for name in sorted(named, key=_layer_number, reverse=True)}
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
    return fitting[0]


def _layer(tensors: Mapping[str, Tensor], weight_hh: str, weight_in: str) -> tuple[Tensor, Tensor]:
    recurrent, entering = _matrix(tensors, weight_hh, "weight_hh"), _matrix(tensors, weight_in, "weight_in")
    rows, n = recurrent.shape
    if n == 0 or rows % n or rows // n not in GATES:
        raise CheckpointError(
            f"{weight_hh} must be (n, n), or (3n, n) of a GRU, or (4n, n) of an LSTM, got {tuple(recurrent.shape)}"
        )
    if len(entering) != rows:
        raise CheckpointError(
            f"{weight_in} must be ({rows}, i) to match {weight_hh} {tuple(recurrent.shape)}, got "
            f"{tuple(entering.shape)}"
        )
    return recurrent.reshape(-1, n, n), entering.reshape(rows // n, n, -1)


def _one_graph(layers: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Stacked layers as one: what reaches layer l within a step has passed weight_ih of l from layer l - 1."""
    hidden, entering = layers[0]
    for weight_hh, weight_in in layers[1:]:
        above = torch.cat([weight_in @ hidden[..., -weight_in.shape[-1] :, :], weight_hh], dim=-1)
        padded = torch.cat([hidden, hidden.new_zeros(*hidden.shape[:-1], weight_hh.shape[-1])], dim=-1)
        hidden = torch.cat([padded, above], dim=-2)
        entering = torch.cat([entering, weight_in @ entering[..., -weight_in.shape[-1] :, :]], dim=-2)
    return hidden, entering


def _readout(tensors: Mapping[str, Tensor], hidden: int, taken: list[str]) -> str:
    """The only other matrix (o, hidden); those called weight come first, for optimisers keep copies of every shape."""
    fitting = [
        name
        for name, tensor in tensors.items()
        if tensor.dim() == 2 and tensor.shape[1] == hidden and name not in taken and not _OF_CELLS.search(name)
    ]
    fitting = [name for name in fitting if name.endswith(("weight", "weight_out"))] or fitting
    if len(fitting) != 1:
        found = f"{len(fitting)} fit ({', '.join(fitting)})" if fitting else "none fits"
        raise CheckpointError(
            f"the read-out is missing: of matrices (o, {hidden}), {found}; name it by --weight-out, "
            f"of\n{_listed(tensors)}"
        )
    return fitting[0]


def _matrix(tensors: Mapping[str, Tensor], name: str, role: str) -> Tensor:
    tensor = tensors[name]
    if tensor.dim() != 2 or not tensor.is_floating_point():
        raise CheckpointError(
            f"{role} must be a floating-point matrix, got {name} {tuple(tensor.shape)} {tensor.dtype}"
        )
    return tensor.double()


def _layer_number(name: str) -> int:
    match = _RECURRENT.fullmatch(name)
    return int(match["layer"] or 0) if match else 0


def _listed(tensors: Mapping[str, Tensor]) -> str:
    return "\n".join(f"  {name} {tuple(tensor.shape)}" for name, tensor in tensors.items()) or "  (no tensors)"

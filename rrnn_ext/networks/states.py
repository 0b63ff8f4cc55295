"""A state_dict back to the module whose it was, so that checkpoints and modules are read by the same readers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from rrnn_ext.networks.pytorch import GruReader, LstmReader, TorchReader
from rrnn_ext.networks.readers import find_reader

STACKS: dict[Callable[..., nn.RNNBase], type[TorchReader]] = {
    nn.RNN: TorchReader,
    nn.GRU: GruReader,
    nn.LSTM: LstmReader,
}
_NAME = re.compile(r"weight_(?P<kind>hh|ih|in|hr)(?:_l(?P<layer>\d+)(?P<reverse>_reverse)?)?")


class CheckpointError(ValueError):
    """A file or a network that cannot be read: the message says what is missing."""


def prefix_of(name: str) -> str | None:
    """What stands before ``weight_hh_l0``, ``weight_hh`` and the like; None if the name is of another kind."""
    prefix, found, ending = name.rpartition("weight_hh")
    return prefix if found and _NAME.fullmatch(found + ending) else None


def names_under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The weights under a prefix by the names that a module gives them: those of a cell are a first layer's, and
    weight_in is weight_ih."""
    names = {}
    for name in tensors:
        match = _NAME.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if match:
            kind = "ih" if match["kind"] == "in" else match["kind"]
            names[f"weight_{kind}_l{match['layer'] or 0}{match['reverse'] or ''}"] = name
    return names


def module_of(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> nn.Module:
    """The nn.RNN, nn.GRU or nn.LSTM, stacked, bidirectional or projected, that has these weights, and no biases.

    Args:
        tensors: floating-point matrices.
        names: in ``tensors``, of the weights by their names in the module: weight_hh_l0, weight_ih_l0_reverse, ...

    Raises:
        CheckpointError: one is missing, or does not fit.
    """
    if "weight_hh_l0" not in names:
        raise CheckpointError(f"of a first layer there is no weight_hh, only {', '.join(names.values())}")
    first = names["weight_hh_l0"]
    rows, carried = tensors[first].shape
    units = tensors[names["weight_hr_l0"]].shape[1] if "weight_hr_l0" in names else carried
    gates = {len(reader.gates): kind for kind, reader in STACKS.items()}
    if units == 0 or rows % units or rows // units not in gates:
        raise CheckpointError(
            f"{first} must be (n, n), or (3n, n) of a GRU, or (4n, n) of an LSTM, got {tuple(tensors[first].shape)}"
        )
    entering = tensors[names["weight_ih_l0"]]
    if len(entering) != rows:
        raise CheckpointError(
            f"{names['weight_ih_l0']} must be ({rows}, i) to match {first} {tuple(tensors[first].shape)}, "
            f"got {tuple(entering.shape)}"
        )
    with torch.device("meta"):
        module = gates[rows // units](
            entering.shape[1],
            units,
            num_layers=1 + max(int(name.split("_")[2].removeprefix("l")) for name in names),
            bias=False,
            bidirectional=any(name.endswith("_reverse") for name in names),
            dtype=torch.float64,
            **_projected(carried, units, rows // units, first),
        )
    parameters = dict(module.named_parameters())
    for own in names.keys() - parameters.keys():
        raise CheckpointError(f"{names[own]} has no place in the {type(module).__name__} of {first}")
    for own, parameter in parameters.items():
        if own not in names:
            raise CheckpointError(f"{first} is of a network that has {own} too, and there is none")
        found = tensors[names[own]]
        if found.shape != parameter.shape:
            raise CheckpointError(_misfit(own, names[own], module, parameter.shape, found.shape))
        setattr(module, own, nn.Parameter(found.double(), requires_grad=False))
    return module


def _projected(carried: int, units: int, gates: int, first: str) -> dict[str, int]:
    if carried == units:
        return {}
    if gates != 4 or carried > units:
        raise CheckpointError(f"{first} carries {carried} projections of {units} units, and only an LSTM's are read")
    return {"proj_size": carried}


def _misfit(own: str, name: str, module: nn.Module, wanted: torch.Size, found: torch.Size) -> str:
    if own.startswith("weight_ih") and wanted[0] == found[0]:
        reader = find_reader(module, None)
        units = reader.size * reader.directions
        return f"{name} must take the {units} units of the layer below, got {tuple(found)}"
    return f"{name} must be {tuple(wanted)} to match the layer below it, got {tuple(found)}"

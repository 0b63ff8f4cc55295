"""What reads the last layer: an nn.Linear, or a weight from wherever it comes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from rrnn_ext.networks.readers import Reader
from rrnn_ext.networks.sources import (
    WeightSource,
    find_module,
    read_attribute,
    read_weight,
    refuse_quantised,
    unwrapped,
)

READOUTS = "an nn.Linear, a tensor"


def find_readout(readout: object, model: nn.Module | None) -> nn.Linear | WeightSource | None:
    """The nn.Linear; or where the weight comes from."""
    if isinstance(readout, str):
        assert model is not None
        module = find_module("readout", model, readout)
        readout = readout if module is None else module
    readout = unwrapped(readout)
    refuse_quantised("readout", readout)
    if isinstance(readout, nn.Module) and not isinstance(readout, nn.Linear):
        raise TypeError(
            f"readout must be {READOUTS}, a callable that returns one, or None, got {type(readout).__name__}"
        )
    return readout  # type: ignore[return-value]


def read_readout(readout: nn.Linear | WeightSource, model: nn.Module | None, reader: Reader) -> Tensor:
    if isinstance(readout, nn.Linear):
        weight: Tensor = read_attribute("readout", readout, "weight")
    else:
        weight = read_weight("readout", readout, model)
    columns = reader.size * reader.directions
    if weight.dim() != 2 or weight.shape[1] != columns:
        kind = type(reader.module).__name__
        raise ValueError(
            f"readout must be (o, {columns}) to match the {columns} outputs of {kind}, got {tuple(weight.shape)}"
        )
    return weight


def has_no_shape_yet(readout: nn.Linear) -> bool:
    """An nn.LazyLinear before its first call."""
    return isinstance(readout._parameters.get("weight"), UninitializedParameter)

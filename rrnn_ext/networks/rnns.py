"""PyTorch's recurrent modules and their read-outs: what they are made of, and their weights as they are now."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from rrnn_ext.networks.sources import WeightSource, find, find_module, read_attribute, read_weight, unwrapped

READOUTS = "an nn.Linear, a tensor"

# In the order in which PyTorch stacks their weights.
_GRU = "reset gate", "update gate", "new gate"
_LSTM = "input gate", "forget gate", "cell gate", "output gate"
GATES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.RNN: ("",),
    nn.RNNCell: ("",),
    nn.GRU: _GRU,
    nn.GRUCell: _GRU,
    nn.LSTM: _LSTM,
    nn.LSTMCell: _LSTM,
}


class Rnn:
    """A recurrent module, seen at one call: a name may lead to another one at the next."""

    def __init__(self, rnn: object) -> None:
        for kind, gates in GATES.items():
            if isinstance(rnn, kind):
                self.gates = gates
                break
        else:
            known = ", ".join(f"nn.{kind.__name__}" for kind in GATES)
            raise TypeError(
                f"rnn must be one of {known}, got {type(rnn).__name__}; for other models use "
                "ResolventPenalty.from_weights"
            )
        module: Any = rnn  # nn.Module types every attribute as Tensor | Module
        self.module = module
        self.is_cell = isinstance(module, nn.RNNCellBase)
        self.layers: int = 1 if self.is_cell else module.num_layers
        self.directions = ("", "_reverse") if not self.is_cell and module.bidirectional else ("",)
        self.is_projected = not self.is_cell and module.proj_size > 0
        self.size: int = module.proj_size if self.is_projected else module.hidden_size  # of one direction's state

    def read(self, name: str) -> Tensor:
        weight: Tensor = read_attribute("rnn", self.module, name.removesuffix("_l0") if self.is_cell else name)
        return weight

    def read_layer(self, layer: int, suffix: str) -> tuple[Tensor, Tensor]:
        """A layer's recurrent and incoming weights; of a gated module (gates, n, .)."""
        recurrent, incoming = self.read(f"weight_hh_l{layer}{suffix}"), self.read(f"weight_ih_l{layer}{suffix}")
        if len(self.gates) > 1:
            recurrent = recurrent.reshape(len(self.gates), -1, recurrent.shape[-1])
            incoming = incoming.reshape(len(self.gates), -1, incoming.shape[-1])
        return recurrent, incoming

    def columns_of(self, weight: Tensor, direction: int) -> Tensor:
        """The columns of a weight that read one direction of this layer: PyTorch puts the forward half first."""
        return weight[..., direction * self.size : (direction + 1) * self.size]


def find_rnn(rnn: object, model: nn.Module | None) -> Rnn:
    if isinstance(rnn, str):
        assert model is not None  # or check_name would have refused it
        rnn = find("rnn", model, rnn)
    rnn = unwrapped(rnn)
    _refuse_quantised("rnn", rnn)
    return Rnn(rnn)


def find_readout(readout: object, model: nn.Module | None) -> nn.Linear | WeightSource | None:
    """The nn.Linear; or where the weight comes from."""
    if isinstance(readout, str):
        assert model is not None
        module = find_module("readout", model, readout)
        readout = readout if module is None else module
    readout = unwrapped(readout)
    _refuse_quantised("readout", readout)
    if isinstance(readout, nn.Module) and not isinstance(readout, nn.Linear):
        raise TypeError(
            f"readout must be {READOUTS}, a callable that returns one, or None, got {type(readout).__name__}"
        )
    return readout  # type: ignore[return-value]


def read_readout(readout: nn.Linear | WeightSource, model: nn.Module | None, rnn: Rnn) -> Tensor:
    if isinstance(readout, nn.Linear):
        weight: Tensor = read_attribute("readout", readout, "weight")
    else:
        weight = read_weight("readout", readout, model)
    columns = rnn.size * len(rnn.directions)
    if weight.dim() != 2 or weight.shape[1] != columns:
        kind = type(rnn.module).__name__
        raise ValueError(
            f"readout must be (o, {columns}) to match the {columns} outputs of {kind}, got {tuple(weight.shape)}"
        )
    return weight


def has_no_shape_yet(readout: nn.Linear) -> bool:
    """An nn.LazyLinear before its first call."""
    return isinstance(readout._parameters.get("weight"), UninitializedParameter)


def _refuse_quantised(argument: str, module: object) -> None:
    if isinstance(module, nn.Module) and type(module).__module__.startswith("torch.ao.nn.quantized."):
        raise TypeError(
            f"{argument} is quantised ({type(module).__module__}.{type(module).__name__}), and the walks need weights "
            "with gradients: give the float module from which it was made"
        )

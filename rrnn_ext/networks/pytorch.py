"""The readers of PyTorch's recurrent modules."""

from __future__ import annotations

from typing import Any

from torch import nn

from rrnn_ext.networks.readers import Layer, Reader, reads


@reads(nn.RNN, nn.RNNCell)
class TorchReader(Reader):
    """Stacked, bidirectional and projected modules, and cells. The gates are one after another in the rows."""

    def __init__(self, module: Any) -> None:  # nn.Module types every attribute as Tensor | Module
        super().__init__(module)
        self.is_cell = isinstance(module, nn.RNNCellBase)
        if not self.is_cell:
            self.layers = module.num_layers
            self.directions = 2 if module.bidirectional else 1

    @property
    def size(self) -> int:
        size: int = self.module.proj_size if self._is_projected else self.module.hidden_size
        return size

    @property
    def _is_projected(self) -> bool:
        return not self.is_cell and self.module.proj_size > 0

    def layer(self, at: int, direction: int) -> Layer:
        suffix = "" if self.is_cell else f"_l{at}" + ("_reverse" if direction else "")
        recurrent, incoming = self.read(f"weight_hh{suffix}"), self.read(f"weight_ih{suffix}")
        if len(self.gates) > 1:
            recurrent = recurrent.reshape(len(self.gates), -1, recurrent.shape[-1])
            incoming = incoming.reshape(len(self.gates), -1, incoming.shape[-1])
        return Layer(recurrent, incoming, self.read(f"weight_hr{suffix}") if self._is_projected else None)


@reads(nn.GRU, nn.GRUCell)
class GruReader(TorchReader):
    gates = "reset gate", "update gate", "new gate"


@reads(nn.LSTM, nn.LSTMCell)
class LstmReader(TorchReader):
    gates = "input gate", "forget gate", "cell gate", "output gate"

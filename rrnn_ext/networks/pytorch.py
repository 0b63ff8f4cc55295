"""The readers of PyTorch's recurrent modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rrnn_ext.networks.readers import Layer, LayerRun, Reader, reads
from rrnn_ext.networks.running.steps import Vectors, before_each, gru_steps, lstm_steps, rnn_steps


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
    def state_sizes(self) -> Sequence[int]:
        return (self.size,)

    @property
    def _is_projected(self) -> bool:
        return not self.is_cell and self.module.proj_size > 0

    def layer(self, at: int, direction: int) -> Layer:
        suffix = self._suffix(at, direction)
        joined = len(self.gates) * self.layers * self.directions > 1  # weights that are taken apart or put together
        recurrent, incoming = (self.read(name + suffix, whole=joined) for name in ("weight_hh", "weight_ih"))
        if len(self.gates) > 1:
            recurrent = recurrent.reshape(len(self.gates), -1, recurrent.shape[-1])
            incoming = incoming.reshape(len(self.gates), -1, incoming.shape[-1])
        return Layer(recurrent, incoming, self.read(f"weight_hr{suffix}") if self._is_projected else None)

    def steps(self, run: LayerRun, states: Tensor) -> Vectors:
        initial = None if run.initial is None else run.initial[0]
        return rnn_steps(states, initial, self.module.nonlinearity, run.leak, run.rounding)

    def states(self, run: LayerRun) -> Tensor:
        is_tanh = self.module.nonlinearity == "tanh"
        if run.leak is None:
            return self._run_by(torch.rnn_tanh if is_tanh else torch.rnn_relu, run)
        f = torch.tanh if is_tanh else torch.relu
        first = run.inputs.new_zeros(len(run.inputs), self.size) if run.initial is None else run.initial[0]
        of_inputs = self._brought("ih", run, run.inputs)
        states = [first]
        for step in range(run.inputs.shape[1]):
            sums = of_inputs[:, step] + self._brought("hh", run, states[-1])
            states.append((1 - run.leak) * states[-1] + run.leak * f(sums))
        return torch.stack(states[1:], 1)

    def _run_by(self, function: Callable[..., Any], run: LayerRun) -> Tensor:
        """By PyTorch's own layer. Dropout between layers takes no part, as in the graph."""
        inputs, layer = run.inputs, run.layer
        initial = run.initial or [inputs.new_zeros(len(inputs), size) for size in self.state_sizes]
        states = [each.unsqueeze(0).contiguous() for each in initial]
        biases = [self._bias(kind, run) for kind in ("ih", "hh")]
        weights = [layer.incoming.flatten(0, -2), layer.recurrent.flatten(0, -2), *biases, layer.projection]
        given = [weight.to(inputs.dtype) for weight in weights if weight is not None]
        options = biases[0] is not None, 1, 0.0, False, False, True  # biases, layers, dropout, .., batch first
        found: Tensor = function(inputs, states if len(states) > 1 else states[0], given, *options)[0]
        return found

    def _brought(self, kind: str, run: LayerRun, values: Tensor) -> Tensor:
        """What inputs ("ih") or states ("hh") bring to the rows of the weights."""
        weight = run.layer.incoming if kind == "ih" else run.layer.recurrent
        return linear(values, weight.flatten(0, -2).to(values.dtype), self._bias(kind, run))

    def _bias(self, kind: str, run: LayerRun) -> Tensor | None:
        if not self.module.bias:
            return None
        return self.read(f"bias_{kind}{self._suffix(run.at, run.direction)}").to(run.inputs.dtype)

    def _suffix(self, at: int, direction: int) -> str:
        return "" if self.is_cell else f"_l{at}" + ("_reverse" if direction else "")


@reads(nn.GRU, nn.GRUCell)
class GruReader(TorchReader):
    gates = "reset gate", "update gate", "new gate"

    def steps(self, run: LayerRun, states: Tensor) -> Vectors:
        before = before_each(states, None if run.initial is None else run.initial[0])
        return gru_steps(self._brought("ih", run, run.inputs), self._brought("hh", run, before), before)

    def states(self, run: LayerRun) -> Tensor:
        return self._run_by(torch.gru, run)


@reads(nn.LSTM, nn.LSTMCell)
class LstmReader(TorchReader):
    gates = "input gate", "forget gate", "cell gate", "output gate"

    @property
    def state_sizes(self) -> Sequence[int]:
        return self.size, self.module.hidden_size

    def steps(self, run: LayerRun, states: Tensor) -> Vectors:
        first_h, first_c = (None, None) if run.initial is None else run.initial
        before = before_each(states, first_h)
        return lstm_steps(self._brought("ih", run, run.inputs) + self._brought("hh", run, before), first_c)

    def states(self, run: LayerRun) -> Tensor:
        return self._run_by(torch.lstm, run)

"""How the weights of a recurrent network become walk graphs: what ResolventPenalty hands to the op.

One rule serves every kind of module: each weight that a walk passes is one edge, rectified on its own and worth one
``alpha``, and only a recurrent weight takes a time step. The op knows a single recurrent matrix, so the edges that
take no time (from layer to layer, and through an LSTM's projection) are multiplied into their neighbours here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

WeightSource: TypeAlias = Tensor | Callable[[], Tensor]

GATES: dict[type[nn.Module], int] = {
    nn.RNN: 1,
    nn.RNNCell: 1,
    nn.GRU: 3,
    nn.GRUCell: 3,
    nn.LSTM: 4,
    nn.LSTMCell: 4,
}


class Graphs(NamedTuple):
    """The op's three weights, (..., n, n), (..., n, i) and (..., o, n): one graph, or a batch whose penalties add."""

    weight_hh: Tensor
    weight_in: Tensor | None
    weight_out: Tensor | None
    dtype: torch.dtype  # of the network's weights: what is multiplied together here is float32 at least


class GivenWeights:
    """The weights of ``ResolventPenalty.from_weights``: tensors, or callables that are asked at every call."""

    def __init__(
        self, weight_hh: WeightSource, weight_in: WeightSource | None, weight_out: WeightSource | None
    ) -> None:
        _check_source("weight_hh", weight_hh)
        if weight_in is not None:
            _check_source("weight_in", weight_in)
        if weight_out is not None:
            _check_source("weight_out", weight_out)
        self.weight_hh = weight_hh
        self.weight_in = weight_in
        self.weight_out = weight_out

    def graphs(self, *, alpha: float | Tensor, rectify: bool, leak: float | None) -> Graphs:
        weight_hh = _read_source("weight_hh", self.weight_hh)
        weight_in = None if self.weight_in is None else _read_source("weight_in", self.weight_in)
        weight_out = None if self.weight_out is None else _read_source("weight_out", self.weight_out)
        if leak is not None:
            weight_hh = _leaky(weight_hh, leak)
            weight_in = None if weight_in is None else leak * weight_in
        return Graphs(weight_hh, weight_in, weight_out, weight_hh.dtype)

    def __repr__(self) -> str:
        given = (("weight_hh", self.weight_hh), ("weight_in", self.weight_in), ("weight_out", self.weight_out))
        return ", ".join(f"{name}={_describe(source)}" for name, source in given if source is not None)


class ModuleWeights:
    """The weights of one of PyTorch's recurrent modules and of its read-out, read by name at every call."""

    def __init__(self, rnn: nn.Module, readout: nn.Linear | WeightSource | None) -> None:
        self.gates = next((gates for kind, gates in GATES.items() if isinstance(rnn, kind)), 0)
        if not self.gates:
            raise TypeError(
                f"rnn must be one of {', '.join(f'nn.{kind.__name__}' for kind in GATES)}, got {type(rnn).__name__}; "
                "for other models use ResolventPenalty.from_weights"
            )
        if isinstance(readout, nn.Module) and not isinstance(readout, nn.Linear):
            raise TypeError(
                "readout must be an nn.Linear, a tensor, a callable that returns one, or None, "
                f"got {type(readout).__name__}"
            )
        if readout is not None and not isinstance(readout, nn.Linear):
            _check_source("readout", readout)
        self.rnn = cast(Any, rnn)  # nn.Module types every attribute as Tensor | Module
        self.readout = readout
        # torch.compile will not look at an nn.RNN, nn.GRU or nn.LSTM, but it does at these two. They live and are
        # copied with the module.
        self.rnn_parameters, self.rnn_modules = rnn._parameters, rnn._modules
        self.is_cell = isinstance(rnn, nn.RNNCellBase)
        self.layers: int = 1 if self.is_cell else self.rnn.num_layers
        self.directions = ("", "_reverse") if not self.is_cell and self.rnn.bidirectional else ("",)
        self.is_projected = not self.is_cell and self.rnn.proj_size > 0
        self.size: int = self.rnn.proj_size if self.is_projected else self.rnn.hidden_size  # of one direction's state
        if isinstance(readout, (nn.Linear, Tensor)):
            self._read_readout()  # a read-out that does not fit is told of now, not at the first call

    def graphs(self, *, alpha: float | Tensor, rectify: bool, leak: float | None) -> Graphs:
        # Each weight is read once: a parametrization may be dear, or random.
        layers = [[self._read_layer(layer, suffix, leak) for suffix in self.directions] for layer in range(self.layers)]
        weight_out = self._read_readout()
        weight_hh, weight_in = layers[0][0]
        if weight_out is not None and (weight_out.dtype, weight_out.device) != (weight_hh.dtype, weight_hh.device):
            raise ValueError(
                f"readout must be {weight_hh.dtype} on {weight_hh.device} like the weights of rnn, "
                f"got {weight_out.dtype} on {weight_out.device}"
            )
        if self.layers == 1 and len(self.directions) == 1 and not self.is_projected:
            return Graphs(weight_hh, weight_in, weight_out, weight_hh.dtype)
        # Autocast may lower the precision of activations, not that of the weights that are multiplied here.
        with torch.autocast(weight_hh.device.type, enabled=False):
            return self._compose(layers, weight_out, alpha, rectify)

    def _compose(
        self, layers: list[list[tuple[Tensor, Tensor]]], weight_out: Tensor | None, alpha: float | Tensor, rectify: bool
    ) -> Graphs:
        """One graph for each choice of a direction in every layer, over the hidden units of those directions.

        h_l[t] = W_l h_l[t-1] + C_l h_{l-1}[t] (every W, C and U with its alpha; x in place of h_{-1}) holds within a
        graph. Put the right side of layer l-1 in place of h_{l-1}[t]: row l of the joint weight is C_l times row l-1,
        and W_l on the diagonal.
        """
        like, _ = layers[0][0]
        device, dtype = like.device, torch.promote_types(like.dtype, torch.float32)
        step = alpha
        if isinstance(alpha, Tensor):  # a number on the CPU multiplies tensors anywhere, and a copy of it would wait
            step = alpha.to(dtype) if alpha.dim() == 0 else alpha.to(device, dtype)[..., None, None]

        def edges(weight: Tensor) -> Tensor:
            return weight.to(dtype).abs() if rectify else weight.to(dtype)

        # Of each graph so far: the last layer's direction, and the layers' rows of the joint weight_hh and weight_in.
        partial: list[tuple[int, list[Tensor], list[Tensor]]] = []
        for layer in range(self.layers):
            extended: list[tuple[int, list[Tensor], list[Tensor]]] = []
            for direction, suffix in enumerate(self.directions):
                recurrent, incoming = map(edges, layers[layer][direction])
                if self.is_projected:
                    projection = step * edges(self._read(f"weight_hr_l{layer}{suffix}"))
                    recurrent, incoming = projection @ recurrent, projection @ incoming
                if layer == 0:
                    extended.append((direction, [recurrent], [incoming]))
                    continue
                for below, rows, in_rows in partial:
                    between = step * self._columns_of(incoming, below)
                    row = torch.cat([between @ rows[-1], recurrent], dim=-1)
                    extended.append((direction, [*rows, row], [*in_rows, between @ in_rows[-1]]))
            partial = extended

        width = self.layers * self.size
        above = width - self.size  # the units below the last layer, which no output reads
        weight_hh = [torch.cat([pad(row, (0, width - row.shape[-1])) for row in rows], -2) for _, rows, _ in partial]
        weight_in = [torch.cat(in_rows, -2) for _, _, in_rows in partial]
        if weight_out is not None:
            readouts = [pad(self._columns_of(weight_out.to(dtype), last), (above, 0)) for last, _, _ in partial]
        elif above:
            # Reading the last layer's units is no edge: take back the alpha that the op gives to weight_out.
            readouts = [pad(torch.eye(self.size, dtype=dtype, device=device) / step, (above, 0))] * len(partial)
        else:
            readouts = []
        if len(partial) == 1:
            return Graphs(weight_hh[0], weight_in[0], readouts[0] if readouts else None, like.dtype)
        outputs = torch.stack(readouts) if readouts else None
        if outputs is not None and self.gates > 1 and outputs.dim() == 3:
            outputs = outputs.unsqueeze(1)  # the gates share a read-out
        return Graphs(torch.stack(weight_hh), torch.stack(weight_in), outputs, like.dtype)

    def _columns_of(self, weight: Tensor, direction: int) -> Tensor:
        """The columns of a weight that read one direction of the layer below: PyTorch puts the forward half first."""
        return weight[..., direction * self.size : (direction + 1) * self.size]

    def _read_layer(self, layer: int, suffix: str, leak: float | None) -> tuple[Tensor, Tensor]:
        """A layer's recurrent and incoming weights; of a gated module (gates, n, .)."""
        recurrent, incoming = self._read(f"weight_hh_l{layer}{suffix}"), self._read(f"weight_ih_l{layer}{suffix}")
        if self.gates > 1:
            recurrent = recurrent.reshape(self.gates, -1, recurrent.shape[-1])
            incoming = incoming.reshape(self.gates, -1, incoming.shape[-1])
        if leak is not None:
            recurrent, incoming = _leaky(recurrent, leak), leak * incoming
        return recurrent, incoming

    def _read(self, name: str) -> Tensor:
        name = name.removesuffix("_l0") if self.is_cell else name
        if torch.compiler.is_compiling():
            parametrizations = cast("nn.ModuleDict | None", self.rnn_modules.get("parametrizations"))
            if parametrizations is not None and name in parametrizations:
                return cast(Tensor, parametrizations[name]())
            parameter = self.rnn_parameters.get(name)
            if parameter is not None:
                return parameter
        return _read_attribute(self.rnn, name)

    def _read_readout(self) -> Tensor | None:
        if self.readout is None:
            return None
        if isinstance(self.readout, nn.Linear):
            weight = _read_attribute(self.readout, "weight")
        else:
            weight = _read_source("readout", self.readout)
        columns = self.size * len(self.directions)
        if weight.dim() != 2 or weight.shape[1] != columns:
            kind = type(self.rnn).__name__
            raise ValueError(
                f"readout must be (o, {columns}) to match the {columns} outputs of {kind}, got {tuple(weight.shape)}"
            )
        return weight

    def __repr__(self) -> str:
        readout = "" if self.readout is None else f", readout={_describe(self.readout)}"
        return f"{type(self.rnn).__name__}({self.rnn.extra_repr()}){readout}"


def _leaky(weight_hh: Tensor, leak: float) -> Tensor:
    eye = torch.eye(weight_hh.shape[-1], dtype=weight_hh.dtype, device=weight_hh.device)
    return (1.0 - leak) * eye + leak * weight_hh


def _check_source(name: str, source: object) -> None:
    if isinstance(source, nn.Linear) or not (isinstance(source, Tensor) or callable(source)):
        raise TypeError(f"{name} must be a tensor or a callable that returns one, got {type(source).__name__}")


def _read_source(name: str, source: WeightSource) -> Tensor:
    if isinstance(source, Tensor):
        return source
    weight: object = source()
    if not isinstance(weight, Tensor):
        raise TypeError(f"{name} must return a tensor, got {type(weight).__name__}")
    return weight


def _read_attribute(module: nn.Module, name: str) -> Tensor:
    """The weight that the module's next forward will use.

    Pruning and the hook-based weight_norm and spectral_norm refresh the attribute only in forward: between a step of
    the optimiser and that forward it is stale, so ask the hook. Parametrizations are properties, always fresh.
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            return cast(Tensor, hook.apply_mask(module))
        if isinstance(hook, WeightNorm) and hook.name == name:
            return cast(Tensor, hook.compute_weight(module))
        if isinstance(hook, SpectralNorm) and hook.name == name:
            return hook.compute_weight(module, do_power_iteration=False)
    return cast(Tensor, getattr(module, name))


def _describe(source: nn.Linear | WeightSource) -> str:
    if isinstance(source, nn.Linear):
        return f"Linear({source.in_features}, {source.out_features})"
    if isinstance(source, Tensor):
        return str(tuple(source.shape))
    return getattr(source, "__qualname__", type(source).__name__)

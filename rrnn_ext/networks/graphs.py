"""How the weights of a recurrent network become walk graphs: what ResolventPenalty hands to the op.

One rule serves every kind of module: each weight that a walk passes is one edge, rectified on its own and worth one
``alpha``, and only a recurrent weight takes a time step. The op knows a single recurrent matrix, so the edges that
take no time (from layer to layer, and through an LSTM's projection) are multiplied into their neighbours here.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from rrnn_ext.diagnostics import spectral_radius
from rrnn_ext.networks.compose import compose
from rrnn_ext.networks.constants import Constant
from rrnn_ext.networks.leaks import in_layer, leaky, rows_of, widened
from rrnn_ext.networks.readers import Layer, Reader, find_reader, read_layers
from rrnn_ext.networks.readouts import READOUTS, find_readout, has_no_shape_yet, read_readout
from rrnn_ext.networks.sources import WeightSource, check_name, check_source, describe, read_weight, step, unwrapped
from rrnn_ext.sharded.gathered import gathered, gathered_for_runs
from rrnn_ext.sparse.call import is_sparse

Gains: TypeAlias = int | Literal["mean"] | WeightSource | None

_SOON_KNOWN = 1024  # units whose eigenvalues an error may take the time to compute


class Graphs(NamedTuple):
    """The op's three weights, (..., n, n), (..., n, i) and (..., o, n): one graph, or a batch whose penalties add."""

    weight_hh: Tensor
    weight_in: Tensor | None
    weight_out: Tensor | None
    dtype: torch.dtype  # of the network's weights: what is multiplied together here is float32 at least
    weights: Mapping[str, Any]  # of the network, by name, of which the three are made
    layers: int = 1  # whose units the graphs join, as many of each
    # What the graphs are called along each dimension of the batch, where they have a name:
    choices: Sequence[str] = ()  # by the direction in each layer
    gates: Sequence[str] = ()

    def where(self, entry: int | None, rectify: bool) -> str:
        """Which graph an index in the flattened batch means, and which of its layers diverges."""
        batch = self.batch()
        index: list[int] = []
        for size in reversed(batch):
            entry, at = divmod(entry or 0, size)
            index.insert(0, at)
        if self.choices or self.gates:
            parts = [names[at] for names, at in zip(filter(None, (self.choices, self.gates)), index, strict=True)]
            if self.choices:
                layers = f"s {parts[0]} in layers 0 to {self.layers - 1}" if self.layers > 1 else f" {parts[0]}"
                parts[0] = f"direction{layers}"
        else:
            parts = [f"entry {', '.join(map(str, index))} of the batch"] if index else []
        if self.layers > 1 and self.weight_hh.shape[-1] <= _SOON_KNOWN:
            joint = self.weight_hh.detach().expand(*batch, *self.weight_hh.shape[-2:])[tuple(index)]
            # Nothing leads back to a lower layer, so the eigenvalues are those of the layers.
            blocks = joint.unflatten(1, (self.layers, -1)).unflatten(0, (self.layers, -1)).diagonal(dim1=0, dim2=2)
            own = blocks.movedim(-1, 0)
            parts.append(f"layer {int(spectral_radius(own.abs() if rectify else own).argmax())}")
        return ", ".join(parts)

    def batch(self) -> torch.Size:
        weights = (weight for weight in self[:3] if isinstance(weight, Tensor))
        return torch.broadcast_shapes(*(weight.shape[:-2] for weight in weights))


class GivenWeights:
    """The weights of ``ResolventPenalty.from_weights``. Its attributes are what was given."""

    def __init__(
        self,
        model: nn.Module | None,
        weight_hh: WeightSource,
        weight_in: WeightSource | None = None,
        weight_out: WeightSource | None = None,
    ) -> None:
        check_source("weight_hh", weight_hh, model)
        if weight_in is not None:
            check_source("weight_in", weight_in, model)
        if weight_out is not None:
            check_source("weight_out", weight_out, model)
        self.model = model
        self.weight_hh = weight_hh
        self.weight_in = weight_in
        self.weight_out = weight_out

    def read(self, *, for_run: bool = False) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """``for_run``: for a batch, of which each rank has one of its own where weights are sharded."""
        weight_hh = read_weight("weight_hh", self.weight_hh, self.model)
        weight_in = None if self.weight_in is None else read_weight("weight_in", self.weight_in, self.model)
        weight_out = None if self.weight_out is None else read_weight("weight_out", self.weight_out, self.model)
        if for_run:
            return gathered_for_runs(weight_hh), gathered_for_runs(weight_in), gathered_for_runs(weight_out)
        return weight_hh, weight_in, weight_out

    def weights(self) -> Mapping[str, Any]:
        """By name."""
        return self._by_name(*self.read())

    @staticmethod
    def _by_name(weight_hh: Any, weight_in: Any, weight_out: Any) -> Mapping[str, Any]:
        return {"weight_hh": weight_hh, "weight_in": weight_in, "weight_out": weight_out}

    def graphs(self, *, alpha: float | Tensor, rectify: bool, leak: float | Tensor | Constant | None) -> Graphs:
        weight_hh, weight_in, weight_out = self.read()
        weights = self._by_name(weight_hh, weight_in, weight_out)
        dtype = weight_hh.dtype
        if leak is not None and is_sparse(weight_hh):
            raise ValueError(
                "leak must be None for a sparse weight_hh: give it with its leak, whose edges are self-loops"
            )
        if leak is not None:
            weight_hh, weight_in, weight_out = gathered(weight_hh), gathered(weight_in), gathered(weight_out)
            for name, weight in (("weight_in", weight_in), ("weight_out", weight_out)):
                if weight is not None and weight.dtype != dtype:
                    raise TypeError(f"{name} must have the dtype of weight_hh, {dtype}, got {weight.dtype}")
            rows = rows_of(leak, weight_hh, weight_hh.shape[:-1])
            weight_hh, weight_in = (
                leaky(weight_hh, rows),
                None if weight_in is None else rows * widened(weight_in),
            )
            weight_out = None if weight_out is None else widened(weight_out)
        return Graphs(weight_hh, weight_in, weight_out, dtype, weights)

    def refuse_leak(self, leak: object) -> None:
        """Any may have one."""

    def refuse_gains(self, gains: object) -> None:
        if gains is not None:
            check_source("gains", gains, self.model, kinds="a tensor (steps, n)")

    def __repr__(self) -> str:
        given = (("weight_hh", self.weight_hh), ("weight_in", self.weight_in), ("weight_out", self.weight_out))
        return ", ".join(f"{name}={describe(source)}" for name, source in given if source is not None)


class ModuleWeights:
    """The weights of a recurrent module that has a reader, and of its read-out. Its attributes are what was given."""

    def __init__(
        self, model: nn.Module | None, rnn: nn.Module | str, readout: nn.Linear | WeightSource | None = None
    ) -> None:
        if isinstance(rnn, str):
            check_name("rnn", rnn, model)
        if isinstance(readout, str):
            check_name("readout", readout, model)
        reader, found = find_reader(rnn, model), find_readout(readout, model)
        if found is not None and not isinstance(found, nn.Linear):
            check_source("readout", found, model, kinds=READOUTS)
        self.model = model
        self.rnn = rnn
        self.readout = readout
        if isinstance(found, Tensor) or (isinstance(found, nn.Linear) and not has_no_shape_yet(found)):
            read_readout(found, model, reader)  # a read-out that does not fit is told of now, not at the first call

    def refuse_leak(self, leak: object) -> None:
        _refuse_leak(leak, find_reader(self.rnn, self.model))

    def refuse_gains(self, gains: object) -> None:
        number = hasattr(gains, "__index__") and not isinstance(gains, (bool, Tensor)) and operator.index(gains) >= 1
        if gains is not None and not number and not (isinstance(gains, str) and gains == "mean"):
            raise ValueError(f"gains must be 'mean' or a number of sequences, at least 1, got {gains!r}")

    def read(self, *, for_run: bool = False) -> tuple[Reader, list[list[Layer]], Tensor | None]:
        """The module's reader, its layers' weights by direction, and the read-out's weight. ``for_run``: for a batch,
        of which each rank has one of its own where weights are sharded."""
        reader = find_reader(step("rnn", "", self, "rnn"), self.model)
        reader.for_run = for_run
        readout = find_readout(self.readout, self.model)
        layers = read_layers(reader)
        weight_out = None if readout is None else read_readout(readout, self.model, reader)
        like = layers[0][0].recurrent
        if weight_out is not None and (weight_out.dtype, weight_out.device) != (like.dtype, like.device):
            raise ValueError(
                f"readout must be {like.dtype} on {like.device} like the weights of rnn, "
                f"got {weight_out.dtype} on {weight_out.device}"
            )
        return reader, layers, gathered_for_runs(weight_out) if for_run else weight_out

    def weights(self) -> Mapping[str, Any]:
        """By name."""
        reader, _, weight_out = self.read()
        return self._by_name(reader, weight_out)

    @staticmethod
    def _by_name(reader: Reader, weight_out: Tensor | None) -> Mapping[str, Any]:
        return {**reader.weights, "the weight of the read-out": weight_out}

    def graphs(self, *, alpha: float | Tensor, rectify: bool, leak: float | Tensor | Constant | None) -> Graphs:
        reader, layers, weight_out = self.read()
        weights = self._by_name(reader, weight_out)
        like = layers[0][0].recurrent
        if leak is not None:
            _refuse_leak(leak, reader)
            if layers[0][0].projection is not None:
                raise ValueError(f"leak must be None for a projected module, got {type(reader.module).__name__}")
            rows = rows_of(leak, like, (reader.layers, reader.size))
            for at, directions in enumerate(layers):
                factor = in_layer(rows, at)
                layers[at] = [
                    Layer(leaky(gathered(layer.recurrent), factor), factor * widened(gathered(layer.incoming)))
                    for layer in directions
                ]
            weight_out = None if weight_out is None else widened(gathered(weight_out))
        gates = () if len(reader.gates) == 1 else reader.gates
        only = layers[0][0]
        if reader.layers == 1 and reader.directions == 1 and only.projection is None:
            return Graphs(only.recurrent, only.incoming, weight_out, like.dtype, weights, gates=gates)
        joint, choices = compose(reader, layers, gathered(weight_out), alpha, rectify)
        return Graphs(*joint, like.dtype, weights, reader.layers, choices if len(choices) > 1 else (), gates)

    def __repr__(self) -> str:
        rnn: Any = unwrapped(self.rnn)
        shown = f"rnn={rnn!r}" if isinstance(rnn, str) else f"{type(rnn).__name__}({rnn.extra_repr()})"
        return shown + ("" if self.readout is None else f", readout={describe(self.readout)}")


def _refuse_leak(leak: object, reader: Reader) -> None:
    if leak is not None and len(reader.gates) > 1:
        shown = "" if isinstance(leak, Constant) else f"leak={describe(leak)} for "
        raise ValueError(f"leak must be None for a gated module, got {shown}{type(reader.module).__name__}")

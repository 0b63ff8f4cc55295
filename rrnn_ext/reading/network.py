"""A trained network as it is read: its walk graphs, from a module or from a checkpoint."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

import rrnn_ext
from rrnn_ext.networks.graphs import ModuleWeights
from rrnn_ext.reading import checkpoints


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """The graphs of one network: one for a plain RNN, one for each gate and each choice of directions of others.

    >>> import torch
    >>> from rrnn_ext.reading import Network
    >>> model = torch.nn.ModuleDict({"cells": torch.nn.GRU(3, 8), "head": torch.nn.Linear(8, 2)})
    >>> torch.save(model.state_dict(), "model.pt")
    >>> network = Network.from_checkpoint("model.pt")
    >>> network
    Network(8 hidden units, 3 inputs, 2 outputs; reset gate, update gate, new gate)
    >>> network.graphs
    ('reset gate', 'update gate', 'new gate')
    >>> network.walks(steps=20).shape
    torch.Size([3, 20, 2, 3])

    Attributes:
        weight_hh, weight_in: (graphs, n, n), (graphs, n, i), float64. Of stacked layers, one graph over the hidden
            units of all of them: edges between layers take no time.
        weight_out: (graphs, o, n); the identity where there is no read-out.
        graphs: what each graph is called; "" for the only one of a plain RNN.
        names: the tensors of a checkpoint that were read, by role, for the reader to check.
        steps: the length of the sequences, if the checkpoint tells.
        module, readout: the recurrent module and the weight of what reads it, None where its units are the outputs.
    """

    weight_hh: Tensor
    weight_in: Tensor
    weight_out: Tensor
    graphs: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    steps: int | None = None
    module: nn.Module | None = None
    readout: Tensor | None = None

    @classmethod
    @torch.no_grad()
    def from_module(cls, rnn: nn.Module, readout: nn.Linear | Tensor | None = None) -> Network:
        """The network of a recurrent module and of what reads its last layer, as :class:`rrnn_ext.ResolventPenalty`
        takes them: PyTorch's modules, and those of a registered :class:`rrnn_ext.networks.Reader`."""
        readout = readout.detach() if isinstance(readout, Tensor) else readout
        found = ModuleWeights(None, rnn, readout).graphs(alpha=1.0, rectify=False, leak=None)
        assert found.weight_in is not None  # every layer reads something
        units = found.weight_hh.shape[-1]
        weight_out = torch.eye(units, device=found.weight_hh.device) if found.weight_out is None else found.weight_out
        batch = found.batch()
        named = itertools.product(found.choices or ("",), found.gates or ("",))
        names = tuple(": ".join(filter(None, parts)) for parts in named)
        weight_hh, weight_in, weight_out = (
            weight.to(found.weight_hh.device, torch.float64)
            .expand(*batch, *weight.shape[-2:])
            .reshape(len(names), *weight.shape[-2:])
            for weight in (found.weight_hh, found.weight_in, weight_out)
        )
        if isinstance(readout, nn.Linear):
            readout = readout.weight.detach()
        return cls(weight_hh, weight_in, weight_out, names, module=rnn, readout=readout)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        *,
        weight_hh: str | None = None,
        weight_in: str | None = None,
        weight_out: str | None = None,
        units_are_outputs: bool = False,
    ) -> Network:
        """The network in a file: safetensors, or whatever ``torch.load(weights_only=True)`` accepts.

        A whole module that ``torch.save`` wrote is not of these, as loading it runs code that is in the file. Where you
        trust it, ``torch.load(path, weights_only=False)`` gives the module, whose parts :meth:`from_module` takes.

        The checkpoint may nest its state_dict (beside an optimiser's, say): names are then joined by dots. The
        recurrent module, be it stacked, bidirectional or projected, is found by the names that PyTorch gives its
        weights (``...weight_hh_l0``, ``...weight_hh``) or that rrnn_ext gives them (``...weight_hh``,
        ``...weight_in``, ``...weight_out``), or by shape where no name matches.

        Args:
            path: the file.
            weight_hh, weight_in, weight_out: names of tensors in it, where they are not found, or not the right ones.
            units_are_outputs: there is no read-out, as in the state_dict of an nn.LSTM: the units of the last layer
                (of an ``nn.LSTM`` with ``proj_size``, what they are projected to) are the outputs.

        Raises:
            CheckpointError: no such file, not a checkpoint, no network in it, or more than one: whatever stays
                ambiguous lists what is there and asks for the name.
        """
        found = checkpoints.read(
            Path(path),
            weight_hh=weight_hh,
            weight_in=weight_in,
            weight_out=weight_out,
            units_are_outputs=units_are_outputs,
        )
        network = cls.from_module(found.module, found.readout)
        return replace(network, names=found.names, steps=found.steps)

    def __repr__(self) -> str:
        (_, units, inputs), outputs = self.weight_in.shape, self.weight_out.shape[-2]
        graphs = "".join(f"{', ' if k else '; '}{name}" for k, name in enumerate(self.graphs) if name)
        return f"Network({units} hidden units, {inputs} inputs, {outputs} outputs{graphs})"

    @torch.no_grad()
    def walks(self, steps: int) -> Tensor:
        """P (graphs, steps, o, i): what an output gets from a unit impulse at an input, by lag, lag 0 first, if the
        network had no nonlinearity; of gated networks, the walks through each gate's weights."""
        return rrnn_ext.hop_decomposition(self.weight_hh, self.weight_in, self.weight_out, hops=steps)

    @property
    def is_gated(self) -> bool:
        """Whether the graphs are those of gates, whose walks are not what the network does."""
        return any("gate" in name for name in self.graphs)

    @torch.no_grad()
    def walks_on(self, sequences: Tensor) -> Tensor:
        """P (steps, o, i) of the network as it ran on sequences (count, steps, i), all gates, layers and directions
        together: products of the mean over the sequences of its step Jacobians. Of one sequence they are
        dy_T / dx_{T-m}; of several their mean only as far as the step Jacobians of different steps vary
        independently, and else too small, by up to a fifth and more. It starts from zeros.

        Raises:
            TypeError: the module is none of nn.RNN, nn.GRU and nn.LSTM, which know how to run.
            ValueError: the sequences do not fit it.
        """
        module = self.module
        if not isinstance(module, nn.RNNBase):
            raise TypeError(f"module must be an nn.RNN, nn.GRU or nn.LSTM to be run, got {type(module).__name__}")
        if sequences.dim() != 3 or sequences.shape[-1] != module.input_size:
            raise ValueError(f"sequences must be (count, steps, {module.input_size}), got {tuple(sequences.shape)}")
        weight = next(module.parameters())
        x = sequences.to(weight)
        x = x if module.batch_first else x.transpose(0, 1)
        reading = rrnn_ext.ResolventPenalty(module, self.readout, hops=None)
        walks = reading.hop_decomposition(x, module(x)[0])
        return walks if walks.dim() == 3 else walks.sum(0)

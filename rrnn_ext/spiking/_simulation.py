"""The rates of a layer's neurons under independent presynaptic spikes, by simulation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrnn_ext.spiking._layer_neuron import LayerNeuron

_SPIKES = 10_000  # that are to be seen
_MOST_STEPS = 100_000  # of all samples together
_SAMPLES = 16
_SETTLING = 10.0  # time constants
_COUNTING = (
    40_000.0  # time constants of all neurons together: they have input in common, so that spikes alone do not count
)
_CHUNK = 200  # steps of input at a time


def simulated_chances(
    weights: Tensor, chances: Tensor, neuron: LayerNeuron, *, expected: float, recurrent: Tensor | None = None
) -> Tensor:
    """Of a spike within a step (m,), of neurons with the weights (m, n) from neurons with the chances (n,), and with
    recurrent weights (m, m) among themselves.

    The random numbers are always the same, so that the result is a smooth enough function of the weights' scale.
    """
    weights, chances = weights.float().cpu(), chances.float().cpu()
    recurrent = None if recurrent is None else recurrent.float().cpu()
    generator = torch.Generator().manual_seed(0)
    chunk_of = neuron.dt * _CHUNK / (neuron.tau + neuron.tau_syn)  # in time constants
    settling = math.ceil(_SETTLING / chunk_of)
    wanted = min(_SPIKES / (expected * len(weights)), _MOST_STEPS) / (_SAMPLES * _CHUNK)
    counted = math.ceil(max(wanted, _COUNTING / (len(weights) * chunk_of)))
    state, counts = None, torch.zeros(len(weights), dtype=torch.float64)
    for chunk in range(settling + counted):
        arriving = torch.rand(_CHUNK, _SAMPLES, len(chances), generator=generator) < chances
        spikes, state = neuron.run(arriving.float() @ weights.T, state, recurrent)
        if chunk >= settling:
            counts += spikes.sum((0, 1)).double()
    return counts / (counted * _CHUNK * _SAMPLES)

"""The free potential that a layer's recorded currents give, and the rates that follow from it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext.spiking._layer_neuron import LayerNeuron
from rrnn_ext.spiking._step_passage import Arrivals

_SETTLING = 5.0  # time constants, if there is as much again
_SIZES = 512


class MeasuredPotential(NamedTuple):
    """Of neurons (m,) whose weights have the scale 1."""

    mean: Tensor
    std: Tensor
    arrivals: Arrivals
    neuron: LayerNeuron

    def rate(self, scale: float) -> float:
        """Mean over the neurons, in Hz."""
        chances = self.neuron.chances(self.mean * scale, self.std * scale, self.arrivals)
        return chances.mean().item() / self.neuron.dt


def measured_potential(
    current: Tensor, neuron: LayerNeuron, *, gain: float, sources: int, active: float
) -> MeasuredPotential:
    """From the currents (T, samples, m), which come from so many presynaptic neurons, such a share of them active."""
    settling = round(_SETTLING * (neuron.tau + neuron.tau_syn) / neuron.dt)
    settling = settling if len(current) > 2 * settling else 0
    potential = synaptic = torch.zeros_like(current[0])
    total, squares = torch.zeros_like(potential), torch.zeros_like(potential)
    for step, arriving in enumerate(current):
        synaptic = neuron.leak_syn * synaptic + gain * arriving
        potential = neuron.leak * potential + synaptic
        if step >= settling:
            total += potential
            squares += potential.square()
    count = len(current) - settling
    mean = total.mean(0) / count
    variance = (squares.mean(0) / count - mean.square()).clamp_min(0)
    normal = math.sqrt(2) * torch.erfinv(2 * (torch.arange(_SIZES, dtype=torch.float64) + 0.5) / _SIZES - 1)
    arrivals = Arrivals(float(sources), min(max(active, 1e-6), 0.5), normal / normal.std(unbiased=False))
    return MeasuredPotential(mean, variance.sqrt(), arrivals, neuron)


def with_recurrent(potential: MeasuredPotential, weight: Tensor, gain: float, chance: float) -> MeasuredPotential:
    """The same neurons, if those (n,) of the layer spike independently with this chance and have these weights."""
    neuron = potential.neuron
    weight = gain * weight.detach().double().cpu()
    mean = weight.sum(1) * chance * neuron.mean_gain
    variance = weight.square().sum(1) * (chance * (1 - chance) * neuron.variance_gain)
    few = torch.linspace(0, len(weight) - 1, len(potential.mean)).long()
    return potential._replace(mean=potential.mean + mean[few], std=(potential.std.square() + variance[few]).sqrt())

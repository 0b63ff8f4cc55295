"""Rates and variances of a spiking network's layers before anything runs, and what becomes of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext.spiking._fit import MOST_ROWS, LayerSpikes, Rows, free_potential
from rrnn_ext.spiking._layer_neuron import LayerNeuron, layer_neuron
from rrnn_ext.spiking._layer_rates import arrivals_of
from rrnn_ext.spiking.init import checked_input
from rrnn_ext.spiking.surrogate import DEFAULT_SLOPE, Surrogate, check_surrogate, surrogate_derivative

_REACH, _MASSES = 0.5, 2000  # of the surrogate that counts, in distances from the reset to the threshold


class LayerStatistics(NamedTuple):
    """Of a layer's neurons. Potentials are free ones, which have no threshold."""

    rate: float  #: mean firing rate in Hz
    rate_std: float  #: its standard deviation over the neurons
    mean: float  #: of the potential
    mean_std: float  #: standard deviation of the neurons' mean potentials
    std: float  #: standard deviation of a neuron's potential in time, root mean square over the neurons
    gradient_gain: float  #: mean square of the gradient by what the layer receives over that by what it sends


@torch.no_grad()
def variance_propagation(
    weights: Sequence[Tensor],
    *,
    rate_in: float | Tensor,
    tau: float,
    dt: float,
    threshold: float = 1.0,
    reset: float = 0.0,
    refractory: float = 0.0,
    surrogate: Surrogate = "fast_sigmoid",
    slope: float = DEFAULT_SLOPE,
) -> list[LayerStatistics]:
    """What the layers of a feed-forward spiking network with these weights do, from the first to the last.

    Forwards, each neuron's mean and variance of the free potential follow from the rates of those before it, and its
    rate from these, as in :mod:`rrnn_ext.spiking.init`; spikes of a layer are renewal processes, which vary less than
    independent ones, and are taken for independent between neurons.

    Backwards, the gain is the second moment of the surrogate derivative under the distribution of the potential at the
    looks, through the leak's memory and the squares of the weights. Gradients at different times are taken for
    independent, as they are at an output that is read at random; the product of the gains over layers says whether
    gradients vanish or explode.

    Arguments:
        weights: (out, in) or (out, in, ...) of each layer, the in of one being the out of the one before.
        rate_in: of the network's input, in Hz: a number, or a tensor (in,) of one for each.
        surrogate, slope: as :func:`rrnn_ext.spiking.lif` takes them.
        tau, dt, threshold, reset, refractory: as :func:`rrnn_ext.spiking.init.rate_normal_` takes them.

    >>> _ = torch.manual_seed(0)
    >>> weights = [torch.randn(200, 200) / 8 for _ in range(4)]
    >>> [round(layer.rate) for layer in variance_propagation(weights, rate_in=20.0, tau=20e-3, dt=1e-3)]
    [14, 12, 9, 6]
    """
    neuron = layer_neuron(tau=tau, dt=dt, tau_syn=0.0, threshold=threshold, reset=reset, refractory=refractory)
    check_surrogate(surrogate, slope)
    distances, masses = _squares(neuron, surrogate, slope)
    rates, clustering = torch.as_tensor(rate_in), None
    layers = []
    for depth, weight in enumerate(weights):
        if depth > 0 and weight.shape[1:2] != rates.shape:
            raise ValueError(
                f"weights[{depth}] must be (out, {len(rates)}, ...) to match weights[{depth - 1}] "
                f"{tuple(weights[depth - 1].shape)}, got {tuple(weight.shape)}"
            )
        chances = checked_input(weight, rates, neuron, name=f"weights[{depth}]")
        rows = weight.double().flatten(1)
        # Of independent spikes from the input, of what the layer before sends else.
        noise = 1.0 if clustering is None else clustering.to(chances).repeat_interleave(weight[0, 0].numel())
        potential = free_potential(Rows(rows, torch.zeros_like(rows)), chances, noise, neuron)
        mean, std = potential.at(1.0)
        spikes = LayerSpikes(rows, mean, std, arrivals_of(rows[:MOST_ROWS], chances), chances, neuron)
        through = (spikes.mean_near_threshold(distances, masses) @ rows.square().cpu()).mean().item()
        rate = spikes.chances / dt
        gain = through / (1 - neuron.leak**2 * (1 - spikes.chances.mean().item()))
        layers.append(
            LayerStatistics(
                rate.mean().item(),
                rate.std(unbiased=False).item(),
                mean.mean().item(),
                mean.std(unbiased=False).item(),
                std.square().mean().sqrt().item(),
                gain,
            )
        )
        rates, clustering = rate.to(weight.device), spikes.clustering()
    return layers


def _squares(neuron: LayerNeuron, surrogate: Surrogate, slope: float) -> tuple[Tensor, Tensor]:
    """Distances from the threshold, close together near it, and masses of the squared surrogate derivative there."""
    reach = _REACH * (neuron.threshold - neuron.reset)
    edges = torch.linspace(-1, 1, _MASSES + 1, dtype=torch.float64)
    edges = reach * edges.abs().pow(3) * edges.sign()
    distances = (edges[1:] + edges[:-1]) / 2
    return distances, surrogate_derivative(distances, surrogate, slope).square() * edges.diff()

"""Weights of a given direction, of the scale at which their layer has a rate."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext.spiking._layer_neuron import LayerNeuron
from rrnn_ext.spiking._layer_rates import arrivals_of, pooled
from rrnn_ext.spiking._simulation import simulated_chances
from rrnn_ext.spiking._solve_scale import solve_scale
from rrnn_ext.spiking._step_passage import Arrivals

MOST_ROWS = 128  # whose weights are taken for those of all
# Standard deviations of the free potential that are tried, in distances from the reset to the threshold.
_SMALLEST, _LARGEST = 0.05, 30.0
_REFINEMENTS = 3
_EXACT = 2e-3
_NEARBY = 1.05
_LEAST_SLOPE = 0.5  # of a rate in the scale, both in logarithms


class Rows(NamedTuple):
    """Weights `scale * moving + fixed` of neurons (m, n), float64, on any device."""

    moving: Tensor
    fixed: Tensor

    def at(self, scale: float) -> Tensor:
        return scale * self.moving + self.fixed


class FreePotential(NamedTuple):
    """Of neurons (m,): mean and variance at any scale, as polynomials in it."""

    means: Tensor  # (2, m)
    variances: Tensor  # (3, m)

    def at(self, scale: float) -> tuple[Tensor, Tensor]:
        mean = self.means[0] + scale * self.means[1]
        variance = self.variances[0] + scale * (self.variances[1] + scale * self.variances[2])
        return mean, variance.clamp_min(0).sqrt()


def free_potential(rows: Rows, chances: Tensor, clustering: Tensor | float, neuron: LayerNeuron) -> FreePotential:
    """Of the rows' neurons under independent presynaptic spikes with the chances (n,) per step."""
    moving, fixed = rows
    noise = chances * (1 - chances) * clustering * neuron.variance_gain
    means = torch.stack([fixed @ chances, moving @ chances]) * neuron.mean_gain
    variances = torch.stack([fixed.square() @ noise, 2 * (fixed * moving) @ noise, moving.square() @ noise])
    return FreePotential(means.cpu(), variances.cpu())


class LayerSpikes:
    """What a layer's neurons (m,) do, whose weights and free potentials are given."""

    def __init__(
        self, weights: Tensor, mean: Tensor, std: Tensor, arrivals: Arrivals, sources: Tensor, neuron: LayerNeuron
    ) -> None:
        """`sources` are the chances of presynaptic spikes; `arrivals` those of the first neurons, each its own."""
        self._mean, self._std, self._neuron, self._alike = mean, std, neuron, pooled(arrivals)
        chances = neuron.chances(mean, std, self._alike)
        # What each neuron's own weights, not those of all, change in the rate is known for some of the neurons.
        some = slice(len(arrivals.sizes))
        if neuron.tau_syn > 0:
            own = simulated_chances(weights[some], sources, neuron, expected=chances[some].mean().item())
        else:
            own = neuron.own_chances(mean[some], std[some], arrivals)
        self.chances = chances * (own.mean() / chances[some].mean())  #: of a spike within a step

    def clustering(self) -> Tensor:
        """As `LayerNeuron.clustering` has it."""
        return self._neuron.clustering(self._mean, self._std, self._alike)

    def mean_near_threshold(self, distances: Tensor, masses: Tensor) -> Tensor:
        return self._neuron.mean_near_threshold(self._mean, self._std, self._alike, distances, masses)


class Fit(NamedTuple):
    """What `fit_scale` finds."""

    scale: float
    slope: float  # of the rate in the scale, both in logarithms
    spikes: LayerSpikes  # then


def fit_scale(
    rows: Rows,
    chances: Tensor,
    rate: float,
    neuron: LayerNeuron,
    *,
    clustering: Tensor | float = 1.0,
    least: float = 0.0,
) -> Fit:
    """At what scale the mean of the rows' rates is `rate`; OutOfReachError if there is none."""
    potential = free_potential(rows, chances, clustering, neuron)
    unit = potential.variances[2].mean().sqrt().item()
    span = neuron.threshold - neuron.reset
    least, most = max(least, _SMALLEST * span / unit), _LARGEST * span / unit
    guess = diffusion_guess(potential, rate, neuron, least=least, most=most)
    arrivals = arrivals_of(rows.at(guess)[:MOST_ROWS], chances)
    alike = pooled(arrivals)

    def rate_at(scale: float) -> float:
        return neuron.chances(*potential.at(scale), alike).mean().item() / neuron.dt

    scale = solve_scale(rate_at, rate, guess=guess, least=least, most=most)
    slope = max(math.log(rate_at(_NEARBY * scale) / rate) / math.log(_NEARBY), _LEAST_SLOPE)
    for _ in range(_REFINEMENTS):
        spikes = LayerSpikes(rows.at(scale), *potential.at(scale), arrivals, chances, neuron)
        excess = spikes.chances.mean().item() / (rate * neuron.dt)
        if abs(excess - 1) < _EXACT:
            break
        scale = min(max(scale * excess ** (-1 / slope), least), most)
    return Fit(scale, slope, spikes)


def diffusion_guess(potential: FreePotential, rate: float, neuron: LayerNeuron, *, least: float, most: float) -> float:
    """The scale at which some of the neurons would have the rate if spikes were many and small."""
    some = FreePotential(potential.means[:, :MOST_ROWS], potential.variances[:, :MOST_ROWS])
    scales = torch.logspace(math.log10(least), math.log10(most), 200, dtype=torch.float64).tolist()
    means, stds = map(torch.stack, zip(*(some.at(scale) for scale in scales), strict=True))
    reached = (neuron.diffusion_rate(means, stds).mean(1) >= rate).nonzero()
    return scales[int(reached[0]) if len(reached) > 0 else -1]

"""The rates of a layer's neurons, each from the mean and the standard deviation of its free potential."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext.spiking._step_passage import (
    LEAST_CHANCE,
    Arrivals,
    StepNeuron,
    chances_of_spikes,
    discounted_intervals,
    mean_near_threshold,
)

_MEANS, _STDS = 10, 4  # nodes that the neurons' rates are interpolated from
_MOST_SIZES = 1024
_LEAST_SILENCE = 1e-3
_RARE = 10.0  # standard deviations, of the potential and of a weight together, that are never seen
_TINY = 1e-300
_MOST_CHANCE = 1 - 1e-9
_LEAST_STD = 1e-3  # in distances from the reset to the threshold


def arrivals_of(weights: Tensor, chances: Tensor) -> Arrivals:
    """For each of the neurons with the weights (m, n) from presynaptic neurons with the chances (n,) of a spike within
    a step. The number and the chance of the sources are those of equal neurons that send as many spikes with the same
    variance."""
    total = chances.sum()
    deviations = weights - weights @ chances[:, None] / total
    deviations = deviations / (deviations.square() @ chances[:, None] / total).sqrt().clamp_min(_TINY)
    chance = min((chances.square().sum() / total).item(), _MOST_CHANCE)
    return Arrivals(total.item() / chance, chance, _equally_likely(deviations, chances.expand_as(deviations)))


def pooled(arrivals: Arrivals) -> Arrivals:
    """With the weights of all the neurons for each of them."""
    sizes = arrivals.sizes.reshape(1, -1)
    return arrivals._replace(sizes=_equally_likely(sizes, torch.ones_like(sizes))[0])


def _equally_likely(sizes: Tensor, shares: Tensor) -> Tensor:
    """Standardised sizes (m, at most so many), all of the same share."""
    sizes, order = sizes.sort()
    below = shares.gather(1, order).cumsum(1)
    wanted = min(_MOST_SIZES, sizes.shape[1])
    middles = (torch.arange(wanted, dtype=below.dtype, device=below.device) + 0.5) * (below[:, -1:] / wanted)
    sizes = sizes.gather(1, torch.searchsorted(below, middles).clamp_max(sizes.shape[1] - 1)).cpu()
    sizes = sizes - sizes.mean(1, keepdim=True)
    return sizes / sizes.std(1, keepdim=True, unbiased=False).clamp_min(_TINY)


def layer_chances(mean: Tensor, std: Tensor, arrivals: Arrivals, neuron: StepNeuron) -> Tensor:
    """That every neuron (m,) spikes in a step: computed at a few means and standard deviations, interpolated."""

    def logarithm(means: Tensor, stds: Tensor) -> Tensor:
        return chances_of_spikes(means, stds, arrivals, neuron).log()

    return _interpolated(logarithm, mean, std, arrivals, neuron, silent=math.log(LEAST_CHANCE)).exp()


def layer_clustering(mean: Tensor, std: Tensor, arrivals: Arrivals, neuron: StepNeuron) -> Tensor:
    """Variance of every neuron's spikes, filtered by a leak like its own, over that of independent spikes (m,).

    The spikes are a renewal process, of whose intervals E[leak ** interval] = F. A spike is followed by another one
    within any number of steps with chances that sum to F / (1 - F) if weighted with the leak.
    """

    def clustering(means: Tensor, stds: Tensor) -> Tensor:
        chance = chances_of_spikes(means, stds, arrivals, neuron)
        interval = discounted_intervals(means, stds, arrivals, neuron, discount=neuron.leak)
        excess = interval / (1 - interval) - chance * neuron.leak / (1 - neuron.leak)
        return 1 + 2 * excess / (1 - chance).clamp_min(_LEAST_SILENCE)

    return _interpolated(clustering, mean, std, arrivals, neuron, silent=1.0)


def layer_means(
    mean: Tensor, std: Tensor, arrivals: Arrivals, neuron: StepNeuron, *, distances: Tensor, masses: Tensor
) -> Tensor:
    """`mean_near_threshold` of every neuron (m,), interpolated."""

    def near_threshold(means: Tensor, stds: Tensor) -> Tensor:
        return mean_near_threshold(means, stds, arrivals, neuron, distances=distances, masses=masses)

    return _interpolated(near_threshold, mean, std, arrivals, neuron, silent=0.0)


def _interpolated(
    function: Callable[[Tensor, Tensor], Tensor],
    mean: Tensor,
    std: Tensor,
    arrivals: Arrivals,
    neuron: StepNeuron,
    *,
    silent: float,
) -> Tensor:
    """A function of means and standard deviations; `silent` is its value for those with which no neuron spikes."""
    nodes = _Nodes.of(mean, std, neuron)
    usual = nodes.stds * ((1 - neuron.leak**2) / (arrivals.sources * arrivals.chance)) ** 0.5  # of a weight
    reach = nodes.means.clamp_min(neuron.reset) + _RARE * (nodes.stds + usual)
    can = reach > neuron.threshold
    values = torch.full_like(nodes.means, silent)
    if can.any():
        values[can] = function(nodes.means[can], nodes.stds[can])
    return nodes.interpolate(values)


class _Nodes(NamedTuple):
    """A few means and standard deviations (nodes,) among those of neurons."""

    means: Tensor
    stds: Tensor
    by_mean: Tensor  # weights of interpolation (m, means)
    by_std: Tensor  # (m, standard deviations)

    @classmethod
    def of(cls, mean: Tensor, std: Tensor, neuron: StepNeuron) -> _Nodes:
        means, by_mean = _nodes(mean, _MEANS)
        log_stds, by_std = _nodes(std.clamp_min(_LEAST_STD * (neuron.threshold - neuron.reset)).log(), _STDS)
        return cls(means.repeat_interleave(len(log_stds)), log_stds.exp().repeat(len(means)), by_mean, by_std)

    def interpolate(self, values: Tensor) -> Tensor:
        return ((self.by_mean @ values.view(self.by_mean.shape[1], -1)) * self.by_std).sum(1)


def _nodes(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """As many as needed of the values, where many of them are and at the ends; and the weights (m, nodes) of linear
    interpolation between them."""
    least, most = values.min(), values.max()
    if most - least <= 1e-6 * torch.maximum(most.abs(), least.abs()):
        return least[None], torch.ones(len(values), 1, dtype=values.dtype)
    evenly = torch.linspace(0, 1, count, dtype=values.dtype)
    nodes = (torch.quantile(values, evenly) + least + (most - least) * evenly) / 2
    right = torch.searchsorted(nodes, values).clamp(1, count - 1)
    part = (values - nodes[right - 1]) / (nodes[right] - nodes[right - 1])
    weights = torch.zeros(len(values), count, dtype=values.dtype)
    weights.scatter_(1, right[:, None], part[:, None]).scatter_(1, right[:, None] - 1, 1 - part[:, None])
    return nodes, weights

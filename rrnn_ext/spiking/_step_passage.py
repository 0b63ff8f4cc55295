"""The firing rate of a neuron that takes its input in steps of time, from the law of what arrives within a step.

Between two spikes the potential is a Markov chain, V' = leak V + I, and the mean number of steps T(x) that it takes
from x to the threshold solves T(x) = 1 + E[T(leak x + I); leak x + I < threshold]. I is a sum over the presynaptic
spikes of the step, of which there may be few or none: neither a diffusion nor continuous time is assumed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_LATTICE = 2048  # points of the law of I
_POINTS_PER_STEP = 3.0  # lattice points within the standard deviation of a step that brings spikes
_MOST_POINTS = 640
_MOST_ABOVE = 200  # points above the threshold
LEAST_CHANCE = 1e-14  # of a spike within a step
_DEPTH = 6.0  # standard deviations below the mean from which the potential is held


class Arrivals(NamedTuple):
    """What the presynaptic neurons send within a step: a binomial number of spikes, each with a weight by chance."""

    sources: float  # how many presynaptic neurons
    chance: float  # that one of them spikes within a step
    sizes: Tensor  # ([neurons,] k) equally likely weights, standardised: mean 0, variance 1


class StepNeuron(NamedTuple):
    """Float numbers; time in steps."""

    leak: float  # exp(-dt / tau)
    threshold: float
    reset: float
    refractory: int


def chances_of_spikes(mean: Tensor, std: Tensor, arrivals: Arrivals, neuron: StepNeuron) -> Tensor:
    """Within a step, of neurons whose free potential has the means and standard deviations (k,), float64."""
    chain = _chain(mean, std, arrivals, neuron)
    return _chance(chain.total_until_spike(torch.ones_like(chain.stays[..., 0])) + neuron.refractory)


def discounted_intervals(
    mean: Tensor, std: Tensor, arrivals: Arrivals, neuron: StepNeuron, *, discount: float
) -> Tensor:
    """E[discount ** steps] of the steps from one spike to the next (k,)."""
    chain = _chain(mean, std, arrivals, neuron)
    fires = 1 - chain.stays.sum(-1)
    return chain.total_until_spike(discount * fires, discount=discount) * discount**neuron.refractory


def mean_near_threshold(
    mean: Tensor, std: Tensor, arrivals: Arrivals, neuron: StepNeuron, *, distances: Tensor, masses: Tensor
) -> Tensor:
    """Mean over all steps (k,) of a function of the potential that is looked at, of which masses (j,) stand at
    distances (j,) from the threshold; within refractory steps it is 0."""
    chain = _chain(mean, std, arrivals, neuron, reach=distances.max().item())
    # The density of the potential is linear between points.
    place = distances / chain.spacing[:, None] + chain.points - 0.5
    last = chain.reached.shape[-1] - 1
    left = place.floor().clamp(0, last - 1)
    part = (place - left).clamp(0, 1)
    at_points = torch.zeros(len(mean), last + 1, dtype=mean.dtype)
    at_points.scatter_add_(1, left.long(), masses * (1 - part)).scatter_add_(1, left.long() + 1, masses * part)
    rewards = (chain.reached @ (at_points / chain.spacing[:, None])[..., None])[..., 0]
    steps = chain.total_until_spike(torch.ones_like(rewards)) + neuron.refractory
    return chain.total_until_spike(rewards) * _chance(steps)


def _chance(steps: Tensor) -> Tensor:
    # Where spikes are so rare that the equations are singular, their solution is anything.
    return torch.where(steps < 1 - 1e-6, LEAST_CHANCE, 1 / steps.clamp_min(1.0)).clamp_min(LEAST_CHANCE)


class _Chain(NamedTuple):
    """Potentials of neurons (k,) at points; the threshold is midway between the last that is below it and the next."""

    spacing: Tensor
    reached: Tensor  # (k, from, to): chances of the points, those above the threshold too, after a step
    stays: Tensor  # (k, from, to): of those below it, as weights of an integral
    neuron: StepNeuron

    @property
    def points(self) -> int:
        return self.stays.shape[-1]

    def total_until_spike(self, rewards: Tensor, *, discount: float = 1.0) -> Tensor:
        """Mean sum (k,), from the reset on, of what the steps from each point bring (k, points)."""
        identity = torch.eye(self.points, dtype=rewards.dtype)
        totals = torch.linalg.solve(identity - discount * self.stays, rewards[..., None])[..., 0]
        first, weights = _stencil(
            (self.neuron.reset - self.neuron.threshold) / self.spacing + self.points - 0.5, self.points
        )
        return (totals.gather(1, first[:, None] + torch.arange(4)) * weights).sum(1)


def _grid(mean: Tensor, std: Tensor, arrivals: Arrivals, neuron: StepNeuron) -> tuple[Tensor, int]:
    """Distance of the points of each neuron, and their number; the threshold is midway between two."""
    lowest = mean.clamp_max(min(neuron.reset, 0.0)) - _DEPTH * std
    any_spike = -math.expm1(arrivals.sources * math.log1p(-arrivals.chance))
    step = std * math.sqrt((1 - neuron.leak**2) / any_spike)
    wanted = (neuron.threshold - lowest) / step * _POINTS_PER_STEP
    points = int(wanted.max().clamp(32, _MOST_POINTS).item())
    return (neuron.threshold - lowest) / points, points


def _law_of_arrivals(
    mean: Tensor, std: Tensor, spacing: Tensor, arrivals: Arrivals, neuron: StepNeuron
) -> tuple[Tensor, float]:
    """Chance that I is each multiple of the spacing (k, lattice), 0 in the middle, given that there are spikes; and
    the chance that there are none."""
    sources, chance, sizes = arrivals
    size = mean * (1 - neuron.leak) / (sources * chance)
    variance = std.square() * (1 - neuron.leak**2) / (sources * chance) - (1 - chance) * size.square()
    width = variance.clamp_min(0).sqrt()
    # Weights that are small beside the spacing are put on a finer lattice, whose low frequencies are as good.
    finer = 2 ** max(0, math.ceil(math.log2(2 * math.sqrt((spacing / width.clamp_min(1e-300)).max().clamp(0, 256)))))
    jumps = (size[:, None] + width[:, None] * sizes) / spacing[:, None] * finer
    first, weights = _stencil(jumps + finer * _LATTICE // 2, finer * _LATTICE)
    one = torch.zeros(len(mean), finer * _LATTICE, dtype=mean.dtype)
    for offset in range(4):
        one.scatter_add_(1, first + offset, weights[..., offset] / sizes.shape[-1])
    spectrum = torch.fft.rfft(torch.fft.ifftshift(one, dim=1))[:, : _LATTICE // 2 + 1]
    total = torch.exp(sources * torch.log(1 - chance + chance * spectrum))
    silent = math.exp(sources * math.log1p(-chance))
    law = torch.fft.fftshift(torch.fft.irfft(total - silent, n=_LATTICE), dim=1)
    return law, silent


def _chain(mean: Tensor, std: Tensor, arrivals: Arrivals, neuron: StepNeuron, *, reach: float = 0.0) -> _Chain:
    """With points as far above the threshold as asked for."""
    spacing, points = _grid(mean, std, arrivals, neuron)
    law, silent = _law_of_arrivals(mean, std, spacing, arrivals, neuron)
    above = min(math.ceil(reach / spacing.min().item()) + 1, _MOST_ABOVE) if reach > 0 else 0
    place = torch.arange(points) - (points - 0.5) + (neuron.threshold / spacing)[:, None]  # in spacings
    target = neuron.leak * place - place[:, :1]  # in points
    whole = target.floor()
    part = _lagrange(target - whole)
    windows = law.unfold(1, points + above, 1)  # (k, first, points)
    below = law.cumsum(1)
    each = torch.arange(len(law))[:, None]
    reached = torch.zeros(len(law), points, points + above, dtype=law.dtype)
    for offset in range(4):
        first = (_LATTICE // 2 + 1 - offset - whole.long()).clamp(0, windows.shape[1] - 1)
        reached += part[..., offset, None] * windows[each, first]
        reached[..., 0] += part[..., offset] * (below - law).gather(1, first)
    stays = reached[..., :points].clone()
    stays[..., -3:] *= 1 + torch.tensor([1.0, -3.0, 2.0], dtype=law.dtype) / 24  # Euler-Maclaurin at the threshold
    first, weights = _stencil(target, points)
    for offset in range(4):
        stays.scatter_add_(2, (first + offset)[..., None], silent * weights[..., offset, None])
    return _Chain(spacing, reached, stays, neuron)


def _stencil(place: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """First of the four points that a value between points is interpolated from, and their weights (..., 4)."""
    first = (place.floor().long() - 1).clamp(0, points - 4)
    return first, _lagrange(place - first - 1)


def _lagrange(x: Tensor) -> Tensor:
    """Weights of the values at -1, 0, 1, 2 in the cubic through them, at x."""
    return torch.stack(
        [
            -x * (x - 1) * (x - 2) / 6,
            (x + 1) * (x - 1) * (x - 2) / 2,
            -(x + 1) * x * (x - 2) / 2,
            (x + 1) * x * (x - 1) / 6,
        ],
        -1,
    )

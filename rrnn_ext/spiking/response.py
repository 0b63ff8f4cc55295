"""What one extra input spike does to the spikes of a neuron, lag by lag."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext.spiking._neuron import Neuron, Number, checked_neuron
from rrnn_ext.spiking._quadrature import gauss_legendre

# The potential is followed from so many standard deviations below reset and mean, at nodes so many to a step's own
# standard deviation; more make no difference in the sixth digit.
_DEPTH = 6.0
_NODES_OF_A_STEP = 4.0
_MOST_NODES = 1500


def kick_response(
    mean: Number,
    std: Number,
    *,
    tau: Number,
    dt: float,
    lags: int,
    threshold: Number = 1.0,
    reset: Number = 0.0,
    refractory: float = 0.0,
) -> Tensor:
    """The spikes that a small kick of the membrane potential adds at each lag, per unit of the kick.

    A neuron that is looked at once per ``dt`` is driven by white noise, and one step's input is larger by a little: the
    probability of a spike at that step (lag 0) and after it changes by so much. All lags together it is ``dt
    d firing_rate / d mean / (1 - exp(-dt / tau))``: what a lasting kick adds, per step of it.

    Computed by following the stationary law of the potential, displaced, from step to step; its diffusion
    approximation is exact for Gaussian input.

    Args:
        mean, std, tau, threshold, reset: as for :func:`firing_rate`; numbers or tensors, broadcast.
        dt: time step in seconds.
        lags: how many, from 0 on.
        refractory: seconds, rounded to whole steps.

    Returns:
        (..., lags), of the dtype of the tensors. It has no gradient.

    >>> response = kick_response(0.0, 0.645, tau=10e-3, dt=1e-3, lags=3)
    """
    if lags < 1:
        raise ValueError(f"lags must be at least 1, got {lags}")
    neuron = checked_neuron(mean, std, tau=tau, threshold=threshold, reset=reset, refractory=refractory, dt=dt)
    with torch.no_grad():
        each = [_response(neuron, index, lags) for index in range(neuron.mean.numel())]
        responses = torch.stack(each) if each else neuron.mean.new_empty(0, lags)
        known = responses.reshape(*neuron.mean.shape, lags).masked_fill(neuron.is_unknown.unsqueeze(-1), torch.nan)
        return known.to(neuron.dtype)


class _Law(NamedTuple):
    """One step of a neuron: ``matrix`` moves its state, the density at nodes and the probability of each step after a
    spike, the last of which is at the reset; ``spikes`` is the probability of a spike from each."""

    matrix: Tensor  # (states, states)
    spikes: Tensor  # (states,)
    weights: Tensor  # (states,): of the integral over all
    slopes: Tensor  # (nodes, states): of the density that is looked at
    at_threshold: Tensor  # (states,): that density there


def _law(neuron: Neuron, index: int) -> _Law:
    """Of one of the neurons, counted through all dimensions."""
    assert neuron.dt is not None
    mean, std, tau, threshold, reset, refractory, dt = (
        each.reshape(-1)[index]
        for each in (neuron.mean, neuron.std, neuron.tau, neuron.threshold, neuron.reset, neuron.refractory, neuron.dt)
    )
    leak = torch.exp(-dt / tau)
    step_std = std * (1 - leak.square()).sqrt()
    waits = round((refractory / dt).item())
    lowest = torch.minimum(torch.minimum(mean, reset), threshold) - _DEPTH * std
    wanted = _NODES_OF_A_STEP * ((threshold - lowest) / step_std).item()
    count = min(_MOST_NODES, 32 * math.ceil(wanted / 32) + 32)  # one of a few, whose rules are known by then
    points, shares = gauss_legendre(count, mean)  # within 0 and 1
    nodes, widths = lowest + (threshold - lowest) * points, (threshold - lowest) * shares
    came_from = torch.cat([nodes, reset.reshape(1)])  # what noise is added to
    means = mean + leak * (came_from - mean)

    def density(v: Tensor) -> Tensor:
        return torch.exp(-((v - means) / step_std).square() / 2) / (step_std * math.sqrt(2 * math.pi))

    reached = density(nodes[:, None])  # (nodes, nodes and reset)
    spikes = torch.erfc((threshold - means) / (step_std * math.sqrt(2))) / 2
    within = torch.cat([widths, widths.new_ones(1)])
    # States: the nodes, the waiting steps, and the reset at last.
    states = count + waits + 1
    moving = torch.cat([torch.arange(count), torch.tensor([states - 1])])
    matrix = mean.new_zeros(states, states)
    matrix[:count, moving] = reached * within
    matrix[count if waits else states - 1, moving] += spikes * within
    for wait in range(waits):
        matrix[count + wait + 1, count + wait] = 1

    def spread(values: Tensor) -> Tensor:
        full = values.new_zeros(*values.shape[:-1], states)
        full[..., moving] = values * within
        return full

    slopes = spread(-(nodes[:, None] - means) / step_std.square() * reached)
    weights = torch.cat([widths, widths.new_ones(waits + 1)])
    return _Law(matrix, spread(spikes), weights, slopes, spread(density(threshold)))


def _response(neuron: Neuron, index: int, lags: int) -> Tensor:
    law = _law(neuron, index)
    count = law.slopes.shape[0]
    # The stationary state: what a step leaves as it is, of total probability 1.
    equations = law.matrix - torch.eye(len(law.weights), dtype=law.matrix.dtype)
    equations[-1] = law.weights
    state = torch.linalg.solve(equations, torch.eye(len(law.weights), dtype=law.matrix.dtype)[-1])
    # A kick moves the density that is looked at: its flow over the threshold spikes, and goes where spikes go.
    displaced = torch.zeros_like(state)
    displaced[:count] = -law.slopes @ state
    first = law.at_threshold @ state
    after_a_spike = count if len(state) > count + 1 else -1
    displaced[after_a_spike] += first
    response = [first]
    for _ in range(lags - 1):
        response.append(law.spikes @ displaced)
        displaced = law.matrix @ displaced
    return torch.stack(response)

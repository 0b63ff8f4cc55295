"""The firing rate of a neuron with exponential synapses that is looked at once per time step.

Current u and free potential x, both with mean 0 and variance 1, are a Markov chain: u' = syn u + noise, x' = leak x +
share u'. A spike resets the potential and leaves the current as it is, so that intervals are not independent; the rate
is the average reward of the chain with a reward of 1 for a spike. With h what a start at (x, u) brings beyond that,

    h(x, u) + g (1 + hold P(spike)) = E[h(x', u') if x' is below the threshold, else 1 + h(reset, u'')],

g spikes per step, where u'' is the current when the refractory time ends. h is a polynomial of x and u (collocation at
Chebyshev nodes), and the expectation an integral over u' on both sides of where x' meets the threshold.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrnn_ext.spiking._neuron import has_values
from rrnn_ext.spiking._quadrature import gauss_legendre

FINEST = 40.0  # the longest tau_syn, in time steps
_POTENTIALS = 40  # nodes and powers
_LEAST_CURRENTS, _MOST_CURRENTS = 16, 46
_NODES = 20  # of an integral
_CURRENT = 5.5  # where u is held, in standard deviations
_TAIL = 6.5


def spikes_per_step(reset: Tensor, threshold: Tensor, dt: Tensor, dt_syn: Tensor, hold: Tensor) -> Tensor:
    """g (n,) of n neurons.

    Potentials are in standard deviations from the mean, dt is in units of tau and dt_syn of tau_syn, hold is the
    refractory time in steps.
    """
    # Dimensions: neuron, potential, current, node of an integral over the next current.
    reset, threshold, dt, dt_syn, hold = (x[:, None, None, None] for x in (reset, threshold, dt, dt_syn, hold))
    leak, syn = torch.exp(-dt), torch.exp(-dt_syn)
    share = (-torch.expm1(-2 * dt) * (1 - leak * syn) / (1 + leak * syn)).sqrt()
    spread = (-torch.expm1(-2 * dt_syn)).sqrt()
    lowest = torch.minimum(reset - 2 * share, threshold - 20 * share).clamp_max(-6.0)
    currents = _currents(dt_syn)

    def potentials(x: Tensor) -> Tensor:
        return _chebyshev((2 * (x - lowest) / (threshold - lowest) - 1).clamp(-1, 1), _POTENTIALS)

    def of_current(u: Tensor) -> Tensor:
        return _chebyshev((u / _CURRENT).clamp(-1, 1), currents)

    x = lowest + (threshold - lowest) * (_nodes(_POTENTIALS, reset)[:, None, None] + 1) / 2
    u = _CURRENT * _nodes(currents, reset)[:, None]
    mean, low, high = syn * u, syn * u - _TAIL * spread, syn * u + _TAIL * spread
    meets = torch.minimum(torch.maximum((threshold - leak * x) / share, low), high)
    below, weight_below = _gaussian(low, meets, mean, spread)
    above, weight_above = _gaussian(meets, high, mean, spread)
    stays = torch.einsum(
        "nxuqi,nxuqj->nxuij",
        potentials(leak * x + share * below) * weight_below[..., None],
        of_current(below),
    )
    spiked = (of_current(above) * weight_above[..., None]).sum(-2)
    resets = potentials(reset)[..., 0, :, None] * (spiked @ _after_hold(currents, dt_syn * hold))[..., None, :]
    here = potentials(x)[..., 0, :, None] * of_current(u)[..., 0, None, :]
    system = (here - stays - resets).flatten(-2).flatten(1, 2)
    # A constant h changes nothing: g takes the place of its coefficient.
    spikes = weight_above.sum(-1)
    steps = (1 + hold[..., 0] * spikes).flatten(1)
    system = torch.cat([steps[..., None], system[..., 1:]], -1)
    return torch.linalg.solve(system, spikes.flatten(1))[:, 0]


def _currents(dt_syn: Tensor) -> int:
    longest = (1 / dt_syn).max().item() if has_values(dt_syn) else FINEST
    return min(max(math.ceil(6 * math.sqrt(longest)) + 8, _LEAST_CURRENTS), _MOST_CURRENTS)


def _nodes(count: int, like: Tensor) -> Tensor:
    steps = torch.arange(count, dtype=like.dtype, device=like.device)
    return -torch.cos((steps + 0.5) * (math.pi / count))


def _chebyshev(x: Tensor, count: int) -> Tensor:
    """(..., count): the polynomials T_0, T_1, ... of x in [-1, 1]."""
    values = [torch.ones_like(x), x]
    for _ in range(count - 2):
        values.append(2 * x * values[-1] - values[-2])
    return torch.stack(values, -1)


def _gaussian(low: Tensor, high: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes between the limits, along their last dimension, and weights for expectations under the normal law."""
    nodes, weights = gauss_legendre(_NODES, low)
    z = low + (high - low) * nodes
    density = torch.exp(-((z - mean) / std).square() / 2) / (math.sqrt(2 * math.pi) * std)
    return z, (high - low) * weights * density


def _after_hold(currents: int, decay: Tensor) -> Tensor:
    """(n, 1, k, j): the coefficients of E[T_j(u'')] as a polynomial of u, which is u'' `decay` time constants later."""
    nodes = _nodes(currents, decay)
    limit = torch.full_like(decay, _TAIL)
    noise, weights = _gaussian(-limit, limit, torch.zeros_like(decay), torch.ones_like(decay))
    # Without a refractory time no noise, where the derivative of the root would be infinite.
    spread = (-torch.expm1(-2 * decay)).clamp_min(1e-30).sqrt()
    later = torch.exp(-decay) * nodes[:, None] + spread * noise / _CURRENT
    means = (_chebyshev(later.clamp(-1, 1), currents) * weights[..., None]).sum(-2)
    return torch.linalg.solve(_chebyshev(nodes, currents), means)

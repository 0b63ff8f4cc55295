"""The firing rate of a leaky integrate-and-fire neuron whose inputs pass exponential synapses."""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.spiking._chunks import in_chunks
from rrnn_ext.spiking._neuron import Neuron, Number, check_all, checked_neuron, to_float64
from rrnn_ext.spiking._synapse_chain import FINEST, spikes_per_step
from rrnn_ext.spiking.rates import rate_of

# |zeta(1/2)|: a half-range problem of Brownian motion with a velocity has this Milne length (Doering, Hagan &
# Levermore, Phys. Rev. Lett. 1987).
_SHIFT = 1.4603545088095868
# Of the distance from reset to threshold: below, the polynomials of the chain do not follow whole steps, and rates were
# off by 3 % at a hundredth and by 25 % at a thousandth.
_LEAST_NOISE = 0.05
_AT_ONCE = 4  # the equation of one neuron is some 10^6 numbers


def firing_rate_coloured(
    mean: Number,
    std: Number,
    *,
    tau: Number,
    tau_syn: Number,
    threshold: Number = 1.0,
    reset: Number = 0.0,
    refractory: Number = 0.0,
    dt: Number | None = None,
) -> Tensor:
    """Stationary firing rate where many small inputs pass synapses with exponential currents of tau_syn.

    In continuous time, to first order in sqrt(tau_syn / tau), it is the rate under white noise of the same strength
    with threshold and reset raised by 1.4604 std_white sqrt(tau_syn / tau) (Brunel & Sergi, J. Theor. Biol. 1998;
    Fourcaud & Brunel, Neural Computation 2002), where std_white = std sqrt(1 + tau_syn / tau) is what std would be
    without synapses. That is for short synapses: measured, it is too low by .4 % at tau_syn = tau / 100, 4 % at
    tau / 10 and 13 % at .3 tau (tables on the page "Spiking networks").

    With a dt it is the rate of the neuron that ``lif`` steps with this tau_syn: potential and current are a Markov
    chain, whose average is solved for (to .3 % where dt is at least tau / 200; 20 to 400 ms each). With dt =
    tau_syn / 20 that is within 1 % of continuous time, for longer synapses as well.

    ::

        >>> firing_rate_coloured(0.0, 0.645, tau=20e-3, tau_syn=0.5e-3)
        tensor(7.4843)
        >>> firing_rate_coloured(0.0, 0.645, tau=20e-3, tau_syn=5e-3, dt=1e-3)
        tensor(4.6201)

    All arguments are floats or tensors that broadcast to one shape, which is the result's.

    Args:
        mean: stationary mean of the free membrane potential, the one without a threshold.
        std: its stationary standard deviation as it is, with synapses. In steps 0, or at least a twentieth of the
            distance from reset to threshold: of less noise the chain's average has few digits.
        tau: membrane time constant, in seconds.
        tau_syn: time constant of the synapses, in seconds: at most tau in continuous time, 40 dt in steps.
        threshold, reset, refractory, dt: as ``firing_rate`` takes them. Currents go on through the refractory time.

    Returns:
        The rate in Hz, computed in float64, in the dtype of the tensors (the default dtype if there is none).
        Differentiable.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it, what was needed and what came.
    """
    neuron = checked_neuron(mean, std, tau=tau, threshold=threshold, reset=reset, refractory=refractory, dt=dt)
    (synapse, longest), dtype = to_float64(tau_syn=tau_syn, longest=tau if dt is None else dt)
    check_all(synapse >= 0, "tau_syn must be >= 0 (seconds)", synapse)
    needed = "tau in continuous time" if dt is None else f"{FINEST:g} dt"
    longest = longest if dt is None else FINEST * longest
    check_all(~(synapse > longest), f"tau_syn must be at most {needed}", synapse)
    is_unknown = neuron.is_unknown | synapse.isnan()
    synapse = torch.where(synapse.isnan(), 0.0, synapse)
    at = neuron.dt
    rate = _in_continuous_time(neuron, synapse) if at is None else _once_a_step(neuron, synapse, at)
    rate = torch.where(is_unknown, torch.nan, torch.where(neuron.is_silent(), 0.0, rate))
    return rate.to(torch.promote_types(dtype, neuron.dtype))


def _in_continuous_time(neuron: Neuron, synapse: Tensor) -> Tensor:
    ratio = synapse / neuron.tau
    white = neuron.std * torch.sqrt(1 + ratio)
    # Without synapses no square root, whose derivative would be infinite.
    raised = torch.where(ratio > 0, _SHIFT * white * torch.sqrt(torch.where(ratio > 0, ratio, 1)), 0.0)
    return rate_of(neuron._replace(std=white, threshold=neuron.threshold + raised, reset=neuron.reset + raised))


def _once_a_step(neuron: Neuron, synapse: Tensor, dt: Tensor) -> Tensor:
    noiseless, distance = neuron.is_noiseless(), neuron.threshold - neuron.reset
    has_noise = neuron.std >= _LEAST_NOISE * distance
    needed = f"std must be 0 or at least {_LEAST_NOISE:g} of the distance from reset to threshold, with tau_syn and dt"
    check_all(noiseless | has_noise, needed, neuron.std)
    # Without noise the current is constant, and synapses change nothing.
    constant = rate_of(neuron)
    std = torch.where(noiseless, distance, torch.where(has_noise, neuron.std, torch.nan))
    return torch.where(noiseless, constant, _by_chain(neuron._replace(std=std), synapse, dt))


def _by_chain(neuron: Neuron, synapse: Tensor, dt: Tensor) -> Tensor:
    reset, threshold = neuron.standardised(neuron.reset), neuron.standardised(neuron.threshold)
    # A synapse that is over within a step is none.
    dt_syn = dt / torch.maximum(synapse, dt / 50)
    hold = neuron.refractory / dt
    return in_chunks(spikes_per_step, _AT_ONCE, reset, threshold, dt / neuron.tau, dt_syn, hold) / dt

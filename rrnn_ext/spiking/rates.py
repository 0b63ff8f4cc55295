"""The firing rate of a leaky integrate-and-fire neuron under Gaussian white noise."""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.spiking._discrete import scaled_passage_time_in_steps
from rrnn_ext.spiking._neuron import Neuron, Number, checked_neuron
from rrnn_ext.spiking._passage import scaled_passage_time


def firing_rate(
    mean: Number,
    std: Number,
    *,
    tau: Number,
    threshold: Number = 1.0,
    reset: Number = 0.0,
    refractory: Number = 0.0,
    dt: Number | None = None,
) -> Tensor:
    """Stationary firing rate of a leaky integrate-and-fire neuron that is driven by many small inputs.

    ::

        >>> firing_rate(0.0, 0.645, tau=10e-3)
        tensor(20.0262)
        >>> firing_rate(0.0, 0.645, tau=10e-3, dt=1e-3)
        tensor(13.1628)

    All arguments are floats or tensors that broadcast to one shape, which is the result's.

    Args:
        mean: stationary mean of the free membrane potential, the one without a threshold.
        std: its stationary standard deviation. 0 is a neuron without noise.
        tau: membrane time constant, in seconds.
        threshold, reset: in the unit of mean and std; a spike puts the potential to ``reset``.
        refractory: seconds after a spike during which the potential stays at ``reset``. They come before the passage
            from reset to threshold, so that the shortest interval between spikes is refractory (+ dt).
        dt: None for continuous time (Siegert, Phys. Rev. 1951), else the time step, in seconds and at most tau, of
            a neuron that is looked at once per step and spikes where it is at or above the threshold: the potential
            of that neuron is a Gaussian autoregression, and its mean passage time is solved for (to 1e-6 of the rate
            for thresholds up to 7 std above the mean; about .05 ms each).

    Returns:
        The rate in Hz, computed in float64, in the dtype of the tensors (the default dtype if there is none).
        Differentiable at any order in every argument. A rate too small for the dtype is 0.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it, what was needed and what came.
    """
    neuron = checked_neuron(mean, std, tau=tau, threshold=threshold, reset=reset, refractory=refractory, dt=dt)
    return torch.where(neuron.is_unknown, torch.nan, rate_of(neuron)).to(neuron.dtype)


def rate_of(neuron: Neuron) -> Tensor:
    reset, threshold = neuron.standardised(neuron.reset), neuron.standardised(neuron.threshold)
    if neuron.dt is None:
        time = scaled_passage_time(reset, threshold)
    else:
        time = scaled_passage_time_in_steps(reset, threshold, neuron.dt / neuron.tau)
    # Without a refractory time first: an infinite passage is then a rate of 0 whose derivative is 0, not NaN.
    rate = torch.exp(-threshold.clamp_min(0).square() / 2) / (neuron.tau * time)
    return torch.where(neuron.is_silent(), 0.0, rate / (1 + neuron.refractory * rate))

"""The firing rate of a leaky integrate-and-fire neuron whose inputs are single jumps of the potential."""

from __future__ import annotations

from torch import Tensor

from rrnn_ext.spiking._neuron import Number
from rrnn_ext.spiking._shots import checked_shot_noise, shot_noise_rate


def firing_rate_shot_noise(
    rate_exc: Number,
    size_exc: Number,
    rate_inh: Number = 0.0,
    size_inh: Number = 0.0,
    *,
    tau: Number,
    threshold: Number = 1.0,
    reset: Number = 0.0,
    refractory: Number = 0.0,
    rest: Number = 0.0,
) -> Tensor:
    """Stationary firing rate, in Hz, under Poisson input whose jumps have exponentially distributed sizes.

    The exact answer in continuous time (Richardson & Swarbrick, Phys. Rev. Lett. 2010) where jumps are too large for
    `firing_rate`, which is its limit for many small ones. The free potential has the mean rest + tau (rate_exc
    size_exc - rate_inh size_inh) and the variance tau (rate_exc size_exc² + rate_inh size_inh²).

    Arguments (floats or tensors, broadcast to one shape, which is the result's):
        rate_exc, rate_inh: how many excitatory and inhibitory jumps arrive per second, at all inputs together.
        size_exc, size_inh: mean size of a jump upwards and of one downwards, both positive, in the potential's unit.
        tau, refractory: membrane time constant and refractory time, in seconds.
        threshold, reset, rest: potentials; without input the potential relaxes to `rest`, below the threshold.

    Computed in float64; the result has the dtype of the tensors. Differentiable any number of times.

    >>> firing_rate_shot_noise(1000.0, 0.2, 1000.0, 0.2, tau=10e-3)
    tensor(29.0820)
    """
    shots = checked_shot_noise(
        rate_exc,
        size_exc,
        rate_inh,
        size_inh,
        tau=tau,
        threshold=threshold,
        reset=reset,
        refractory=refractory,
        rest=rest,
    )
    return shot_noise_rate(shots).to(shots.dtype)

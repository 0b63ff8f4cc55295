"""The firing rate of a leaky integrate-and-fire neuron whose inputs are single jumps of the potential."""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.spiking._balance import shot_noise_rate
from rrnn_ext.spiking._neuron import Number
from rrnn_ext.spiking._shots import checked_shot_noise


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
    size_std: Number | None = None,
) -> Tensor:
    """Stationary firing rate under Poisson input in single jumps of the potential, in continuous time.

    For jumps that are too large for ``firing_rate``, which is the limit of many small ones of the same mean and
    variance. Exponentially distributed sizes have the exact answer of Richardson & Swarbrick (Phys. Rev. Lett. 2010);
    normally distributed and fixed ones are solved for on a grid of 384 cells a neuron. The free potential has the mean
    rest + tau (rate_exc size_exc - rate_inh size_inh); its variance is tau (rate_exc size_exc² + rate_inh size_inh²)
    for exponential sizes, and tau / 2 (rate_exc (size_exc² + size_std²) + rate_inh (size_inh² + size_std²)) for normal
    ones.

    ::

        >>> firing_rate_shot_noise(1000.0, 0.2, 1000.0, 0.2, tau=10e-3)
        tensor(29.0820)

    All arguments are floats or tensors that broadcast to one shape, which is the result's.

    Args:
        rate_exc, rate_inh: how many excitatory and inhibitory jumps arrive per second, at all inputs together.
        size_exc, size_inh: mean size of a jump upwards and of one downwards, both positive, in the potential's unit.
        tau: membrane time constant, in seconds.
        threshold, reset: of the potential.
        refractory: seconds after a spike during which the potential stays at ``reset`` and what arrives is lost.
        rest: where the potential relaxes to without input, below the threshold.
        size_std: None for exponentially distributed sizes, else the standard deviation of normally distributed ones
            around size_exc and -size_inh; 0 for fixed sizes. With it size_exc may be 0.

    Returns:
        The rate in Hz, computed in float64, in the dtype of the tensors (the default dtype if there is none).
        Differentiable at any order.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it, what was needed and what came.
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
        size_std=size_std,
    )
    return torch.where(shots.is_unknown, torch.nan, shot_noise_rate(shots)).to(shots.dtype)

"""The threshold of a neuron that is looked at once per time step."""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.spiking._neuron import Number, check_all, check_time_step, to_float64

# -zeta(1/2) / sqrt(2 pi): the mean overshoot of a Gaussian random walk over a far threshold, in standard deviations
# of a step (Chernoff, Sankhya 1965; Broadie, Glasserman & Kou, Mathematical Finance 1997).
OVERSHOOT = 0.5825971579390107


def discrete_threshold(threshold: Number, std: Number, *, tau: Number, dt: Number) -> Tensor:
    """The lower threshold that makes up for looking at the potential once per time step only.

    A potential that is seen at the threshold has overshot it, and may have crossed it unseen before. A threshold lower
    by the mean overshoot, .5826 standard deviations of a step, makes up for it: threshold - .5826 std sqrt(2 dt / tau).
    Right to first order in sqrt(dt / tau), for a diffusion (many small inputs per tau) and a reset that is several
    steps' standard deviations below the threshold.

    ::

        >>> discrete_threshold(1.0, 0.645, tau=10e-3, dt=1e-3)
        tensor(0.8319)

    All arguments are floats or tensors that broadcast to one shape, which is the result's.

    Args:
        threshold: in the unit of the potential.
        std: standard deviation of the free potential (the one without a threshold), in the same unit.
        tau: membrane time constant, in seconds.
        dt: time step, in seconds, at most tau.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it, what was needed and what came.
    """
    (level, spread, time_constant, step), dtype = to_float64(threshold=threshold, std=std, tau=tau, dt=dt)
    check_all(spread >= 0, "std must be >= 0", spread)
    check_all(time_constant > 0, "tau must be > 0 (seconds)", time_constant)
    check_time_step(step, time_constant)
    return (level - mean_overshoot(spread, time_constant, step)).to(dtype)


def mean_overshoot(std: Tensor, tau: Tensor, dt: Tensor) -> Tensor:
    return OVERSHOOT * std * torch.sqrt(2 * dt / tau)

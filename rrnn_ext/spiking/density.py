"""The stationary density of the membrane potential of a leaky integrate-and-fire neuron."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrnn_ext.spiking._balance import shot_noise_density
from rrnn_ext.spiking._neuron import Neuron, Number, checked_neuron, to_float64
from rrnn_ext.spiking._passage import scaled_passage_time
from rrnn_ext.spiking._quadrature import integral_of_exp_square
from rrnn_ext.spiking._shots import checked_shot_noise
from rrnn_ext.spiking._step_density import step_density
from rrnn_ext.spiking.rates import rate_of


def membrane_density(
    v: Number,
    mean: Number,
    std: Number,
    *,
    tau: Number,
    threshold: Number = 1.0,
    reset: Number = 0.0,
    refractory: Number = 0.0,
    dt: Number | None = None,
) -> Tensor:
    """Stationary probability density of the membrane potential at ``v``, under many small inputs.

    It integrates to 1 - rate * refractory; the rest of the probability sits at the reset. In continuous time it is 0
    from the threshold on and has a kink at the reset (Brunel & Hakim, Neural Computation 1999). With a dt it is what a
    neuron that is looked at once per step finds before it resets: it goes on above the threshold, where it integrates
    to rate * dt.

    ::

        >>> membrane_density(torch.tensor([-1.0, 0.0, 0.5, 1.0]), 0.0, 0.645, tau=10e-3)
        tensor([0.2313, 0.7694, 0.3719, 0.0000])
        >>> membrane_density(torch.tensor([-1.0, 0.0, 0.5, 1.0]), 0.0, 0.645, tau=10e-3, dt=1e-3)
        tensor([0.2182, 0.6992, 0.4075, 0.0803])

    All arguments are floats or tensors that broadcast to one shape, which is the result's.

    Args:
        v: potentials.
        mean, std, tau, threshold, reset, refractory, dt: as ``firing_rate`` takes them. With a dt each v takes some
            hundred numbers, and the potential's range must be at most 320 standard deviations of a step.

    Returns:
        The density per unit of the potential, computed in float64, in the dtype of the tensors (the default dtype if
        there is none). Differentiable.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it, what was needed and what came.
    """
    neuron = checked_neuron(mean, std, tau=tau, threshold=threshold, reset=reset, refractory=refractory, dt=dt)
    (potential,), dtype = to_float64(v=v)
    if neuron.dt is None:
        density = _density_in_continuous_time(potential, neuron)
    else:
        x, reset, threshold = (neuron.standardised(u) for u in (potential, neuron.reset, neuron.threshold))
        density = step_density(x, reset, threshold, neuron.dt / neuron.tau) / neuron.std
    # The rate that counts the refractory time is what makes it a share of all time.
    active = 1 - neuron.refractory * rate_of(neuron)
    known = torch.where(neuron.is_unknown | potential.isnan(), torch.nan, density * active)
    return known.to(torch.promote_types(dtype, neuron.dtype))


def _density_in_continuous_time(v: Tensor, neuron: Neuron) -> Tensor:
    """Of the time that is not refractory."""
    scale = math.sqrt(2) * neuron.std
    y, lower, upper = ((x - neuron.mean) / scale for x in (v, neuron.reset, neuron.threshold))
    time = scaled_passage_time(math.sqrt(2) * lower, math.sqrt(2) * upper)
    start = torch.minimum(torch.maximum(y, lower), upper)
    top, bottom, far, near = upper.clamp_min(0), start.clamp_min(0), (-start).clamp_min(0), (-upper).clamp_min(0)
    above = integral_of_exp_square(bottom, top) * torch.exp(-y.square())
    below = integral_of_exp_square(near, far) * torch.exp(far.square() - y.square() - top.square())
    return torch.where(y < upper, 2 / (scale * time) * (above + below), 0.0)


def membrane_density_shot_noise(
    v: Number,
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
    """Stationary probability density of the membrane potential at ``v``, under Poisson input in single jumps.

    It integrates to 1 - rate * refractory, is 0 from the threshold on and has a step at the reset. Where the reset is
    the rest, a neuron stays there after a spike until its next input: the share rate / (rate_exc + rate_inh) of the
    probability is at that one potential and not in the density, which integrates to that much less. The balance of
    probability fluxes (Richardson & Swarbrick, Phys. Rev. Lett. 2010) is solved on a grid of 384 cells a neuron.

    ::

        >>> membrane_density_shot_noise(torch.tensor([-1.0, 0.0, 0.5, 1.0]), 1000.0, 0.15, 1000.0, 0.15, tau=10e-3)
        tensor([0.2230, 0.7511, 0.3777, 0.0000])

    All arguments are floats or tensors that broadcast to one shape, which is the result's.

    Args:
        v: potentials.
        rate_exc, size_exc, rate_inh, size_inh, tau, threshold, reset, refractory, rest, size_std: as
            ``firing_rate_shot_noise`` takes them.

    Returns:
        The density per unit of the potential, computed in float64, in the dtype of the tensors (the default dtype if
        there is none). Differentiable.

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
    (potential, resting), dtype = to_float64(v=v, rest=rest)
    density = shot_noise_density(potential - resting, shots)
    return torch.where(shots.is_unknown | potential.isnan(), torch.nan, density).to(
        torch.promote_types(dtype, shots.dtype)
    )

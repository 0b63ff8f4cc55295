"""Weights that start at the firing rate that was asked for, in the manner of :mod:`torch.nn.init`.

Initial weights that carry a signal through rectified units leave spiking layers without biases silent: what counts is
how often the membrane potential reaches the threshold. The functions here draw weights, and then solve for their
scale: each neuron's mean and standard deviation of the free potential follow from its weights and the input's rates,
its firing rate from these, and the layer's mean rate is the one that was asked for.

The rate is that of a neuron which is looked at once per step, `potential = exp(-dt / tau) potential + input`, spikes
at or above the threshold and goes to the reset; its input within a step is a binomial number of spikes with random
weights, so that neither few presynaptic spikes nor a long time step biases it. Assumed of the presynaptic spikes: each
neuron's are independent from step to step, and of the other neurons'.

Seconds, Hz, potentials in the unit of the threshold.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from rrnn_ext.spiking._fit import Rows, fit_scale
from rrnn_ext.spiking._fit_recurrent import UnstableError, fit_recurrent
from rrnn_ext.spiking._layer_neuron import LayerNeuron, check_number, check_rate, layer_neuron
from rrnn_ext.spiking._solve_scale import OutOfReachError

# Of the logarithm of the sizes of synapses (Song et al., PLoS Biology 2005: lognormal fit of cortical EPSPs).
_LOGNORMAL_SPREAD = 0.94


@torch.no_grad()
def rate_normal_(
    weight: Tensor,
    *,
    rate_in: float | Tensor,
    rate_out: float,
    tau: float,
    dt: float,
    tau_syn: float = 0.0,
    threshold: float = 1.0,
    reset: float = 0.0,
    refractory: float = 0.0,
    mean: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fills `weight` with normal numbers that make its layer fire at `rate_out`; returns it.

    Arguments:
        weight: (out, in) of a linear layer or (out, in, ...) of a convolution, of any floating-point dtype.
        rate_in: of the presynaptic neurons, in Hz: a number, or a tensor (in,) of one for each.
        rate_out: mean over the layer that is asked for, in Hz.
        tau, dt: membrane time constant and time step, in seconds; dt <= tau.
        tau_syn: time constant of exponential synapses, in seconds; 0: a spike moves the potential at once.
        threshold, reset: of the potential.
        refractory: seconds after a spike during which the potential stays at the reset; a whole number of steps counts.
        mean: of the free membrane potential, over the layer (the one without a threshold).
        generator: of random numbers.

    Raises a ValueError if the rate cannot be reached, which says what rates can.

    >>> weight = rate_normal_(torch.empty(256, 512), rate_in=10.0, rate_out=20.0, tau=10e-3, dt=1e-3)
    """
    neuron = layer_neuron(tau=tau, dt=dt, tau_syn=tau_syn, threshold=threshold, reset=reset, refractory=refractory)
    chances = checked_input(weight, rate_in, neuron)
    check_number("mean", mean)
    check_rate("rate_out", rate_out, neuron.highest_rate, "a spike per step that is not refractory")
    weight.normal_(generator=generator)
    moving = weight.double().flatten(1)
    fixed = (mean / (neuron.mean_gain * chances.sum())).expand_as(moving)
    return _fill(weight, Rows(moving, fixed), chances, rate_out, neuron)


@torch.no_grad()
def rate_dale_(
    weight: Tensor,
    *,
    rate_in: float | Tensor,
    rate_out: float,
    tau: float,
    dt: float,
    tau_syn: float = 0.0,
    threshold: float = 1.0,
    reset: float = 0.0,
    refractory: float = 0.0,
    mean: float = 0.0,
    excitatory: float = 0.8,
    sizes: Literal["lognormal", "exponential"] = "lognormal",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fills `weight` with excitatory and inhibitory weights that make its layer fire at `rate_out`; returns it.

    All weights from a presynaptic neuron have one sign (Dale's law): the first round(excitatory * in) columns are
    positive, the others negative and as much larger as it takes for the free membrane potential to have the mean
    `mean` over the layer. Sizes are log-normal, with a spread of the logarithm of .94 as cortical synapses have (Song
    et al., PLoS Biology 2005), or exponential. The other arguments are those of :func:`rate_normal_`.

    >>> weight = rate_dale_(torch.empty(256, 512), rate_in=10.0, rate_out=5.0, tau=10e-3, dt=1e-3)
    >>> bool((weight[:, :410] > 0).all() and (weight[:, 410:] < 0).all())
    True
    """
    neuron = layer_neuron(tau=tau, dt=dt, tau_syn=tau_syn, threshold=threshold, reset=reset, refractory=refractory)
    chances = checked_input(weight, rate_in, neuron)
    check_number("mean", mean)
    check_rate("rate_out", rate_out, neuron.highest_rate, "a spike per step that is not refractory")
    check_number("excitatory", excitatory)
    count = round(excitatory * weight.shape[1])
    if not 0 < count < weight.shape[1]:
        raise ValueError(
            f"excitatory must leave columns of both signs, got {excitatory} of the {weight.shape[1]} columns of weight"
        )
    if sizes == "lognormal":
        weight.log_normal_(0.0, _LOGNORMAL_SPREAD, generator=generator)
    elif sizes == "exponential":
        weight.exponential_(generator=generator)
    else:
        raise ValueError(f"sizes must be 'lognormal' or 'exponential', got {sizes!r}")
    drawn = weight.double()
    exciting, inhibiting = drawn.clone(), drawn.clone()
    exciting[:, count:], inhibiting[:, :count] = 0, 0
    exciting, inhibiting = exciting.flatten(1), inhibiting.flatten(1)
    excitation, inhibition = (exciting @ chances).mean().item(), (inhibiting @ chances).mean().item()
    if excitation == 0 or inhibition == 0:
        raise ValueError("rate_in must be > 0 for columns of both signs, got 0 for all of one sign")
    drift = mean / neuron.mean_gain / inhibition  # per step; inhibition is less by it
    rows = Rows(exciting - inhibiting * (excitation / inhibition), inhibiting * drift)
    return _fill(weight, rows, chances, rate_out, neuron, least=1.001 * drift * inhibition / excitation)


@torch.no_grad()
def rate_recurrent_(
    weight_in: Tensor,
    weight_rec: Tensor,
    *,
    rate_in: float | Tensor,
    rate_out: float,
    tau: float,
    dt: float,
    tau_syn: float = 0.0,
    threshold: float = 1.0,
    reset: float = 0.0,
    refractory: float = 0.0,
    mean: float = 0.0,
    share: float = 0.5,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Fills a recurrent layer's weights with normal numbers that make it fire at `rate_out`; returns both.

    The rates, and the variances of what neurons send each other, are those that the layer gives itself: at first
    computed, where neurons are taken for independent and their spikes for renewal processes, then corrected by what a
    simulation of the layer says. The more of the variance is recurrent and the lower the rate, the more a deviation
    feeds itself; a layer that would not hold the rate is a ValueError.

    Arguments:
        weight_in: (n, in), from the input.
        weight_rec: (n, n), row = target, column = source, whose spikes arrive one step later.
        share: of the variance in time of the free potential that comes through `weight_rec`, at least 0 and below 1.
        rate_in, rate_out, tau, dt, tau_syn, threshold, reset, refractory, mean, generator: as of :func:`rate_normal_`.

    >>> weight_in, weight_rec = torch.empty(200, 100), torch.empty(200, 200)
    >>> _ = rate_recurrent_(weight_in, weight_rec, rate_in=20.0, rate_out=10.0, tau=20e-3, dt=1e-3)
    """
    neuron = layer_neuron(tau=tau, dt=dt, tau_syn=tau_syn, threshold=threshold, reset=reset, refractory=refractory)
    from_input = checked_input(weight_in, rate_in, neuron, name="weight_in")
    check_number("mean", mean)
    check_rate("rate_out", rate_out, neuron.highest_rate, "a spike per step that is not refractory")
    check_number("share", share)
    if not 0 <= share < 1:
        raise ValueError(f"share must be at least 0 and below 1, got {share:g}")
    if weight_rec.shape != (len(weight_in), len(weight_in)):
        raise ValueError(
            f"weight_rec must be ({len(weight_in)}, {len(weight_in)}) to match weight_in {tuple(weight_in.shape)}, "
            f"got {tuple(weight_rec.shape)}"
        )
    weight_in.normal_(generator=generator)
    weight_rec.normal_(generator=generator)
    constant = (mean / (neuron.mean_gain * from_input.sum())).expand_as(weight_in)
    try:
        scale_in, scale_rec = fit_recurrent(
            Rows(weight_in.double(), constant), weight_rec.double(), from_input, rate_out, share, neuron
        )
    except OutOfReachError as error:
        raise _out_of_reach(error, rate_out) from None
    except UnstableError as error:
        raise ValueError(
            f"share must be lower for the layer to hold {rate_out:g} Hz by itself: at {share:g} it settles at "
            f"{error.reached:.3g} Hz"
        ) from None
    weight_in.mul_(scale_in).add_(constant)
    return weight_in, weight_rec.mul_(scale_rec)


def _fill(
    weight: Tensor, rows: Rows, chances: Tensor, rate_out: float, neuron: LayerNeuron, *, least: float = 0.0
) -> Tensor:
    try:
        scale = fit_scale(rows, chances, rate_out, neuron, least=least).scale
    except OutOfReachError as error:
        raise _out_of_reach(error, rate_out) from None
    return weight.copy_(rows.at(scale).view(weight.shape))


def _out_of_reach(error: OutOfReachError, rate_out: float) -> ValueError:
    return ValueError(
        f"rate_out must be between {error.lowest:.3g} and {error.highest:.3g} Hz to be reached from these "
        f"presynaptic rates, got {rate_out:g}"
    )


def checked_input(weight: Tensor, rate_in: float | Tensor, neuron: LayerNeuron, *, name: str = "weight") -> Tensor:
    """Chances (n,) of a spike per step from what each entry of a row of the weight comes from."""
    if not weight.is_floating_point():
        raise TypeError(f"{name} must be of a floating-point dtype, got {weight.dtype}")
    if weight.dim() < 2 or weight.numel() == 0:
        raise ValueError(f"{name} must be (out, in, ...) with at least one entry, got {tuple(weight.shape)}")
    if isinstance(rate_in, Tensor):
        if rate_in.dim() > 0 and rate_in.shape != weight.shape[1:2]:
            raise ValueError(
                f"rate_in must be a number or ({weight.shape[1]},) to match {name} {tuple(weight.shape)}, "
                f"got {tuple(rate_in.shape)}"
            )
        rates = rate_in.to(weight.device, torch.float64).expand(weight.shape[1])
    else:
        check_number("rate_in", rate_in)
        rates = torch.full((weight.shape[1],), float(rate_in), dtype=torch.float64, device=weight.device)
    if not bool((rates >= 0).all() and (rates > 0).any()):
        raise ValueError(f"rate_in must be >= 0 Hz, with one rate at least above it, got {rates.min().item():g}")
    check_rate("rate_in", rates.max().item(), 1 / neuron.dt, "a spike per step")
    return (rates * neuron.dt).repeat_interleave(weight[0, 0].numel())

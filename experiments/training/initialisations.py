"""First weights of spiking networks: as networks of rectified units have them, and as spiking ones are given them.

A network is an nn.Sequential of nn.Linear without a bias and spiking.LIF in turn. Each function fills the weights in
place, by the spikes (steps, count, inputs) that the network will see and the rate in Hz that is asked of every layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from rrnn_ext import spiking

RECURRENT_SHARE = 0.5  # of the potential's variance, where there are recurrent weights
LEAST_RATE = 1.0  # Hz, that is reckoned with where less comes in

Initialisation = Callable[[nn.Sequential, Tensor, float, torch.Generator], None]


@torch.no_grad()
def kaiming(network: nn.Sequential, spikes: Tensor, rate: float, generator: torch.Generator) -> None:
    """Normal, variance 2 / fan-in (He, Zhang, Ren & Sun 2015, eq. 10), which rectified units keep the variance by."""
    del spikes, rate
    for linear, neurons in pairs(network):
        for weight in (linear.weight, neurons.weight_rec):
            if weight is not None:
                nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)


@torch.no_grad()
def fluctuation_driven(network: nn.Sequential, spikes: Tensor, rate: float, generator: torch.Generator) -> None:
    """Normal and centred, so that the free potential's standard deviation is the threshold.

    Rossbroich, Gygax & Zenke 2022 (arXiv 2206.10226): variance sigma_U^2 / (n nu eps) of weights from n neurons that
    fire at nu, where eps is the integral of the squared postsynaptic potential, tau / 2 for a synapse without a time
    constant of its own; sigma_U = 1, a share of whose square is the recurrent weights'. nu is the measured mean rate of
    what comes in, layer by layer; of the recurrent weights it is the rate that is asked for.
    """
    for linear, neurons in pairs(network):
        rate_in = max(spikes.mean().item() / neurons.dt, LEAST_RATE)
        share = 0.0 if neurons.weight_rec is None else RECURRENT_SHARE
        effect = float(neurons.tau) / 2
        nn.init.normal_(linear.weight, 0.0, _deviation(1 - share, linear.weight, rate_in * effect), generator)
        if neurons.weight_rec is not None:
            nn.init.normal_(neurons.weight_rec, 0.0, _deviation(share, neurons.weight_rec, rate * effect), generator)
        spikes = neurons(linear(spikes))


@torch.no_grad()
def by_formula(network: nn.Sequential, spikes: Tensor, rate: float, generator: torch.Generator) -> None:
    """This library's rate_normal_, or rate_recurrent_, layer by layer, each with the measured rates of its input."""
    for linear, neurons in pairs(network):
        measured = spikes.mean((0, 1)) / neurons.dt
        tau = float(neurons.tau)
        if neurons.weight_rec is None:
            spiking.init.rate_normal_(
                linear.weight, rate_in=measured, rate_out=rate, tau=tau, dt=neurons.dt, generator=generator
            )
        else:
            spiking.init.rate_recurrent_(
                linear.weight,
                neurons.weight_rec,
                rate_in=measured,
                rate_out=rate,
                tau=tau,
                dt=neurons.dt,
                share=RECURRENT_SHARE,
                generator=generator,
            )
        spikes = neurons(linear(spikes))


@torch.no_grad()
def calibrated(network: nn.Sequential, spikes: Tensor, rate: float, generator: torch.Generator) -> None:
    """This library's calibrate_, which corrects each layer's weights by what it fires at; for each layer by itself,
    which is one pass through the network less for every layer before."""
    for linear, neurons in pairs(network):
        spiking.calibrate_(nn.Sequential(linear, neurons), spikes, rate, generator=generator)
        spikes = neurons(linear(spikes))


def pairs(network: nn.Sequential) -> Iterator[tuple[nn.Linear, spiking.LIF]]:
    """The linear part of each layer with its neurons."""
    modules = list(network)
    for linear, neurons in zip(modules[::2], modules[1::2], strict=True):
        assert isinstance(linear, nn.Linear)
        assert isinstance(neurons, spiking.LIF)
        yield linear, neurons


def _deviation(variance: float, weight: Tensor, effect: float) -> float:
    return math.sqrt(variance / (weight.shape[1] * effect))


CALIBRATED, BY_FORMULA, FLUCTUATION_DRIVEN, KAIMING = "calibrate_", "rate_normal_", "fluctuation-driven", "Kaiming"
INITIALISATIONS: dict[str, Initialisation] = {
    CALIBRATED: calibrated,
    BY_FORMULA: by_formula,
    FLUCTUATION_DRIVEN: fluctuation_driven,
    KAIMING: kaiming,
}

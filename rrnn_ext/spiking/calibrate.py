"""Weights of a whole network that make each of its layers fire at a rate, found layer by layer on data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from rrnn_ext.spiking._layer_neuron import check_number
from rrnn_ext.spiking._measured_potential import MeasuredPotential, measured_potential, with_recurrent
from rrnn_ext.spiking._recording import Layer, layers_of, record
from rrnn_ext.spiking._solve_scale import OutOfReachError, correct_scale, solve_scale

_EXACT = 0.01  # of the rate
_NEAR = 0.1  # of the rate, or so many spikes, which few neurons may not come nearer to
_SPIKES = 3
_SIMULATIONS = 6
_RECURRENT_SHARE = 0.5  # of the variance in time
# Standard deviations of the free potential, in distances from the reset to the threshold.
_SMALLEST, _USUAL, _LARGEST = 0.05, 0.5, 30.0
_NEARBY = 1.05
_LEAST_SLOPE = 0.5  # of a rate in the scale, both in logarithms


class LayerRate(NamedTuple):
    """Of one layer, in Hz."""

    name: str  #: of the module of spiking neurons within the network
    asked: float
    predicted: float  #: from the mean and standard deviation of the free potential under the data
    measured: float  #: mean over neurons, samples and all of time


class Calibration(tuple[LayerRate, ...]):
    """Asked, predicted and measured rates of a network's layers in their order; as text, a table."""

    def __str__(self) -> str:
        width = max(len("layer"), *(len(layer.name) for layer in self))
        lines = [f"{'layer':<{width}}  asked Hz  predicted  measured"]
        for layer in self:
            lines.append(f"{layer.name:<{width}}  {layer.asked:8.2f}  {layer.predicted:9.2f}  {layer.measured:8.2f}")
        return "\n".join(lines)


@torch.no_grad()
def calibrate_(
    network: nn.Module,
    data: Any,
    target_rate: float | Sequence[float],
    *,
    dt: float | None = None,
    generator: torch.Generator | None = None,
) -> Calibration:
    """Initialises a spiking network's weights so that each layer fires at `target_rate` under the data.

    Layer by layer, in the order in which `network(data)` calls them: the weights of the nn.Linear and nn.Conv1d or 2d
    that feed a module of spiking neurons, and recurrent weights of its own, are drawn from a normal distribution, their
    biases are set to 0; the free potential that the data, through the layers before, give to its neurons says at
    what scale they fire as they should (recurrent weights at a rate of `target_rate` give it half of its variance);
    and measured rates correct the scale to 1 %. Modules in between, such as pooling, stay as they are, as do
    weights behind the last spiking neurons.

    Arguments:
        network: with modules of spiking neurons that :func:`rrnn_ext.spiking.adapters.spiking_layer` knows, of
            this library, snntorch or norse. Each is called in one place, over all of time, (T, samples, ...), or
            step by step.
        data: what the network is called with.
        target_rate: mean over a layer's neurons, the samples and all of time, in Hz; one for all layers or one for
            each.
        dt: time step in seconds, for neurons that do not have one of their own.
        generator: of random numbers, on the weights' device.

    Returns the table of rates. A rate that a layer cannot reach is a ValueError that says which rates it can.

    >>> neurons = {"tau": 20e-3, "dt": 1e-3}
    >>> network = nn.Sequential(nn.Linear(40, 100), LIF(**neurons), nn.Linear(100, 50), LIF(**neurons))
    >>> data = (torch.rand(500, 32, 40) < 0.02).float()  # time, samples, inputs: spikes of 20 Hz
    >>> table = calibrate_(network, data, 10.0)  # print(table) shows it
    >>> [layer.name for layer in table]
    ['1', '3']
    """
    layers = layers_of(network, data, dt)
    targets = _targets(target_rate, layers)
    rates = []
    for layer, target in zip(layers, targets, strict=True):
        rates.append(_calibrate_layer(network, data, layer, target, generator))
    return Calibration(rates)


def _targets(target_rate: float | Sequence[float], layers: Sequence[Layer]) -> list[float]:
    targets = list(target_rate) if isinstance(target_rate, Sequence) else [target_rate] * len(layers)
    if len(targets) != len(layers):
        raise ValueError(f"target_rate must be a number or {len(layers)} numbers, one per layer, got {len(targets)}")
    for target, layer in zip(targets, layers, strict=True):
        check_number("target_rate", target)
        highest = layer.spiking.neuron.highest_rate
        if not 0 < target <= highest:
            raise ValueError(f"target_rate must be > 0 and at most {highest:g} Hz for {layer.name}, got {target:g}")
    return targets


def _calibrate_layer(
    network: nn.Module, data: Any, layer: Layer, target: float, generator: torch.Generator | None
) -> LayerRate:
    neuron, name = layer.spiking.neuron, layer.name or "the neurons"
    for module in layer.feeding:
        nn.init.normal_(module.weight, 0.0, module.weight[0].numel() ** -0.5, generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    weights = [module.weight for module in layer.feeding]
    potential = _potential(network, data, layer)
    unit = potential.std.square().mean().sqrt().item()
    if not math.isfinite(unit):
        raise ValueError(f"data must be finite and reach {name} so, got potentials that are NaN or infinite")
    if unit == 0:
        raise ValueError(f"data must reach {name}: the potential of no neuron changes in time")
    if layer.spiking.recurrent is not None:
        recurrent, chance = layer.spiking.recurrent, target * neuron.dt
        nn.init.normal_(recurrent, generator=generator)
        if layer.spiking.recurrent_bias is not None:
            nn.init.zeros_(layer.spiking.recurrent_bias)
        alone = potential._replace(mean=0 * potential.mean, std=0 * potential.std)
        drawn = with_recurrent(alone, recurrent, layer.spiking.gain, chance).std.square().mean().item()
        recurrent.mul_(unit * (_RECURRENT_SHARE / (1 - _RECURRENT_SHARE) / drawn) ** 0.5)
        potential = with_recurrent(potential, recurrent, layer.spiking.gain, chance)
        weights.append(recurrent)
    scale = _predicted_scale(potential, target, name)
    slope = math.log(potential.rate(_NEARBY * scale) / target) / math.log(_NEARBY)
    drawn_weights = [weight.clone() for weight in weights]

    def measured(scale: float) -> float:
        for weight, drawn in zip(weights, drawn_weights, strict=True):
            weight.copy_(drawn * scale)
        return record(network, data, layer, currents=False).chance / neuron.dt

    scale, _ = correct_scale(
        measured, target, guess=scale, slope=max(slope, _LEAST_SLOPE), exact=_EXACT, rounds=_SIMULATIONS
    )
    reached = measured(scale)
    nearest = _SPIKES / (record(network, data, layer, currents=False).looks * neuron.dt)
    if not abs(reached - target) <= max(_NEAR * target, nearest):
        raise ValueError(
            f"target_rate must be one that the scale of the weights can give {name}: they fire at {reached:.3g} Hz for "
            f"{target:g} at the best scale that was found. What stands between the weights and the neurons, such as a "
            "normalisation, may undo it"
        )
    return LayerRate(layer.name, float(target), potential.rate(scale), reached)


def _potential(network: nn.Module, data: Any, layer: Layer) -> MeasuredPotential:
    recording = record(network, data, layer)
    return measured_potential(
        recording.current,
        layer.spiking.neuron,
        gain=layer.spiking.gain,
        sources=sum(module.weight[0].numel() for module in layer.feeding),
        active=recording.active,
    )


def _predicted_scale(potential: MeasuredPotential, target: float, name: str) -> float:
    neuron = potential.neuron
    in_units = (neuron.threshold - neuron.reset) / potential.std.square().mean().sqrt().item()
    try:
        return solve_scale(
            potential.rate, target, guess=_USUAL * in_units, least=_SMALLEST * in_units, most=_LARGEST * in_units
        )
    except OutOfReachError as error:
        raise ValueError(
            f"target_rate must be between {error.lowest:.3g} and {error.highest:.3g} Hz for {name} to reach it under "
            f"these data, got {target:g}"
        ) from None

"""The scales of a recurrent layer's weights at which it has a rate that it gives to itself."""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.spiking._fit import Fit, Rows, fit_scale
from rrnn_ext.spiking._layer_neuron import LayerNeuron
from rrnn_ext.spiking._simulation import simulated_chances
from rrnn_ext.spiking._solve_scale import correct_scale

_ROUNDS = 3
_SIMULATIONS = 6
_EXACT, _TOLERABLE = 0.01, 0.1  # of the rate


class UnstableError(ValueError):
    """The layer does not hold the rate; `reached` is what it settles at."""

    def __init__(self, reached: float) -> None:
        super().__init__(f"the layer settles at {reached:g} Hz")
        self.reached = reached


def fit_recurrent(
    inputs: Rows, recurrent: Tensor, from_input: Tensor, rate: float, share: float, neuron: LayerNeuron
) -> tuple[float, float]:
    """Scales of `inputs.moving` and of `recurrent`; OutOfReachError or UnstableError if there are none."""
    fit, by_input, by_layer = _self_consistent(inputs, recurrent, from_input, rate, share, neuron)
    if share == 0:
        return fit.scale * by_input, 0.0
    # A few percent that neurons of one layer are not independent grow, since the layer hears itself.
    unit = Rows(by_input * inputs.moving, inputs.fixed)

    def rate_at(scale: float) -> float:
        chances = simulated_chances(
            unit.at(scale), from_input, neuron, expected=rate * neuron.dt, recurrent=scale * by_layer * recurrent
        )
        return chances.mean().item() / neuron.dt

    scale, reached = correct_scale(
        rate_at, rate, guess=fit.scale, slope=fit.slope / (1 - share / 2), exact=_EXACT, rounds=_SIMULATIONS
    )
    if abs(reached / rate - 1) > _TOLERABLE:
        raise UnstableError(reached)
    return scale * by_input, scale * by_layer


def _self_consistent(
    inputs: Rows, recurrent: Tensor, from_input: Tensor, rate: float, share: float, neuron: LayerNeuron
) -> tuple[Fit, float, float]:
    """The fit, and the scales of both kinds of weights for a variance of 1: the neurons' rates and the clustering of
    their spikes are put in their input until they come out again."""
    from_layer = torch.full_like(recurrent[0], rate * neuron.dt)
    clustering = torch.ones_like(from_layer)
    fixed = torch.cat([inputs.fixed, torch.zeros_like(recurrent)], 1)
    noise_in = (from_input * (1 - from_input)).sum().item()
    for _ in range(_ROUNDS if share > 0 else 1):
        noise_rec = (from_layer * (1 - from_layer) * clustering).sum().item()
        by_input, by_layer = ((1 - share) / noise_in) ** 0.5, (share / noise_rec) ** 0.5
        fit = fit_scale(
            Rows(torch.cat([by_input * inputs.moving, by_layer * recurrent], 1), fixed),
            torch.cat([from_input, from_layer]),
            rate,
            neuron,
            clustering=torch.cat([torch.ones_like(from_input), clustering]),
        )
        from_layer, clustering = fit.spikes.chances.to(from_layer), fit.spikes.clustering().to(from_layer)
    return fit, by_input, by_layer

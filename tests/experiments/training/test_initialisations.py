"""First weights of spiking networks: what each formula promises, measured."""

from __future__ import annotations

import math

import pytest
import torch

from experiments.training.initialisations import (
    BY_FORMULA,
    CALIBRATED,
    INITIALISATIONS,
    fluctuation_driven,
    kaiming,
    pairs,
)
from experiments.training.spiking import TAU, layers

pytestmark = pytest.mark.usefixtures("one_thread")


def poisson(rate: float, dt: float, steps: int, samples: int, inputs: int) -> torch.Tensor:
    return (torch.rand(steps, samples, inputs, generator=torch.Generator().manual_seed(1)) < rate * dt).float()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("recurrent", [False, True])
def test_kaiming_keeps_the_second_moment_through_rectified_units(recurrent: bool) -> None:
    network = layers(400, 400, 1, dt=1e-3, recurrent=recurrent)
    kaiming(network, torch.empty(0), 0.0, generator())
    ((linear, neurons),) = pairs(network)
    values = torch.randn(1000, 400, generator=torch.Generator().manual_seed(1))
    for weight in (linear.weight, neurons.weight_rec)[: 1 + recurrent]:
        assert weight is not None
        through = torch.relu(values @ weight.T)
        assert through.square().mean().item() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("rate", [5.0, 50.0])
def test_fluctuation_driven_potentials_have_a_standard_deviation_of_one_threshold(rate: float) -> None:
    dt = 1e-4
    spikes = poisson(rate, dt, 6000, 4, 200)
    network = layers(200, 100, 1, dt=dt)
    fluctuation_driven(network, spikes, 20.0, generator())
    potential = torch.zeros(4, 100)
    squares = []
    with torch.no_grad():
        for current in network[0](spikes - rate * dt):  # without the mean, which the formula does not speak of
            potential = math.exp(-dt / TAU) * potential + current
            squares.append(potential.square().mean().item())
    assert (sum(squares[1000:]) / 5000) ** 0.5 == pytest.approx(1, rel=0.05)


def test_fluctuation_driven_recurrent_weights_get_half_of_the_variance() -> None:
    rates = {"in": 50.0, "recurrent": 10.0}
    network = layers(400, 400, 1, dt=1e-3, recurrent=True)
    fluctuation_driven(network, torch.full((1, 1, 400), rates["in"] * 1e-3), rates["recurrent"], generator())
    ((linear, neurons),) = pairs(network)
    assert neurons.weight_rec is not None
    # Campbell's theorem: a Poisson train of rate nu through exp(-t / tau) has variance nu w^2 tau / 2.
    for weight, rate in ((linear.weight, rates["in"]), (neurons.weight_rec, rates["recurrent"])):
        assert (weight.square().sum(1) * rate * TAU / 2).mean().item() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("name", [CALIBRATED, BY_FORMULA])
def test_this_librarys_layers_fire_as_they_were_asked(name: str) -> None:
    dt, asked = 1e-3, 20.0
    network = layers(100, 100, 2, dt=dt)
    spikes = poisson(asked, dt, 1000, 8, 100)
    INITIALISATIONS[name](network, spikes, asked, generator())
    with torch.no_grad():
        for linear, neurons in pairs(network):
            spikes = neurons(linear(spikes))
            assert spikes.mean().item() / dt == pytest.approx(asked, rel=0.15)


def test_the_input_is_not_needed_where_nothing_comes_in() -> None:
    network = layers(50, 50, 2, dt=1e-3)
    fluctuation_driven(network, torch.zeros(10, 1, 50), 20.0, generator())
    assert all(weight.isfinite().all() for weight in network.parameters())

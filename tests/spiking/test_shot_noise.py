"""Firing rates under single jumps: against the published integral by mpmath, simulation, and the diffusion limit."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from rrnn_ext.spiking import firing_rate, firing_rate_shot_noise

TAU = 0.01


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def richardson_swarbrick(rate_exc: float, size_exc: float, rate_inh: float, size_inh: float, tau: float) -> float:
    with mpmath.workdps(30):
        a, b, k, q = (mpmath.mpf(x) for x in (size_exc, size_inh, tau * rate_exc, tau * rate_inh))
        power = max(1, 1 / k)  # the integrand is singular at rest = 0 where k < 1

        def integrand(u: mpmath.mpf) -> mpmath.mpf:
            rest = u**power
            x = (1 - rest) / a
            return power * (mpmath.exp(x) - rest) / (1 - rest) * u ** (power * k - 1) * (1 + b * x) ** q

        return float(1 / (tau * mpmath.quad(integrand, [mpmath.mpf(j) / 8 for j in range(9)])))


class TestRate:
    @pytest.mark.parametrize(
        "inputs",
        [
            *[(1000.0, 0.2, 1000.0, 0.2), (250.0, 0.4, 250.0, 0.4), (4000.0, 0.1, 4000.0, 0.1)],
            *[(30.0, 0.5, 0.0, 0.1), (90.0, 0.5, 10.0, 0.01), (1.0, 0.5, 0.0, 0.0)],  # a few large jumps
            *[(20000.0, 0.01, 20000.0, 0.01), (1e5, 0.01, 8e4, 0.01), (300.0, 0.05, 0.0, 0.0)],  # many small ones
        ],
    )
    def test_equals_the_published_integral(self, inputs: tuple[float, float, float, float]) -> None:
        rate = firing_rate_shot_noise(double(inputs[0]), *inputs[1:], tau=TAU)
        assert rate.item() == pytest.approx(richardson_swarbrick(*inputs, TAU), rel=1e-9)

    def test_is_that_of_white_noise_for_many_small_jumps(self) -> None:
        size, std = 1e-4, 0.6
        arrivals = std**2 / (2 * TAU * size**2)
        rate = firing_rate_shot_noise(double(arrivals + 0.5 / (TAU * size)), size, arrivals, size, tau=TAU)
        assert rate.item() == pytest.approx(firing_rate(0.5, double(std), tau=TAU).item(), rel=1e-3)

    def test_one_jump_that_always_fires(self) -> None:
        """Jumps of which each passes the threshold: the rate is theirs, with the refractory time between."""
        rate = firing_rate_shot_noise(double(50.0), 1e6, 0.0, 0.0, tau=TAU, refractory=5e-3)
        assert 1 / rate.item() == pytest.approx(1 / 50 + 5e-3, rel=1e-5)

    def test_no_excitation_no_spikes(self) -> None:
        assert firing_rate_shot_noise(0.0, 0.5, 100.0, 0.1, tau=TAU) == 0

    def test_rest_shifts_all_potentials(self) -> None:
        given = {"tau": TAU, "threshold": -50.0, "reset": -60.0, "rest": -65.0}
        moved = {"tau": TAU, "threshold": 15.0, "reset": 5.0}
        rates = [firing_rate_shot_noise(double(3000.0), 0.8, 500.0, 1.0, **kind) for kind in (given, moved)]
        torch.testing.assert_close(*rates, rtol=1e-13, atol=0)

    def test_against_simulation(self) -> None:
        """Event by event, exact: 4000 neurons, some 40,000 spikes, three standard errors."""
        rng = np.random.default_rng(1)
        rate_exc, size_exc, rate_inh, size_inh = 500.0, 0.3, 400.0, 0.2
        neurons, events = 4000, 700
        total = rate_exc + rate_inh
        v, spikes = np.zeros(neurons), 0
        for event in range(events):
            v *= np.exp(-rng.exponential(1 / total, neurons) / TAU)
            upwards = rng.random(neurons) < rate_exc / total
            v += rng.exponential(1.0, neurons) * np.where(upwards, size_exc, -size_inh)
            fired = v >= 1
            v[fired] = 0
            if event >= 200:
                spikes += int(fired.sum())
        simulated = spikes / (neurons * (events - 200) / total)
        expected = firing_rate_shot_noise(rate_exc, size_exc, rate_inh, size_inh, tau=TAU).item()
        assert abs(simulated / expected - 1) < 3 / math.sqrt(spikes)


def simulated_once_an_input(
    inputs: tuple[float, float, float, float], size_std: float, reset: float, events: int
) -> tuple[float, int]:
    """Rate and number of spikes of 4000 neurons, exact."""
    rng = np.random.default_rng(3)
    rate_exc, size_exc, rate_inh, size_inh = inputs
    neurons, total = 4000, rate_exc + rate_inh
    v, spikes = np.zeros(neurons), 0
    for event in range(events):
        v *= np.exp(-rng.exponential(1 / total, neurons) / TAU)
        size = np.where(rng.random(neurons) < rate_exc / total, size_exc, -size_inh)
        v += size + size_std * rng.standard_normal(neurons)
        fired = v >= 1
        v[fired] = reset
        spikes += int(fired.sum()) if event >= 200 else 0
    return spikes / (neurons * (events - 200) / total), spikes


class TestNormalSizes:
    @pytest.mark.parametrize(
        ("inputs", "size_std", "reset"),
        [
            ((1000.0, 0.0, 0.0, 0.0), 0.29, 0.0),  # of zero mean, as normal weights
            ((300.0, 0.4, 200.0, 0.3), 0.1, -0.2),
            ((500.0, 0.2, 0.0, 0.0), 0.0, 0.0),  # fixed
            ((400.0, 0.35, 400.0, 0.3), 0.0, 0.1),
        ],
    )
    def test_against_simulation(self, inputs: tuple[float, float, float, float], size_std: float, reset: float) -> None:
        simulated, spikes = simulated_once_an_input(inputs, size_std, reset, 700)
        rate = firing_rate_shot_noise(*inputs, tau=TAU, reset=reset, size_std=size_std).item()
        assert abs(rate / simulated - 1) < 0.002 + 3 / math.sqrt(spikes)

    def test_is_that_of_white_noise_for_many_small_jumps(self) -> None:
        size, std = 5e-3, 0.6
        arrivals = std**2 / (TAU * size**2)  # of either sign
        white = firing_rate(0.0, std, tau=TAU).item()
        fixed = firing_rate_shot_noise(arrivals, size, arrivals, size, tau=TAU, size_std=0.0)
        normal = firing_rate_shot_noise(2 * arrivals, 0.0, tau=TAU, size_std=size)
        for rate in (fixed, normal):
            assert rate.item() == pytest.approx(white, rel=0.02)
            assert rate.item() < white  # jumps overshoot the threshold

    def test_fixed_jumps_that_just_reach_the_threshold_do(self) -> None:
        """As a neuron spikes at the threshold: every jump counts, from the rest and shifted."""
        for rest in (0.0, -0.3):
            rate = firing_rate_shot_noise(
                double(100.0), 1.0, tau=TAU, threshold=rest + 1.0, reset=rest, rest=rest, size_std=0.0, refractory=2e-3
            )
            assert rate.item() == pytest.approx(1 / (1 / 100 + 2e-3), rel=1e-9)

    def test_refractory_time_comes_on_top(self) -> None:
        inputs = (double(500.0), 0.2, 100.0, 0.2)
        rates = [
            firing_rate_shot_noise(*inputs, tau=TAU, size_std=0.05, refractory=silent).item() for silent in (0.0, 4e-3)
        ]
        assert 1 / rates[1] == pytest.approx(1 / rates[0] + 4e-3, rel=1e-12)

    def test_derivatives(self) -> None:
        def rate(rate_exc: Tensor, size_exc: Tensor, size_std: Tensor) -> Tensor:
            return firing_rate_shot_noise(rate_exc, size_exc, 200.0, 0.1, tau=TAU, reset=0.1, size_std=size_std)

        arguments = [double(500.0), double(0.2), double(0.1)]
        assert torch.autograd.gradcheck(rate, [argument.requires_grad_() for argument in arguments])


def test_derivatives() -> None:
    inputs = [double(1000.0, 50.0), double(0.2, 0.5), double(1000.0, 10.0), double(0.2, 0.1), double(0.01, 0.02)]
    potentials = [double(1.0, 1.1), double(0.1, 0.0), double(1e-3, 2e-3), double(0.1, 0.0)]
    arguments = [argument.requires_grad_() for argument in (*inputs, *potentials)]

    def rate(*given: Tensor) -> Tensor:
        tau, threshold, reset, refractory, rest = given[4:]
        return firing_rate_shot_noise(
            *given[:4], tau=tau, threshold=threshold, reset=reset, refractory=refractory, rest=rest
        )

    assert torch.autograd.gradcheck(rate, arguments, eps=1e-7, atol=1e-4)
    assert torch.autograd.gradgradcheck(rate, arguments, eps=1e-6, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rate_exc": -1.0}, "rate_exc must be >= 0, got -1"),
        ({"size_exc": 0.0}, "size_exc must be > 0, got 0"),
        ({"size_inh": -0.1}, "size_inh must be >= 0"),
        ({"tau": 0.0}, "tau must be > 0"),
        ({"reset": 2.0}, "reset must be below the threshold, got 2"),
        ({"size_std": -0.1}, "size_std must be >= 0, got -0.1"),
        ({"rest": 1.0}, "rest must be below the threshold, got 1"),
        ({"refractory": -1e-3}, "refractory must be >= 0, got -0.001"),
    ],
)
def test_errors_name_the_argument(wrong: dict[str, Any], message: str) -> None:
    given = {"rate_exc": 1000.0, "size_exc": 0.2, "rate_inh": 1000.0, "size_inh": 0.2, "tau": TAU}
    with pytest.raises(ValueError, match=message):
        firing_rate_shot_noise(**{**given, **wrong})

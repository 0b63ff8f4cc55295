"""Densities of the membrane potential: what they integrate to, their flux across the threshold, simulations."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
import scipy.integrate
import torch
from torch import Tensor

from rrnn_ext.spiking import (
    firing_rate,
    firing_rate_shot_noise,
    membrane_density,
    membrane_density_shot_noise,
)

TAU = 0.01


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


NEURONS = [
    (0.0, 0.645, 0.0),
    (0.0, 0.645, 0.01),
    (2.0, 0.1, 2e-3),
    (-5.0, 1.0, 0.0),
    (0.5, 0.05, 0.0),
    (3.0, 5.0, 1e-3),
]


class TestWhiteNoise:
    @pytest.mark.parametrize(("mean", "std", "refractory"), NEURONS)
    def test_integrates_to_the_time_that_is_not_refractory(self, mean: float, std: float, refractory: float) -> None:
        def density(v: float) -> float:
            return membrane_density(double(v), mean, std, tau=TAU, refractory=refractory).item()

        cuts = sorted({-3 * std, 0.0, min(mean, 0.9), 1 - min(0.1, std), 1.0})
        lowest = min(mean, 0.0) - 12 * std
        integral = sum(
            scipy.integrate.quad(density, low, high, epsabs=1e-10, limit=200)[0]
            for low, high in zip([lowest, *cuts], cuts, strict=False)
        )
        rate = firing_rate(mean, double(std), tau=TAU, refractory=refractory).item()
        assert integral == pytest.approx(1 - rate * refractory, abs=1e-6)

    @pytest.mark.parametrize(("mean", "std", "refractory"), NEURONS)
    def test_its_flux_across_the_threshold_is_the_rate(self, mean: float, std: float, refractory: float) -> None:
        v = double(1 - 1e-9 * std).requires_grad_()
        density = membrane_density(v, mean, std, tau=TAU, refractory=refractory)
        (slope,) = torch.autograd.grad(density, v)
        rate = firing_rate(mean, double(std), tau=TAU, refractory=refractory)
        assert (-slope * std**2 / TAU).item() == pytest.approx(rate.item(), rel=1e-6, abs=1e-300)

    def test_equals_the_published_integral(self) -> None:
        """Brunel & Hakim 1999: 2 rate tau / (std sqrt 2) times exp(-y²) times the integral of exp(u²)."""
        mean, std, scale = 0.3, 0.5, 0.5 * math.sqrt(2)
        rate = firing_rate(mean, double(std), tau=TAU).item()
        for v in (-2.0, -0.5, 0.0, 0.4, 0.99):
            y, start, top = ((x - mean) / scale for x in (v, max(v, 0.0), 1.0))
            integral = mpmath.quad(lambda u, y=y: mpmath.exp(u * u - y * y), [start, top])
            density = membrane_density(double(v), mean, std, tau=TAU)
            assert density.item() == pytest.approx(float(2 * rate * TAU / scale * integral), rel=1e-12)

    def test_far_from_everything(self) -> None:
        density = membrane_density(double(-60.0, 0.5, 1.0, 7.0), 0.0, double(1.0, 0.01, 1.0, 1.0), tau=TAU)
        assert density.tolist() == [0.0, 0.0, 0.0, 0.0]

    def test_derivatives(self) -> None:
        def density(v: Tensor, mean: Tensor, std: Tensor) -> Tensor:
            return membrane_density(v, mean, std, tau=TAU, refractory=2e-3)

        arguments = [double(-1.0, 0.4, 0.9), double(0.2, -0.3, 1.5), double(0.5, 0.8, 0.2)]
        assert torch.autograd.gradcheck(density, [argument.requires_grad_() for argument in arguments])

    def test_broadcasts_and_keeps_the_dtype(self) -> None:
        density = membrane_density(torch.zeros(5, 1), 0.0, torch.ones(3), tau=TAU)
        assert density.shape == (5, 3)
        assert density.dtype == torch.float32


def seen_before_events(
    rate_exc: float,
    size_exc: float,
    rate_inh: float,
    size_inh: float,
    reset: float,
    refractory: float,
    size_std: float | None,
) -> npt.NDArray[np.float64]:
    """Potentials of 4000 neurons just before each input: Poisson inputs see them as they are on average."""
    rng = np.random.default_rng(2)
    neurons, total = 4000, rate_exc + rate_inh
    v, waits, seen = np.zeros(neurons), np.zeros(neurons), list[npt.NDArray[np.float64]]()
    for event in range(350):
        interval = rng.exponential(1 / total, neurons)
        v *= np.exp(-np.maximum(interval - waits, 0) / TAU)
        waits[:] = np.maximum(waits - interval, 0)
        free = waits == 0
        if event >= 100:
            seen.append(np.where(free, v, np.nan))
        upwards = rng.random(neurons) < rate_exc / total
        size = np.where(upwards, size_exc, -size_inh)
        v += free * (size * rng.exponential(1.0, neurons) if size_std is None else rng.normal(size, size_std))
        waits[v >= 1] = refractory
        v[v >= 1] = reset
    return np.concatenate(seen)


SHOTS = [
    (1000.0, 0.2, 1000.0, 0.2, 0.0, 0.0, None),
    (1000.0, 0.2, 1000.0, 0.2, 0.2, 5e-3, None),
    (250.0, 0.4, 250.0, 0.4, -0.3, 0.0, None),
    (1000.0, 0.15, 0.0, 0.0, 0.0, 2e-3, None),  # no inhibition: nothing below the rest
    (80.0, 0.6, 20.0, 0.1, 0.3, 0.0, None),  # less than an input per tau: unbounded at the rest
    (1000.0, 0.0, 0.0, 0.0, 0.0, 1e-3, 0.29),  # normally distributed sizes
    (300.0, 0.4, 200.0, 0.3, -0.2, 0.0, 0.1),
]


class TestOnceAStep:
    @pytest.mark.parametrize(("mean", "std", "dt"), [(0.0, 0.645, 1e-3), (0.9, 0.3, 5e-3), (1.5, 0.1, 1e-3)])
    def test_what_is_above_the_threshold_spikes(self, mean: float, std: float, dt: float) -> None:
        v = torch.linspace(min(mean, 0.0) - 8 * std, max(mean, 1.0) + 8 * std, 4001, dtype=torch.float64)
        v = torch.cat([v[v < 1], double(1.0), v[v > 1]])
        density = membrane_density(v, mean, std, tau=TAU, dt=dt, refractory=2e-3)
        rate = firing_rate(mean, double(std), tau=TAU, dt=dt, refractory=2e-3).item()
        assert torch.trapezoid(density, v).item() == pytest.approx(1 - rate * 2e-3, abs=1e-6)
        assert torch.trapezoid(density[v >= 1], v[v >= 1]).item() == pytest.approx(rate * dt, rel=1e-4)

    def test_against_simulation(self) -> None:
        mean, std, dt, neurons = 0.5, 0.5, 2e-3, 20_000
        decay = math.exp(-dt / TAU)
        generator = torch.Generator().manual_seed(4)
        v, seen = torch.zeros(neurons), []
        for k in range(150):
            noise = torch.randn(neurons, generator=generator) * std * math.sqrt(1 - decay * decay)
            v = mean + decay * (v - mean) + noise
            if k >= 50:
                seen.append(v)
            v = v.masked_fill(v >= 1, 0.0)
        edges = torch.linspace(-2, 3, 101, dtype=torch.float64)
        counted = torch.histogram(torch.cat(seen).double(), edges).hist / (neurons * len(seen))
        expected = membrane_density((edges[:-1] + edges[1:]) / 2, mean, std, tau=TAU, dt=dt) * edges.diff()
        assert (counted - expected).abs().sum().item() / 2 < 0.005

    def test_neurons_and_potentials_broadcast(self) -> None:
        v, std = double(-0.5, 0.2, 1.1), double(0.3, 0.6)
        together = membrane_density(v[:, None], 0.3, std, tau=TAU, dt=1e-3)
        assert together.shape == (3, 2)
        for k in range(2):
            torch.testing.assert_close(together[:, k], membrane_density(v, 0.3, std[k], tau=TAU, dt=1e-3))

    def test_derivatives(self) -> None:
        def density(v: Tensor, mean: Tensor, std: Tensor) -> Tensor:
            return membrane_density(v, mean, std, tau=TAU, dt=1e-3)

        arguments = [double(-1.0, 1.1), double(0.2, 0.5), double(0.5, 0.8)]
        assert torch.autograd.gradcheck(density, [argument.requires_grad_() for argument in arguments])

    def test_too_little_noise_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="std must be larger for this dt"):
            membrane_density(0.0, 1.5, 1e-4, tau=TAU, dt=1e-4)


class TestShotNoise:
    @pytest.mark.parametrize(("rate_exc", "size_exc", "rate_inh", "size_inh", "reset", "refractory", "size_std"), SHOTS)
    def test_against_simulation(
        self,
        rate_exc: float,
        size_exc: float,
        rate_inh: float,
        size_inh: float,
        reset: float,
        refractory: float,
        size_std: float | None,
    ) -> None:
        inputs = (rate_exc, size_exc, rate_inh, size_inh)
        neuron: dict[str, Any] = {"tau": TAU, "reset": reset, "refractory": refractory, "size_std": size_std}
        seen = seen_before_events(*inputs, reset, refractory, size_std)
        rate = firing_rate_shot_noise(*inputs, **neuron).item()
        at_rest = rate / (rate_exc + rate_inh) if reset == 0 else 0.0
        assert np.mean(np.isnan(seen)) == pytest.approx(rate * refractory, abs=2e-3)
        assert np.mean(seen == 0.0) == pytest.approx(at_rest, abs=1e-3)

        lowest = np.nanmin(seen)
        edges = np.unique(np.concatenate([np.linspace(lowest, 1, 80), [0.0, max(reset, lowest)]]))
        points = edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(400) + 0.5) / 400
        density = membrane_density_shot_noise(torch.from_numpy(points), *inputs, **neuron).numpy()
        expected = density.mean(-1) * np.diff(edges)
        assert expected.sum() == pytest.approx(1 - rate * refractory - at_rest, abs=1e-3)
        counted = np.histogram(seen[(seen != 0.0) & ~np.isnan(seen)], edges)[0] / seen.size
        assert np.abs(counted - expected).sum() / 2 < 0.01

    def test_integrates_to_the_time_that_is_not_refractory(self) -> None:
        neuron = {"tau": TAU, "reset": 0.2, "refractory": 5e-3}
        inputs = (1000.0, 0.2, 800.0, 0.15)
        middles = (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000
        integral = 0.0
        for low, high in [(-7.0, 0.0), (0.0, 0.2), (0.2, 1.0)]:
            v = low + (high - low) * middles
            integral += (high - low) * membrane_density_shot_noise(v, *inputs, **neuron).mean().item()
        rate = firing_rate_shot_noise(double(inputs[0]), *inputs[1:], **neuron).item()
        assert integral == pytest.approx(1 - rate * 5e-3, abs=1e-6)

    def test_is_that_of_white_noise_for_many_small_jumps(self) -> None:
        size, std = 0.01, 0.6
        arrivals = std**2 / (2 * TAU * size**2)
        v = torch.linspace(-2, 0.95, 60, dtype=torch.float64)
        shots = membrane_density_shot_noise(v, arrivals, size, arrivals, size, tau=TAU)
        white = membrane_density(v, 0.0, std, tau=TAU)
        assert (shots - white).abs().max() < 0.03 * white.max()

    def test_neurons_with_their_own_potentials(self) -> None:
        v, rates = double(-0.4, 0.1, 0.6), double(500.0, 1000.0, 2000.0)
        together = membrane_density_shot_noise(v[:, None], rates, 0.2, rates, 0.2, tau=TAU, reset=0.1)
        assert together.shape == (3, 3)
        for k in range(3):
            alone = membrane_density_shot_noise(v[k], rates[k], 0.2, rates[k], 0.2, tau=TAU, reset=0.1)
            torch.testing.assert_close(together[k, k], alone)

    def test_derivatives(self) -> None:
        def density(rate_exc: Tensor, size_exc: Tensor) -> Tensor:
            return membrane_density_shot_noise(double(0.5), rate_exc, size_exc, 500.0, 0.1, tau=TAU, reset=0.1)

        assert torch.autograd.gradcheck(density, [double(800.0).requires_grad_(), double(0.2).requires_grad_()])


@pytest.mark.parametrize(("wrong", "message"), [({"std": -1.0}, "std must be >= 0"), ({"tau": 0.0}, "tau must be > 0")])
def test_errors_name_the_argument(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        membrane_density(0.0, **{"mean": 0.0, "std": 1.0, "tau": TAU, **wrong})

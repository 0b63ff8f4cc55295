"""The response of a neuron's spikes to a kick against simulation and against the derivative of the firing rate."""

from __future__ import annotations

import math

import pytest
import torch

from rrnn_ext.spiking import firing_rate, kick_response, lif

TAU, DT = 20e-3, 1e-3


@pytest.mark.parametrize("refractory", [0.0, 3e-3])
@pytest.mark.parametrize(
    ("mean", "std", "reset", "dt"), [(0.5, 0.4, 0.0, 1e-3), (0.9, 0.2, -0.5, 5e-4), (0, 0.7, 0, 5e-3)]
)
def test_all_lags_together_are_the_derivative_of_the_rate(
    mean: float, std: float, reset: float, dt: float, refractory: float
) -> None:
    """A kick every step is a higher mean; the firing rate comes from another equation."""
    refractory = round(refractory / dt) * dt
    at = torch.tensor(mean, dtype=torch.float64, requires_grad=True)
    options = {"tau": TAU, "dt": dt, "reset": reset, "refractory": refractory}
    slope = torch.autograd.grad(firing_rate(at, std, **options), at)[0]
    response = kick_response(at.detach(), std, lags=int(1 / dt), **options)
    assert response.sum().item() == pytest.approx(dt * slope.item() / (1 - math.exp(-dt / TAU)), rel=1e-4)


def test_like_a_simulation() -> None:
    """At each lag, of a small kick up less one down, in 300,000 neurons with the same noise."""
    mean, std, kick, before, lags = 0.5, 0.4, 0.05, 60, 12
    generator = torch.Generator().manual_seed(0)
    leak = math.exp(-DT / TAU)
    noise = torch.randn(before + lags, 300_000, generator=generator)
    current = mean * (1 - leak) + std * math.sqrt(1 - leak**2) * noise
    spikes = []
    for sign in (1, -1):
        current[before] += sign * kick
        spikes.append(lif(current, tau=TAU, dt=DT, refractory=2e-3)[0][before:])
        current[before] -= sign * kick
    difference = (spikes[0] - spikes[1]) / (2 * kick)
    measured, error = difference.mean(1), difference.std(1) / difference.shape[1] ** 0.5
    predicted = kick_response(mean, std, tau=TAU, dt=DT, refractory=2e-3, lags=lags)
    assert (error < 0.1 * predicted[0]).all()
    assert ((measured - predicted).abs() < 4.5 * error).all()


def test_each_of_many() -> None:
    means, stds = torch.tensor([[0.2], [0.6]]), torch.tensor([0.3, 0.4, 0.5])
    together = kick_response(means, stds, tau=TAU, dt=DT, lags=4)
    assert together.shape == (2, 3, 4)
    alone = kick_response(means[1, 0], stds[2], tau=TAU, dt=DT, lags=4)
    torch.testing.assert_close(together[1, 2], alone)


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="lags must be at least 1, got 0"):
        kick_response(0.5, 0.4, tau=TAU, dt=DT, lags=0)
    with pytest.raises(ValueError, match="dt must be at most tau"):
        kick_response(0.5, 0.4, tau=TAU, dt=1.0, lags=2)

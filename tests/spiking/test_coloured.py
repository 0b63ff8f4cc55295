"""Firing rates with exponential synapses: the published expansion, a simulation, derivatives, errors."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor

from rrnn_ext.spiking import firing_rate, firing_rate_coloured

TAU = 0.02


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.645), (0.7, 0.3), (1.5, 0.2)])
def test_short_synapses_lower_the_rate_as_published(mean: float, std: float) -> None:
    """Brunel & Sergi 1998: rate - alpha sqrt(tau_syn / tau) rate² tau sqrt(pi) (Phi(y) - Phi(y_r)), alpha = 1.0326..,
    Phi(u) = exp(u²) (1 + erf u)."""
    white = firing_rate(mean, double(std), tau=TAU).item()
    phi = [float(mpmath.exp(y * y) * mpmath.erfc(-y)) for y in ((x - mean) / (std * math.sqrt(2)) for x in (0.0, 1.0))]
    alpha = -math.sqrt(2) * float(mpmath.zeta(0.5)) / 2
    slope = -alpha * white**2 * TAU * math.sqrt(math.pi) * (phi[1] - phi[0])
    ratio = 1e-10
    coloured = firing_rate_coloured(mean, double(std), tau=TAU, tau_syn=ratio * TAU).item()
    assert (coloured - white) / math.sqrt(ratio) == pytest.approx(slope, rel=1e-3)


def test_against_simulation() -> None:
    """Potential and current together are a Gaussian process that is stepped exactly; tau_syn is 20 steps."""
    mean, std, synapse, dt, neurons = 1.0, 0.5, 1e-3, 5e-5, 4000
    current_variance = std**2 * (TAU + synapse) / (TAU**2 * synapse)
    stationary = double(std**2, *2 * [current_variance * TAU * synapse / (TAU + synapse)], current_variance).view(2, 2)
    step = torch.linalg.matrix_exp(double(-1 / TAU, 1.0, 0.0, -1 / synapse).view(2, 2) * dt)
    noise = torch.linalg.cholesky(stationary - step @ stationary @ step.T).float()
    step = step.float()
    generator = torch.Generator().manual_seed(0)
    v, current = torch.zeros(neurons), math.sqrt(current_variance) * torch.randn(neurons, generator=generator)
    spikes = 0
    for k in range(3000):
        first, second = torch.randn(2, neurons, generator=generator)
        v = mean + step[0, 0] * (v - mean) + step[0, 1] * current + noise[0, 0] * first
        current = step[1, 1] * current + noise[1, 0] * first + noise[1, 1] * second
        fired = v >= 1
        v = v.masked_fill(fired, 0.0)
        spikes += int(fired.sum()) if k >= 1000 else 0
    simulated = spikes / (neurons * 2000 * dt)
    coloured = firing_rate_coloured(mean, std, tau=TAU, tau_syn=synapse).item()
    assert simulated == pytest.approx(coloured, rel=0.02)
    assert simulated < 0.93 * firing_rate(mean, std, tau=TAU).item()


def test_without_synapses_it_is_the_rate_under_white_noise() -> None:
    tau = double(0.01, 0.02).requires_grad_()
    coloured = firing_rate_coloured(0.3, 0.5, tau=tau, tau_syn=0.0)
    white = firing_rate(0.3, 0.5, tau=tau)
    torch.testing.assert_close(coloured, white, rtol=0, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(rate.sum(), tau)[0] for rate in (coloured, white)))


def test_derivatives() -> None:
    def rate(mean: Tensor, std: Tensor, tau: Tensor, tau_syn: Tensor) -> Tensor:
        return firing_rate_coloured(mean, std, tau=tau, tau_syn=tau_syn, refractory=1e-3)

    arguments = [double(0.0, 1.2), double(0.6, 0.3), double(0.02, 0.01), double(1e-3, 2e-3)]
    arguments = [argument.requires_grad_() for argument in arguments]
    assert torch.autograd.gradcheck(rate, arguments)
    assert torch.autograd.gradgradcheck(rate, arguments)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tau_syn": -1e-3}, "tau_syn must be >= 0"),
        ({"tau_syn": 0.03}, "tau_syn must be at most tau, got 0.03"),
        ({"std": -1.0}, "std must be >= 0"),
    ],
)
def test_errors_name_the_argument(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        firing_rate_coloured(**{"mean": 0.0, "std": 1.0, "tau": TAU, "tau_syn": 1e-3, **wrong})

"""Firing rates with exponential synapses: the published expansion, a simulation, derivatives, errors."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor

from rrnn_ext.spiking import firing_rate, firing_rate_coloured, lif

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


class TestLittleNoise:
    """Whole steps pass between spikes, which little noise blurs."""

    def test_without_noise_the_current_is_constant(self) -> None:
        mean = double(2.0, 1.05, 1.0001, 1.0, 0.5)
        steps = [math.ceil(TAU / 1e-3 * math.log(m / (m - 1))) for m in mean[:3].tolist()]
        rates = firing_rate_coloured(mean, 0.0, tau=TAU, tau_syn=5e-3, dt=1e-3, refractory=2e-3)
        assert rates.tolist() == pytest.approx([*(1 / (1e-3 * number + 2e-3) for number in steps), 0.0, 0.0])

    @pytest.mark.parametrize("dt", [0.2e-3, 1e-3, 10e-3])
    def test_the_least_noise(self, dt: float) -> None:
        """Without synapses it is the rate that is solved for in another way."""
        mean = double(0.9, 1.0, 1.05, 1.5, 3.0)
        found = firing_rate_coloured(mean, 0.05, tau=TAU, tau_syn=0.0, dt=dt)
        torch.testing.assert_close(found, firing_rate(mean, 0.05, tau=TAU, dt=dt), rtol=3e-3, atol=1e-9)

    def test_less_is_refused(self) -> None:
        std = double(0.3, 0.0, 0.04)
        with pytest.raises(ValueError, match=r"std must be 0 or at least 0.05 of the distance.*, got 0.04"):
            firing_rate_coloured(1.2, std, tau=TAU, tau_syn=5e-3, dt=1e-3)
        rates = torch.func.vmap(lambda one: firing_rate_coloured(1.2, one, tau=TAU, tau_syn=5e-3, dt=1e-3))(std)
        assert rates.isfinite().tolist() == [True, True, False]


class TestOnceAStep:
    @pytest.mark.parametrize(
        ("mean", "std", "tau_syn", "refractory"),
        [(0.3, 0.6, 2e-3, 0.0), (1.2, 0.3, 5e-3, 0.0), (0.8, 0.5, 5e-3, 4e-3), (0.8, 0.5, 5e-4, 0.0)],
    )
    def test_against_the_stepped_neuron(self, mean: float, std: float, tau_syn: float, refractory: float) -> None:
        dt, neurons, steps, warm = 1e-3, 4000, 500, 150
        leak, syn = math.exp(-dt / TAU), math.exp(-dt / tau_syn)
        # The potential is a filtered current, v' = leak v + i', and the current i' = syn i + input.
        current_std = std * math.sqrt((1 - leak**2) * (1 - leak * syn) / (1 + leak * syn))
        generator = torch.Generator().manual_seed(5)
        inputs = torch.randn(steps, 1, neurons, generator=generator) * current_std * math.sqrt(1 - syn**2)
        inputs += mean * (1 - leak) * (1 - syn)
        spikes, _ = lif(inputs, tau=TAU, dt=dt, tau_syn=tau_syn, refractory=refractory)
        rates = spikes[warm:].mean(dim=(0, 1)) / dt
        error = rates.std().item() / math.sqrt(neurons)
        rate = firing_rate_coloured(mean, std, tau=TAU, tau_syn=tau_syn, refractory=refractory, dt=dt).item()
        assert error < 0.01 * rate
        assert abs(rates.mean().item() - rate) < 3 * error + 2e-3 * rate

    def test_without_synapses_it_is_the_rate_under_white_noise(self) -> None:
        std = double(0.3, 0.6)
        given: dict[str, Any] = {"tau": TAU, "dt": 2e-3, "refractory": 3e-3}
        coloured = firing_rate_coloured(0.2, std, tau_syn=0.0, **given)
        torch.testing.assert_close(coloured, firing_rate(0.2, std, **given), rtol=1e-5, atol=0)

    def test_short_steps_are_continuous_time(self) -> None:
        """Where the expansion holds, a hundredth of tau: the two share no formula."""
        rate = firing_rate_coloured(0.8, double(0.4), tau=TAU, tau_syn=0.01 * TAU)
        steps = firing_rate_coloured(0.8, double(0.4), tau=TAU, tau_syn=0.01 * TAU, dt=0.01 * TAU / 20)
        assert steps.item() == pytest.approx(rate.item(), rel=0.01)

    def test_many_neurons_at_once(self) -> None:
        mean = torch.linspace(0, 1.5, 5, dtype=torch.float64).requires_grad_()
        rates = firing_rate_coloured(mean, 0.5, tau=TAU, tau_syn=3e-3, dt=2e-3)
        (slopes,) = torch.autograd.grad(rates.sum(), mean)
        for k in (0, 4):
            one = mean[k].detach().requires_grad_()
            rate = firing_rate_coloured(one, 0.5, tau=TAU, tau_syn=3e-3, dt=2e-3)
            torch.testing.assert_close(rates[k], rate, rtol=1e-9, atol=0)
            torch.testing.assert_close(slopes[k], torch.autograd.grad(rate, one)[0], rtol=1e-7, atol=0)

    def test_derivatives(self) -> None:
        def rate(mean: Tensor, std: Tensor, tau_syn: Tensor, refractory: Tensor) -> Tensor:
            return firing_rate_coloured(mean, std, tau=TAU, tau_syn=tau_syn, refractory=refractory, dt=2e-3)

        arguments = [double(0.5), double(0.5), double(3e-3), double(1e-3)]
        assert torch.autograd.gradcheck(rate, [argument.requires_grad_() for argument in arguments], atol=1e-3)


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
        ({"tau_syn": 0.03}, "tau_syn must be at most tau in continuous time, got 0.03"),
        ({"tau_syn": 0.03, "dt": 5e-4}, "tau_syn must be at most 40 dt, got 0.03"),
        ({"std": -1.0}, "std must be >= 0"),
    ],
)
def test_errors_name_the_argument(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        firing_rate_coloured(**{"mean": 0.0, "std": 1.0, "tau": TAU, "tau_syn": 1e-3, **wrong})

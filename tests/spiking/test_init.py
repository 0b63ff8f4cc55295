"""Initialisers: the rates that their layers reach, against simulations step by step, and what else is promised."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from rrnn_ext.spiking import init

SPIKES = 20_000


def simulated_rate(
    weight: Tensor, *, rate_in: float | Tensor, tau: float, dt: float, tau_syn: float = 0.0, refractory: float = 0.0
) -> float:
    """Mean over the layer, in Hz, under independent spikes: a loop that shares nothing with the library."""
    generator = torch.Generator().manual_seed(7)
    out, count = weight.shape
    potential, synaptic = torch.zeros(32, out), torch.zeros(32, out)
    ready = torch.zeros(32, out)
    leak, leak_syn = math.exp(-dt / tau), math.exp(-dt / tau_syn) if tau_syn else 0.0
    settling, spikes, step = round(8 * (tau + tau_syn) / dt), 0, 0
    while spikes < SPIKES:
        step += 1
        arriving = (torch.rand(32, count, generator=generator) < rate_in * torch.tensor(dt)).float()
        synaptic = leak_syn * synaptic + arriving @ weight.T
        potential = torch.where(ready <= 0, leak * potential + synaptic, potential)
        spiking = (potential >= 1) & (ready <= 0)
        potential = torch.where(spiking, 0.0, potential)
        ready = torch.where(spiking, round(refractory / dt), ready - 1)
        spikes += int(spiking.sum()) if step > settling else 0
    return spikes / ((step - settling) * dt * 32 * out)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestRates:
    @pytest.mark.parametrize(
        ("count", "rate_in", "rate_out", "tau", "dt"),
        [
            (128, 5.0, 20.0, 0.02, 1e-3),  # few spikes, large weights
            (512, 10.0, 10.0, 0.01, 1e-3),
            (256, 50.0, 5.0, 0.02, 5e-3),  # long steps, and differences between neurons greater than those in time
            (256, 50.0, 50.0, 0.01, 5e-3),
        ],
    )
    def test_normal(self, count: int, rate_in: float, rate_out: float, tau: float, dt: float) -> None:
        weight = torch.empty(200, count)
        init.rate_normal_(weight, rate_in=rate_in, rate_out=rate_out, tau=tau, dt=dt, generator=seeded())
        assert simulated_rate(weight, rate_in=rate_in, tau=tau, dt=dt) == pytest.approx(rate_out, rel=0.03)

    @pytest.mark.parametrize("options", [{"refractory": 5e-3}, {"tau_syn": 5e-3}], ids=["refractory", "synapses"])
    def test_neurons(self, options: dict[str, Any]) -> None:
        neuron: dict[str, Any] = {"rate_in": 20.0, "tau": 0.02, "dt": 1e-3, **options}
        weight = init.rate_normal_(torch.empty(128, 256), rate_out=30.0, generator=seeded(), **neuron)
        assert simulated_rate(weight, **neuron) == pytest.approx(30.0, rel=0.04)

    def test_a_rate_for_each_presynaptic_neuron(self) -> None:
        neuron: dict[str, Any] = {"rate_in": torch.linspace(0, 60, 256), "tau": 0.01, "dt": 1e-3}
        weight = init.rate_normal_(torch.empty(200, 256), rate_out=10.0, generator=seeded(), **neuron)
        assert simulated_rate(weight, **neuron) == pytest.approx(10.0, rel=0.03)

    def test_mean_of_the_potential(self) -> None:
        neuron: dict[str, Any] = {"rate_in": 20.0, "tau": 0.01, "dt": 1e-3}
        weight = init.rate_normal_(torch.empty(200, 256), rate_out=20.0, mean=0.5, generator=seeded(), **neuron)
        assert simulated_rate(weight, **neuron) == pytest.approx(20.0, rel=0.03)
        free = weight.sum(1).mean() * 20.0 * 1e-3 / (1 - math.exp(-0.1))
        assert free.item() == pytest.approx(0.5, abs=0.05)

    @pytest.mark.parametrize("sizes", ["lognormal", "exponential"])
    def test_excitatory_and_inhibitory(self, sizes: Any) -> None:
        neuron: dict[str, Any] = {"rate_in": 10.0, "tau": 0.02, "dt": 1e-3}
        weight = init.rate_dale_(torch.empty(128, 400), rate_out=10.0, sizes=sizes, generator=seeded(), **neuron)
        assert bool((weight[:, :320] > 0).all() and (weight[:, 320:] < 0).all())
        assert weight.sum(1).mean().item() == pytest.approx(0, abs=1e-3 * weight.abs().sum(1).mean().item())
        assert simulated_rate(weight, **neuron) == pytest.approx(10.0, rel=0.06)


NEURON: dict[str, Any] = {"rate_in": 20.0, "rate_out": 10.0, "tau": 0.01, "dt": 1e-3}


def recurrent_rate(weight_in: Tensor, weight_rec: Tensor, *, rate_in: float, tau: float, dt: float) -> float:
    """Mean over a recurrent layer, in Hz: a loop that shares nothing with the library."""
    generator = torch.Generator().manual_seed(7)
    potential, spiking = torch.zeros(16, len(weight_rec)), torch.zeros(16, len(weight_rec))
    counts, settling, steps = 0.0, round(20 * tau / dt), round(150 * tau / dt)
    for step in range(settling + steps):
        arriving = (torch.rand(16, weight_in.shape[1], generator=generator) < rate_in * dt).float()
        potential = math.exp(-dt / tau) * potential + arriving @ weight_in.T + spiking @ weight_rec.T
        spiking = (potential >= 1).float()
        potential = potential * (1 - spiking)
        counts += spiking.sum().item() if step >= settling else 0
    return counts / (steps * dt * potential.numel())


class TestRecurrent:
    @pytest.mark.parametrize(("rate_out", "dt"), [(10.0, 1e-3), (20.0, 5e-3)])
    def test_rate_and_share(self, rate_out: float, dt: float) -> None:
        neuron: dict[str, Any] = {"rate_in": 20.0, "tau": 0.02, "dt": dt}
        weights = init.rate_recurrent_(
            torch.empty(200, 100), torch.empty(200, 200), rate_out=rate_out, generator=seeded(), **neuron
        )
        assert recurrent_rate(*weights, **neuron) == pytest.approx(rate_out, rel=0.05)
        by_input, by_layer = (weight.square().sum().item() for weight in weights)
        by_input, by_layer = 20.0 * (1 - 20 * dt) * by_input, rate_out * (1 - rate_out * dt) * by_layer
        # Differences between neurons and clustering make the recurrent part not exactly what equal neurons would send.
        assert by_layer / (by_input + by_layer) == pytest.approx(0.5, abs=0.06)

    def test_without_recurrent_variance_it_is_the_layer_of_its_input(self) -> None:
        weight_in, weight_rec = torch.empty(32, 64), torch.empty(32, 32)
        init.rate_recurrent_(weight_in, weight_rec, share=0.0, generator=seeded(), **NEURON)
        assert not weight_rec.any()
        alone = init.rate_normal_(torch.empty(32, 64), generator=seeded(), **NEURON)
        torch.testing.assert_close(weight_in, alone, rtol=1e-3, atol=0)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"share": 1.0}, "share must be at least 0 and below 1, got 1"),
            ({"weight_rec": torch.empty(32, 64)}, r"weight_rec must be \(32, 32\) to match weight_in \(32, 64\)"),
            ({"rate_out": 900.0}, "rate_out must be between .* Hz"),
            ({"share": 0.97, "rate_out": 1.0}, "share must be lower for the layer to hold 1 Hz .*: at 0.97 it settles"),
        ],
    )
    def test_errors(self, wrong: dict[str, Any], message: str) -> None:
        arguments = {"weight_in": torch.empty(32, 64), "weight_rec": torch.empty(32, 32), **NEURON, **wrong}
        with pytest.raises(ValueError, match=message):
            init.rate_recurrent_(generator=seeded(), **arguments)


class TestForm:
    def test_in_place_and_reproducible(self) -> None:
        weight = torch.nn.Parameter(torch.empty(32, 64))
        assert init.rate_normal_(weight, generator=seeded(3), **NEURON) is weight
        again = init.rate_normal_(torch.empty(32, 64), generator=seeded(3), **NEURON)
        torch.testing.assert_close(weight.detach(), again, rtol=0, atol=0)

    def test_a_convolution_is_the_layer_of_its_unfolded_input(self) -> None:
        convolution = init.rate_normal_(torch.empty(32, 8, 3, 3), generator=seeded(), **NEURON)
        linear = init.rate_normal_(torch.empty(32, 72), generator=seeded(), **NEURON)
        torch.testing.assert_close(convolution.flatten(1), linear)

    def test_potentials_scale_the_weights(self) -> None:
        weight = init.rate_normal_(torch.empty(32, 64), generator=seeded(), **NEURON)
        tenfold = init.rate_normal_(torch.empty(32, 64), threshold=10.0, generator=seeded(), **NEURON)
        torch.testing.assert_close(tenfold, 10 * weight, rtol=1e-3, atol=0)

    @pytest.mark.parametrize(
        ("wrong", "error", "message"),
        [
            ({"rate_out": 900.0}, ValueError, r"rate_out must be between .* and .* Hz to be reached .*, got 900"),
            ({"rate_out": 1.0, "mean": 1.5}, ValueError, r"rate_out must be between .* and .* Hz"),
            ({"rate_out": -1.0}, ValueError, "rate_out must be > 0 and at most 1000 Hz .*, got -1"),
            ({"rate_in": 0.0}, ValueError, "rate_in must be >= 0 Hz, with one rate at least above it, got 0"),
            ({"rate_in": 2000.0}, ValueError, "rate_in must be > 0 and at most 1000 Hz"),
            ({"rate_in": torch.ones(3)}, ValueError, r"rate_in must be a number or \(64,\) to match weight \(32, 64\)"),
            ({"dt": 0.02}, ValueError, r"dt must be > 0 \(seconds\) and at most tau \(0.01\), got 0.02"),
            ({"tau": -1.0}, ValueError, "tau must be > 0"),
            ({"reset": 2.0}, ValueError, r"reset must be below the threshold \(1\), got 2"),
            ({"mean": "0"}, TypeError, "mean must be a number, got '0'"),
            ({"weight": torch.empty(32)}, ValueError, r"weight must be \(out, in, ...\) .*, got \(32,\)"),
            ({"weight": torch.empty(3, 4, dtype=torch.int64)}, TypeError, "weight must be of a floating-point dtype"),
        ],
    )
    def test_errors_name_the_argument(self, wrong: dict[str, Any], error: type[Exception], message: str) -> None:
        arguments = {"weight": torch.empty(32, 64), **NEURON, **wrong}
        with pytest.raises(error, match=message):
            init.rate_normal_(arguments.pop("weight"), generator=seeded(), **arguments)

    def test_both_signs_are_needed(self) -> None:
        with pytest.raises(ValueError, match=r"excitatory must leave columns of both signs, got 1.0 of the 64 columns"):
            init.rate_dale_(torch.empty(32, 64), excitatory=1.0, **NEURON)
        with pytest.raises(ValueError, match="sizes must be 'lognormal' or 'exponential', got 'normal'"):
            init.rate_dale_(torch.empty(32, 64), sizes="normal", **NEURON)  # type: ignore[arg-type]
        rates = torch.cat([torch.ones(51), torch.zeros(13)])
        with pytest.raises(ValueError, match="rate_in must be > 0 for columns of both signs"):
            init.rate_dale_(torch.empty(32, 64), **{**NEURON, "rate_in": rates})

"""Walks of a recurrent spiking network against what a simulation does with extra input spikes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rrnn_ext
from rrnn_ext.spiking import LIF, SpikingPathways

TAU, DT = 20e-3, 1e-3
N, BEFORE, LAGS = 40, 100, 40
MEAN, STD = 0.5, 0.4


def coupled(strength: float, **options: Any) -> LIF:
    """All to all, of unequal weights whose sum over the sources is about ``strength``."""
    torch.manual_seed(0)
    layer = LIF(tau=TAU, dt=DT, recurrent=N, **options)
    assert layer.weight_rec is not None
    with torch.no_grad():
        layer.weight_rec.copy_(strength / N * (1 + torch.randn(N, N) / 2))
    return layer


def measured_response(layer: LIF, kick: float, samples: int = 1500) -> tuple[Tensor, Tensor, Tensor]:
    """The rates, and the spikes of all units at each lag after all got a kick, per unit of it, with standard errors."""
    generator = torch.Generator().manual_seed(1)
    leak = math.exp(-DT / TAU)
    noise = torch.randn(BEFORE + LAGS, samples, N, generator=generator)
    current = MEAN * (1 - leak) + STD * math.sqrt(1 - leak**2) * noise
    spikes = []
    with torch.no_grad():
        for sign in (1, -1):
            current[BEFORE] += sign * kick
            spikes.append(layer(current))
            current[BEFORE] -= sign * kick
    difference = ((spikes[0] - spikes[1]) / (2 * kick))[BEFORE:].sum(-1)
    return spikes[0][50:BEFORE].mean((0, 1)) / DT, difference.mean(1), difference.std(1) / samples**0.5


@pytest.mark.parametrize(("strength", "refractory"), [(0.6, 0.0), (-1.5, 2e-3)])
def test_walks_are_responses(strength: float, refractory: float) -> None:
    """Excitation that makes the response larger and longer, inhibition that cuts it short."""
    layer = coupled(strength, refractory=refractory)
    kick = torch.ones(N, 1)
    pathways = SpikingPathways(layer, kick, torch.ones(1, N), mean=MEAN, std=STD)
    hops = rrnn_ext.hop_decomposition(pathways.weight_hh(), kick, pathways.weight_out(), hops=LAGS)
    predicted = hops.detach()[:, 0, 0]
    rates, measured, error = measured_response(layer, kick=0.05)
    assert rates.mean().item() == pytest.approx(pathways.rate.mean().item(), rel=0.04)
    # What all units do by themselves is lag by lag right at first, and right in all; and so is what they do together.
    assert measured[0].item() == pytest.approx(predicted[0].item(), abs=4 * error[0].item())
    total_error = 4 * error.square().sum().sqrt().item()
    assert measured.sum().item() == pytest.approx(predicted.sum().item(), abs=total_error)
    alone = pathways.total.sum().item()
    assert abs(alone - predicted.sum().item()) > 1.5 * total_error  # recurrence is seen
    # In between, one exponential a unit is not the whole truth.
    for first, last in ((1, 4), (4, 10)):
        own = sum((pathways.gain * pathways.leak**lag).sum().item() for lag in range(first, last))
        walks = predicted[first:last].sum().item()
        assert measured[first:last].sum().item() == pytest.approx(walks, abs=0.25 * (own + abs(walks)))


def test_decay_of_the_membrane_has_the_same_total() -> None:
    layer = coupled(0.6)
    of_response = SpikingPathways(layer, mean=MEAN, std=STD)
    of_membrane = SpikingPathways(layer, mean=MEAN, std=STD, decay="membrane")
    sums = [
        rrnn_ext.resolvent(each.weight_hh(), None, each.weight_out(), hops=None) for each in (of_response, of_membrane)
    ]
    torch.testing.assert_close(*sums, rtol=1e-4, atol=1e-5)
    assert (of_membrane.leak - math.exp(-DT / TAU)).abs().max() < 1e-12
    assert (of_response.leak < of_membrane.leak).all()


def test_penalty_has_gradients_and_follows_the_weights() -> None:
    layer, readin, readout = coupled(0.6), nn.Linear(3, N), nn.Linear(N, 2)
    pathways = SpikingPathways(layer, readin, readout, mean=MEAN, std=STD)
    penalty = pathways.penalty(hops=10, rectify=True)
    weight_hh, weight_in, weight_out = pathways.weight_hh(), readin.weight, pathways.weight_out()
    expected = rrnn_ext.resolvent_penalty(weight_hh, weight_in, weight_out, hops=10, rectify=True)
    torch.testing.assert_close(penalty(), expected)
    penalty().backward()
    for weight in (layer.weight_rec, readin.weight, readout.weight):
        assert weight is not None
        assert weight.grad is not None
    before, rate = penalty().item(), pathways.rate
    with torch.no_grad():
        readout.weight.mul_(2)
    assert penalty().item() == pytest.approx(2 * before)
    assert layer.weight_rec is not None
    with torch.no_grad():
        layer.weight_rec.mul_(1.5)
    pathways.update()
    assert (pathways.rate > rate).all()


def test_around_a_current() -> None:
    """White noise of known moments, measured; in no need of a gradient."""
    layer = coupled(0.6)
    leak = math.exp(-DT / TAU)
    noise = torch.randn(300, 200, N, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        current = MEAN * (1 - leak) + STD * math.sqrt(1 - leak**2) * noise
        measured = SpikingPathways.from_current(layer, current)
    torch.testing.assert_close(measured.rate, SpikingPathways(layer, mean=MEAN, std=STD).rate, rtol=0.06, atol=0.0)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (LIF(tau=TAU, dt=DT), "layer must have recurrent weights"),
        (LIF(tau=TAU, dt=DT, recurrent=3, tau_syn=5e-3), "layer must have no tau_syn, got 0.005"),
        (LIF(tau=TAU, dt=DT, recurrent=3, reset="subtract"), "layer must have a reset potential, got reset='subtract'"),
    ],
)
def test_errors_name_the_argument(layer: LIF, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpikingPathways(layer, mean=MEAN, std=STD)


def test_of_the_decay() -> None:
    with pytest.raises(ValueError, match="decay must be 'response' or 'membrane', got 'fast'"):
        SpikingPathways(coupled(0.5), mean=MEAN, std=STD, decay="fast")  # type: ignore[arg-type]

"""Rates, variances and gradients of layers before anything runs, against networks that run."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from rrnn_ext.spiking import lif, variance_propagation

TAU, DT = 0.02, 1e-3


def random_weights(*shapes: tuple[int, ...], std: float) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) * std for shape in shapes]


def spikes_of_20_hz(*shape: int) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 20 * DT).float()


def test_rates_and_potentials_of_a_network_that_runs() -> None:
    weights = random_weights((200, 150), (150, 200), std=0.12)
    spikes = spikes_of_20_hz(1500, 16, 150)
    layers = variance_propagation(weights, rate_in=20.0, tau=TAU, dt=DT)
    for layer, weight, tolerance in zip(layers, weights, [0.03, 0.08], strict=True):
        current = spikes @ weight.T
        spikes, _ = lif(current, tau=TAU, dt=DT)
        _, free = lif(current, tau=TAU, dt=DT, threshold=math.inf)
        rates = spikes[100:].mean((0, 1)) / DT
        means = current.mean((0, 1)) / -math.expm1(-DT / TAU)
        assert layer.rate == pytest.approx(rates.mean().item(), rel=tolerance)
        assert layer.rate_std == pytest.approx(rates.std().item(), rel=tolerance)
        assert layer.mean == pytest.approx(means.mean().item(), abs=0.03)
        assert layer.mean_std == pytest.approx(means.std().item(), rel=0.05)
        # 16 samples of each neuron's potential.
        assert layer.std == pytest.approx(free.potential.var(0).mean().sqrt().item(), rel=0.06)


@pytest.mark.parametrize(("surrogate", "slope"), [("fast_sigmoid", 25.0), ("triangle", 3.0), ("atan", 10.0)])
def test_gain_of_gradients(surrogate: Any, slope: float) -> None:
    (weight,) = random_weights((120, 100), std=0.14)
    (layer,) = variance_propagation([weight], rate_in=20.0, tau=TAU, dt=DT, surrogate=surrogate, slope=slope)
    spikes = spikes_of_20_hz(600, 16, 100).requires_grad_()
    sent, _ = lif(spikes @ weight.T, tau=TAU, dt=DT, surrogate=surrogate, slope=slope)
    grad = torch.randn(sent.shape, generator=torch.Generator().manual_seed(2))
    (received,) = torch.autograd.grad(sent, spikes, grad)
    gain = received[100:-100].square().mean() / grad[100:-100].square().mean()
    assert layer.gradient_gain == pytest.approx(gain.item(), rel=0.12)


def test_a_network_of_small_weights_is_silent() -> None:
    layers = variance_propagation(random_weights((20, 30), (20, 20), (20, 20), std=0.01), rate_in=20.0, tau=TAU, dt=DT)
    assert [layer.rate for layer in layers] == pytest.approx([0.0] * 3, abs=1e-4)


def test_what_a_layer_would_do_alone_is_what_it_does_in_a_network() -> None:
    first, second = random_weights((40, 8, 3), (30, 40), std=0.3)
    alone = variance_propagation([first], rate_in=20.0, tau=TAU, dt=DT)
    both = variance_propagation([first, second], rate_in=torch.full((8,), 20.0), tau=TAU, dt=DT)
    assert both[0] == pytest.approx(alone[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"weights": [torch.ones(3, 4), torch.ones(2, 4)]},
            r"weights\[1\] must be \(out, 3, ...\) to match weights\[0\]",
        ),
        ({"weights": [torch.ones(3)]}, r"weights\[0\] must be \(out, in, ...\)"),
        ({"dt": 0.1}, "dt must be > 0"),
        ({"slope": 0.0}, "slope must be positive"),
    ],
)
def test_errors(wrong: dict[str, Any], message: str) -> None:
    arguments = {"weights": [torch.ones(3, 4)], "rate_in": 20.0, "tau": TAU, "dt": DT, **wrong}
    with pytest.raises(ValueError, match=message):
        variance_propagation(arguments.pop("weights"), **arguments)

"""Calibration of whole networks: the rates that they have afterwards, counted outside of it, on new data."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

from rrnn_ext.spiking import LIF, calibrate_
from rrnn_ext.spiking.adapters import spiking_layer

DT = 1e-3


def spikes_of_20_hz(*shape: int, seed: int = 0) -> Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 20 * DT).float()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def rates_of(network: nn.Module, data: Tensor, kind: type[nn.Module]) -> list[float]:
    """Of each module of the kind, in Hz."""
    spikes: dict[nn.Module, list[float]] = {}

    def count(module: nn.Module, _: Any, output: Any) -> None:
        spikes.setdefault(module, []).append((output[0] if isinstance(output, tuple) else output).mean().item())

    handles = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, kind)]
    with torch.no_grad():
        network(data)
    for handle in handles:
        handle.remove()
    return [sum(means) / len(means) / DT for means in spikes.values()]


class TestOwnNeurons:
    def test_ten_layers(self) -> None:
        blocks = [(nn.Linear(100, 100), LIF(tau=0.01, dt=DT)) for _ in range(10)]
        network = nn.Sequential(*(module for block in blocks for module in block))
        table = calibrate_(network, spikes_of_20_hz(250, 32, 100), 20.0, generator=seeded())
        assert [layer.name for layer in table] == [str(2 * k + 1) for k in range(10)]
        assert [layer.measured for layer in table] == pytest.approx([20.0] * 10, rel=0.02)
        # What follows from the free potential alone knows nothing of what was measured.
        assert [layer.predicted for layer in table] == pytest.approx([20.0] * 10, rel=0.3)
        new = rates_of(network, spikes_of_20_hz(250, 32, 100, seed=2), LIF)
        assert new == pytest.approx([20.0] * 10, rel=0.1)  # narrow layers pass on what differs in the new data

    def test_a_target_for_each_layer_of_any_kind(self) -> None:
        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.convolution = nn.Conv2d(1, 6, 3)
                self.first = LIF(tau=0.01, dt=DT, tau_syn=2e-3)
                self.second = LIF(tau=0.01, dt=DT, recurrent=100)
                self.linear = nn.Linear(6 * 36, 100)

            def forward(self, image: Tensor) -> Tensor:
                time, samples = image.shape[:2]
                maps = self.convolution(image.flatten(0, 1)).unflatten(0, (time, samples))
                return self.second(self.linear(self.first(maps).flatten(2)))

        network = Network()
        table = calibrate_(network, spikes_of_20_hz(300, 32, 1, 8, 8), [30.0, 10.0], generator=seeded())
        assert [layer.name for layer in table] == ["first", "second"]
        rates = rates_of(network, spikes_of_20_hz(300, 32, 1, 8, 8, seed=2), LIF)
        assert rates == pytest.approx([30.0, 10.0], rel=0.06)
        assert network.linear.bias.abs().max() == 0

    def test_the_table_as_text(self) -> None:
        network = nn.Sequential(nn.Linear(50, 40), LIF(tau=0.01, dt=DT))
        table = calibrate_(network, spikes_of_20_hz(200, 8, 50), 10.0, generator=seeded())
        heading, row = str(table).splitlines()
        assert heading.split() == ["layer", "asked", "Hz", "predicted", "measured"]
        assert row.split()[:2] == ["1", "10.00"]

    def test_errors(self) -> None:
        neurons, data = LIF(tau=0.01, dt=DT), spikes_of_20_hz(50, 4, 20)
        network = nn.Sequential(nn.Linear(20, 10), neurons)
        with pytest.raises(ValueError, match=r"target_rate must be a number or 1 numbers, one per layer, got 2"):
            calibrate_(network, data, [1.0, 2.0])
        with pytest.raises(ValueError, match=r"target_rate must be > 0 and at most 1000 Hz for 1, got 0"):
            calibrate_(network, data, 0.0)
        with pytest.raises(ValueError, match=r"target_rate must be between .* Hz for 1 to reach it .*, got 900"):
            calibrate_(network, data, 900.0)
        with pytest.raises(ValueError, match="data must reach 1"):
            calibrate_(network, torch.zeros_like(data), 10.0)
        with pytest.raises(ValueError, match="network must have modules of spiking neurons that are known"):
            calibrate_(nn.Linear(20, 10), data, 10.0)
        with pytest.raises(ValueError, match=r"network must have an nn.Linear, nn.Conv1d or nn.Conv2d before 0"):
            calibrate_(nn.Sequential(neurons), data, 10.0)


class TestRatesThatAreNotReached:
    """They are errors, and no table says otherwise."""

    @staticmethod
    def network(*between: nn.Module) -> nn.Sequential:
        layer = nn.Linear(40, 30), *between, LIF(tau=0.02, dt=DT)
        return nn.Sequential(*layer, nn.Linear(30, 30), LIF(tau=0.02, dt=DT))

    def test_a_normalisation_undoes_the_scale(self) -> None:
        network = self.network(nn.BatchNorm1d(8))
        with pytest.raises(ValueError, match=r"target_rate must be one that .* give 2: they fire at .* Hz for 20"):
            calibrate_(network, spikes_of_20_hz(200, 8, 40), 20.0, generator=seeded())

    def test_weights_that_are_computed_cannot_be_filled(self) -> None:
        for compute in (prune.identity, weight_norm):
            network = self.network()
            compute(network[0], "weight")
            with pytest.raises(ValueError, match="the weights of 1 must be Parameters, to be filled"):
                calibrate_(network, spikes_of_20_hz(50, 4, 40), 20.0)

    def test_weights_of_two_layers(self) -> None:
        """The second would undo what was found for the first."""
        network = nn.Sequential(nn.Linear(40, 40), LIF(tau=0.02, dt=DT), nn.Linear(40, 40), LIF(tau=0.02, dt=DT))
        network[2].weight = network[0].weight
        with pytest.raises(ValueError, match="the weights of 3 must be its own, got one that 1 has, too"):
            calibrate_(network, spikes_of_20_hz(50, 4, 40), 20.0)

    def test_neurons_in_two_places(self) -> None:
        neurons = LIF(tau=0.02, dt=DT)
        network = nn.Sequential(nn.Linear(40, 40), neurons, nn.Linear(40, 40), neurons)
        with pytest.raises(ValueError, match="network must call 1 in one place, got 2 calls"):
            calibrate_(network, spikes_of_20_hz(50, 4, 40), 20.0)

    def test_data_that_are_no_numbers(self) -> None:
        with pytest.raises(ValueError, match="data must be finite"):
            calibrate_(self.network(), torch.full((50, 4, 40), torch.nan), 20.0)


class LeakyByDecay(nn.Module):
    """Has the attributes and the manners of snntorch.Leaky, with a reset to zero."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta, self.threshold, self.reset_mechanism = torch.tensor(beta), torch.tensor(1.0), "zero"

    def forward(self, current: Tensor, potential: Tensor | None = None) -> tuple[Tensor, Tensor]:
        before = torch.zeros_like(current) if potential is None else potential
        free = self.beta * before + current
        spikes = (free > self.threshold).float()
        return spikes, free * (1 - spikes)


class OverTimeByDecay(LeakyByDecay):
    """The same neurons, given all of time in one call, whose spikes come alone."""

    def forward(self, current: Tensor, potential: Tensor | None = None) -> Any:
        record = []
        for step in current:
            spikes, potential = super().forward(step, potential)
            record.append(spikes)
        return torch.stack(record)


class RecurrentByDecay(LeakyByDecay):
    """As snntorch.RLeaky: with a linear layer from its spikes to its current."""

    spikes: Tensor

    def __init__(self, beta: float) -> None:
        super().__init__(beta)
        self.recurrent = nn.Linear(100, 100)

    def forward(self, current: Tensor, potential: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if potential is not None:
            current = current + self.recurrent(self.spikes)
        self.spikes, potential = super().forward(current, potential)
        return self.spikes, potential


class Parameters(NamedTuple):
    tau_syn_inv: Tensor = torch.tensor(200.0)
    tau_mem_inv: Tensor = torch.tensor(50.0)
    v_leak: Tensor = torch.tensor(-0.5)
    v_th: Tensor = torch.tensor(0.5)
    v_reset: Tensor = torch.tensor(-0.5)


class LeakyByTimeConstants(nn.Module):
    """Has the attributes and the manners of norse's LIFCell."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.dt = Parameters(), DT

    def forward(self, current: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Any]:
        p = self.p
        potential, synaptic = state or (torch.full_like(current, p.v_leak.item()), torch.zeros_like(current))
        synaptic = synaptic + current
        potential = potential + self.dt * p.tau_mem_inv * (p.v_leak - potential + synaptic)
        spikes = (potential > p.v_th).float()
        potential = torch.where(spikes > 0, p.v_reset, potential)
        return spikes, (potential, synaptic * (1 - self.dt * p.tau_syn_inv))


class StepByStep(nn.Module):
    def __init__(self, *neurons: nn.Module) -> None:
        super().__init__()
        self.neurons = nn.ModuleList(neurons)
        self.weights = nn.ModuleList([nn.Linear(100, 100) for _ in neurons])

    def forward(self, spikes: Tensor) -> Tensor:
        states: list[Any] = [None] * len(self.neurons)
        record = []
        for x in spikes:
            for k, (weights, neurons) in enumerate(zip(self.weights, self.neurons, strict=True)):
                x, *state = neurons(weights(x), *([] if states[k] is None else states[k]))
                states[k] = state
            record.append(x)
        return torch.stack(record)


class TestOthersNeurons:
    def calibrated(self, *neurons: nn.Module) -> list[float]:
        network = StepByStep(*neurons)
        data = spikes_of_20_hz(300, 16, 100)
        table = calibrate_(network, data, 20.0, dt=DT, generator=seeded())
        # Whatever the neurons do after a spike, what is predicted is of the right size.
        assert [layer.predicted for layer in table] == pytest.approx([20.0] * len(neurons), rel=0.35)
        return rates_of(network, data, type(neurons[0]))

    def test_neurons_with_a_decay(self) -> None:
        assert self.calibrated(LeakyByDecay(0.9), LeakyByDecay(0.95)) == pytest.approx([20.0] * 2, rel=0.02)

    def test_neurons_with_a_decay_over_all_of_time(self) -> None:
        network = nn.Sequential(nn.Linear(100, 100), OverTimeByDecay(0.95), nn.Linear(100, 100), OverTimeByDecay(0.9))
        data = spikes_of_20_hz(500, 16, 100)
        table = calibrate_(network, data, 15.0, dt=DT, generator=seeded())
        assert [layer.predicted for layer in table] == pytest.approx([15.0] * 2, rel=0.35)
        assert rates_of(network, data, OverTimeByDecay) == pytest.approx([15.0] * 2, rel=0.02)
        with pytest.raises(ValueError, match=r"1 must be given all of time at once.*got one call with \(500, 100\)"):
            calibrate_(network, data[:, 0], 15.0, dt=DT)

    def test_recurrent_neurons_with_a_decay(self) -> None:
        neurons = RecurrentByDecay(0.95)
        assert self.calibrated(neurons) == pytest.approx([20.0], rel=0.02)
        assert not neurons.recurrent.bias.any()

    def test_neurons_with_time_constants(self) -> None:
        assert self.calibrated(LeakyByTimeConstants(), LeakyByTimeConstants()) == pytest.approx([20.0] * 2, rel=0.02)

    def test_snntorch(self) -> None:
        snntorch = pytest.importorskip("snntorch")
        assert self.calibrated(snntorch.Leaky(beta=0.9), snntorch.Leaky(beta=0.9)) == pytest.approx(
            [20.0] * 2, rel=0.05
        )

    def test_norse(self) -> None:
        pytest.importorskip("norse")
        cell = importlib.import_module("norse.torch").LIFCell
        assert self.calibrated(cell(), cell()) == pytest.approx([20.0] * 2, rel=0.02)

    def test_what_is_read(self) -> None:
        layer = spiking_layer(LeakyByTimeConstants())
        assert layer is not None
        assert (layer.neuron.threshold, layer.neuron.reset, layer.gain) == pytest.approx((1.0, 0.0, 0.05))
        assert (layer.neuron.leak, layer.neuron.leak_syn) == pytest.approx((0.95, 0.8))
        assert spiking_layer(nn.ReLU()) is None
        with pytest.raises(ValueError, match="dt must be given for LeakyByDecay"):
            spiking_layer(LeakyByDecay(0.9))

"""Rates by depth, and training of spiking networks."""

from __future__ import annotations

import math

import pytest
import torch

from experiments.tasks.spike_trains import SpikeTrains
from experiments.training import initialisations, spiking
from experiments.training.initialisations import BY_FORMULA, INITIALISATIONS, KAIMING

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WIDTH": 60, "HIDDEN": 30, "SECONDS": 0.3, "SAMPLES": {1e-3: 4}}.items():
        monkeypatch.setattr(spiking, name, value)


@pytest.fixture
def two_classes() -> SpikeTrains:
    """Class 1 fires with the second half of the inputs, class 0 with the first."""
    classes = torch.arange(64) % 2
    rates = torch.zeros(64, 1, 20)
    rates[classes == 0, :, :10] = 100.0
    rates[classes == 1, :, 10:] = 100.0
    return SpikeTrains("halves", 2, (rates, classes), (rates, classes), hold=30)


@pytest.mark.usefixtures("small")
class TestMeasure:
    def test_rates_are_those_of_neurons_that_pass_their_input_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A weight above the threshold from one input each: every layer fires as the input does."""

        def copying(
            network: torch.nn.Sequential, spikes: torch.Tensor, rate: float, generator: torch.Generator
        ) -> None:
            del spikes, rate, generator
            for linear, _ in initialisations.pairs(network):
                linear.weight.copy_(2 * torch.eye(len(linear.weight)))

        monkeypatch.setitem(INITIALISATIONS, "copying", copying)
        found = spiking.measure("copying", depth=3, recurrent=False, asked=40.0, dt=1e-3, seed=0)
        assert len(set(found.rates)) == 1
        assert found.rates[0] == pytest.approx(40, rel=0.1)

    def test_a_refused_recurrent_layer_has_no_rate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refusing(*arguments: object) -> None:
            raise ValueError("share must be lower")

        monkeypatch.setitem(INITIALISATIONS, BY_FORMULA, refusing)
        (rate,) = spiking.measure(BY_FORMULA, depth=1, recurrent=True, asked=5.0, dt=1e-3, seed=0).rates
        assert math.isnan(rate)
        with pytest.raises(ValueError, match="share"):
            spiking.measure(BY_FORMULA, depth=1, recurrent=False, asked=5.0, dt=1e-3, seed=0)


@pytest.mark.usefixtures("small")
class TestTrain:
    def test_learns_what_tells_the_classes_apart(self, two_classes: SpikeTrains) -> None:
        found = spiking.train(two_classes, KAIMING, hidden=1, passes=12, seed=0)
        assert found.updates == (0, 4, 8, 12, 16, 20, 24)
        assert found.errors[-1] < 0.05
        assert found.losses[-1] < 0.5 * found.losses[0]
        assert found.hidden == 1

    def test_is_the_same_again_and_another_from_another_seed(self, two_classes: SpikeTrains) -> None:
        first, again, other = (spiking.train(two_classes, KAIMING, hidden=2, passes=1, seed=seed) for seed in (0, 0, 1))
        assert first == again
        assert first.losses != other.losses

    def test_says_when_a_pass_is_done(self, two_classes: SpikeTrains) -> None:
        passes: list[None] = []
        spiking.train(two_classes, KAIMING, hidden=1, passes=3, seed=0, on_pass=lambda: passes.append(None))
        assert len(passes) == 3

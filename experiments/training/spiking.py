"""Spiking networks: the rates that first weights give them, and training from there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from experiments.tasks import spike_trains
from experiments.tasks.spike_trains import SpikeTrains
from experiments.training.initialisations import INITIALISATIONS
from rrnn_ext import spiking

TAU = 10e-3  # seconds, of every membrane

WIDTH = 256  # neurons of a layer whose rate is measured, and inputs
SAMPLES = {1e-4: 4, 1e-3: 16, 5e-3: 32}  # by the time step: weights are made on so many, rates measured on as many
SECONDS = 1.0  # that are counted, after
SETTLING = 0.1

HIDDEN = 128  # neurons of a layer that is trained
RATE = 20.0  # Hz, asked of every layer before training
BATCH = 32
LEARNING_RATE = 2e-3
RECKONED_ON = 128  # training examples, whose spikes first weights are made for
LOOKS = 6  # at the test set, spread over the passes, after one before them


@dataclass(frozen=True)
class Reached:
    """The rates in Hz that one seed's first weights gave to each layer; what came in was at the rate asked for too.

    NaN where the initialisation refused, as a recurrent layer would not have held that rate.
    """

    recurrent: bool
    initialisation: str
    dt: float
    asked: float
    seed: int
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Trained:
    """One seed's training: how the test set did after so many ``updates``.

    Attributes:
        losses: mean cross-entropy.
        errors: share of wrong answers.
        rates: of each hidden layer, in Hz, before training.
    """

    data: str
    initialisation: str
    seed: int
    updates: tuple[int, ...]
    losses: tuple[float, ...]
    errors: tuple[float, ...]
    rates: tuple[float, ...]

    @property
    def hidden(self) -> int:
        return len(self.rates)


@torch.no_grad()
def measure(initialisation: str, *, depth: int, recurrent: bool, asked: float, dt: float, seed: int) -> Reached:
    """The rates of ``depth`` layers on input that is not what their weights were made for."""
    generator = torch.Generator().manual_seed(seed)
    network = layers(WIDTH, WIDTH, depth, dt=dt, recurrent=recurrent)
    made_for, spikes = (
        (torch.rand(round((SETTLING + SECONDS) / dt), SAMPLES[dt], WIDTH, generator=generator) < asked * dt).float()
        for _ in range(2)
    )
    try:
        INITIALISATIONS[initialisation](network, made_for, asked, generator)
    except ValueError:
        if not recurrent:
            raise
        return Reached(recurrent, initialisation, dt, asked, seed, (math.nan,) * depth)
    settled = round(SETTLING / dt)
    rates = tuple(of_layer[settled:].mean().item() / dt for of_layer in _by_layer(network, spikes))
    return Reached(recurrent, initialisation, dt, asked, seed, rates)


def train(
    data: SpikeTrains,
    initialisation: str,
    *,
    hidden: int,
    passes: int,
    seed: int,
    on_pass: Callable[[], None] = lambda: None,
) -> Trained:
    """Adam on the cross-entropy of a linear read-out of how often each neuron of the last layer has fired.

    The learning rate falls to zero along a cosine. Networks of one seed see the same spikes in the same order, whatever
    their first weights; ``on_pass`` is called after each of the ``passes`` through the training set.
    """
    generator, of_weights = (torch.Generator().manual_seed(seed) for _ in range(2))
    rates, classes = data.training
    network = layers(data.inputs, HIDDEN, hidden, dt=spike_trains.DT)
    readout = nn.Linear(HIDDEN, data.classes)
    for parameter in readout.parameters():
        nn.init.uniform_(parameter, -(HIDDEN**-0.5), HIDDEN**-0.5, of_weights)  # as nn.Linear has it
    some = torch.randperm(len(rates), generator=generator)[:RECKONED_ON]
    given = spike_trains.draw(rates[some], data.hold, generator)
    INITIALISATIONS[initialisation](network, given, RATE, of_weights)
    with torch.no_grad():
        before = tuple(spikes.mean().item() / spike_trains.DT for spikes in _by_layer(network, given))
    test = spike_trains.draw(data.test[0], data.hold, generator)
    parameters = [*network.parameters(), *readout.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, passes)
    looked = [(0, *_scores(network, readout, test, data.test[1]))]
    updates = 0
    for done in range(1, passes + 1):
        for chosen in torch.randperm(len(rates), generator=generator).split(BATCH):
            optimiser.zero_grad()
            logits = readout(network(spike_trains.draw(rates[chosen], data.hold, generator)).sum(0))
            nn.functional.cross_entropy(logits, classes[chosen]).backward()
            optimiser.step()
            updates += 1
        schedule.step()
        on_pass()
        if done * LOOKS // passes > (done - 1) * LOOKS // passes:
            looked.append((updates, *_scores(network, readout, test, data.test[1])))
    at, losses, errors = zip(*looked, strict=True)
    return Trained(data.name, initialisation, seed, at, losses, errors, before)


def layers(inputs: int, width: int, depth: int, *, dt: float, recurrent: bool = False) -> nn.Sequential:
    """``depth`` layers of spiking neurons, their weights not yet made."""
    sizes = [inputs, *[width] * depth]
    modules: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        modules += [
            nn.Linear(before, after, bias=False),
            spiking.LIF(tau=TAU, dt=dt, recurrent=width * recurrent or None),
        ]
    return nn.Sequential(*modules)


def _by_layer(network: nn.Sequential, spikes: Tensor) -> list[Tensor]:
    found = []
    for index in range(0, len(network), 2):
        spikes = network[index : index + 2](spikes)
        found.append(spikes)
    return found


@torch.no_grad()
def _scores(network: nn.Sequential, readout: nn.Linear, spikes: Tensor, classes: Tensor) -> tuple[float, float]:
    logits = readout(network(spikes).sum(0))
    wrong = (logits.argmax(-1) != classes).float().mean()
    return nn.functional.cross_entropy(logits, classes).item(), wrong.item()

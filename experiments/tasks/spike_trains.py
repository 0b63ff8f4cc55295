"""Real data as spike trains, from files that come inside installed packages: nothing is downloaded.

A number becomes the chance of a spike at each step: of one input where it cannot be negative, of a pair of inputs, one
for each sign, where it can. Rates are given, and spikes are drawn from them at every pass, as a sensor would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from experiments.tasks.datasets import digit_images
from experiments.tasks.packages import folder_of

DT = 1e-3  # seconds
HIGHEST = 200.0  # Hz, of an input at the largest number


@dataclass(frozen=True, eq=False)
class SpikeTrains:
    """A classification of spike trains.

    Attributes:
        name: of the data.
        classes: how many.
        training, test: rates (count, frames, inputs) in Hz, float32, and classes (count,), int64.
        hold: how many steps of DT each frame of rates lasts.
    """

    name: str
    classes: int
    training: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    hold: int

    @property
    def inputs(self) -> int:
        return self.training[0].shape[2]


def draw(rates: Tensor, hold: int, generator: torch.Generator) -> Tensor:
    """Spikes (steps, count, inputs), zeros and ones, of rates (count, frames, inputs) in Hz."""
    chances = (rates * DT).transpose(0, 1).repeat_interleave(hold, 0)
    return (torch.rand(chances.shape, generator=generator) < chances).float()


@cache
def digits() -> SpikeTrains:
    """scikit-learn's handwritten digits: 64 pixels at once, each firing by its brightness, for 40 ms."""
    (training, classes), (test, test_classes) = digit_images()

    def rates(images: Tensor) -> Tensor:
        return (HIGHEST * images.flatten(1).unsqueeze(1) / 16).float()

    return SpikeTrains("digits", 10, (rates(training), classes), (rates(test), test_classes), hold=40)


@cache
def vowels() -> SpikeTrains:
    """JapaneseVowels (Kudo, Toyama & Shimbo 1999): nine speakers, 12 cepstral coefficients of 7 to 29 frames, silent
    after the last; 5 ms a frame."""
    return _of_series("JapaneseVowels", hold=5)


@cache
def motions() -> SpikeTrains:
    """BasicMotions (University of East Anglia): standing, running, walking or badminton, by the three accelerations
    and three angular velocities of a watch, 100 frames; 1 ms a frame."""
    return _of_series("BasicMotions", hold=1)


SPIKE_TRAINS: Mapping[str, Callable[[], SpikeTrains]] = {
    "digits": digits,
    "JapaneseVowels": vowels,
    "BasicMotions": motions,
}


def _of_series(name: str, *, hold: int) -> SpikeTrains:
    folder = folder_of("aeon", name) / "datasets" / "data" / name
    parts = [read_series(folder / f"{name}_{part}.ts") for part in ("TRAIN", "TEST")]
    (training, labels), (test, test_labels) = parts
    names = sorted(set(labels))
    frames = max(len(series) for series in (*training, *test))
    seen = torch.cat(training)
    mean, deviation = seen.mean(0), seen.std(0)

    def rates(all_series: list[Tensor]) -> Tensor:
        filled = torch.zeros(len(all_series), frames, 2 * len(mean))
        for index, series in enumerate(all_series):
            scaled = HIGHEST / 3 * (series - mean) / deviation  # the highest rate at three standard deviations
            filled[index, : len(series)] = torch.cat([scaled, -scaled], 1).clamp(0, HIGHEST)
        return filled

    def classes(labels: list[str]) -> Tensor:
        return torch.tensor([names.index(label) for label in labels])

    return SpikeTrains(
        name, len(names), (rates(training), classes(labels)), (rates(test), classes(test_labels)), hold=hold
    )


def read_series(path: Path) -> tuple[list[Tensor], list[str]]:
    """The series (frames, channels) of a .ts file, and their classes: a line for each, channels and the class parted
    by colons."""
    series, classes = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "@")):
            *channels, label = line.split(":")
            series.append(torch.tensor([[float(number) for number in channel.split(",")] for channel in channels]).T)
            classes.append(label.strip())
    return series, classes

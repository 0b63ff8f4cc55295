"""Data as spike trains: the rates are the data's, and the spikes come at these rates."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from experiments.tasks import spike_trains
from experiments.tasks.packages import MissingDataError
from experiments.tasks.spike_trains import DT, HIGHEST

SERIES = {
    "TRAIN": "@data\n1.0,2.0,3.0:-1.0,0.0,1.0:b\n5.0,5.0:0.0,2.0:a\n",
    "TEST": "# a comment\n@data\n3.0,3.0,3.0,9.0:0.0,0.0,0.0,0.0:b\n",
}


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package aeon with two channels of a few numbers, which cannot be imported: only its folder is looked at."""
    folder = tmp_path / "aeon" / "datasets" / "data" / "JapaneseVowels"
    folder.mkdir(parents=True)
    (tmp_path / "aeon" / "__init__.py").write_text("raise ImportError('not to be imported')")
    for part, text in SERIES.items():
        (folder / f"JapaneseVowels_{part}.ts").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    spike_trains.vowels.cache_clear()
    yield
    spike_trains.vowels.cache_clear()


def test_spikes_come_at_their_rates_frame_by_frame() -> None:
    rates = torch.tensor([[[0.0, 50.0], [200.0, 1000.0]]]).expand(400, 2, 2)
    spikes = spike_trains.draw(rates, 25, torch.Generator().manual_seed(0))
    assert spikes.shape == (50, 400, 2)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    found = spikes.unflatten(0, (2, 25)).mean((1, 2)) / DT
    # 10,000 draws of each: 50 Hz has a standard error of 2 Hz, 200 Hz one of 4 Hz.
    torch.testing.assert_close(found, torch.tensor([[0.0, 50.0], [200.0, 1000.0]]), rtol=0, atol=14)


def test_digits_fire_by_their_brightness() -> None:
    data = spike_trains.digits()
    rates = torch.cat([data.training[0], data.test[0]])
    assert rates.shape == (1797, 1, 64)
    found = sorted(map(tuple, (rates / HIGHEST * 16).round().long().flatten(1).tolist()))
    assert found == sorted(map(tuple, load_digits().data.astype(int).tolist()))


@pytest.mark.usefixtures("shipped")
def test_series_fire_by_their_distance_from_the_mean_with_an_input_for_each_sign() -> None:
    data = spike_trains.vowels()
    assert (data.classes, data.inputs, data.hold) == (2, 4, 5)
    assert data.training[1].tolist() == [1, 0]
    assert data.test[1].tolist() == [1]
    rates = data.training[0]
    assert rates.shape == (2, 4, 4)
    # The first channel's five numbers, 1 2 3 5 5, have mean 3.2 and standard deviation sqrt(3.2).
    scaled = (torch.tensor([1.0, 2.0, 3.0]) - 3.2) / 3.2**0.5 * HIGHEST / 3
    torch.testing.assert_close(rates[0, :3, 0], torch.zeros(3))
    torch.testing.assert_close(rates[0, :3, 2], -scaled)
    assert not rates[0, 3].any(), "silent after the series has ended"
    assert data.test[0][0, 3, 0] == HIGHEST


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    spike_trains.motions.cache_clear()
    with pytest.raises(MissingDataError, match="BasicMotions comes inside the package aeon: pip install"):
        spike_trains.motions()

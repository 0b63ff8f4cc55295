"""The real data sets: that they are what they say, and that the split is a fair one."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from experiments.tasks.datasets import DATASETS, DataSet, digits, sunspots


@pytest.mark.parametrize("name", DATASETS)
def test_every_seed_has_the_same_examples(name: str) -> None:
    data: DataSet = DATASETS[name]()
    assert data.name == name
    for first, second in zip(data.training_set(0), data.training_set(1), strict=True):
        assert torch.equal(first, second)
    for sequences, targets in (data.training_set(0), data.test_set()):
        assert sequences.shape == (len(targets), data.steps, data.inputs)
        assert sequences.dtype == torch.float32


class TestDigits:
    def test_split(self) -> None:
        data = digits()
        labels, held_out = data.training[1], data.test[1]
        assert (len(labels), len(held_out)) == (1347, 450)
        assert (data.inputs, data.steps, data.outputs) == (8, 8, 10)
        assert labels.dtype == torch.int64
        shares = labels.bincount() / len(labels)
        torch.testing.assert_close(shares, held_out.bincount() / len(held_out), rtol=0, atol=0.003)

    def test_every_image_appears_once(self) -> None:
        data = digits()
        images = torch.cat([data.training[0], data.test[0]]).double()
        source = torch.from_numpy(load_digits().images)
        # Standardising is affine: grey values 0 to 16 come back by their extremes.
        grey = 16 * (images - images.min()) / (images.max() - images.min())
        rows = sorted(map(tuple, grey.round().long().flatten(1).tolist()))
        assert rows == sorted(map(tuple, source.long().flatten(1).tolist()))

    def test_standardised_by_the_training_pixels(self) -> None:
        pixels = digits().training[0]
        assert pixels.mean().item() == pytest.approx(0, abs=1e-5)
        assert pixels.std().item() == pytest.approx(1, abs=1e-5)


class TestSunspots:
    def test_windows_follow_one_another(self) -> None:
        data = sunspots()
        assert (data.inputs, data.steps, data.outputs) == (1, 12, 3)
        for sequences, targets in (data.training, data.test):
            assert torch.equal(sequences[1:, :-1], sequences[:-1, 1:])  # one year later
            assert torch.equal(sequences[1:, -1, 0], targets[:-1, 0])
            assert torch.equal(targets[1:, :-1], targets[:-1, 1:])

    def test_scored_on_years_that_training_has_not_seen(self) -> None:
        data = sunspots()
        years_before_training_targets, windows = 12, 2
        assert len(data.training[0]) == 1920 - 1700 + 1 - years_before_training_targets - windows
        assert len(data.test[0]) == 2008 - 1920 - windows
        # The last training target is 1920's number, and the first test target 1921's.
        assert data.test[0][0, -1, 0] == data.training[1][-1, -1]
        assert data.test[0][1, -1, 0] == data.test[1][0, 0]

    def test_standardised_by_the_years_of_training(self) -> None:
        sequences, targets = sunspots().training
        series = torch.cat([sequences[0, :, 0], targets[:, 0], targets[-1, 1:]])
        assert len(series) == 1920 - 1700 + 1
        assert series.mean().item() == pytest.approx(0, abs=1e-5)
        assert series.std().item() == pytest.approx(1, abs=1e-5)

    def test_known_years(self) -> None:
        """1700: 5, 1701: 11, 1702: 16; 1957, the highest: 190.2. All as square roots, up to scale and shift."""
        data = sunspots()
        first, second, third = data.training[0][0, :3, 0].double()
        ratio = (16**0.5 - 11**0.5) / (11**0.5 - 5**0.5)
        assert ((third - second) / (second - first)).item() == pytest.approx(ratio, rel=1e-4)
        assert data.test[1][:, 0].argmax() == 1957 - 1921

    def test_autoregression_finds_the_cycle(self) -> None:
        """Least squares on the window forecasts the next year far better than the mean or the last year do."""
        data = sunspots()

        def design(sequences: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(sequences.flatten(1), (0, 1), value=1.0).double()

        weights = torch.linalg.lstsq(design(data.training[0]), data.training[1].double()).solution
        (sequences, targets) = data.test
        error = (design(sequences) @ weights - targets).square().mean(0)[0]
        assert error < 0.15
        assert error < 0.5 * (sequences[:, -1, 0] - targets[:, 0]).square().mean()
        assert error < 0.15 * targets[:, 0].square().mean()

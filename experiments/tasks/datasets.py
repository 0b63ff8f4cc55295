"""Two real data sets, from files that come inside installed packages: nothing is downloaded.

Both always have the same split, and no known optimal map. The packages are imported when a data set is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

DIGITS_TEST_SHARE = 0.25
DIGITS_SPLIT_SEED = 0

SUNSPOT_STEPS = 12  # years seen: a little more than the cycle of about 11
SUNSPOT_OUTPUTS = 3  # years forecast
SUNSPOT_TRAINING_END = 1920  # the last year that training may see


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set with a fixed split. Sequences are (count, steps, inputs) float32; targets (count, outputs) float32
    for a regression, (count,) int64 for classes."""

    name: str
    outputs: int
    training: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    @property
    def steps(self) -> int:
        """Length of a sequence."""
        return self.training[0].shape[1]

    @property
    def inputs(self) -> int:
        """Inputs of a step."""
        return self.training[0].shape[2]

    def training_set(self, seed: int) -> tuple[Tensor, Tensor]:
        """The same examples for every seed."""
        del seed
        return self.training

    def test_set(self) -> tuple[Tensor, Tensor]:
        """The held-out examples."""
        return self.test


@cache
def digit_images() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """scikit-learn's 1797 handwritten digits, (count, 8, 8) float64 from 0 to 16, and which they are, int64.

    For training, and the quarter that is held out, with every digit's share kept.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    split = train_test_split(
        bunch.images,
        bunch.target,
        test_size=DIGITS_TEST_SHARE,
        stratify=bunch.target,
        random_state=DIGITS_SPLIT_SEED,
    )
    training, test, training_labels, test_labels = map(torch.from_numpy, split)
    return (training, training_labels.long()), (test, test_labels.long())


@cache
def digits() -> DataSet:
    """The digits as short sequences: 8 steps, one row of 8 pixels at each, top row first.

    Both parts are standardised by the mean and the standard deviation of all training pixels: one pair of numbers for
    the whole image, since the network reads every row with the same weights (and some pixels never vary).
    """
    (training, labels), (test, test_labels) = digit_images()
    mean, deviation = training.mean(), training.std()
    return DataSet(
        name="digits",
        outputs=10,
        training=(((training - mean) / deviation).float(), labels),
        test=(((test - mean) / deviation).float(), test_labels),
    )


@cache
def sunspots() -> DataSet:
    """The yearly sunspot numbers 1700-2008 that statsmodels ships (SIDC, Royal Observatory of Belgium): from the last
    12 years to the next 3.

    A classic of time series since Yule's autoregression (1927, Phil. Trans. R. Soc. A 226:267), and read here as one:
    one input, one step a year. Networks learn to forecast the years to 1920 and are scored on those after. The numbers
    are square roots, which make the noise about as large in quiet years as in active ones, standardised by the years
    to 1920: an MSE of 1 is that of their mean as the forecast, on those years.
    """
    from statsmodels.datasets import sunspots as source

    table = source.load_pandas().data
    years = torch.from_numpy(table["YEAR"].to_numpy())
    numbers = torch.from_numpy(table["SUNACTIVITY"].to_numpy()).sqrt()
    seen = numbers[years <= SUNSPOT_TRAINING_END]
    series = ((numbers - seen.mean()) / seen.std()).float()

    windows = series.unfold(0, SUNSPOT_STEPS + SUNSPOT_OUTPUTS, 1)
    forecast_years = years.unfold(0, SUNSPOT_STEPS + SUNSPOT_OUTPUTS, 1)[:, SUNSPOT_STEPS:]
    sequences, targets = windows[:, :SUNSPOT_STEPS, None], windows[:, SUNSPOT_STEPS:]
    training, test = forecast_years[:, -1] <= SUNSPOT_TRAINING_END, forecast_years[:, 0] > SUNSPOT_TRAINING_END
    return DataSet(
        name="sunspots",
        outputs=SUNSPOT_OUTPUTS,
        training=(sequences[training], targets[training]),
        test=(sequences[test], targets[test]),
    )


DATASETS: dict[str, Callable[[], DataSet]] = {"digits": digits, "sunspots": sunspots}

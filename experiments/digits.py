"""scikit-learn's handwritten digits as short sequences: 8 steps, one row of 8 pixels at each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

STEPS = 8
INPUTS = 8
CLASSES = 10

TEST_SHARE = 0.25
SPLIT_SEED = 0


@dataclass(frozen=True)
class Split:
    """Images as sequences, (count, STEPS, INPUTS) float32, top row first, and their digits, (count,) int64."""

    images: Tensor
    digits: Tensor


def load() -> tuple[Split, Split]:
    """The training and the test images: always the same split, with every digit's share kept.

    Both are standardised by the mean and the standard deviation of all training pixels. One pair of numbers
    for the whole image, since the network reads every row with the same weights (and some pixels never vary).
    """
    bunch = load_digits()
    split = train_test_split(
        bunch.images, bunch.target, test_size=TEST_SHARE, stratify=bunch.target, random_state=SPLIT_SEED
    )
    train_images, test_images, train_digits, test_digits = (torch.from_numpy(part) for part in split)
    mean, deviation = train_images.mean(), train_images.std()
    return (
        Split(((train_images - mean) / deviation).float(), train_digits.long()),
        Split(((test_images - mean) / deviation).float(), test_digits.long()),
    )

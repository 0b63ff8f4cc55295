"""What a network can be trained on here, by name: the modular tasks and the real data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

from experiments.tasks.datasets import DATASETS
from experiments.tasks.modular import TASKS


class Problem(Protocol):
    """Sequences (count, steps, inputs) float32, and targets: (count, outputs) float32 for a regression, scored by the
    mean squared error, or (count,) int64 for classes, one output each, trained by cross-entropy."""

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> int: ...

    @property
    def outputs(self) -> int: ...

    @property
    def steps(self) -> int: ...

    def training_set(self, seed: int) -> tuple[Tensor, Tensor]:
        """The examples that the networks of this seed learn from."""

    def test_set(self) -> tuple[Tensor, Tensor]:
        """The examples that every network is scored on."""


PROBLEMS: Mapping[str, Callable[[], Problem]] = {**TASKS, **DATASETS}


def named(name: str) -> Problem:
    """The problem of that name in :data:`PROBLEMS`."""
    if name not in PROBLEMS:
        raise ValueError(f"no task {name!r}; known: {', '.join(PROBLEMS)}")
    return PROBLEMS[name]()

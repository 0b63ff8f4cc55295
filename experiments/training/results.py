"""What a sweep leaves behind of every network, in one folder: a line in results.jsonl, and its weights.

A line is written after the weights that it speaks of, with all the lines of the networks that were trained beside it
in one write; weights are put in their place when they are whole. So a sweep that is killed leaves whole stacks, and at
worst one line without an end, which :func:`load` takes as not written.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.training import stacked
from experiments.training.folders import add_lines, lines, whole
from experiments.training.regularisers import UNPENALISED
from experiments.training.stacked import Networks

Measure = float | tuple[float, ...]


@dataclass(frozen=True)
class Setting:
    """Everything that a trained network depends on, but for the code of its task and its penalty and for PyTorch.

    A folder of results knows its networks by these alone: after a change of that code, train into another folder.

    Attributes:
        task: a name in problems.PROBLEMS.
        regulariser: a name in regularisers.REGULARISERS.
        beta: the penalty's factor, >= 0; 0 for the regulariser "none".
        seed: of the training set (of a task), of the first weights and of the order of the batches.
        hidden: units.
        updates: of the weights.
        batch: sequences at an update.
        learning_rate: Adam's, at the start.
    """

    task: str
    regulariser: str
    beta: float
    seed: int
    hidden: int = 64
    updates: int = 600
    batch: int = 128
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(f"beta must be finite and not negative, got {self.beta}")
        if self.regulariser == UNPENALISED and self.beta != 0:
            raise ValueError(f'beta must be 0 for the regulariser "{UNPENALISED}", got {self.beta}')
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        for name in ("hidden", "updates", "batch", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


OPTIONS = tuple(
    field.name for field in dataclasses.fields(Setting) if field.name not in ("task", "regulariser", "beta", "seed")
)
"""The attributes of settings that networks which are compared have in common."""


@dataclass(frozen=True)
class Record:
    """One trained network.

    Attributes:
        setting: what it was trained with.
        test_error: mean squared error on the test set; where the targets are classes, the share of wrong answers.
        measures: those of measures.of_networks, by name; NaN where a measure is not defined.
    """

    setting: Setting
    test_error: float
    measures: dict[str, Measure]

    @property
    def task(self) -> str:
        return self.setting.task

    @property
    def regulariser(self) -> str:
        return self.setting.regulariser

    @property
    def beta(self) -> float:
        return self.setting.beta

    @property
    def seed(self) -> int:
        return self.setting.seed


def load(out: Path) -> list[Record]:
    """The networks that have been trained into ``out``, in the order in which they were; none if there is no file."""
    records = []
    for number, line in enumerate(lines(_table(out)), start=1):
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{_table(out)}, line {number}, does not hold a network's results: {error}") from error
    return records


def append(out: Path, records: Sequence[Record], networks: Networks, *, steps: int) -> None:
    """Add trained networks to ``out``: record k is of network k, trained on sequences of ``steps`` steps."""
    for index, record in enumerate(records):
        path = weights_path(out, record.setting)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            torch.save({"state_dict": networks.select(index).state_dict(), "steps": steps}, file)
    add_lines(_table(out), map(_line, records))


def put_in_order(out: Path, settings: Sequence[Setting]) -> None:
    """The records of ``out`` in the order of ``settings``, after those of others."""
    places = {setting: place for place, setting in enumerate(settings)}
    found = load(out)
    ordered = sorted(found, key=lambda record: places.get(record.setting, -1))
    if ordered != found:
        with whole(_table(out)) as file:
            add_lines(file, map(_line, ordered))


def check_alike(out: Path, found: Iterable[Setting], asked: Iterable[Setting]) -> None:
    """ValueError if networks of one task differ by more than their penalty and seed: they could not be compared.

    Args:
        out: the folder.
        found: what it has.
        asked: what is to be trained into it.
    """
    first = {setting.task: setting for setting in reversed([*found])}
    for setting in asked:
        before = first.get(setting.task, setting)
        differing = [name for name in OPTIONS if getattr(setting, name) != getattr(before, name)]
        if differing:
            named = ", ".join(f"{name} = {getattr(before, name)}" for name in differing)
            wanted = ", ".join(f"{name} = {getattr(setting, name)}" for name in differing)
            raise ValueError(
                f"{out} has networks of the task {setting.task} with {named}, and {wanted} was asked for: "
                "choose another folder"
            )


def networks(out: Path, settings: Iterable[Setting]) -> Networks:
    """The trained weights, as one stack in the order of ``settings``, which must agree in sizes."""
    paths = [weights_path(out, setting) for setting in settings]
    return stacked.from_state_dicts(torch.load(path, weights_only=True)["state_dict"] for path in paths)


def weights_path(out: Path, setting: Setting) -> Path:
    """Of a torch.save file with a plain "state_dict" (rnn.*, readout.*) and "steps", the sequences' length."""
    named = dataclasses.asdict(setting)
    folder = out / "weights" / str(named.pop("task")) / str(named.pop("regulariser"))
    return folder / ("_".join(f"{name}={value}" for name, value in named.items()) + ".pt")


def _table(out: Path) -> Path:
    return out / "results.jsonl"


def _line(record: Record) -> str:
    return json.dumps(_without_nan(dataclasses.asdict(record)), allow_nan=False)


def _record(line: dict[str, Any]) -> Record:
    return Record(
        Setting(**line["setting"]),
        _with_nan(line["test_error"]),
        {name: _with_nan(value) for name, value in line["measures"].items()},
    )


def _without_nan(value: Any) -> Any:
    """JSON knows finite numbers alone: null for all others, which :func:`load` reads as NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_with_nan(part) for part in value)
    return math.nan if value is None else value

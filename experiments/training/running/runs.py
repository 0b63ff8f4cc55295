"""Which networks are trained, and what is kept of them in one folder: a line of records.jsonl, and the weights.

Weights are kept so that a measure that is added later can be taken of networks that are there: without its records
file, a folder is measured anew and nothing is trained again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from experiments.tasks.modular import driven
from experiments.training.folders import add_lines, alone, lines, whole
from experiments.training.running import measures
from experiments.training.running.measures import Record
from experiments.training.running.networks import (
    COMPARED,
    DRIVES,
    GAINS,
    KINDS,
    L1,
    NETWORK_PER_HOP,
    UNPENALISED,
    Setting,
    Trained,
    train,
    untrained,
)
from experiments.training.sweep import single_threads

TASKS = ("averaging", "addition", "subtraction", "on-off", "lagged", "multiplication")
SOME_TASKS = ("on-off", "lagged", "multiplication")  # two sums whose lags differ, and a gate: of stacks and other gains
BETAS = (0.003, 0.01, 0.03)
STRONG = BETAS[-1]  # at which there is everything
L1_BELOW = 10  # times: L1 sums over all weights, and leaves nothing of a network at strengths that walks bear
LAYERS = 2  # of stacks


def plan(seeds: int, *, hidden: int, updates: int) -> list[Setting]:
    """All settings, those first that most claims are about."""

    def networks(
        tasks: Sequence[str], penalties: Sequence[str], beta: float = STRONG, *, layers: int = 1
    ) -> list[Setting]:
        return [
            Setting(kind, task, penalty, strength(penalty, beta), seed, hidden, updates, layers=layers)
            for seed in range(seeds)
            for penalty in penalties
            for task in tasks
            for kind in KINDS
        ]

    return [
        *networks(TASKS, [UNPENALISED, *COMPARED]),
        *networks([driven(drive) for drive in DRIVES], [UNPENALISED]),
        *networks(SOME_TASKS, [*GAINS]),
        *networks(SOME_TASKS, [UNPENALISED, NETWORK_PER_HOP], layers=LAYERS),
        *(setting for beta in reversed(BETAS[:-1]) for setting in networks(TASKS, [*COMPARED], beta)),
    ]


def strength(penalty: str, beta: float) -> float:
    """The factor of a penalty where those on walks have ``beta``."""
    return {UNPENALISED: 0.0, L1: beta / L1_BELOW}.get(penalty, beta)


def run(folder: Path, settings: Sequence[Setting]) -> Iterator[Record]:
    """The records of the settings, one after another; what ``folder`` has of them is not trained again.

    By one thread, since the products are too small to be shared.

    Raises:
        BusyError: another process is writing into ``folder``.
    """
    path, weights = folder / "records.jsonl", folder / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        done = {record.setting: record for record in read(path)}
        for setting in settings:
            record = done.get(setting)
            if record is None:
                with single_threads():
                    record = measures.of_network(setting, _network(weights / _file_name(setting), setting))
                add_lines(path, [json.dumps(asdict(record))])
            yield record


def read(path: Path) -> list[Record]:
    """What a file of records holds."""
    found = map(json.loads, lines(path))
    return [Record(**{**line, "setting": Setting(**line["setting"])}) for line in found]


def _network(path: Path, setting: Setting) -> Trained:
    if path.exists():
        network = untrained(setting)
        network.load_state_dict(torch.load(path, weights_only=True))
        return network
    network = train(setting)
    with whole(path) as file:
        torch.save(network.state_dict(), file)
    return network


def _file_name(setting: Setting) -> str:
    return ", ".join(f"{name}={value}" for name, value in asdict(setting).items()) + ".pt"

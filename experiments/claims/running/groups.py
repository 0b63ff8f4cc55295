"""Networks by what they have in common, and numbers over their seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from experiments.claims.limits import LEARNT_MSE
from experiments.training.running.measures import Record
from experiments.training.running.networks import COMPARED, KINDS, UNPENALISED
from experiments.training.running.runs import STRONG, TASKS, strength

Number = Callable[[Record], float]
JUDGED = (UNPENALISED, *COMPARED)  # the penalties that claims on every penalty are about


def cells(records: Iterable[Record], *, layers: int = 1, penalties: Sequence[str] = JUDGED) -> dict[str, list[Record]]:
    """Networks of each kind on each of TASKS, at every strength, under one of these penalties: "GRU, lagged", ..."""
    found: dict[str, list[Record]] = {f"{kind}, {task}": [] for kind in KINDS for task in TASKS}
    for record in records:
        setting = record.setting
        cell = f"{setting.kind}, {setting.task}"
        if cell in found and setting.layers == layers and setting.penalty in penalties:
            found[cell].append(record)
    return {cell: own for cell, own in found.items() if own}


def learnt(records: Iterable[Record]) -> list[Record]:
    """Those that have learnt something: of the others there is nothing to read."""
    return [record for record in records if record.error < LEARNT_MSE]


def by_seed(records: Iterable[Record]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = {}
    for record in records:
        found.setdefault(record.setting.seed, []).append(record)
    return found


def at(records: Iterable[Record], penalty: str, beta: float = STRONG) -> dict[int, Record]:
    """Those of one penalty where those on walks have ``beta``, by seed."""
    return {
        record.setting.seed: record
        for record in records
        if (record.setting.penalty, record.setting.beta) == (penalty, strength(penalty, beta))
    }


def extremes(records: Sequence[Record], worse: Callable[..., Record], number: Number) -> list[Record]:
    """Of each seed the network whose number is the largest (worse = max) or the least (min)."""
    return [worse(own, key=number) for own in by_seed(records).values()]


def called(record: Record) -> str:
    """A network's penalty and strength."""
    setting = record.setting
    return "no penalty" if setting.penalty == UNPENALISED else f"{setting.penalty}, β = {setting.beta:g}"


def ratios(ours: dict[int, Record], theirs: dict[int, Record], number: Number) -> list[float]:
    """Of the seeds that both have."""
    return [number(ours[seed]) / number(theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]

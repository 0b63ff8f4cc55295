"""Networks that differ by their seed alone, taken together: what every figure, table and verdict is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from experiments.claims import intervals
from experiments.claims.intervals import Interval
from experiments.tasks import problems
from experiments.training.regularisers import REGULARISERS, UNPENALISED
from experiments.training.results import Record, Setting

LEAST_SHARE = 1e-4  # off the optimum's support: smaller ones count as this, so that one exact zero is not all there is


@dataclass(frozen=True)
class Point:
    """All networks of one (task, regulariser, beta), by seed."""

    task: str
    regulariser: str
    beta: float
    records: tuple[Record, ...]

    def error(self) -> Interval:
        """Test MSE, geometric mean over seeds; for classes the share of wrong answers, arithmetic mean."""
        errors = [record.test_error for record in self.records]
        return intervals.of_mean(errors) if has_classes(self.task) else intervals.of_geometric_mean(errors)

    def measure(self, name: str) -> Interval:
        """A measure of the analysis, averaged over seeds: correlations by Fisher's z, small shares geometrically."""
        if name.startswith("correlation"):
            return intervals.of_correlation(self.values(name))
        if name.startswith("communication_sparsity"):
            return intervals.of_geometric_mean([max(share, LEAST_SHARE) for share in self.values(name)])
        return intervals.of_mean(self.values(name))

    def values(self, name: str) -> list[float]:
        """A measure of the analysis for each seed."""
        missing = [record.setting for record in self.records if name not in record.measures]
        if missing:
            raise ValueError(f"the results have no {name!r} of {missing[0]}: they are older than it, train them again")
        return [float(record.measures[name]) for record in self.records]  # type: ignore[arg-type]

    def profile(self) -> list[Interval]:
        """The share of each lag in the strength of the walks."""
        profiles: list[Sequence[float]] = [record.measures["hop_profile"] for record in self.records]  # type: ignore[misc]
        return [intervals.of_mean(shares) for shares in zip(*profiles, strict=True)]


class Table:
    """Points by task, regulariser and beta; tasks in the order in which the records first name them.

    Raises:
        ValueError: two records of one task that differ by more than regulariser, beta and seed.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        groups: dict[tuple[str, str, float], dict[int, Record]] = {}
        first: dict[str, Setting] = {}
        for record in records:
            setting = record.setting
            common = first.setdefault(record.task, setting)
            if replace(setting, regulariser=common.regulariser, beta=common.beta, seed=common.seed) != common:
                raise ValueError(
                    f"{setting} and {common} differ by more than task, regulariser, beta and seed: sweeps to be "
                    "compared have the same sizes and updates, others a folder of their own"
                )
            groups.setdefault((record.task, record.regulariser, record.beta), {})[record.seed] = record
        self.points = {
            key: Point(*key, tuple(by_seed[seed] for seed in sorted(by_seed))) for key, by_seed in groups.items()
        }

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(task for task, _, _ in self.points))

    def regularisers(self, task: str) -> list[str]:
        """Those of ``task`` that penalise, in the order of REGULARISERS."""
        names = {name for its, name, _ in self.points if its == task and name != UNPENALISED}
        return [name for name in REGULARISERS if name in names] + sorted(names - REGULARISERS.keys())

    def curve(self, task: str, regulariser: str) -> list[Point]:
        """The points of one regulariser, by increasing beta."""
        found = [point for point in self.points.values() if (point.task, point.regulariser) == (task, regulariser)]
        return sorted(found, key=lambda point: point.beta)

    def unpenalised(self, task: str) -> Point | None:
        """The networks without a penalty."""
        return self.points.get((task, UNPENALISED, 0.0))

    def unpenalised_of(self, tasks: Iterable[str]) -> list[Point]:
        """The networks without a penalty, of each of the ``tasks`` that has any."""
        return [point for task in tasks if (point := self.unpenalised(task))]

    def networks(self) -> int:
        return sum(len(point.records) for point in self.points.values())


def error_ratio(ours: Point, theirs: Point) -> Interval:
    """Error divided by error, seed by seed: geometric mean over the seeds that both have."""
    return intervals.of_geometric_mean(error_ratios(ours, theirs))


def error_ratios(ours: Point, theirs: Point) -> list[float]:
    """For each seed that both have. No wrong answer counts as half of one, so that every ratio has a logarithm."""
    least = _least_error(ours.task)
    others = {record.seed: max(record.test_error, least) for record in theirs.records}
    return [max(record.test_error, least) / others[record.seed] for record in ours.records if record.seed in others]


def strongest_sparing(curve: Sequence[Point], unpenalised: Point, *, factor: float) -> Point | None:
    """The largest beta up to which the error is, in the mean, at most ``factor`` times that without a penalty."""
    strongest = None
    for point in curve:
        if not error_ratio(point, unpenalised).mean <= factor:
            break
        strongest = point
    return strongest


def of_least_error(curve: Sequence[Point]) -> Point:
    """The point with the least mean error; one without a number only if all are."""
    errors = [point.error().mean for point in curve]
    return min(zip(errors, curve, strict=True), key=lambda pair: (math.isnan(pair[0]), pair[0]))[1]


@cache
def _least_error(task: str) -> float:
    return 0.5 / len(problems.named(task).test_set()[1]) if has_classes(task) else 0.0


@cache
def has_classes(task: str) -> bool:
    """Whether the error of ``task`` is a share of wrong answers rather than a mean squared error."""
    return not problems.named(task).test_set()[1].is_floating_point()

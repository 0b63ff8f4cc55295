"""What is recorded of every trained network, its summary over the seeds, and both as CSV."""

from __future__ import annotations

import csv
import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """One trained network. P_m are its walks at lag m, R_io = sum_m P_m."""

    regulariser: str
    strength: float
    seed: int
    accuracy: float  # share of the test images
    resolvent_l1: float  # ||R_io||_1
    walks_l1: float  # sum_m ||P_m||_1: what ||R_io||_1 would be if lags could not cancel one another
    lag_share: tuple[float, ...]  # ||P_m||_1 / walks_l1


@dataclass(frozen=True)
class Summary:
    """One setting: means over its networks, and standard deviations (NaN for a single network)."""

    regulariser: str
    strength: float
    accuracy: float
    accuracy_sd: float
    resolvent_l1: float
    walks_l1: float
    lag_share: tuple[float, ...]
    lag_share_sd: tuple[float, ...]


def summarise(records: Iterable[Record]) -> list[Summary]:
    """One summary for each (regulariser, strength), in the order of first appearance."""
    settings: dict[tuple[str, float], list[Record]] = {}
    for record in records:
        settings.setdefault((record.regulariser, record.strength), []).append(record)
    return [_summary(networks) for networks in settings.values()]


def strongest_sparing(summaries: Iterable[Summary], *, cost: float) -> Summary:
    """The strongest setting whose accuracy is within ``cost`` of the best of ``summaries``."""
    summaries = list(summaries)
    enough = max(summary.accuracy for summary in summaries) - cost
    return max((summary for summary in summaries if summary.accuracy >= enough), key=lambda summary: summary.strength)


def write_csv(path: Path, rows: Sequence[Record] | Sequence[Summary]) -> None:
    """One line a row, one column a field; a field with a value per lag becomes a column per lag, name_0, name_1, …"""
    table = [_columns(row) for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def _summary(networks: Sequence[Record]) -> Summary:
    accuracies = [network.accuracy for network in networks]
    shares_by_lag = list(zip(*(network.lag_share for network in networks), strict=True))
    return Summary(
        regulariser=networks[0].regulariser,
        strength=networks[0].strength,
        accuracy=statistics.fmean(accuracies),
        accuracy_sd=_deviation(accuracies),
        resolvent_l1=statistics.fmean(network.resolvent_l1 for network in networks),
        walks_l1=statistics.fmean(network.walks_l1 for network in networks),
        lag_share=tuple(statistics.fmean(shares) for shares in shares_by_lag),
        lag_share_sd=tuple(_deviation(shares) for shares in shares_by_lag),
    )


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan


def _columns(row: Record | Summary) -> dict[str, object]:
    columns: dict[str, object] = {}
    for name, value in dataclasses.asdict(row).items():
        if isinstance(value, tuple):
            columns.update({f"{name}_{lag}": part for lag, part in enumerate(value)})
        else:
            columns[name] = value
    return columns

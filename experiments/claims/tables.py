"""Numbers as text in rows and columns, for the terminal, a page or a file."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple

from experiments.claims.summaries import Point, Table, has_classes
from experiments.tasks.modular import TASKS
from experiments.training.regularisers import UNPENALISED
from experiments.training.results import Measure, Record, Setting
from rrnn_ext.reading.sheet import Sheet


class Column(NamedTuple):
    heading: str
    text: str  # what it is
    cell: Callable[[Point], str]
    where: tuple[bool, ...] = (False, True)  # brief, full


def _mean(measure: str, spec: str) -> Callable[[Point], str]:
    return lambda point: f"{point.measure(measure).mean:{spec}}"


def _percentages(point: Point) -> str:
    return " ".join(f"{100 * share.mean:.0f}" for share in point.profile())


def _bars(point: Point) -> str:
    """The hop profile in a word: a bar for each lag, as high as its share of the largest; nothing if there is none."""
    shares = [share.mean for share in point.profile()]
    if any(map(math.isnan, shares)):
        return ""
    return "".join("▁▂▃▄▅▆▇█"[round(7 * share / max(shares))] for share in shares)


_ANY = asdict(Setting("", UNPENALISED, 0.0, 0))  # any setting: its values' types are those of all
BRIEF, BOTH = (True, False), (True, True)
TASK_COLUMNS = (
    Column("R_io", "correlation of the map with the optimum", _mean("correlation", ".2f"), BOTH),
    Column("P_m", "that of all lags", _mean("correlation_per_hop", ".2f"), BOTH),
    Column("off support", "share of R_io where the optimum has no path", _mean("communication_sparsity", ".2g")),
    Column("aligned", "probability that a needed path is stronger than one that is not", _mean("alignment", ".2f")),
    Column("signal lags", "share of Σ‖P‖₁ at the lags that the optimum uses", _mean("signal_share", ".2f")),
)
ALL_COLUMNS = (
    Column("lags", "hop profile, ‖P_m‖₁ from m = 0 to the left", _bars, BRIEF),
    Column("hop profile", "‖P_m‖₁ for m = 0, 1, ... in per cent of their sum", _percentages),
    Column("Hoyer", "sparsity of the hop profile, 0 even, 1 a single lag", _mean("hoyer", ".2f")),
    Column("‖R‖₁", "‖Σ_m P_m‖₁", _mean("resolvent_l1", ".2g"), BOTH),
    Column("Σ‖P‖₁", "Σ_m ‖P_m‖₁", _mean("walks_l1", ".2g"), BOTH),
    Column("seeds", "networks", lambda point: str(len(point.records))),
)


def of_task(table: Table, task: str, *, brief: bool = False) -> Sheet:
    """Every setting of ``task``: its error with the confidence interval, and the means of what was read off the
    weights. ``brief`` fits a terminal of 80 columns."""
    error = "wrong answers" if has_classes(task) else "test MSE"
    columns = [column for column in (*(TASK_COLUMNS if task in TASKS else ()), *ALL_COLUMNS) if column.where[not brief]]
    points = [point for name in (UNPENALISED, *table.regularisers(task)) for point in table.curve(task, name)]
    mean = "mean" if has_classes(task) else "geometric mean"
    text = f"{error}: {mean} over seeds and 95 % confidence interval (none of fewer than three); "
    text += "; ".join(f"{column.heading}: {column.text}" for column in columns) + "."
    rows = [
        [
            point.regulariser,
            f"{point.beta:{'.1g' if brief else '.2g'}}",
            f"{point.error():.3f}",
            *(column.cell(point) for column in columns),
        ]
        for point in points
    ]
    return Sheet(task, text, ["penalty", "β", error, *(column.heading for column in columns)], rows)


def write_networks(path: Path, records: Iterable[Record]) -> None:
    """Every network as a line of CSV: its setting, its error and its measures, a column for each lag of a profile."""
    lines = [_columns(record) for record in records]
    names = list(dict.fromkeys(name for line in lines for name in line))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def read(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file, each by its columns' names."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_networks(path: Path) -> list[Record]:
    """What :func:`write_networks` has written, to its six digits."""
    return [_of_columns(line) for line in read(path)]


def _of_columns(line: dict[str, str]) -> Record:
    given = {name: line.pop(name) for name in (field.name for field in fields(Setting))}
    setting = Setting(**{name: type(_ANY[name])(value) for name, value in given.items()})
    error = float(line.pop("test_error"))
    measures: dict[str, Measure] = {}
    for name, value in line.items():
        if not value:
            continue  # a measure that other networks have
        stem, _, lag = name.rpartition("_")
        if lag.isdigit():
            earlier = measures.get(stem, ())
            assert isinstance(earlier, tuple)
            measures[stem] = (*earlier, float(value))
        else:
            measures[name] = float(value)
    return Record(setting, error, measures)


def _columns(record: Record) -> dict[str, object]:
    columns: dict[str, object] = {**asdict(record.setting), "test_error": f"{record.test_error:.6g}"}
    for name, value in record.measures.items():
        if isinstance(value, tuple):
            columns |= {f"{name}_{lag}": f"{part:.6g}" for lag, part in enumerate(value)}
        else:
            columns[name] = f"{value:.6g}"
    return columns

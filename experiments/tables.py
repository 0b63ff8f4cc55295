"""Numbers as text in rows and columns, for the terminal, a page or a file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.table import Table as RichTable

from experiments.intervals import Interval
from experiments.results import Record
from experiments.summaries import Point, Table, has_classes
from experiments.tasks import TASKS


@dataclass(frozen=True)
class Sheet:
    """A table, what it is, and what it says.

    Attributes:
        title: a few words.
        text: what the columns are.
        header, rows: cells as text.
        remarks: sentences on the numbers.
    """

    title: str
    text: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()

    def rich(self) -> RichTable:
        """For the terminal; a line after each group of rows that share their first cell."""
        table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=self.title)
        for index, heading in enumerate(self.header):
            table.add_column(heading, justify="left" if index == 0 else "right", no_wrap=True)
        groups = len({row[0] for row in self.rows}) < len(self.rows)
        for row, following in zip(self.rows, [*self.rows[1:], None], strict=True):
            table.add_row(*row, end_section=groups and following is not None and following[0] != row[0])
        return table

    def markdown(self) -> str:
        lines = [list(self.header), ["---"] * len(self.header), *map(list, self.rows)]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def write_csv(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([self.header, *self.rows])


TASK_COLUMNS: dict[str, Callable[[Point], str]] = {
    "R_io": lambda point: _short(point.measure("correlation"), ".2f"),
    "all P_m": lambda point: _short(point.measure("correlation_per_hop"), ".2f"),
    "off support": lambda point: _short(point.measure("communication_sparsity"), ".2g"),
    "aligned": lambda point: _short(point.measure("alignment"), ".2f"),
    "signal lags": lambda point: _short(point.measure("signal_share"), ".2f"),
}
ALL_COLUMNS: dict[str, Callable[[Point], str]] = {
    "Hoyer": lambda point: _short(point.measure("hoyer"), ".2f"),
    "‖R‖₁": lambda point: _short(point.measure("resolvent_l1"), ".2g"),
    "Σ‖P‖₁": lambda point: _short(point.measure("walks_l1"), ".2g"),
}


def of_task(table: Table, task: str) -> Sheet:
    """Every setting of ``task``: its error with the confidence interval, and the means of what was read off the "
    "weights."""
    error = "wrong answers" if has_classes(task) else "test MSE"
    columns = {**(TASK_COLUMNS if task in TASKS else {}), **ALL_COLUMNS}
    points = [point for name in ("none", *table.regularisers(task)) for point in table.curve(task, name)]
    text = f"{error}: mean over seeds and 95 % confidence interval. "
    if task in TASKS:
        text += (
            "R_io, all P_m: correlations with the optimum. Off support: share of R_io where the optimum has no "
            "pathway. "
            "Aligned: probability that a needed pathway is stronger than one that is not. Signal lags: share of "
            "Σ‖P_m‖₁ at "
            "the lags that the optimum uses. "
        )
    text += "Hoyer: sparsity of the hop profile, 0 even, 1 a single lag. ‖R‖₁ = ‖Σ_m P_m‖₁ and Σ‖P‖₁ = Σ_m ‖P_m‖₁."
    rows = [
        [
            point.regulariser,
            f"{point.beta:.2g}",
            f"{point.error():.3f}",
            str(len(point.records)),
            *(column(point) for column in columns.values()),
        ]
        for point in points
    ]
    return Sheet(task, text, ["penalty", "β", error, "seeds", *columns], rows)


def write_networks(path: Path, records: Iterable[Record]) -> None:
    """Every network as a line of CSV: its setting, its error and its measures, a column for each lag of a profile."""
    lines = [_columns(record) for record in records]
    names = list(dict.fromkeys(name for line in lines for name in line))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _columns(record: Record) -> dict[str, object]:
    columns: dict[str, object] = {**asdict(record.setting), "test_error": f"{record.test_error:.6g}"}
    for name, value in record.measures.items():
        if isinstance(value, tuple):
            columns |= {f"{name}_{lag}": f"{part:.6g}" for lag, part in enumerate(value)}
        else:
            columns[name] = f"{value:.6g}"
    return columns


def _short(interval: Interval, spec: str) -> str:
    return f"{interval.mean:{spec}}"

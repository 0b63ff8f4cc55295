"""Numbers as text in rows and columns, for the terminal, a page or a file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from rich import box
from rich.console import Group
from rich.table import Table as RichTable


@dataclass(frozen=True)
class Sheet:
    """A table, what it is, and what it says.

    Attributes:
        title: a few words.
        text: what the columns are.
        header, rows: cells as text.
        remarks: sentences on the numbers.
        fold: how many columns beside the first a terminal shows at once; the others follow below. None: all.
    """

    title: str
    text: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()
    fold: int | None = None

    def rich(self) -> Group:
        """For the terminal; a line after each group of rows that share their first cell."""
        columns = len(self.header) - 1
        fold = self.fold or max(columns, 1)
        starts = range(1, max(columns, 1) + 1, fold)
        return Group(*(self._rich(range(start, min(start + fold, columns + 1)), first=start == 1) for start in starts))

    def _rich(self, columns: Sequence[int], *, first: bool) -> RichTable:
        table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=0, title=self.title if first else None)
        for index in (0, *columns):
            table.add_column(self.header[index], justify="left" if index == 0 else "right", overflow="fold")
        groups = len({row[0] for row in self.rows}) < len(self.rows)
        for row, following in zip_longest(self.rows, self.rows[1:]):
            ends = groups and following is not None and following[0] != row[0]
            table.add_row(*(row[index] for index in (0, *columns)), end_section=ends)
        return table

    def markdown(self) -> str:
        lines = [list(self.header), ["---"] * len(self.header), *map(list, self.rows)]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def write_csv(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([self.header, *self.rows])

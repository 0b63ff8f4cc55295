"""A figure, what it shows in words, and its numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

DPI = 180
Row = dict[str, object]


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A figure and its data: one row for each mark that is drawn.

    Attributes:
        name: of its files, ``name.png`` and ``name.csv``.
        title: a line.
        caption: how to read it, in a few sentences; plain text.
        alt: what is to be seen, in words, for those who do not see it.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    rows: Sequence[Row]
    alt: str = ""

    def png(self) -> bytes:
        """Of 256 colours, in a fifth of the bytes; those at the ends of a scale are kept."""
        drawn, file = io.BytesIO(), io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=DPI)
        picture = Image.open(drawn).convert("RGB")
        palette = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
        palette.save(file, "png", optimize=True)
        return file.getvalue()

    def csv(self) -> str:
        file = io.StringIO()
        writer = csv.DictWriter(file, fieldnames=list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()} for row in self.rows
        )
        return file.getvalue()

    def save(self, folder: Path) -> None:
        """Writes both files into ``folder``, which is made if it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.png").write_bytes(self.png())
        (folder / f"{self.name}.csv").write_text(self.csv(), encoding="utf-8")

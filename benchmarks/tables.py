"""How tables, shapes, times and dates are written, and where results and their pages are."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"


def as_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up on a terminal."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def as_shape(shape: Mapping[str, int]) -> str:
    return " ".join(f"{'L' if name == 'hops' else name}={size}" for name, size in shape.items())


def as_time(seconds: float) -> str:
    unit, scale = ("µs", 1e6) if seconds < 1e-3 else ("ms", 1e3)
    return f"{seconds * scale:.3g} {unit}"


def today() -> str:
    return datetime.date.today().isoformat()


def write_between(page: Path, begin: str, end: str, text: str) -> None:
    """Puts a text, which ends its last line, in the place of what a page has between two markers."""
    before, rest = page.read_text(encoding="utf-8").split(begin, 1)
    _, after = rest.split(end, 1)
    page.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")

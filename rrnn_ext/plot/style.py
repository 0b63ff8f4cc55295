"""How things look: Okabe and Ito's colours, which the colour-blind tell apart, and a marker and a dash for each line,
so that print without colour tells them apart too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

WIDTH = 7.4  # inches: the text width of a page
PALE = "0.4"
POSITIVE, NEGATIVE = "#0072B2", "#D55E00"  # blue and filled or solid, orange and hollow or dashed
FONTS: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
}


class Look(NamedTuple):
    """Of one line."""

    color: str
    marker: str
    linestyle: Any

    @property
    def line(self) -> dict[str, Any]:
        return {**self._asdict(), "markersize": 3.8, "linewidth": 1.2, "markeredgewidth": 0.8}


LINES = (
    Look("#0072B2", "o", "-"),
    Look("#D55E00", "^", "--"),
    Look("#009E73", "s", "-."),
    Look("#000000", "", ":"),
)


_OF_SERIES = "series"  # marks the lines that count, among those drawn for the eye


def draw_series(ax: Axes, x: Sequence[float], y: Sequence[float], label: str | None) -> Look:
    """Draw a line that looks unlike the ones that ``ax`` has from here. Returns its look."""
    look = LINES[sum(line.get_gid() == _OF_SERIES for line in ax.lines) % len(LINES)]
    ax.plot(x, y, label=label, gid=_OF_SERIES, **look.line)
    return look


def from_zero(ax: Axes) -> None:
    """Let the vertical axis begin at 0 and end where the data does, also that which is drawn later."""
    ax.set_ylim(bottom=0, auto=True)


def context() -> AbstractContextManager[None]:
    return matplotlib.rc_context(FONTS)


def own_axes() -> Axes:
    """Those of a new figure of a column's width, which pyplot knows, so that a notebook shows it."""
    with context():
        _, axes = pyplot.subplots(figsize=(WIDTH / 2, WIDTH / 3), layout="constrained")
    return axes


def panels(count: int, *, columns: int = 3, height: float = 2.0, extra: float = 0.6) -> tuple[Figure, list[Axes]]:
    """A page-wide figure of ``count`` panels in rows of ``columns``; ``extra`` inches are for what stands below."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, rows * height + extra), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[count:]:
        unused.set_visible(False)
    return figure, axes[:count]


def letter(axes: Iterable[Axes], titles: Iterable[str]) -> None:
    for index, (panel, title) in enumerate(zip(axes, titles, strict=True)):
        panel.set_title(f"({chr(ord('a') + index)}) {title}", loc="left")


def legend_below(figure: Figure, handles: Sequence[Line2D], columns: int) -> None:
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))

"""Maps from inputs to outputs as Hinton diagrams."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from torch import Tensor

from rrnn_ext.plot import style

POSITIVE, NEGATIVE = "#0072B2", "#D55E00"


def influence_map(values: Tensor, ax: Axes | None = None, *, largest: float | None = None) -> Axes:
    """Draw a map as squares: the area is the size of an entry, filled is positive, hollow is negative.

    Signs survive print without colour. Outputs are rows, inputs are columns.

    Args:
        values: (o, i).
        ax: where to draw; a new figure's Axes if left out.
        largest: the size of an entry whose square fills its cell; that of the largest entry if left out.
    """
    ax = style.own_axes() if ax is None else ax
    rows, columns = values.shape
    largest = largest or values.abs().max().item() or 1.0
    squares: dict[bool, list[Rectangle]] = {True: [], False: []}
    for row, entries in enumerate(values.tolist()):
        for column, value in enumerate(entries):
            side = 0.92 * min(1.0, abs(value) / largest) ** 0.5
            if side > 0.06:
                squares[value > 0].append(Rectangle((column - side / 2, row - side / 2), side, side))
    ax.add_collection(PatchCollection(squares[True], facecolor=POSITIVE, edgecolor="none"))
    ax.add_collection(PatchCollection(squares[False], facecolor="white", edgecolor=NEGATIVE, linewidth=0.7))
    ax.set(xlim=(-0.6, columns - 0.4), ylim=(rows - 0.4, -0.6), xticks=[], yticks=[], aspect="equal", facecolor="0.97")
    for spine in ax.spines.values():
        spine.set(visible=True, linewidth=0.5, color=style.PALE)
    return ax

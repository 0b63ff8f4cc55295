"""The strongest pathways of a network, unit by unit, as a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from rrnn_ext.plot import style

if TYPE_CHECKING:
    from rrnn_ext.reading import Walk

THICKEST = 4.0  # points


def strongest_pathways(walks: Sequence[Walk], ax: Axes | None = None, *, names: Sequence[str] | None = None) -> Axes:
    """Draw walks from left to right, a column of units for each step.

    A line is as thick as the strongest walk along it, relative to the strongest of all: solid and blue where the
    weight of this edge is positive, dashed and orange where it is negative.

    Args:
        walks: of one number of edges, at least 1, as of :func:`rrnn_ext.reading.strongest_walks`.
        ax: where to draw; the Axes of a new figure if left out.
        names: of the units; their numbers if left out.

    Returns:
        The Axes.

    Raises:
        ValueError: there are no walks, or none with an edge, or they have not the same number of edges.

    Example:
        >>> import torch
        >>> from rrnn_ext import plot, reading
        >>> W = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.1, -0.8, 0.0]])
        >>> found = reading.strongest_walks(W, torch.tensor([0]), torch.tensor([2]), hops=3)
        >>> ax = plot.strongest_pathways(found[2], names=["eye", "brain", "hand"])
    """
    lengths = sorted({len(walk.edges) for walk in walks})
    if len(lengths) != 1 or lengths[0] < 1:
        raise ValueError(f"walks must be of one number of edges, at least 1, got {lengths or 'no walk'}")
    ax = style.own_axes() if ax is None else ax
    layers: list[dict[int, None]] = [{} for _ in range(lengths[0] + 1)]
    strongest: dict[tuple[int, int, int], tuple[float, float]] = {}
    for walk in sorted(walks, key=lambda walk: -abs(walk.weight)):
        for step, unit in enumerate(walk.units):
            layers[step].setdefault(unit)
        for step, (start, end, edge) in enumerate(zip(walk.units, walk.units[1:], walk.edges, strict=False)):
            strongest.setdefault((step, start, end), (abs(walk.weight), edge))
    heights = [{unit: (len(units) - 1) / 2 - at for at, unit in enumerate(units)} for units in layers]
    largest = max(weight for weight, _ in strongest.values())
    for (step, start, end), (weight, edge) in strongest.items():
        ax.plot(
            [step, step + 1],
            [heights[step][start], heights[step + 1][end]],
            color=style.NEGATIVE if edge < 0 else style.POSITIVE,
            linestyle=(0, (2, 1)) if edge < 0 else "-",
            linewidth=max(0.5, THICKEST * weight / largest if largest else 0.0),
            alpha=0.6,
            zorder=1,
        )
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": style.PALE, "linewidth": 0.5}
    for step, units in enumerate(heights):
        for unit, height in units.items():
            name = str(unit) if names is None else names[unit]
            ax.text(step, height, name, ha="center", va="center", bbox=box)
    tallest = max(map(len, layers))
    ax.set(xlim=(-0.35, len(layers) - 0.65), ylim=(-tallest / 2, tallest / 2))
    ax.axis("off")
    return ax

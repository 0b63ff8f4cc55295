"""Maps from inputs to outputs, one or one for each lag, as Hinton diagrams; large ones as images."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle
from torch import Tensor

from rrnn_ext.plot import style

# Of an image: positive and negative are as of squares.
COLOURS = LinearSegmentedColormap.from_list("orange to blue", [style.NEGATIVE, "0.97", style.POSITIVE])
ENTRIES = 10_000  # beyond, squares are too many to draw and too small to see
_GAP = 1.0  # between the maps of two lags, in cells


def influence_map(values: Tensor, ax: Axes | None = None, *, largest: float | None = None) -> Axes:
    """Draw a map: the area of a square is the size of an entry, filled is positive, hollow is negative.

    Outputs are rows, inputs are columns. Signs survive print without colour. A map of more than 10,000 entries is an
    image, orange (negative) to blue.

    Args:
        values: (o, i), as of :func:`rrnn_ext.resolvent`.
        ax: where to draw; the Axes of a new figure if left out.
        largest: the size of an entry that fills its cell; that of the largest entry if left out.

    Returns:
        The Axes.

    Raises:
        ValueError: ``values`` is no matrix, or not finite.

    Example:
        >>> import torch, rrnn_ext
        >>> from rrnn_ext import plot
        >>> R = rrnn_ext.resolvent(torch.eye(3) / 2, torch.eye(3, 2), torch.eye(1, 3), hops=4)
        >>> ax = plot.influence_map(R)
        >>> ax.figure.savefig("influence.svg")
    """
    if values.dim() != 2:
        raise ValueError(f"values must be (o, i), got {tuple(values.shape)}")
    ax = _maps(values[None], ax, largest=largest, columns=1, above=0.6)
    for spine in ax.spines.values():
        spine.set(visible=True, linewidth=0.5, color=style.PALE)
    ax.set_facecolor("0.97")
    return ax


def walks_by_lag(walks: Tensor, ax: Axes | None = None, *, largest: float | None = None, columns: int = 10) -> Axes:
    """Draw the map of each lag, as :func:`influence_map` draws one, ``columns`` of them beside one another.

    Args:
        walks: (L, o, i), as of :func:`rrnn_ext.hop_decomposition`, lag 0 first.
        ax: where to draw; the Axes of a new figure if left out.
        largest: the size of an entry that fills its cell; that of the largest entry of all lags if left out.
        columns: how many lags in a row.

    Returns:
        The Axes.

    Raises:
        ValueError: ``walks`` has not three dimensions, or no lag, or is not finite; ``columns`` is below 1.

    Example:
        >>> import torch, rrnn_ext
        >>> from rrnn_ext import plot
        >>> P = rrnn_ext.hop_decomposition(torch.eye(3) / 2, torch.eye(3, 2), torch.eye(1, 3), hops=12)
        >>> ax = plot.walks_by_lag(P)
    """
    if walks.dim() != 3 or len(walks) == 0:
        raise ValueError(f"walks must be (L, o, i) with at least one lag, got {tuple(walks.shape)}")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    ax = _maps(walks, ax, largest=largest, columns=columns, above=0.6 + _GAP)
    _, height, width = walks.shape
    for lag in range(len(walks)):
        left, top = _corner(lag, height, width, columns)
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, linewidth=0.5, edgecolor=style.PALE))
        ax.text(left + (width - 1) / 2, top - 0.6, str(lag), ha="center", va="bottom", fontsize="small")
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def _corner(lag: int, height: int, width: int, columns: int) -> tuple[float, float]:
    """Of the map of a lag: the centre of its first cell. A row of maps has a line of numbers above it."""
    row, column = divmod(lag, columns)
    return column * (width + _GAP), row * (height + 2 * _GAP)


def _maps(walks: Tensor, ax: Axes | None, *, largest: float | None, columns: int, above: float) -> Axes:
    ax = style.own_axes() if ax is None else ax
    walks = walks.detach().cpu()
    lags, height, width = walks.shape
    if not bool(walks.isfinite().all()):
        raise ValueError("what is drawn must be finite, got NaN or Inf among the entries")
    sizes = walks.abs()
    largest = largest or (sizes.max().item() if sizes.numel() else 0.0) or 1.0
    if walks.numel() > ENTRIES:
        for lag, values in enumerate(walks):
            left, top = _corner(lag, height, width, columns)
            extent = (left - 0.5, left + width - 0.5, top + height - 0.5, top - 0.5)
            ax.imshow(values.double().numpy(), cmap=COLOURS, vmin=-largest, vmax=largest, extent=extent)
    else:
        positive: list[Rectangle] = []
        negative: list[Rectangle] = []
        for lag, values in enumerate(walks.tolist()):
            left, top = _corner(lag, height, width, columns)
            for row, entries in enumerate(values):
                for column, value in enumerate(entries):
                    side = 0.92 * min(1.0, abs(value) / largest) ** 0.5
                    if side > 0.06:
                        corner = left + column - side / 2, top + row - side / 2
                        (positive if value > 0 else negative).append(Rectangle(corner, side, side))
        ax.add_collection(PatchCollection(positive, facecolor=style.POSITIVE, edgecolor="none"))
        ax.add_collection(PatchCollection(negative, facecolor="white", edgecolor=style.NEGATIVE, linewidth=0.7))
    right = min(lags, columns) * (width + _GAP) - _GAP
    bottom = -(-lags // columns) * (height + 2 * _GAP) - 2 * _GAP
    ax.set(xlim=(-0.6, right - 0.4), ylim=(bottom - 0.4, -above), xticks=[], yticks=[], aspect="equal")
    return ax

"""The pictures of a report: walks (L, o, i) of several graphs, by what they are called, each with its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from rrnn_ext import plot
from rrnn_ext.plot import style
from rrnn_ext.reading.exhibit import Exhibit, Row
from rrnn_ext.reading.lags import hop_profile

HOW_TO_READ = (
    "Outputs are rows, inputs are columns. The area of a square is the size of an entry, in units of the largest of "
    "its panel: filled (blue) if positive, hollow (orange) if negative."
)
_CELLS = 0.14, 0.3  # inches, the least and the most of a cell where the page is wide enough
_HEIGHT = 2.5  # inches, of a map whose cells need not be small
_ABREAST = 6  # lags


def influence_maps(walks: Mapping[str, Tensor]) -> Exhibit:
    """R_io = Σ_m P_m of each graph."""
    rows: list[Row] = []
    with style.context():
        figure = Figure(layout="constrained")
        heights = [_height(map_.shape[1:]) for map_ in walks.values()]
        figure.set_size_inches(style.WIDTH, sum(heights) + 0.35 * len(walks))
        grid = figure.subplots(len(walks), 1, squeeze=False, height_ratios=heights)
        for axes, (name, found) in zip(grid.flat, walks.items(), strict=True):
            total = found.sum(0)
            plot.influence_map(total, axes).set_title(name)
            rows += entries(total, graph=name)
    caption = f"All walks from inputs to outputs, summed over the lags. {HOW_TO_READ}"
    alt = "Influence maps. " + " ".join(_largest(name, found.sum(0)) for name, found in walks.items())
    return Exhibit("influence_maps", "Influence maps", caption, figure, rows, alt)


def walks_by_lag(walks: Mapping[str, Tensor]) -> Exhibit:
    """P_m of each graph at each lag."""
    rows: list[Row] = []
    with style.context():
        figure = Figure(layout="constrained")
        columns = {name: _columns(found.shape) for name, found in walks.items()}
        heights = []
        for name, found in walks.items():
            lags, outputs, inputs = found.shape
            of_rows = -(-lags // columns[name])
            heights.append(of_rows * _height((outputs + 2, columns[name] * (inputs + 1))))
        figure.set_size_inches(style.WIDTH, sum(heights) + 0.35 * len(walks))
        grid = figure.subplots(len(walks), 1, squeeze=False, height_ratios=heights)
        for axes, (name, found) in zip(grid.flat, walks.items(), strict=True):
            plot.walks_by_lag(found, axes, columns=columns[name]).set_title(name)
            rows += [row for lag, map_ in enumerate(found) for row in entries(map_, graph=name, lag=lag)]
    caption = f"P_m at each lag m, the number above it; lag 0 is the last step. {HOW_TO_READ}"
    alt = "Walks by lag. " + " ".join(
        _largest(f"{name}, lag {lag}", found[lag])
        for name, found in walks.items()
        for lag in [int(found.abs().sum((1, 2)).argmax())]
    )
    return Exhibit("walks_by_lag", "Walks by lag", caption, figure, rows, alt)


def shares_by_lag(walks: Mapping[str, Tensor], beside: Mapping[str, Tensor]) -> Exhibit:
    """The share of each lag in the strength of all lags, a panel for each graph, with what it is drawn beside."""
    rows: list[Row] = []
    with style.context():
        figure, panels = style.panels(len(walks), columns=min(3, len(walks)), extra=0.4)
        for axes, (name, found) in zip(panels, walks.items(), strict=True):
            for what, drawn in {name: found, **beside}.items():
                shares = hop_profile(drawn)
                plot.hop_profile(shares, axes, label=what)
                rows += [
                    {"graph": name, "line": what, "lag": lag, "share": share}
                    for lag, share in enumerate(shares.tolist())
                ]
            axes.set_title(name)
            if beside:
                axes.legend()
    caption = "The share of each lag in the strength of all lags, ‖P_m‖₁ / Σ_m ‖P_m‖₁."
    alt = "Shares by lag. " + " ".join(
        f"{name}: most at lag {int(shares.argmax())}, {100 * shares.max().item():.0f} %."
        for name, shares in ((name, hop_profile(found)) for name, found in {**walks, **beside}.items())
    )
    return Exhibit("shares_by_lag", "Shares by lag", caption, figure, rows, alt)


def _largest(name: str, map_: Tensor) -> str:
    """The largest entry of a map in words."""
    if map_.numel() == 0:
        return f"{name}: empty."
    output, column = divmod(int(map_.abs().argmax()), map_.shape[1])
    value = map_[output, column].item()
    return f"{name}: the largest entry, {value:.3g}, leads from input {column} to output {output}."


def entries(map_: Tensor, **where: object) -> Sequence[Row]:
    """A row of data for each entry of a map."""
    return [
        {**where, "output": output, "input": column, "value": value}
        for output, values in enumerate(map_.tolist())
        for column, value in enumerate(values)
    ]


def _columns(shape: Sequence[int]) -> int:
    """As many lags in a row as keep the maps legible, 60 cells of width or less, and rows alike."""
    lags, _, inputs = shape
    most = max(1, min(_ABREAST, 60 // (inputs + 1))) if inputs < 30 else 2
    return -(-lags // -(-lags // most))


def _height(shape: Sequence[int]) -> float:
    """In inches, of a map of so many cells as wide as the page at most."""
    rows, columns = shape
    smallest, largest = _CELLS
    cell = min(max(_HEIGHT / max(rows, 1), smallest), largest)
    return max(0.3, rows * min(cell, 0.95 * style.WIDTH / max(columns, 1)))

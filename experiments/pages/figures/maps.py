"""Maps from inputs to outputs as Hinton diagrams: the area of a square is the size of an entry, filled is positive,
hollow is negative. Signs survive print without colour."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.pages.figures import looks
from rrnn_ext import plot
from rrnn_ext.plot import style
from rrnn_ext.reading import pictures
from rrnn_ext.reading.exhibit import Exhibit, Row

HOW_TO_READ = (
    "The area of a square is the size of an entry, in units of the largest of its panel: filled (blue) if positive, "
    "hollow (orange) if negative."
)


def influence_maps(maps: Mapping[str, Mapping[str, Tensor]], caption: str) -> Exhibit:
    """Maps (o, i) by task, then by what they are; the first of each task is the optimum."""
    headings = list(dict.fromkeys(heading for row in maps.values() for heading in row))
    heights = [max(map_.shape[0] for map_ in row.values()) for row in maps.values()]
    rows: list[Row] = []
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 0.065 * sum(heights) + 0.1 * len(maps) + 0.6), layout="constrained")
        grid = figure.subplots(len(maps), len(headings), squeeze=False, height_ratios=heights)
        for axes_of_row, (task, row) in zip(grid, maps.items(), strict=True):
            for axes, heading in zip(axes_of_row, headings, strict=True):
                if heading in row:
                    plot.influence_map(row[heading], axes)
                    rows += pictures.entries(row[heading], task=task, map=heading)
                else:
                    axes.set_visible(False)
            axes_of_row[0].set_ylabel(task, rotation=0, ha="right", va="center")
        for axes, heading in zip(grid[0], headings, strict=True):
            axes.set_title(looks.typeset(re.sub(r"^(R_io|.*(?= no penalty)) ", r"\1\n", heading)), fontsize=7.5)
        figure.supxlabel("Inputs, by module (columns); outputs (rows)", fontsize=7, color=style.PALE)
    return Exhibit("influence_maps", "Influence maps beside the optimum", f"{caption} {HOW_TO_READ}", figure, rows)


def maps_by_lag(walks: Mapping[str, Mapping[str, Tensor]], caption: str) -> Exhibit:
    """Maps (L, o, modules) by task, then by what they are: one panel a lag."""
    lags = max(len(stack) for row in walks.values() for stack in row.values())
    lines = [(task, what, stack) for task, row in walks.items() for what, stack in row.items()]
    rows: list[Row] = []
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 0.62 * len(lines) + 0.4), layout="constrained")
        grid = figure.subplots(len(lines), lags, squeeze=False)
        for axes_of_row, (task, what, stack) in zip(grid, lines, strict=True):
            largest = stack.abs().max().item()
            for lag, axes in enumerate(axes_of_row):
                if lag < len(stack):
                    plot.influence_map(stack[lag], axes, largest=largest)
                    rows += pictures.entries(stack[lag], task=task, map=what, lag=lag)
                else:
                    axes.set_visible(False)
            axes_of_row[0].set_ylabel(f"{task}\n{what}", rotation=0, ha="right", va="center")
        for lag, axes in enumerate(grid[0]):
            axes.set_title(f"lag {lag}")
        figure.supxlabel("Modules of inputs (columns); outputs (rows)", fontsize=7, color=style.PALE)
    how = HOW_TO_READ.replace("of its panel", "of its row of panels")
    return Exhibit("maps_by_lag", "Maps lag by lag beside the optimum", f"{caption} {how}", figure, rows)


def of_rows(rows: Iterable[Mapping[str, str]]) -> dict[str, dict[str, Tensor]]:
    """The maps by task, then by what they are, of which ``rows`` are the entries, lag by lag if they have lags."""
    found: dict[str, dict[str, dict[tuple[int, ...], float]]] = {}
    for row in rows:
        entry = tuple(int(row[name]) for name in ("lag", "output", "input") if name in row)
        found.setdefault(row["task"], {}).setdefault(row["map"], {})[entry] = float(row["value"])
    return {task: {what: _filled(entries) for what, entries in named.items()} for task, named in found.items()}


def _filled(entries: Mapping[tuple[int, ...], float]) -> Tensor:
    map_ = torch.zeros([1 + last for last in max(entries)])
    for entry, value in entries.items():
        map_[entry] = value
    return map_

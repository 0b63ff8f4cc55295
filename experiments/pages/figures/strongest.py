"""The strongest pathways of a connectome, drawn cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from experiments.wiring.pathways import Pathways
from rrnn_ext.plot import style
from rrnn_ext.plot.maps import NEGATIVE, POSITIVE
from rrnn_ext.reading import Walk
from rrnn_ext.reading.exhibit import Exhibit, Row

DRAWN = 8  # pathways of each number of synapses
SYNAPSES = (1, 2, 3, 4)
THICKEST = 4.0  # points


def strongest(pathways: Pathways) -> Exhibit:
    """A panel for each number of synapses: the sources to the left, the targets to the right."""
    found = pathways.strongest(DRAWN)
    panels_of = {m: found[m] for m in SYNAPSES if m <= pathways.synapses and found[m]}
    rows: list[Row] = []
    with style.context():
        figure, panels = style.panels(len(panels_of), columns=2, height=2.2, extra=0.1)
        for axes, (m, walks) in zip(panels, panels_of.items(), strict=True):
            connections = _connections(pathways, walks)
            _draw(axes, connections)
            rows += [{"synapses": m, **one._asdict()} for one in connections]
        style.letter(panels, [f"{m} synapse{'s' if m > 1 else ''}" for m in panels_of])
    caption = (
        f"The {DRAWN} strongest pathways of each number of synapses, from the sources (left) to the targets (right). A "
        "line is as thick as the strongest pathway along it, relative to the strongest of its panel: solid (blue) "
        "excites, dashed (orange) inhibits."
    )
    return Exhibit("strongest", "The strongest pathways", caption, figure, rows)


class _Connection(NamedTuple):
    """One that the walks of a panel take as their step ``step``, from 1; the strongest of them in per cent."""

    step: int
    pre: str
    post: str
    inhibits: bool
    strength: float


def _connections(pathways: Pathways, walks: Sequence[Walk]) -> list[_Connection]:
    names = pathways.connectome.wiring.names
    known: dict[tuple[int, str, str], _Connection] = {}
    for walk in walks:
        called = [names[unit] for unit in walk.units]
        for step, inhibits in enumerate(pathways.inhibits(walk), start=1):
            ends = called[step - 1], called[step]
            known.setdefault((step, *ends), _Connection(step, *ends, inhibits, 100 * abs(walk.weight)))
    return list(known.values())


def _draw(axes: Axes, connections: Sequence[_Connection]) -> None:
    layers: list[dict[str, None]] = [{} for _ in range(1 + max(one.step for one in connections))]
    for one in connections:
        layers[one.step - 1].setdefault(one.pre)
        layers[one.step].setdefault(one.post)
    heights = [{name: (len(names) - 1) / 2 - at for at, name in enumerate(names)} for names in layers]
    largest = max(one.strength for one in connections)
    for one in connections:
        axes.plot(
            [one.step - 1, one.step],
            [heights[one.step - 1][one.pre], heights[one.step][one.post]],
            color=NEGATIVE if one.inhibits else POSITIVE,
            linestyle=(0, (2, 1)) if one.inhibits else "-",
            linewidth=max(0.5, THICKEST * one.strength / largest),
            alpha=0.6,
            zorder=1,
        )
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": style.PALE, "linewidth": 0.5}
    for x, names in enumerate(heights):
        for name, y in names.items():
            axes.text(x, y, name, ha="center", va="center", fontsize=6.5, bbox=box)
    tallest = max(map(len, layers))
    axes.set(xlim=(-0.35, len(layers) - 0.65), ylim=(-tallest / 2, tallest / 2))
    axes.axis("off")

"""The strongest pathways of a connectome, drawn cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from experiments.wiring.pathways import Pathways
from rrnn_ext import plot
from rrnn_ext.plot import style
from rrnn_ext.reading import Walk
from rrnn_ext.reading.exhibit import Exhibit, Row

DRAWN = 8  # pathways of each number of synapses
SYNAPSES = (1, 2, 3, 4)


def strongest(pathways: Pathways) -> Exhibit:
    """A panel for each number of synapses: the sources to the left, the targets to the right."""
    found = pathways.strongest(DRAWN)
    panels_of = {m: found[m] for m in SYNAPSES if m <= pathways.synapses and found[m]}
    rows: list[Row] = []
    with style.context():
        figure, panels = style.panels(len(panels_of), columns=2, height=2.2, extra=0.1)
        for axes, (m, walks) in zip(panels, panels_of.items(), strict=True):
            plot.strongest_pathways(walks, axes, names=pathways.connectome.wiring.names)
            rows += [{"synapses": m, **one._asdict()} for one in _connections(pathways, walks)]
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
        for step, weight in enumerate(walk.edges, start=1):
            ends = called[step - 1], called[step]
            known.setdefault((step, *ends), _Connection(step, *ends, weight < 0, 100 * abs(walk.weight)))
    return list(known.values())

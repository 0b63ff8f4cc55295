"""Pictures of the pathways of a connectome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from experiments.wiring.connectome import Connectome
from experiments.wiring.influence import Influence
from experiments.wiring.pathways import Pathways
from rrnn_ext import plot
from rrnn_ext.plot import style
from rrnn_ext.plot.style import NEGATIVE, POSITIVE
from rrnn_ext.reading.exhibit import Exhibit, Row

RELAYS = 20
SCORED = 15  # of either sign
INHIBITING: dict[str, Any] = {"color": "white", "edgecolor": NEGATIVE, "hatch": "////"}
MAPPED = 30  # cells on either side of the map: more names are too small to read


def by_synapses(pathways: Pathways) -> Exhibit:
    """What of the targets' input is the sources', by the number of synapses."""
    exciting, inhibiting, net = _parts(pathways)
    numbers = range(1, pathways.synapses + 1)
    with style.context():
        figure, [axes] = style.panels(1, height=2.1, extra=0.4)
        axes.bar(numbers, exciting, 0.7, color=POSITIVE, label="excites")
        axes.bar(numbers, [-each for each in inhibiting], 0.7, label="inhibits", **INHIBITING)
        axes.plot(numbers, net, color="black", marker="D", markersize=4, linewidth=1, label="net")
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set(xlabel="Synapses between source and target", ylabel="Share of the targets' input (%)", xticks=numbers)
        figure.legend(loc="outside lower center", ncols=3)
    rows: list[Row] = [
        {"synapses": m, "excites": up, "inhibits": down, "net": both}
        for m, up, down, both in zip(numbers, exciting, inhibiting, net, strict=True)
    ]
    caption = (
        "Of a target cell's input so many synapses back, the share that comes from the sources, mean over the targets: "
        "along pathways that excite above the line, along those that inhibit below it. The net is their difference."
    )
    return Exhibit("by_synapses", "How far the sources reach", caption, figure, rows)


def relays(pathways: Pathways) -> Exhibit:
    """The cells that most pathways pass, and how much of all passes them."""
    shares, cells = pathways.relays.topk(min(RELAYS, len(pathways.relays)))
    names = [pathways.connectome.wiring.names[cell] for cell in cells.tolist()]
    percent = [100 * share for share in shares.tolist()]
    with style.context():
        figure, [axes] = style.panels(1, height=0.17 * len(names) + 0.35, extra=0.1)
        axes.barh(range(len(names)), percent, 0.7, color=POSITIVE)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="Share of all pathways that pass the cell (%)")
    rows: list[Row] = [{"cell": name, "share": share} for name, share in zip(names, percent, strict=True)]
    caption = (
        f"The share of all pathways of 2 to {pathways.synapses} synapses, by their strength, that pass a cell between "
        "source and target. One that passes several cells counts for each."
    )
    return Exhibit("relays", "Cells that pathways pass", caption, figure, rows)


def between(pathways: Pathways) -> Exhibit:
    """The map from the sources to the targets that matter most."""
    sources, targets = pathways.leading_sources(MAPPED), pathways.leading_targets(MAPPED)
    found = pathways.between(sources, targets).sum(0)
    with style.context():
        figure = Figure(figsize=(style.WIDTH, _height(found)), layout="constrained")
        axes = figure.subplots()
        plot.influence_map(found, axes)
        axes.set_xticks(range(len(sources)), _names(pathways, sources), rotation=90, fontsize=7)
        axes.set_yticks(range(len(targets)), _names(pathways, targets), fontsize=7)
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set(xlabel="From source", ylabel="To target")
    rows: list[Row] = [
        {"target": target, "source": source, "value": value}
        for target, values in zip(_names(pathways, targets), found.tolist(), strict=True)
        for source, value in zip(_names(pathways, sources), values, strict=True)
    ]
    caption = (
        f"Pathways of 1 to {pathways.synapses} synapses from the {len(sources)} sources that send most to the "
        f"{len(targets)} targets that most reaches, exciting less inhibiting. The area of a square is the size; filled "
        "(blue) excites, hollow (orange) inhibits."
    )
    return Exhibit("map", "From source to target", caption, figure, rows)


def influence(connectome: Connectome, found: Influence) -> Exhibit:
    """The scores of the targets that the sources excite and inhibit most."""
    cells = found.extremes(connectome.targets, SCORED)
    names = [connectome.wiring.names[cell] for cell in cells.tolist()]
    scores = found.signed[cells].tolist()
    with style.context():
        figure, [axes] = style.panels(1, height=0.17 * len(names) + 0.35, extra=0.1)
        for at, score in enumerate(scores):
            look: dict[str, Any] = {"color": POSITIVE} if score > 0 else INHIBITING
            axes.barh(at, score, 0.7, **look)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="Influence score, signed")
    rows: list[Row] = [{"cell": name, "signed": score} for name, score in zip(names, scores, strict=True)]
    caption = (
        "The steady state when all sources are driven, of the targets that it excites most (filled, blue) and inhibits "
        "most (hatched, orange)."
    )
    return Exhibit("influence", "Influence scores", caption, figure, rows)


def _parts(pathways: Pathways) -> tuple[list[float], list[float], list[float]]:
    """In per cent, by the number of synapses from 1: what excites, what inhibits, and the difference."""
    exciting, inhibiting = pathways.exciting_and_inhibiting()
    return tuple((100 * each[1:]).tolist() for each in (exciting, inhibiting, exciting - inhibiting))  # type: ignore[return-value]


def _names(pathways: Pathways, cells: Tensor) -> Sequence[str]:
    return [pathways.connectome.wiring.names[cell] for cell in cells.tolist()]


def _height(found: Tensor) -> float:
    return 0.2 * len(found) + 0.9

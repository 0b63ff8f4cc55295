"""A connectome read: how its sources reach its targets, as tables, figures and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

import rrnn_ext
from experiments.pages.figures import pathways as figures
from experiments.pages.figures.strongest import strongest
from experiments.pages.report import TEMPLATES
from experiments.wiring.connectome import Connectome, ConnectomeError
from experiments.wiring.influence import Influence, influence_of
from experiments.wiring.pathways import Pathways
from rrnn_ext.reading.exhibit import Exhibit
from rrnn_ext.reading.explorer import Explorer, Graph, Words
from rrnn_ext.reading.page import render
from rrnn_ext.reading.sheet import Sheet

SYNAPSES, WALKS = 6, 5
RELAYS = 15
EXPLORED = 128  # sources, and targets, that can be chosen on the page to turn pathways over
EXPLORER = "explorer.html"
CELLS = Words("source", "target", "cell", "synapses", "synapses: #", first=1, edges=1, revisit=False)
SCORES, SCORED_CELLS = "Influence scores", 10
SCORED = ("cell", "signed", "log signed", "unsigned", "log unsigned")


@dataclass(frozen=True, eq=False)
class Reading:
    """What is said of a connectome: ``count`` pathways of each number of synapses up to ``synapses``.

    Raises:
        ConnectomeError: there is none.
    """

    connectome: Connectome
    synapses: int = SYNAPSES
    count: int = WALKS

    def __post_init__(self) -> None:
        if not bool(self.pathways.totals[1:].any()):
            raise ConnectomeError(f"no pathway of at most {self.synapses} synapses leads from a source to a target")

    @cached_property
    def pathways(self) -> Pathways:
        return Pathways(self.connectome, self.synapses)

    @property
    def about(self) -> str:
        wiring = self.connectome.wiring
        return (
            f"{len(wiring.names):,} cells, {wiring.connections:,} connections, {wiring.inhibitory:,} of which inhibit; "
            f"from {len(self.connectome.sources):,} source cells to {len(self.connectome.targets):,} target cells. "
            f"{wiring.about}"
        )

    @cached_property
    def by_synapses(self) -> Sheet:
        exciting, inhibiting = self.pathways.exciting_and_inhibiting()
        rows = [
            [
                str(m),
                f"{100 * (up + down):.2f}",
                f"{100 * up:.2f}",
                f"{100 * down:.2f}",
                f"{100 * (up - down):.2f}",
            ]
            for m, (up, down) in enumerate(zip(exciting.tolist(), inhibiting.tolist(), strict=True))
            if m
        ]
        text = (
            "Of a target's input so many synapses back, the per cent that come from the sources, mean over the "
            "targets; along pathways that excite, and along those that inhibit, which have an odd number of inhibitory "
            "connections; and exciting less inhibiting."
        )
        return Sheet("How far the sources reach", text, ["synapses", "all", "excites", "inhibits", "net"], rows)

    @cached_property
    def strongest(self) -> Sheet:
        totals = self.pathways.totals.tolist()
        rows = [
            [
                str(m),
                self.pathways.named(walk),
                f"{100 * abs(walk.weight):.3g}",
                f"{100 * abs(walk.weight) / totals[m]:.2g}",
            ]
            for m, walks in enumerate(self.pathways.strongest(self.count))
            for walk in walks
            if m
        ]
        text = (
            f"The {self.count} strongest pathways of each number of synapses, out of all that pass no cell twice: "
            "A → B excites, A ⊣ B inhibits. Strength: the product of the shares that each connection has in the input "
            "of its cell, in per cent. Of all: in per cent of the strength of all pathways of so many synapses."
        )
        return Sheet("The strongest pathways", text, ["synapses", "pathway", "strength", "of all"], rows)

    @cached_property
    def relays(self) -> Sheet:
        shares, cells = self.pathways.relays.topk(min(RELAYS, len(self.pathways.relays)))
        names = self.connectome.wiring.names
        rows = [
            [names[cell], f"{100 * share:.1f}"] for share, cell in zip(shares.tolist(), cells.tolist(), strict=True)
        ]
        text = (
            f"The per cent of all pathways of 2 to {self.synapses} synapses, by their strength, that pass a cell "
            "between source and target."
        )
        return Sheet("Cells that pathways pass", text, ["cell", "passed by"], rows)

    @cached_property
    def influence(self) -> Influence | str:
        """The scores, or why there are none."""
        try:
            return influence_of(self.connectome)
        except ValueError as error:
            return str(error)

    @cached_property
    def scores(self) -> Sheet:
        """Of the targets that are excited and inhibited most; or why there are none."""
        if isinstance(self.influence, str):
            return Sheet(SCORES, f"There are no influence scores of these connections: {self.influence}.", SCORED, [])
        text = (
            "The steady state when all sources are driven by 1, r = (I − 0.99 W / ρ)⁻¹ s, of the targets that it "
            "excites and inhibits most: all pathways of any number of synapses. Signed: with inhibition; unsigned: of "
            "|W|, where the longest pathways, which tell cells hardly apart, weigh most. The logarithms are log |r| + "
            "24 with the sign of r, and 0 where that is below 0: the adjusted influence of the "
            "ConnectomeInfluenceCalculator (Drugowitsch lab)."
        )
        chosen = self.influence.extremes(self.connectome.targets, SCORED_CELLS)
        return Sheet(SCORES, text, SCORED, _scores(self.influence, self.connectome.wiring.names, chosen))

    @property
    def sheets(self) -> list[Sheet]:
        return [self.by_synapses, self.strongest, self.relays, self.scores]

    def exhibits(self) -> list[Exhibit]:
        """The figures, drawn anew."""
        own = self.pathways
        found = [figures.by_synapses(own), strongest(own), figures.relays(own), figures.between(own)]
        if isinstance(self.influence, Influence):
            found.append(figures.influence(self.connectome, self.influence))
        return found

    def explorer(self) -> Explorer:
        """The pathways of the sources and targets that matter most, to be turned over in a browser."""
        own = self.pathways
        sources, targets = (
            each.sort().values for each in (own.leading_sources(EXPLORED), own.leading_targets(EXPLORED))
        )
        graph = Graph("all connections", own.between(sources, targets), self.connectome.wiring.weights)
        about = f"{self.about} The weight of a connection is its share of the input of its cell."
        if len(sources) < len(self.connectome.sources) or len(targets) < len(self.connectome.targets):
            about += (
                f" Shown are the {len(sources):,} sources from which, and the {len(targets):,} targets to which, most "
                "gets."
            )
        names = self.connectome.wiring.names
        return Explorer("Pathways of a connectome", about, [graph], names, sources, targets, CELLS)


def _file(sheet: Sheet) -> str:
    return sheet.title.lower().replace(" ", "_")


def tell(reading: Reading, console: Console) -> None:
    """Print the tables."""
    console.print(reading.about)
    for sheet in reading.sheets:
        console.print()
        console.print(sheet.rich())
        console.print(sheet.text)


def _scores(influence: Influence, names: Sequence[str], cells: Tensor) -> list[list[str]]:
    columns = [
        each[cells].tolist()
        for score in (influence.signed, influence.unsigned)
        for each in (score, rrnn_ext.sparse.adjusted(score))
    ]
    numbers = zip(*columns, strict=True)
    return [[names[cell], *(f"{x:.4g}" for x in row)] for cell, row in zip(cells.tolist(), numbers, strict=True)]


def write(reading: Reading, folder: Path) -> Path:
    """The page, whole in one file, and beside it one to turn pathways over, and each table and figure with its data.
    Returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    exhibits = reading.exhibits()
    for sheet in reading.sheets:
        sheet.write_csv(folder / f"{_file(sheet)}.csv")
    if isinstance(reading.influence, Influence):
        names = reading.connectome.wiring.names
        all_scores = _scores(reading.influence, names, torch.arange(len(names)))
        Sheet(SCORES, "Of every cell.", SCORED, all_scores).write_csv(folder / f"{_file(reading.scores)}.csv")
    for exhibit in exhibits:
        exhibit.save(folder)
    text = render(
        "connectome.html.jinja",
        TEMPLATES,
        title="A connectome by its pathways",
        about=reading.about,
        reading=reading,
        explorer=EXPLORER,
        exhibits={exhibit.name: exhibit for exhibit in exhibits},
    )
    reading.explorer().write(folder / EXPLORER)
    page = folder / "report.html"
    page.write_text(text, encoding="utf-8")
    return page

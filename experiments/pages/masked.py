"""CONNECTOME.md: the connectome of C. elegans, read, and networks masked by it, trained under penalties."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from experiments.claims import masked as claims
from experiments.pages import report
from experiments.pages.connectome import Reading
from experiments.pages.figures import masked as figures
from experiments.pages.figures import pathways
from experiments.pages.figures.strongest import strongest
from experiments.training import masked, progress, step_cost
from experiments.training.kept import kept
from experiments.training.masked import NONE, Record
from experiments.training.step_cost import StepCost
from experiments.wiring.celegans import celegans
from rrnn_ext.reading.page import render

PAGE = Path(__file__).parents[1] / "CONNECTOME.md"
FIGURES = "connectome"  # beside the page

DATA = "JapaneseVowels"
BETAS = {
    "L1": (1e-6, 3e-6, 1e-5, 3e-5),
    "R-RNN": (1e-5, 3e-5, 1e-4, 3e-4),
    "R-RNN per hop": (1e-5, 3e-5, 1e-4, 3e-4),
}
SEEDS, PASSES = 8, 30
MADE_UP = (3000, 20)  # cells, and connections of each


def run(folder: Path, page: Path, console: Console, *, seeds: int = SEEDS) -> None:
    """Trains and times what ``folder`` lacks, and writes ``page`` with its figures in a folder beside it.

    Raises:
        MissingDataError: the package of the connectome or of the data is not installed.
    """
    connectome = celegans()
    settings = [(NONE, 0.0), *((name, beta) for name, betas in BETAS.items() for beta in betas)]
    jobs = [
        {"penalty": penalty, "beta": beta, "seed": seed, "passes": PASSES}
        for seed in range(seeds)
        for penalty, beta in settings
    ]
    timed = [{"graph": graph, "kind": kind} for graph in ("C. elegans", "made up") for kind in step_cost.KINDS]

    def train(**job: Any) -> Record:
        return masked.train(connectome, DATA, **job)

    def cost(graph: str, kind: str) -> StepCost:
        return step_cost.measure(connectome if graph == "C. elegans" else step_cost.made_up(*MADE_UP), kind)

    costs = [StepCost(**found) for found in kept(folder / "step_costs.jsonl", timed, cost)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the networks are small
    records = []
    try:
        with progress.counting(console, len(jobs)) as done:
            for found in kept(folder / f"{DATA}.jsonl", jobs, train):
                records.append(Record(**found))
                done(records[-1].penalty)
    finally:
        torch.set_num_threads(threads)
    write(page, Reading(connectome), records, costs)
    console.print(f"Written: {page}, and figures with their data in {page.parent / FIGURES}", soft_wrap=True)


def write(page: Path, reading: Reading, records: Sequence[Record], costs: Sequence[StepCost]) -> None:
    """The page of what was read and found, with its figures beside it."""
    own = reading.pathways
    drawn = [pathways.by_synapses(own), strongest(own), pathways.relays(own), figures.penalties(records)]
    for exhibit in drawn:
        exhibit.save(page.parent / FIGURES)
    text = render(
        "CONNECTOME.md.jinja",
        report.TEMPLATES,
        about=report.about(len(records)),
        reading=reading,
        exhibits={exhibit.name: exhibit for exhibit in drawn},
        folder=FIGURES,
        data=DATA,
        passes=PASSES,
        seeds=len({record.seed for record in records}),
        masked=masked,
        sources=len(reading.connectome.sources),
        targets=len(reading.connectome.targets),
        best=claims.best(records),
        table=claims.table(records),
        cost=claims.cost(costs),
    )
    page.write_text(text, encoding="utf-8")

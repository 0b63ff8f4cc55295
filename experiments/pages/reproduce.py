"""The claims of the paper, put to networks that are trained for it: RESULTS.md, its figures and their data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.claims import findings, limits, tables
from experiments.claims.judge import judge
from experiments.claims.summaries import Table
from experiments.pages import exhibits, report, running
from experiments.tasks.datasets import DATASETS
from experiments.training import progress, sweep
from experiments.training.regularisers import UNPENALISED
from experiments.training.results import Setting
from rrnn_ext.reading.exhibit import Exhibit
from rrnn_ext.reading.page import render

PAGE = Path(__file__).parents[1] / "RESULTS.md"
FIGURES = "reproduced"  # beside the page

BETAS = tuple(10 ** (exponent / 2) for exponent in range(-8, 1))  # 1e-4 to 1
DECADES = BETAS[::2]
RECTIFIED_BETAS = tuple(1e-4 * beta for beta in DECADES)
COMPARED = ("L1", "R-RNN", "R-RNN per hop")
OTHERS = ("L2", "seRNN")
SPARSE = ("averaging-sparse", "on-off-sparse", "lagged-sparse")

SEEDS = 5
READ_SEEDS = 20  # of networks without a penalty, which are read
UPDATES = 800

# Which figures go with which claim or finding, by its title.
PLACES = {
    "R_io reads off the function": ("correlations", "influence_maps"),
    "Hop m is read off P_m": ("maps_by_lag", "lag_responses"),
    "On-off: the signal's hops carry the walks": ("hop_profiles",),
    "Lower error than L1 at every strength": ("error_by_strength",),
    "Lower error than L1 at equal sparsity": ("error_by_sparsity",),
    "Sparse signals": ("error_by_strength_sparse",),
    "Where a penalty is met without sparse pathways": ("correlation_by_strength",),
    "Real data": ("error_by_strength_real",),
}


def settings(*, seeds: int, read_seeds: int, updates: int) -> list[Setting]:
    """All networks: nine strengths on the modular tasks for the penalties that are compared, five for others."""

    def grid(tasks: Sequence[str], names: Sequence[str], betas: Sequence[float], count: int = seeds) -> list[Setting]:
        return sweep.grid(tasks, names, betas, range(count), updates=updates)

    tasks, real = limits.MODULAR, tuple(DATASETS)
    return [
        *grid(tasks, [UNPENALISED], [], read_seeds),
        *grid(tasks, COMPARED, BETAS),
        *grid((*tasks, *real), OTHERS, DECADES),
        *grid((*tasks, *real), ["R-RNN rectified"], RECTIFIED_BETAS),
        *grid(SPARSE, [UNPENALISED, *COMPARED], DECADES),
        *grid(real, [UNPENALISED, *COMPARED], DECADES),
    ]


def run(
    folder: Path,
    page: Path,
    console: Console,
    *,
    seeds: int = SEEDS,
    read_seeds: int = READ_SEEDS,
    updates: int = UPDATES,
    hire: sweep.Hire = sweep.threads,
) -> None:
    """Has what ``folder`` lacks trained, and writes ``page`` with its figures in a folder beside it."""
    planned = settings(seeds=seeds, read_seeds=read_seeds, updates=updates)
    with progress.bar(console) as on_progress:
        records = sweep.run(folder, planned, progress=on_progress, hire=hire)
    table = Table(records)
    drawn = {exhibit.name: exhibit for exhibit in exhibits.of_folder(folder, table)}
    judged = judge(table)
    found = findings.gather(table)
    for exhibit in drawn.values():
        exhibit.save(page.parent / FIGURES)
    tables.write_networks(page.parent / FIGURES / "networks.csv", records)
    text = render(
        "RESULTS.md.jinja",
        report.TEMPLATES,
        about=report.about(len(records)),
        settings=report.settings(records),
        claims=judged,
        findings=found,
        figures=_placed(drawn),
        folder=FIGURES,
        running=running.section(),
    )
    page.write_text(text, encoding="utf-8")
    report.tell(judged, page, FIGURES, console)


def redraw(folder: Path) -> list[Path]:
    """Draws the figures in ``folder`` anew, from their data beside them: nothing is trained, no number changes."""
    pictures = []
    for exhibit in exhibits.of_csv(folder):
        pictures.append(folder / f"{exhibit.name}.png")
        pictures[-1].write_bytes(exhibit.png())
    return pictures


def _placed(drawn: dict[str, Exhibit]) -> dict[str, list[Exhibit]]:
    return {title: [drawn[name] for name in names if name in drawn] for title, names in PLACES.items()}

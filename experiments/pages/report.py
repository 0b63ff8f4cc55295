"""A sweep as one self-contained HTML page: settings, claims, figures with their data, tables."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from rich.console import Console

from experiments.claims import findings, tables
from experiments.claims.judge import judge
from experiments.claims.summaries import Table
from experiments.claims.verdicts import Claim
from experiments.pages import exhibits
from experiments.training import results
from experiments.training.regularisers import UNPENALISED
from experiments.training.results import OPTIONS, Record
from rrnn_ext.reading.page import render
from rrnn_ext.reading.sheet import Sheet

TEMPLATES = Path(__file__).parent / "templates"


def write(folder: Path, page: Path) -> None:
    """Writes ``page`` from what a sweep has left in ``folder``.

    Raises:
        ValueError: no network there, or networks of sweeps that cannot be compared.
    """
    records = results.load(folder)
    if not records:
        raise ValueError(f"{folder} holds no trained network (no results.jsonl): run a sweep into it first")
    table = Table(records)
    text = render(
        "report.html.jinja",
        TEMPLATES,
        title="Pathways and penalties: what the networks show",
        about=about(len(records)),
        settings=settings(records),
        claims=[claim for claim in judge(table) if claim.parts],
        exhibits=exhibits.of_folder(folder, table),
        sheets=[
            *(sheet for sheet in findings.gather(table) if sheet.rows),
            *(tables.of_task(table, task) for task in table.tasks),
        ],
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")


def about(networks: int) -> str:
    """How many networks, and what this run has to train and to read them with; nothing that differs between runs."""
    versions = f"PyTorch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}"
    return f"{networks} networks. This page was made with {versions}; what its folder held was not trained again."


def tell(judged: Sequence[Claim], page: Path, figures: str, console: Console) -> None:
    """The verdicts in a line each, and where the page with its ``figures`` is."""
    for claim in judged:
        console.print(f"{claim.verdict!s:>9}  {claim.title} ({claim.tally})", highlight=False)
    console.print(f"\nWritten: {page}, and figures with their data in {page.parent / figures}", soft_wrap=True)


def settings(records: Iterable[Record]) -> Sheet:
    """Which strengths and seeds every task and penalty was trained with."""
    grid: dict[tuple[str, str, tuple[float, ...]], set[tuple[float, int]]] = {}
    for record in records:
        options = tuple(getattr(record.setting, name) for name in OPTIONS)
        grid.setdefault((record.task, record.regulariser, options), set()).add((record.beta, record.seed))
    whole = True
    tasks_of: dict[tuple[str, ...], list[str]] = {}
    for (task, regulariser, options), trained in grid.items():
        betas, seeds = {beta for beta, _ in trained}, {seed for _, seed in trained}
        whole = whole and len(trained) == len(betas) * len(seeds)
        strengths = "" if regulariser == UNPENALISED else ", ".join(f"{beta:.2g}" for beta in sorted(betas))
        key = (regulariser, strengths, _span(seeds), *(f"{value:g}" for value in options))
        tasks_of.setdefault(key, []).append(task)
    header = ["penalty", "strengths β", "seeds", *(name.replace("_", " ") for name in OPTIONS), "tasks"]
    rows = [[*key, ", ".join(names)] for key, names in tasks_of.items()]
    text = "Every strength was trained with every seed."
    return Sheet("Settings", text if whole else "Not every strength was trained with every seed.", header, rows)


def _span(seeds: set[int]) -> str:
    first, last = min(seeds), max(seeds)
    whole = last - first + 1 == len(seeds) > 2
    return f"{first} to {last}" if whole else ", ".join(map(str, sorted(seeds)))

"""The demo: real digits and one modular task, without a penalty and under three, over a grid of strengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.claims import findings, tables
from experiments.claims.summaries import Table
from experiments.pages.figures import curves, profiles
from experiments.training import progress, sweep
from experiments.training.regularisers import UNPENALISED

TASKS = ("digits", "lagged")
REGULARISERS = ("L1", "R-RNN", "R-RNN per hop")
BETAS = tuple(10 ** (exponent / 2) for exponent in range(-8, 0))  # 1e-4 to 0.3


def run(out: Path, *, updates: int, seeds: Sequence[int], console: Console) -> None:
    """Train the grid of networks under a progress bar, print its tables, write them and two figures into ``out``."""
    settings = sweep.grid(TASKS, (UNPENALISED, *REGULARISERS), BETAS, seeds, updates=updates)
    with progress.bar(console) as on_progress:
        records = sweep.run(out, settings, progress=on_progress)
    table = Table(records)
    for task in TASKS:
        tables.of_task(table, task).write_csv(out / f"{task}.csv")
        sheet = tables.of_task(table, task, brief=True)
        console.print(sheet.rich())
        console.print(f"{sheet.text}\n")
    cancelled = findings.cancellation(table)
    console.print(cancelled.rich())
    console.print(f"{cancelled.text}\n")
    tables.write_networks(out / "networks.csv", records)
    for exhibit in (curves.error_by_strength(table, TASKS), profiles.hop_profiles(table, TASKS, REGULARISERS)):
        exhibit.save(out)
    console.print(
        f"In {out}: error_by_strength.png and hop_profiles.png, each with its data as CSV; {TASKS[0]}.csv and "
        f"{TASKS[1]}.csv (the tables), networks.csv (every network), results.jsonl and weights (for report and "
        "analyse).",
        soft_wrap=True,
    )

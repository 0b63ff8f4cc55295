"""The demo: digits read row by row, without a penalty, with L1 and with the resolvent penalty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import rrnn_ext
from experiments import digits, figures, training
from experiments.regularisers import REGULARISERS
from experiments.results import Record, Summary, strongest_sparing, summarise, write_csv

HIDDEN = 64
UNPENALISED = ("none", 0.0)
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
PROFILE_COST = 0.02  # hop profiles are compared at the strongest penalties that cost no more accuracy than this


def run(out: Path, *, epochs: int, seeds: Sequence[int], console: Console) -> None:
    """Train the grid of networks under a progress bar, print the table, write tables and figure into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    train, test = digits.load()
    records = _train_grid(train, test, epochs, seeds, console)
    summaries = summarise(records)
    unpenalised, *penalised = summaries
    profiles = [
        strongest_sparing((row for row in penalised if row.regulariser == name), cost=PROFILE_COST)
        for name in REGULARISERS
    ]

    write_csv(out / "networks.csv", records)
    write_csv(out / "table.csv", summaries)
    figures.demo(out / "digits.png", unpenalised, penalised, profiles, chance=1 / digits.CLASSES)
    console.print(_table(summaries))
    console.print(_legend(len(train.digits), len(test.digits), len(seeds)))
    console.print(
        f"\nThe strongest of each that cost at most {100 * PROFILE_COST:g} points of accuracy (figure, panel c). "
        "Where ‖R‖₁ is a small part of Σ‖P‖₁, lags cancel one another:"
    )
    for row in [unpenalised, *profiles]:
        console.print(f"  {_finding(row)}")
    console.print(
        f"\nIn {out}: digits.png (figure), table.csv (the table), networks.csv (every network).", soft_wrap=True
    )


def _train_grid(
    train: digits.Split, test: digits.Split, epochs: int, seeds: Sequence[int], console: Console
) -> list[Record]:
    settings = [UNPENALISED, *((name, strength) for name in REGULARISERS for strength in STRENGTHS)]
    records = []
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("networks,"),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
    )
    with progress:
        task = progress.add_task("training", total=len(settings) * len(seeds))
        for name, strength in settings:
            for seed in seeds:
                progress.update(task, description=f"{name:>9} {strength:<6g}")
                records.append(_train_network(name, strength, seed, train, test, epochs))
                progress.advance(task)
    return records


def _train_network(
    name: str, strength: float, seed: int, train: digits.Split, test: digits.Split, epochs: int
) -> Record:
    network = training.new_network(digits.INPUTS, HIDDEN, digits.CLASSES, seed=seed)
    penalty = REGULARISERS[name](network, digits.STEPS) if name in REGULARISERS else None
    training.train(network, train.images, train.digits, penalty=penalty, strength=strength, epochs=epochs, seed=seed)
    with torch.no_grad():
        walks = rrnn_ext.hop_decomposition(*network.weights(), hops=digits.STEPS)
    by_lag = walks.abs().sum((-2, -1))
    return Record(
        regulariser=name,
        strength=strength,
        seed=seed,
        accuracy=training.accuracy(network, test.images, test.digits),
        resolvent_l1=walks.sum(0).abs().sum().item(),
        walks_l1=by_lag.sum().item(),
        lag_share=tuple((by_lag / by_lag.sum()).tolist()),
    )


def _table(summaries: Sequence[Summary]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, title="Handwritten digits, read row by row")
    table.add_column("penalty", no_wrap=True)
    for heading in ("strength", "accuracy %", "‖R‖₁", "Σ‖P‖₁", "lag 0", *map(str, range(1, digits.STEPS))):
        table.add_column(heading, justify="right", no_wrap=True)
    for row, following in zip(summaries, [*summaries[1:], None], strict=True):
        table.add_row(
            row.regulariser,
            f"{row.strength:g}",
            _percent(row),
            _size(row.resolvent_l1),
            _size(row.walks_l1),
            *(f"{100 * share:.0f}" for share in row.lag_share),
            end_section=following is None or following.regulariser != row.regulariser,
        )
    return table


def _percent(row: Summary) -> str:
    spread = "" if math.isnan(row.accuracy_sd) else f" ± {100 * row.accuracy_sd:.1f}"
    return f"{100 * row.accuracy:.1f}{spread}"


def _size(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _legend(train_count: int, test_count: int, networks: int) -> str:
    return (
        f"Accuracy on {test_count} test images ({train_count} for training, always the same): mean ± standard "
        f"deviation over seeds ({networks}). P_m are the signed walks from inputs to outputs at lag m, R = Σ_m P_m. "
        "The columns by lag are ‖P_m‖₁ in % of Σ‖P‖₁; lag 0 is the last row of an image. L1 sums |w| over the matrices "
        "that the walks run through: recurrent, input and read-out. One unit of strength means different things to the "
        "two penalties: compare them at equal accuracy, or at equal Σ‖P‖₁, which neither of them minimises."
    )


def _finding(row: Summary) -> str:
    """What stands behind this setting's hop profile in the figure, in a line."""
    setting = "none" if row.regulariser == UNPENALISED[0] else f"{row.regulariser} {row.strength:g}"
    mean_lag = sum(lag * share for lag, share in enumerate(row.lag_share))
    return (
        f"{setting}: {_percent(row)} %, mean lag {mean_lag:.1f}, "
        f"‖R‖₁ is {100 * row.resolvent_l1 / row.walks_l1:.2g} % of Σ‖P‖₁"
    )

"""First weights of spiking networks, measured and trained from: SPIKING.md, its figures and their data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from experiments.claims import spiking as claims
from experiments.pages import report
from experiments.pages.figures import spiking as figures
from experiments.tasks.spike_trains import SPIKE_TRAINS
from experiments.training import progress, spiking
from experiments.training.initialisations import CALIBRATED, FLUCTUATION_DRIVEN, INITIALISATIONS, KAIMING
from experiments.training.kept import kept
from experiments.training.spiking import Reached, Trained
from rrnn_ext.reading.page import render

PAGE = Path(__file__).parents[1] / "SPIKING.md"
FIGURES = "spiking"  # beside the page

ASKED = (5.0, 20.0, 50.0)  # Hz
DEPTH = 10
HIDDEN = (3, 6)  # layers
PASSES = {"digits": 8, "JapaneseVowels": 12, "BasicMotions": 48}
TRAINED_FROM = (CALIBRATED, FLUCTUATION_DRIVEN, KAIMING)
SEEDS = 5
RATE_SEEDS = 3

PLACES = {
    "Every layer of ten fires at the rate asked for": ("rates_by_depth",),
    f"Training goes faster than from {KAIMING} weights": ("training_curves",),
}


def run(
    folder: Path,
    page: Path,
    console: Console,
    *,
    seeds: int = SEEDS,
) -> None:
    """Measures and trains what ``folder`` lacks, and writes ``page`` with its figures in a folder beside it."""
    measured = [
        {"initialisation": name, "depth": depth, "recurrent": recurrent, "asked": rate, "dt": dt, "seed": seed}
        for seed in range(min(seeds, RATE_SEEDS))
        for recurrent, depth in ((False, DEPTH), (True, 1))
        for dt in spiking.SAMPLES
        for rate in ASKED
        for name in INITIALISATIONS
    ]
    learnt = [
        {"data": data, "initialisation": name, "hidden": hidden, "passes": count, "seed": seed}
        for seed in range(seeds)
        for hidden in HIDDEN
        for data, count in PASSES.items()
        for name in TRAINED_FROM
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the layers are small
    try:
        with progress.counting(console, len(measured) + len(learnt)) as done:
            rates = kept(folder / "rates.jsonl", measured, spiking.measure)
            reached = [Reached(**found) for found in _told(measured, rates, done)]
            curves = kept(folder / "training.jsonl", learnt, _train)
            trained = [Trained(**found) for found in _told(learnt, curves, done)]
    finally:
        torch.set_num_threads(threads)
    write(page, reached, trained, console)


def write(page: Path, reached: Sequence[Reached], trained: Sequence[Trained], console: Console) -> None:
    """The page of what was found, with its figures beside it."""
    judged = claims.judge(reached, trained)
    drawn = {one.name: one for one in (figures.rates_by_depth(reached), figures.training_curves(trained))}
    for exhibit in drawn.values():
        exhibit.save(page.parent / FIGURES)
    text = render(
        "SPIKING.md.jinja",
        report.TEMPLATES,
        about=report.about(len(reached) + len(trained)),
        claims=judged,
        figures={title: [drawn[name] for name in names] for title, names in PLACES.items()},
        folder=FIGURES,
        spiking=spiking,
        depth=DEPTH,
        samples=", ".join(f"{count} at {1e3 * dt:g} ms" for dt, count in spiking.SAMPLES.items()),
        seeds=len({one.seed for one in reached}),
        trained_seeds=len({one.seed for one in trained}),
    )
    page.write_text(text, encoding="utf-8")
    report.tell(judged, page, FIGURES, console)


def _train(data: str, **options: Any) -> Trained:
    return spiking.train(SPIKE_TRAINS[data](), **options)


def _told(
    jobs: Sequence[dict[str, Any]], found: Iterable[dict[str, Any]], done: Callable[[str], None]
) -> Iterator[Any]:
    """What was found, each with a word to the progress bar."""
    for job, one in zip(jobs, found, strict=True):
        done(job["initialisation"])
        yield one

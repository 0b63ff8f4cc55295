"""The progress bar of a sweep: networks, time gone + time left by estimate, what is being trained."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.training import sweep


@contextmanager
def counting(console: Console, networks: int) -> Iterator[Callable[[str], None]]:
    """What is to be called after each of so many networks, with the name of its kind."""
    with _progress(console) as progress:
        task = progress.add_task("networks", total=networks, label="", done=0, networks=networks)
        count = itertools.count(1)

        def report(label: str) -> None:
            progress.update(task, advance=1, done=next(count), label=label)

        yield report


@contextmanager
def bar(console: Console) -> Iterator[Callable[[sweep.Progress], None]]:
    """What sweep.run calls to say how far it is; the bar moves with every update of a stack of networks."""
    with _progress(console) as progress:
        task = progress.add_task("training", total=None, label="", done=0, networks=0)

        def report(state: sweep.Progress) -> None:
            progress.update(
                task,
                total=state.work_total,
                completed=state.work_done,
                label=state.label,
                done=state.networks_done,
                networks=state.networks_total,
            )

        yield report


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.fields[done]}/{task.fields[networks]} networks"),
        BarColumn(bar_width=None),
        TimeElapsedColumn(),
        TextColumn("+"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[label]:<24.24}"),
    )
    return Progress(*columns, console=console, speed_estimate_period=120)

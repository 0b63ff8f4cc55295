"""The commands of ``python -m experiments``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from experiments import demo as digits_demo

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Experiments with resolvent-regularised recurrent networks."""


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the figure and the tables; made if missing.")
    ] = Path("runs/demo"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images, for each network.")] = 40,
    seeds: Annotated[int, typer.Option(min=1, help="Networks for each penalty and strength.")] = 3,
) -> None:
    """Handwritten digits, read row by row: no penalty, L1 and the resolvent penalty over a grid of strengths."""
    # The matrices are too small to share: one thread is as fast as several, and leaves the other cores alone.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        digits_demo.run(out, epochs=epochs, seeds=range(seeds), console=Console(highlight=False))
    finally:
        torch.set_num_threads(threads)

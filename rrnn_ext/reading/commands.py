"""The commands of ``python -m rrnn_ext``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rrnn_ext.reading.network import Network
from rrnn_ext.reading.report import Report
from rrnn_ext.reading.sequences import load_sequences

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Checkpoint = Annotated[Path, typer.Argument(help="A state_dict: torch.save or safetensors.")]
Steps = Annotated[
    int | None, typer.Option(min=1, help="L, the length of the sequences, if the checkpoint does not tell.")
]
WeightHh = Annotated[str | None, typer.Option(help="Name of the recurrent weight, if it is not found.")]
WeightIn = Annotated[str | None, typer.Option(help="Name of the input weight, if it is not found.")]
WeightOut = Annotated[str | None, typer.Option(help="Name of the read-out's weight, if it is not found.")]
UnitsAreOutputs = Annotated[
    bool, typer.Option("--units-are-outputs", help="There is no read-out: the units of the last layer are the outputs.")
]
Data = Annotated[
    Path | None,
    typer.Option(help="Sequences to run the network on, (count, steps, inputs): .npy, or a tensor by torch.save."),
]
Out = Annotated[Path | None, typer.Option(file_okay=False, help="Folder for a page, the tables and the pictures.")]

Html = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="File for a page to turn the pathways over in a browser, whole in one file."),
]


@app.callback()
def main() -> None:
    """Recurrent networks by their pathways."""


@app.command()
def read(
    checkpoint: Checkpoint,
    steps: Steps = None,
    weight_hh: WeightHh = None,
    weight_in: WeightIn = None,
    weight_out: WeightOut = None,
    units_are_outputs: UnitsAreOutputs = False,
    data: Data = None,
    out: Out = None,
    html: Html = None,
) -> None:
    """Read the pathways of a trained network: an RNN, GRU or LSTM with a linear read-out. With sequences, of the
    network as it runs on them."""
    try:
        network = Network.from_checkpoint(
            checkpoint,
            weight_hh=weight_hh,
            weight_in=weight_in,
            weight_out=weight_out,
            units_are_outputs=units_are_outputs,
        )
        report = Report(network, steps=steps, sequences=None if data is None else load_sequences(data))
    except ValueError as error:  # what a user can do something about, in one sentence
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    console = Console(highlight=False)
    tell(report, out, console)
    if html is not None:
        console.print(f"To open in a browser: {report.explorer().write(html)}", soft_wrap=True)


def tell(report: Report, out: Path | None, console: Console) -> None:
    """Print the tables; with a folder, write all that there is there."""
    report.show(console)
    if out is not None:
        console.print(f"In {out}: {', '.join(report.write(out))}", soft_wrap=True)

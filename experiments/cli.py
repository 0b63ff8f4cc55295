"""The commands of ``python -m experiments``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from experiments.claims import summaries, tables
from experiments.pages import connectome, masked, reproduce, running, spiking
from experiments.pages import demo as demonstration
from experiments.pages import report as html_report
from experiments.pages.beside_optimum import beside_optimum
from experiments.tasks import modular, problems
from experiments.tasks.packages import MissingDataError
from experiments.training import progress as progress_bar
from experiments.training import regularisers, sweep
from experiments.training.folders import BusyError
from experiments.training.running import runs as running_networks
from experiments.wiring.choice import chosen
from experiments.wiring.connectome import ConnectomeError
from rrnn_ext.reading import CheckpointError, Network, commands

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Names = list[str]
SWEEP_ERRORS = (ValueError, BusyError, sweep.LostError)


Scheduler = Annotated[
    str | None,
    typer.Option(help="Address of a Dask scheduler, whose workers train: tcp://host:8786. Needs the extra `cluster`."),
]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="So many processes of this machine to train in, in place of this one's threads. Needs the extra "
        "`cluster`.",
    ),
]


def _one_of(kind: str, known: Iterable[str], text: str) -> Any:
    """An option whose --help lists its values, and so does the error for any other."""
    names = list(known)

    def check(given: str | list[str] | None) -> str | list[str] | None:
        for name in [given] if isinstance(given, str) else given or []:
            if name not in names:
                raise typer.BadParameter(f"no {kind} {name!r}; known: {', '.join(names)}")
        return given

    return typer.Option(help=f"{text} One of: {', '.join(names)}.", metavar=kind.upper(), callback=check)


@app.callback()
def main() -> None:
    """Experiments with resolvent-regularised recurrent networks."""


@app.command(
    help=f"Handwritten digits and one modular task ({', '.join(demonstration.TASKS)}): no penalty, and "
    f"{', '.join(demonstration.REGULARISERS)} over a grid of strengths."
)
def demo(
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for figures, tables and networks; made if missing.")
    ] = Path("runs/demo"),
    updates: Annotated[int, typer.Option(min=1, help="Updates of the weights, for each network.")] = 600,
    seeds: Annotated[int, typer.Option(min=1, help="Networks for each penalty and strength.")] = 3,
) -> None:
    with _refusing(*SWEEP_ERRORS):
        demonstration.run(out, updates=updates, seeds=range(seeds), console=_console())


@app.command(name="sweep")
def run_sweep(
    task: Annotated[
        Names | None,
        _one_of("task", problems.PROBLEMS, "May be given several times; all modular tasks if left out."),
    ] = None,
    regulariser: Annotated[
        Names | None,
        _one_of("regulariser", regularisers.REGULARISERS, "Penalty; may be given several times; all if left out."),
    ] = None,
    beta: Annotated[
        list[float] | None,
        typer.Option(min=0, help="Strength; may be given several times. 1e-4, 1e-3, ... 1 if left out."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks for each task, penalty and strength.")] = 5,
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units.")] = 64,
    updates: Annotated[int, typer.Option(min=1, help="Updates of the weights, for each network.")] = 600,
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for results and weights; what it has is not trained again.")
    ] = Path("runs/sweep"),
    scheduler: Scheduler = None,
    workers: WorkerCount = None,
) -> None:
    """Train every task x penalty x strength x seed. A killed sweep goes on where it was."""
    chosen = task or [name for name in modular.TASKS if not name.endswith("-sparse")]
    names = regulariser or list(regularisers.REGULARISERS)
    console = _console()
    with _refusing(*SWEEP_ERRORS), _hiring(scheduler, workers) as hire:
        settings = sweep.grid(chosen, names, beta or reproduce.DECADES, range(seeds), hidden=hidden, updates=updates)
        with progress_bar.bar(console) as on_progress:
            records = sweep.run(out, settings, progress=on_progress, hire=hire)
    table = summaries.Table(records)
    for sheet in (tables.of_task(table, name, brief=True) for name in table.tasks):
        console.print(sheet.rich())
        console.print(f"{sheet.text}\n")
    console.print(f"{len(records)} networks in {out}; next: python -m experiments report --runs {out}", soft_wrap=True)


@app.command()
def analyse(
    checkpoint: commands.Checkpoint,
    task: Annotated[
        str,
        _one_of("task", modular.TASKS, "A modular task, whose optimum the network is compared with."),
    ],
    steps: commands.Steps = None,
    weight_hh: commands.WeightHh = None,
    weight_in: commands.WeightIn = None,
    weight_out: commands.WeightOut = None,
    out: commands.Out = None,
) -> None:
    """Read the pathways of a trained network, as python -m rrnn_ext read does, beside the optimum of a task."""
    with _refusing(CheckpointError):
        network = Network.from_checkpoint(checkpoint, weight_hh=weight_hh, weight_in=weight_in, weight_out=weight_out)
        found = beside_optimum(network, task, steps=steps)
    commands.tell(found, out, _console())


@app.command()
def report(
    runs: Annotated[Path, typer.Option(file_okay=False, help="Folder of a sweep.")] = Path("runs/sweep"),
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="The page; report.html in the folder of the sweep if left out.")
    ] = None,
) -> None:
    """One self-contained HTML page of a sweep: settings, claims, figures with their data, tables."""
    page = out or runs / "report.html"
    with _refusing(ValueError):
        html_report.write(runs, page)
    _console().print(f"Written: {page}", soft_wrap=True)


@app.command(name="reproduce")
def run_reproduce(
    runs: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the networks; what it has is not trained again.")
    ] = Path("runs/reproduce"),
    page: Annotated[Path, typer.Option(dir_okay=False, help="The page; its figures go beside it.")] = reproduce.PAGE,
    seeds: Annotated[int, typer.Option(min=2, help="Networks for each task, penalty and strength.")] = reproduce.SEEDS,
    read_seeds: Annotated[
        int, typer.Option(min=2, help="Networks without a penalty, for each task.")
    ] = reproduce.READ_SEEDS,
    updates: Annotated[int, typer.Option(min=1, help="Updates of the weights, for each network.")] = reproduce.UPDATES,
    scheduler: Scheduler = None,
    workers: WorkerCount = None,
) -> None:
    """The claims of the paper, each with the number here and a verdict: RESULTS.md and its figures."""
    with _refusing(*SWEEP_ERRORS), _hiring(scheduler, workers) as hire:
        reproduce.run(runs, page, _console(), seeds=seeds, read_seeds=read_seeds, updates=updates, hire=hire)


@app.command(name="spiking")
def run_spiking(
    runs: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for what was measured; what it has is not measured again.")
    ] = Path("runs/spiking"),
    page: Annotated[Path, typer.Option(dir_okay=False, help="The page; its figures go beside it.")] = spiking.PAGE,
    seeds: Annotated[int, typer.Option(min=2, help="Networks of each kind.")] = spiking.SEEDS,
) -> None:
    """First weights of spiking networks: the rates that they give, and training from them. SPIKING.md."""
    with _refusing(MissingDataError, BusyError):
        spiking.run(runs, page, _console(), seeds=seeds)


@app.command(name="running")
def run_running(
    runs: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the networks; what it has is not trained again.")
    ] = Path("runs/running"),
    page: Annotated[Path, typer.Option(dir_okay=False, help="The page; its figures go beside it.")] = running.PAGE,
    seeds: Annotated[
        int, typer.Option(min=1, help="Networks for each kind, task, penalty and strength.")
    ] = running.SEEDS,
    updates: Annotated[int, typer.Option(min=1, help="Updates of the weights, for each network.")] = running.UPDATES,
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units.")] = running.HIDDEN,
) -> None:
    """RNNs, GRUs and LSTMs under a penalty of their weights and of themselves as they ran. RUNNING.md, and what
    RESULTS.md says of it."""
    settings = running_networks.plan(seeds, hidden=hidden, updates=updates)
    console = _console()
    with _refusing(BusyError):
        records = list(track(running_networks.run(runs, settings), "networks", total=len(settings), console=console))
    claims = running.write(records, page, asked=len(settings))
    if page == running.PAGE:
        running.renew(reproduce.PAGE, page.parent / running.FIGURES)
    html_report.tell(claims, page, running.FIGURES, console)


@app.command(name="connectome")
def run_connectome(
    edges: Annotated[
        Path | None,
        typer.Option(
            help="Connections: a .csv table with the columns pre, post, weight and perhaps sign (1 or -1), or a .npz "
            "matrix [pre, post] by scipy.sparse.save_npz. C. elegans if left out."
        ),
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option(help="Cells where signals come in, parted by commas, or a .txt file with one in each line."),
    ] = None,
    targets: Annotated[str | None, typer.Option(help="Cells where they go out, given in the same way.")] = None,
    synapses: Annotated[int, typer.Option(min=1, help="The most synapses of a pathway.")] = connectome.SYNAPSES,
    walks: Annotated[
        int, typer.Option(min=1, help="How many of the strongest pathways to name, of each number of synapses.")
    ] = connectome.WALKS,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the page, tables and figures.")] = Path(
        "runs/connectome"
    ),
) -> None:
    """How signals run through a connectome: over how many synapses, along which pathways, through which cells."""
    with _refusing(MissingDataError, ConnectomeError):
        reading = connectome.Reading(chosen(edges, sources, targets), synapses, walks)
        connectome.tell(reading, _console())
        page = connectome.write(reading, out)
    _console().print(f"\nWritten: {page}, with its tables and figures beside it", soft_wrap=True)


@app.command(name="masked")
def run_masked(
    runs: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the records; what it has is not trained again.")
    ] = Path("runs/masked"),
    page: Annotated[Path, typer.Option(dir_okay=False, help="The page; its figures go beside it.")] = masked.PAGE,
    seeds: Annotated[int, typer.Option(min=2, help="Networks for each penalty and strength.")] = masked.SEEDS,
) -> None:
    """Networks with the connections of C. elegans alone, trained under penalties of their pathways. CONNECTOME.md."""
    with _refusing(MissingDataError, BusyError):
        masked.run(runs, page, _console(), seeds=seeds)


@app.command()
def redraw(
    folder: Annotated[
        Path, typer.Option(file_okay=False, exists=True, help="Folder of the figures' data, as `reproduce` wrote it.")
    ] = reproduce.PAGE.parent / reproduce.FIGURES,
) -> None:
    """The figures of RESULTS.md again from their data, without training: after a change of how they look."""
    with _refusing(FileNotFoundError):
        pictures = reproduce.redraw(folder)
    _console().print(f"Drawn: {len(pictures)} figures in {folder}", soft_wrap=True)


def _console() -> Console:
    return Console(highlight=False)


@contextmanager
def _hiring(scheduler: str | None, workers: int | None) -> Iterator[sweep.Hire]:
    """Who trains a sweep: the threads of this process, or Dask's workers."""
    if scheduler is not None and workers is not None:
        raise typer.BadParameter("--scheduler and --workers exclude each other")
    if scheduler is None and workers is None:
        yield sweep.threads
        return
    from experiments.training import cluster  # needs a package that other commands do without

    with _refusing(cluster.ClusterError):
        if scheduler is not None:
            yield partial(cluster.scheduled, scheduler)
        if workers is not None:
            yield partial(cluster.processes, workers)


@contextmanager
def _refusing(*expected: type[Exception]) -> Iterator[None]:
    """Errors that a user can do something about, in one sentence and without a traceback."""
    try:
        yield
    except expected as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error

"""What ``analyse`` says of one network: its graphs, its hop profile and, if its task is known, how it compares."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

import rrnn_ext
from experiments.pages.figures import maps, profiles
from experiments.tasks import modular
from rrnn_ext import reading
from rrnn_ext.reading import CheckpointError, Network
from rrnn_ext.reading.sheet import Sheet


def show(network: Network, *, steps: int | None, task: str | None, out: Path | None, console: Console) -> None:
    """Print the tables of ``network``; with ``out``, write them and the figures there.

    Raises:
        CheckpointError: the length of the sequences is not known, or ``task`` has other inputs and outputs.
    """
    steps = steps or network.steps
    if steps is None:
        raise CheckpointError("the checkpoint does not tell how long the sequences were (L): give it by --steps")
    optimum = None if task is None else _optimal_walks(task, network, steps)
    with torch.no_grad():
        walks = rrnn_ext.hop_decomposition(network.weight_hh, network.weight_in, network.weight_out, hops=steps)
    names = [name or "walks" for name in network.graphs]
    _, outputs, inputs = walks.sum(1).shape
    console.print(
        f"L = {steps}, {network.weight_hh.shape[-1]} hidden units, {inputs} inputs, {outputs} outputs; read from "
        + ", ".join(f"{role} = {name}" for role, name in network.names.items()),
        soft_wrap=True,
    )
    sheets = [_measures(network, walks, names), _lags(walks, names)]
    if optimum is not None:
        sheets.append(_comparison(network, walks, optimum.to(walks), names, str(task)))
    for sheet in sheets:
        console.print(sheet.rich())
        console.print(f"{sheet.text}\n")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for sheet in sheets:
            sheet.write_csv(out / f"{sheet.title.replace(' ', '_')}.csv")
        influence = {name: {"$R_{io}$": total} for name, total in zip(names, walks.sum(1), strict=True)}
        if optimum is not None:
            influence = {name: {"optimum": optimum.sum(0), **row} for name, row in influence.items()}
        maps.influence_maps(influence, "All walks from inputs to outputs, summed over the lags.").save(out)
        shares = {name: {"walks $P_m$": share} for name, share in zip(names, reading.hop_profile(walks), strict=True)}
        if optimum is not None:
            shares = {name: {"optimum": reading.hop_profile(optimum), **row} for name, row in shares.items()}
        profiles.lag_responses(shares, "The share of each lag in the strength of all lags.").save(out)
        console.print(f"In {out}: the tables as CSV; influence_maps and lag_responses as PNG and CSV.", soft_wrap=True)


def _optimal_walks(name: str, network: Network, steps: int) -> Tensor:
    task = modular.TASKS[name]()
    expected = (task.steps, task.outputs, task.inputs)
    got = (steps, network.weight_out.shape[-2], network.weight_in.shape[-1])
    if got != expected:
        raise CheckpointError(
            f"the task {name} has {expected[0]} steps, {expected[1]} outputs and {expected[2]} inputs; the network has "
            f"{got[0]}, {got[1]} and {got[2]}"
        )
    return task.optimal_walks


def _measures(network: Network, walks: Tensor, names: list[str]) -> Sheet:
    profile = reading.hop_profile(walks)
    lags = torch.arange(walks.shape[1]).to(profile)
    total, strengths = walks.sum(1).abs().sum((-2, -1)), walks.abs().sum((-3, -2, -1))
    columns = {
        "spectral radius": rrnn_ext.resolvent_info(network.weight_hh).spectral_radius,
        "mean lag": (profile * lags).sum(-1),
        "Hoyer": reading.hoyer(profile),
        "Gini": reading.gini(profile),
        "‖R‖₁": total,
        "Σ‖P‖₁": strengths,
        "not cancelled": total / strengths,
    }
    rows = [[name, *(f"{values[k].item():.3g}" for values in columns.values())] for k, name in enumerate(names)]
    text = (
        "Spectral radius of the recurrent weight. Mean lag, and Hoyer's and Gini's sparsity of the hop profile (0 "
        "even, 1 a single "
        "lag). ‖R‖₁ = ‖Σ_m P_m‖₁ and Σ‖P‖₁ = Σ_m ‖P_m‖₁; their ratio is 1 if lags do not cancel one another."
    )
    return Sheet("network", text, ["", *columns], rows)


def _lags(walks: Tensor, names: list[str]) -> Sheet:
    rows = [
        [name, *(f"{100 * share:.1f}" for share in shares.tolist())]
        for name, shares in zip(names, reading.hop_profile(walks), strict=True)
    ]
    text = "‖P_m‖₁ by lag m, in % of Σ_m ‖P_m‖₁; lag 0 is the last step."
    return Sheet("hop profile", text, ["", *map(str, range(walks.shape[1]))], rows)


def _comparison(network: Network, walks: Tensor, optimum: Tensor, names: list[str], task: str) -> Sheet:
    total = optimum.sum(0)
    influence = walks.sum(1)
    unit = reading.influence_map(
        reading.unit_radius(network.weight_hh), network.weight_in, network.weight_out, walks.shape[1]
    )
    columns = {
        "R_io": reading.correlation(influence, total),
        "R_io, W / radius": reading.correlation(unit, total),
        "all P_m": reading.correlation(walks, optimum, dims=3),
        "V U": reading.correlation(walks[:, 0], total),
        "off support": reading.communication_sparsity(influence, total),
        "aligned": reading.alignment(influence, total),
        "signal lags": reading.signal_share(reading.hop_profile(walks), optimum),
    }
    rows = [[name, *(f"{values[k].item():.3f}" for values in columns.values())] for k, name in enumerate(names)]
    text = (
        f"Against the optimum of {task}. Correlations of R_io, of R_io with the recurrent weight divided by its "
        "spectral radius, "
        "of the P_m of all lags, and of V U. Off support: share of R_io where the optimum has no pathway. Aligned: "
        "probability that "
        "a needed pathway is stronger than one that is not. Signal lags: share of the profile at the lags that the "
        "optimum uses."
    )
    return Sheet(f"{task} optimum", text, ["", *columns], rows)

"""Which figures the networks of a folder can fill, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import rrnn_ext
from experiments.claims import limits, tables
from experiments.claims.intervals import Interval
from experiments.claims.summaries import Point, Table, strongest_sparing
from experiments.pages.figures import correlations, curves, maps, profiles
from experiments.tasks.datasets import DATASETS
from experiments.tasks.modular import TASKS, Task
from experiments.training import results, stacked
from experiments.training.measures import RESPONSES_ON
from experiments.training.stacked import Networks
from rrnn_ext import reading
from rrnn_ext.reading.exhibit import Exhibit

MAPPED = ("R-RNN", "R-RNN per hop", "L1")
PROFILED = ("L1", "R-RNN", "R-RNN per hop")
MEASURES = {
    "R_io": "correlation",
    "R_io, W / spectral radius": "correlation_normalised",
    "all P_m, lag by lag": "correlation_per_hop",
    "V U": "correlation_in_out",
    "V U for every lag": "correlation_in_out_per_hop",
    "V W U": "correlation_two_edges",
    "W by module": "correlation_membership",
    "W by module, signs known": "correlation_membership_signed",
}


def of_folder(folder: Path, table: Table) -> list[Exhibit]:
    """``folder`` is where a sweep has left the networks of ``table``."""
    return [*of_table(table), *_of_weights(folder, table)]


def of_table(table: Table) -> list[Exhibit]:
    """Those that need no weights."""
    modular, real = _modular(table), [name for name in table.tasks if name in DATASETS]
    sparse = [name for name in table.tasks if name in TASKS and name not in modular]
    drawn: list[Exhibit] = []
    for names, ending in ((modular, ""), (sparse, "_sparse"), (real, "_real")):
        if names := [name for name in names if table.regularisers(name)]:
            drawn.append(curves.error_by_strength(table, names, name=f"error_by_strength{ending}"))
            if not ending:
                drawn += [curves.error_by_sparsity(table, names), _correlation_by_strength(table, names)]
    if read := _read(table):
        drawn.append(_correlations(table, read))
    timed = [*_in_time(modular), *real]
    names = [name for name in PROFILED if all(table.curve(task, name) for task in timed)]
    if timed and names:
        drawn.append(profiles.hop_profiles(table, timed, names))
    return drawn


def of_csv(folder: Path) -> list[Exhibit]:
    """All of them again, without captions, from what was saved: their data, and every network as a line."""
    responses: dict[str, dict[str, list[float]]] = {}
    for row in tables.read(folder / "lag_responses.csv"):
        responses.setdefault(row["task"], {}).setdefault(row["line"], []).append(float(row["share"]))
    return [
        *of_table(Table(tables.read_networks(folder / "networks.csv"))),
        maps.influence_maps(maps.of_rows(tables.read(folder / "influence_maps.csv")), ""),
        maps.maps_by_lag(maps.of_rows(tables.read(folder / "maps_by_lag.csv")), ""),
        profiles.lag_responses(
            {task: {what: torch.tensor(shares) for what, shares in lines.items()} for task, lines in responses.items()},
            "",
        ),
    ]


def _of_weights(folder: Path, table: Table) -> list[Exhibit]:
    if not (read := _read(table)):
        return []
    timed = _in_time(read)
    by_lag = [_maps_by_lag(folder, table, timed)] if timed else []
    return [_influence_maps(folder, table, read), *by_lag, _lag_responses(folder, table, read)]


def _modular(table: Table) -> list[str]:
    return [name for name in table.tasks if name in TASKS and not name.endswith("-sparse")]


def _read(table: Table) -> list[str]:
    """The tasks whose networks without a penalty are read."""
    return [name for name in _modular(table) if table.unpenalised(name)]


def _correlation_by_strength(table: Table, names: Sequence[str]) -> Exhibit:
    return curves.measure_by_strength(
        table,
        names,
        "correlation",
        title="What R_io shows of the function, against the strength of the penalty",
        label=r"Correlation of $R_{io}$",
        caption="Correlation with the optimum. Where the line falls while the error (error_by_strength) does not "
        "rise, the network still solves the task but its summed walks no longer show how.",
    )


def _correlations(table: Table, names: Sequence[str]) -> Exhibit:
    found: dict[str, dict[str, Interval]] = {}
    for point in table.unpenalised_of(names):
        found[point.task] = {label: point.measure(measure) for label, measure in MEASURES.items()}
    return correlations.correlations(
        found,
        high=limits.READ_OFF,
        low=limits.NOT_READ_OFF,
        caption="Networks without a penalty. Maps from inputs to outputs, read from their weights in eight ways, "
        "against the optimal map (those of lags: against the optimal maps of all lags); dashed: what R_io was to "
        "reach, and W by module was not to. Bars: 95 % confidence intervals of the mean over seeds.",
    )


def _influence_maps(folder: Path, table: Table, names: Sequence[str]) -> Exhibit:
    drawn: dict[str, dict[str, Tensor]] = {}
    strengths: dict[str, list[float]] = {}
    for base in table.unpenalised_of(names):
        task = TASKS[base.task]()
        found, networks = _first(folder, base)
        row = {"optimum": task.optimum, "R_io no penalty": _influence(networks, task)}
        for name in MAPPED:
            if point := strongest_sparing(table.curve(base.task, name), base, factor=limits.SPARING):
                row[f"R_io {name}"] = _influence(_first(folder, point)[1], task)
                strengths.setdefault(name, []).append(point.beta)
        single = reading.single_hop_maps(
            networks.weight_hh, networks.weight_in, networks.weight_out, task.module_of_input
        )
        drawn[base.task] = {
            **row,
            "V U no penalty": single["V U"][0],
            "W by module no penalty": single["W by module"][0],
        }
    chosen = "; ".join(f"{name}: β from {min(betas):.2g} to {max(betas):.2g}" for name, betas in strengths.items())
    return maps.influence_maps(
        drawn,
        f"One network each, seed {found}. With a penalty: at the largest strength up to which the error is at most "
        f"{limits.SPARING:g} times that without ({chosen or 'none'}); no map where no strength costs so little.",
    )


def _maps_by_lag(folder: Path, table: Table, names: Sequence[str]) -> Exhibit:
    drawn: dict[str, dict[str, Tensor]] = {}
    for base in table.unpenalised_of(names):
        task = TASKS[base.task]()
        row = {"optimum": task.optimal_walks, "no penalty": _walks(_first(folder, base)[1], task)}
        for name in ("R-RNN per hop",):
            if point := strongest_sparing(table.curve(base.task, name), base, factor=limits.SPARING):
                row[f"per hop, β = {point.beta:.2g}"] = _walks(_first(folder, point)[1], task)
        drawn[base.task] = {what: _by_module(walks, task) for what, walks in row.items()}
    return maps.maps_by_lag(
        drawn,
        f"P_m of one network each (seed {base.records[0].seed}), averaged over the inputs of a module: the optimum, a "
        "network without a penalty, and R-RNN per hop at the largest strength up to which the error is at most "
        f"{limits.SPARING:g} times that.",
    )


def _lag_responses(folder: Path, table: Table, names: Sequence[str]) -> Exhibit:
    lines: dict[str, dict[str, Tensor]] = {}
    for base in table.unpenalised_of(names):
        task = TASKS[base.task]()
        networks = results.networks(folder, [record.setting for record in base.records])
        sequences = task.test_set()[0][:RESPONSES_ON]

        def network(sequences: Tensor, networks: Networks = networks) -> Tensor:
            return stacked.outputs(networks, sequences)

        found = {
            "walks P_m": _walks_of_all(networks, task),
            "Jacobians": reading.lag_response_by_jacobian(network, sequences),
            "impulses": reading.lag_response_by_impulses(network, sequences),
        }
        lines[base.task] = {"optimum": reading.hop_profile(task.optimal_walks)}
        lines[base.task] |= {what: reading.hop_profile(walks).mean(0) for what, walks in found.items()}
    return profiles.lag_responses(
        lines,
        "The share of each lag in the strength of all lags, mean over seeds, networks without a penalty: by the "
        f"walks P_m, and by what the trained tanh network does, mean over {RESPONSES_ON} test sequences (Jacobians; "
        f"impulses of ±{reading.IMPULSE:g}).",
    )


def _first(folder: Path, point: Point) -> tuple[int, Networks]:
    """The network of the lowest seed, with it."""
    record = point.records[0]
    return record.seed, results.networks(folder, [record.setting])


def _influence(networks: Networks, task: Task) -> Tensor:
    return reading.influence_map(networks.weight_hh, networks.weight_in, networks.weight_out, task.steps)[0]


def _walks(networks: Networks, task: Task) -> Tensor:
    return _walks_of_all(networks, task)[0]


def _walks_of_all(networks: Networks, task: Task) -> Tensor:
    with torch.no_grad():
        return rrnn_ext.hop_decomposition(networks.weight_hh, networks.weight_in, networks.weight_out, hops=task.steps)


def _by_module(walks: Tensor, task: Task) -> Tensor:
    members = torch.nn.functional.one_hot(task.module_of_input).to(walks)
    return walks @ (members / members.sum(0))


def _in_time(names: Sequence[str]) -> list[str]:
    return [name for name in names if name in limits.IN_TIME]

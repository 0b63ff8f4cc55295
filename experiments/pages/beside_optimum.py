"""A network of one's own beside the optimum of a task."""

from __future__ import annotations

from experiments.tasks.modular import TASKS
from rrnn_ext import reading
from rrnn_ext.reading import CheckpointError, Network
from rrnn_ext.reading.report import Report
from rrnn_ext.reading.sheet import Sheet


def beside_optimum(network: Network, name: str, *, steps: int | None) -> Report:
    """What there is to say of ``network``, and how it compares with the optimum of the task ``name``.

    Raises:
        CheckpointError: the length of the sequences is not known, or the task has other inputs and outputs.
    """
    task = TASKS[name]()
    report = Report(network, steps=steps, beside={"optimum": task.optimal_walks})
    expected = (task.steps, task.outputs, task.inputs)
    got = tuple(report.walks.shape[1:])
    if got != expected:
        raise CheckpointError(
            f"the task {name} has {expected[0]} steps, {expected[1]} outputs and {expected[2]} inputs; the network has "
            f"{got[0]}, {got[1]} and {got[2]}"
        )
    report.sheets.append(_comparison(report, name))
    return report


def _comparison(report: Report, task: str) -> Sheet:
    network, walks = report.network, report.walks
    optimum = report.beside["optimum"].to(walks)
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
    rows = [[name, *(f"{values[k].item():.3f}" for values in columns.values())] for k, name in enumerate(report.graphs)]
    text = (
        f"Against the optimum of {task}. Correlations of R_io, of R_io with the recurrent weight divided by its "
        "spectral radius, of the P_m of all lags, and of V U. Off support: share of R_io where the optimum has no "
        "pathway. Aligned: probability that a needed pathway is stronger than one that is not. Signal lags: share of "
        "the profile at the lags that the optimum uses."
    )
    return Sheet(f"{task} optimum", text, ["", *columns], rows)

"""What the networks show besides the claims: tables without a verdict, and sentences that follow from their numbers."""

from __future__ import annotations

import math

from experiments.claims import limits
from experiments.claims.summaries import Point, Table, error_ratio, has_classes, of_least_error
from experiments.claims.verdicts import listed
from experiments.tasks.datasets import DATASETS
from experiments.tasks.modular import TASKS
from experiments.training.regularisers import UNPENALISED
from rrnn_ext import reading
from rrnn_ext.reading.sheet import Sheet

COMPARED = (limits.PAPERS, "R-RNN per hop", limits.RIVAL)


def gather(table: Table) -> list[Sheet]:
    """Every finding; one that the networks of ``table`` do not bear on has no row."""
    return [how_well_learnt(table), sparsity(table), cancellation(table), real_data(table)]


def how_well_learnt(table: Table) -> Sheet:
    """What networks without a penalty leave to be learnt of each task."""
    rows, far = [], []
    for base in table.unpenalised_of(name for name in table.tasks if name in TASKS):
        bayes = TASKS[base.task]().bayes_mse
        ratio = base.error().mean / bayes
        rows.append([base.task, f"{base.error()}", f"{bayes:.3g}", f"{ratio:.2f}", str(len(base.records))])
        if not ratio <= limits.DOUBLING:
            far.append(base.task)
    return Sheet(
        "How well the tasks are learnt",
        "Networks without a penalty: test MSE, geometric mean over seeds; the Bayes error, the least that any function "
        "of the sequences has; and the one divided by the other. An MSE of 1 is that of a network that knows nothing.",
        ["task", "MSE", "Bayes error", "ratio", "networks"],
        rows,
        [f"More than {limits.DOUBLING:g} times the Bayes error, far from solved: {listed(far)}."] if far else [],
    )


def sparsity(table: Table) -> Sheet:
    """How sparse networks are in time, and whether their strong pathways are those that the function needs."""
    rows = []
    for base in table.unpenalised_of(limits.MODULAR):
        profile = reading.hop_profile(TASKS[base.task]().optimal_walks)
        hoyer, gini = (f"{measure(profile).clamp(min=0).item():.2f}" for measure in (reading.hoyer, reading.gini))
        rows.append([base.task, "the optimum itself", "", "", hoyer, gini, "1.00", "1.00"])
        curves = [table.curve(base.task, name) for name in COMPARED if name in table.regularisers(base.task)]
        for point in (base, *map(of_least_error, curves)):
            measured = [
                f"{point.measure(name).mean:.2f}" for name in ("hoyer", "gini", "alignment", "alignment_per_hop")
            ]
            beta = f"{point.beta:.2g}" if point.beta else ""
            rows.append([base.task, point.regulariser, beta, f"{point.error()}", *measured])
    return Sheet(
        "Sparsity in time, and alignment",
        "Without a penalty, and under one at the β of least error, means over seeds: Hoyer's and Gini's sparsity of "
        "the hop profile (0: all lags alike); alignment, the probability that a pathway that the optimum needs is "
        "stronger than one that it does not need (1/2: by chance), of R_io and of all P_m.",
        ["task", "penalty", "β", "MSE", "Hoyer", "Gini", "aligned, R_io", "aligned, all P_m"],
        rows,
    )


def cancellation(table: Table) -> Sheet:
    """Do the walks of a penalised network still show what it does, once the penalty is strong?"""
    rows, lost = [], {name: list[str]() for name in (*limits.VARIANTS, limits.RIVAL)}
    for task in limits.MODULAR:
        if (base := table.unpenalised(task)) is None:
            continue
        for name, without_reading in lost.items():
            solved = [p for p in table.curve(task, name) if error_ratio(p, base).mean <= limits.DOUBLING]
            if not solved:
                continue
            point = solved[-1]
            found = point.measure("correlation")
            if found.high < limits.READ_OFF:
                without_reading.append(task)
            rows.append(
                [
                    task,
                    name,
                    f"{point.beta:.2g}",
                    f"{error_ratio(point, base).mean:.2f}",
                    f"{found:.2f}",
                    f"{point.measure('correlation_per_hop'):.2f}",
                    f"{_kept(point):.2g}",
                    f"{point.measure('walks_l1').mean / base.measure('walks_l1').mean:.2g}",
                    f"{point.measure('correlation_jacobian'):.2f}",
                ]
            )
    remarks = [
        f"{name}: the correlation of R_io is below {limits.READ_OFF:g}, with its whole interval, on "
        + (f"{listed(tasks)}." if tasks else "none of these tasks.")
        for name, tasks in lost.items()
        if any(row[1] == name for row in rows)
    ]
    return Sheet(
        "Where a penalty is met without sparse pathways",
        f"At the largest β at which the MSE is at most {limits.DOUBLING:g} times that without a penalty (at weaker "
        "ones it may be larger: it need not rise with β): the MSE in units of that without a penalty; the correlation "
        "of R_io, and of all P_m, with the optimum; ‖R_io‖₁ / Σ_m ‖P_m‖₁, which is 1 if lags do not cancel one "
        "another; Σ_m ‖P_m‖₁ in units of that without a penalty; and the correlation of the P_m with the mean "
        "Jacobians of the network. Two ways lead past a penalty: lags that cancel one another (not cancelled near 0), "
        "and units so saturated that the weights along a walk no longer tell what passes (little correlation with the "
        "Jacobians).",
        ["task", "penalty", "β", "MSE ratio", "R_io", "all P_m", "not cancelled", "Σ‖P‖₁", "P_m and Jacobians"],
        rows,
        remarks,
    )


def real_data(table: Table) -> Sheet:
    """The best that each penalty does on data with no known optimum."""
    rows, remarks = [], []
    for task in DATASETS:
        base = table.unpenalised(task)
        if base is None:
            continue
        score = "share of wrong answers" if has_classes(task) else "MSE"
        rows.append([task, UNPENALISED, "", f"{base.error():.3g}", "", score])
        best: dict[str, Point] = {}
        for name in table.regularisers(task):
            curve = table.curve(task, name)
            best[name] = of_least_error(curve)
            at = f"{best[name].beta:.2g}" + (" (end of grid)" if best[name] in (curve[0], curve[-1]) else "")
            rows.append([task, name, at, f"{best[name].error():.3g}", f"{error_ratio(best[name], base):.3g}", score])
        if {limits.PAPERS, limits.RIVAL} <= best.keys():
            ratio = error_ratio(best[limits.PAPERS], best[limits.RIVAL])
            better = "below" if ratio.high < 1 else "above" if ratio.low > 1 else "not told apart from"
            remarks.append(f"{task}: R-RNN's best is {better} L1's best, ratio {ratio:.3g}, on this split.")
    return Sheet(
        "Real data",
        "The error of each penalty at the β with the least mean error on the test data, and in units of that without a "
        "penalty. β is chosen on the test data: the errors, and the ratios to no penalty, where there is nothing to "
        "choose, are too good. Seeds differ by their first weights and the order of the batches alone: the intervals "
        "do not cover another choice of training and test data. Marked: the best β is an end of the grid, and the best "
        "of all may lie beyond it.",
        ["data", "penalty", "β", "test error", "ratio to no penalty", "error"],
        rows,
        remarks,
    )


def _kept(point: Point) -> float:
    """||R_io||_1 / sum_m ||P_m||_1, geometric mean over seeds."""
    pairs = zip(point.values("resolvent_l1"), point.values("walks_l1"), strict=True)
    shares = [total / walks for total, walks in pairs if total > 0]
    return math.exp(sum(map(math.log, shares)) / len(shares)) if shares else 0.0

"""What the networks show besides the claims: tables without a verdict, and sentences that follow from their numbers."""

from __future__ import annotations

import math

from experiments import claims
from experiments.datasets import DATASETS
from experiments.summaries import Point, Table, error_ratio, has_classes, strongest_sparing
from experiments.tables import Sheet


def gather(table: Table) -> list[Sheet]:
    """Every finding; one that the networks of ``table`` do not bear on has no row."""
    return [cancellation(table), real_data(table)]


def cancellation(table: Table) -> Sheet:
    """Do the walks of a penalised network still show what it does, once the penalty is strong?"""
    rows, lost = [], {name: list[str]() for name in (*claims.VARIANTS, claims.RIVAL)}
    for task in claims.MODULAR:
        if (base := table.unpenalised(task)) is None:
            continue
        for name, without_reading in lost.items():
            point = strongest_sparing(table.curve(task, name), base, factor=claims.DOUBLING)
            if point is None:
                continue
            found = point.measure("correlation")
            if found.high < claims.READ_OFF:
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
                    f"{point.measure('correlation_jacobian'):.2f}",
                ]
            )
    remarks = [
        f"{name}: the correlation of R_io is below {claims.READ_OFF:g}, with its whole interval, on "
        + (f"{claims.listed(tasks)}." if tasks else "none of these tasks.")
        for name, tasks in lost.items()
        if any(row[1] == name for row in rows)
    ]
    return Sheet(
        "Where a penalty is paid by cancellation",
        f"At the largest β up to which the MSE is at most {claims.DOUBLING:g} times that without a penalty, when the "
        "task is still solved: the MSE in units of that without a penalty; the correlation of R_io, and of all P_m, "
        "with the optimum; ‖R_io‖₁ / Σ_m ‖P_m‖₁, which is 1 if lags do not cancel one another; and the correlation "
        "of the P_m with the mean Jacobians of the network, which is low where the units are saturated.",
        ["task", "penalty", "β", "MSE ratio", "R_io", "all P_m", "not cancelled", "P_m and Jacobians"],
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
        rows.append([task, "none", "", f"{base.error():.3g}", "", score])
        best: dict[str, Point] = {}
        for name in table.regularisers(task):
            best[name] = min(table.curve(task, name), key=lambda point: point.error().mean)
            ratio = error_ratio(best[name], base)
            rows.append([task, name, f"{best[name].beta:.2g}", f"{best[name].error():.3g}", f"{ratio:.3g}", score])
        if {claims.PAPERS, claims.RIVAL} <= best.keys():
            ratio = error_ratio(best[claims.PAPERS], best[claims.RIVAL])
            better = "below" if ratio.high < 1 else "above" if ratio.low > 1 else "not told apart from"
            remarks.append(f"{task}: R-RNN's best is {better} L1's best, ratio {ratio:.3g}.")
    return Sheet(
        "Real data",
        "The error of each penalty at the β with the least mean error on the test data (chosen on the test data, for "
        "every penalty alike: too good by the same freedom of choice), and in units of that without a penalty.",
        ["data", "penalty", "β", "test error", "ratio to no penalty", "error"],
        rows,
        remarks,
    )


def _kept(point: Point) -> float:
    """||R_io||_1 / sum_m ||P_m||_1, geometric mean over seeds."""
    pairs = zip(point.values("resolvent_l1"), point.values("walks_l1"), strict=True)
    shares = [total / walks for total, walks in pairs if total > 0]
    return math.exp(sum(map(math.log, shares)) / len(shares)) if shares else 0.0

"""Networks under a penalty of themselves as they ran: where the mean field fails, and the price of sparse Jacobians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments.claims import intervals
from experiments.claims.intervals import Interval
from experiments.claims.limits import LEARNT_MSE
from experiments.claims.running.groups import at, cells
from experiments.claims.running.reading import OF_LAYERS, RELATIVE_ERROR
from experiments.tasks.modular import LinearTask
from experiments.training.running.measures import Record
from experiments.training.running.networks import (
    KINDS,
    L1,
    NETWORK,
    NETWORK_PER_HOP,
    PENALTIES,
    TASKS,
    UNPENALISED,
    WEIGHTS,
    WEIGHTS_PER_HOP,
)
from experiments.training.running.runs import BETAS, STRONG, strength
from rrnn_ext.plot import style
from rrnn_ext.plot.style import Look
from rrnn_ext.reading.exhibit import Exhibit, Row

LOOKS = {
    L1: Look("#D55E00", "^", "-"),
    WEIGHTS: Look("#E69F00", "v", "--"),
    WEIGHTS_PER_HOP: Look("#009E73", "D", (0, (1, 1))),
    NETWORK: Look("#0072B2", "o", "--"),
    NETWORK_PER_HOP: Look("#56B4E9", "s", "-"),
}
OF_KIND = {"RNN": "#0072B2", "GRU": "#D55E00", "LSTM": "#009E73"}
MEASURES = [field.name for field in fields(Record) if field.name != "setting"]
SPREADS = {"spread": "Spread of the response", "spread_of_gains": "Spread of the gains"}
LEAST_SHARE, LEAST_ERROR = 1e-3, 5e-4


def error_by_spread(records: Sequence[Record]) -> Exhibit:
    """The relative error of the mean field against how far sequences differ, a mark for each setting."""
    groups = [list(own) for _, own in groupby(sorted(records, key=_place), key=_place)]
    learnt = [own for own in groups if _mean(own, "error") < LEARNT_MSE]
    depths = sorted({record.setting.layers for record in records})
    places = [(layers, spread) for layers in depths for spread in SPREADS]
    with style.context():
        figure, panels = style.panels(len(places), columns=len(SPREADS), height=2.3)
        for axes, (layers, spread) in zip(panels, places, strict=True):
            axes.axhline(RELATIVE_ERROR[layers], color=style.PALE, linewidth=0.8, linestyle=":")
            spreads = [_mean(own, spread) for own in learnt]
            for own, far in zip(learnt, spreads, strict=True):
                if own[0].setting.layers == layers:
                    gated = not isinstance(TASKS[own[0].setting.task](), LinearTask)
                    error = max(_mean(own, "relative_error"), LEAST_ERROR)
                    axes.plot([far], [error], **_mark(OF_KIND[own[0].setting.kind], gated=gated))
            axes.set(xscale="log", yscale="log", xlabel=SPREADS[spread], ylim=(0.7 * LEAST_ERROR, 1.3))
            if spreads:
                axes.set_xlim(0.8 * min(spreads), 1.25 * max(spreads))
        for axes in panels[:: len(SPREADS)]:
            axes.set_ylabel("Relative error of the walks")
        style.letter(panels, [OF_LAYERS[layers] for layers, _ in places])
        handles = [Line2D([], [], label=kind, **_mark(color, gated=False)) for kind, color in OF_KIND.items()]
        handles += [
            Line2D([], [], label=label, **_mark("black", gated=gated))
            for label, gated in (("sums", False), ("multiplication", True))
        ]
        style.legend_below(figure, handles, columns=5)
    return Exhibit(
        "error_by_spread",
        "Where the mean field fails",
        "A mark is the mean over the seeds of one task, penalty and strength. Error: ‖P - J‖ / ‖J‖ of the walks of the "
        "mean gains. Spread: how far the response of single sequences is from the mean one, and how far the gains and "
        "carries of all steps are, each as a root mean square in units of the mean's size. Dotted: the limit claimed. "
        f"Networks with an MSE above {LEARNT_MSE:g}, which have learnt nothing, are left out, and errors below "
        f"{LEAST_ERROR:g} are drawn there; the data has all of it, and every other measure.",
        figure,
        [_row(own) for own in groups],
    )


def error_by_sparsity(records: Sequence[Record]) -> Exhibit:
    """Test error against the share of the mean Jacobians off the optimum, a line for each penalty."""
    found = cells(records)
    tasks = list(dict.fromkeys(own[0].setting.task for own in found.values()))
    places = [f"{kind}, {task}" for task in tasks for kind in KINDS]
    rows: list[Row] = []
    with style.context():
        figure, panels = style.panels(len(places), columns=len(KINDS), height=1.35)
        for axes, cell in zip(panels, places, strict=True):
            own = found.get(cell, [])
            base = _points(own, UNPENALISED)
            rows += [point.row(cell) for point in base]
            for penalty, look in LOOKS.items():
                line = _points(own, penalty)
                rows += [point.row(cell) for point in line]
                shown = [point for point in (*base, *line) if point.error.mean < LEARNT_MSE]
                shares = [max(point.share.mean, LEAST_SHARE) for point in shown]
                axes.plot(shares, [point.error.mean for point in shown], **look.line)
            for point in base:
                axes.plot([point.share.mean], [point.error.mean], color="black", marker="*", markersize=8, zorder=4)
            axes.set(xscale="log", yscale="log", xlim=(LEAST_SHARE, 1))
            _ticks(axes)
        for axes in panels[:: len(KINDS)]:
            axes.set_ylabel("Test MSE")
        for axes in panels[-len(KINDS) :]:
            axes.set_xlabel("J off the optimum (share)")
        style.letter(panels, places)
        star = Line2D([], [], color="black", marker="*", markersize=7, linestyle="", label="no penalty")
        lines = [Line2D([], [], label=penalty, **look.line) for penalty, look in LOOKS.items()]
        style.legend_below(figure, [star, *lines], columns=3)
    return Exhibit(
        "error_by_sparsity",
        "Test error against the sparsity of the Jacobians",
        "Each line starts at the networks without a penalty (star) and follows the strength of one penalty upwards, "
        "means over the seeds. The share of Σ_m ‖J_m‖₁ on pathways that the optimum does not have: further left is "
        f"sparser, further down is better. Networks with an MSE above {LEARNT_MSE:g}, which have learnt nothing, are "
        f"left out; shares below {LEAST_SHARE:g} are drawn there.",
        figure,
        rows,
    )


class _Point(NamedTuple):
    """The networks of one penalty at one strength."""

    penalty: str
    beta: float
    share: Interval
    error: Interval

    def row(self, cell: str) -> Row:
        row: Row = {"networks of": cell, "penalty": self.penalty, "beta": self.beta, "networks": self.error.networks}
        for name, found in (("off_optimum", self.share), ("error", self.error)):
            row |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
        return row


def _points(records: Sequence[Record], penalty: str) -> list[_Point]:
    """At every strength that there is."""
    points = []
    for beta in [STRONG] if penalty == UNPENALISED else BETAS:
        if own := list(at(records, penalty, beta).values()):
            share = intervals.of_mean([record.off_optimum for record in own])
            error = intervals.of_geometric_mean([record.error for record in own])
            points.append(_Point(penalty, strength(penalty, beta), share, error))
    return points


def _place(record: Record) -> tuple[int | float, ...]:
    """Everything but the seed, in an order."""
    setting = record.setting
    kind, task = list(KINDS).index(setting.kind), list(TASKS).index(setting.task)
    return setting.layers, kind, task, [UNPENALISED, *PENALTIES].index(setting.penalty), setting.beta


def _row(records: Sequence[Record]) -> Row:
    """All measures of networks that differ by their seed alone."""
    setting = records[0].setting
    named: Row = {name: getattr(setting, name) for name in ("kind", "task", "layers", "penalty", "beta")}
    measures = {name: float(f"{_mean(records, name):.4g}") for name in MEASURES}
    return {**named, "networks": len(records), **measures}


def _mean(records: Sequence[Record], measure: str) -> float:
    mean = intervals.of_geometric_mean if measure == "error" else intervals.of_mean
    return mean([getattr(record, measure) for record in records]).mean


def _mark(color: str, *, gated: bool) -> dict[str, Any]:
    face = color if gated else "none"
    shape = {"marker": "D" if gated else "o", "markersize": 3.2, "markeredgewidth": 0.6, "linestyle": ""}
    return {**shape, "color": color, "markerfacecolor": face}


def _ticks(axes: Axes) -> None:
    marks = [mark for mark in (0.05, 0.1, 0.2, 0.5, 1.0) if axes.get_ylim()[0] <= mark <= axes.get_ylim()[1]]
    axes.set_yticks(marks, [f"{mark:g}" for mark in marks])
    axes.set_yticks([], minor=True)

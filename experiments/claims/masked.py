"""What came of networks masked by a connectome, in tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.claims import intervals
from experiments.claims.intervals import Interval
from experiments.training.masked import NONE, SILENT, Record
from experiments.training.step_cost import StepCost
from rrnn_ext.reading.sheet import Sheet

Group = tuple[str, float]  # penalty, strength


def groups(records: Sequence[Record]) -> dict[Group, list[Record]]:
    """Those that differ by their seed alone, in the order of the penalties and of their strengths."""
    found: dict[Group, list[Record]] = {}
    for record in records:
        found.setdefault((record.penalty, record.beta), []).append(record)
    order = list(dict.fromkeys(record.penalty for record in records))
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0][0]), item[0][1])))


def wrong(own: Sequence[Record]) -> Interval:
    """In per cent."""
    return intervals.of_mean([100 * record.wrong for record in own])


def walks(own: Sequence[Record]) -> Interval:
    return intervals.of_geometric_mean([record.walks for record in own])


def table(records: Sequence[Record]) -> Sheet:
    """A row for each penalty and strength."""
    columns: dict[str, Callable[[list[Record]], str]] = {
        "wrong, %": lambda own: f"{wrong(own):.1f}",
        "Σ‖P‖₁": lambda own: f"{walks(own):.2g}",
        "not cancelled": lambda own: _mean(own, lambda record: record.total / record.walks),
        "mean lag": lambda own: _mean(own, lambda record: record.mean_lag),
        "Hoyer": lambda own: _mean(own, lambda record: record.hoyer),
        "silent, %": lambda own: _mean(own, lambda record: 100 * record.silent),
    }
    rows = [
        [penalty, "" if penalty == NONE else f"{beta:.0e}".replace("e-0", "e-"), str(len(own))]
        + [cell(own) for cell in columns.values()]
        for (penalty, beta), own in groups(records).items()
    ]
    text = (
        "Wrong answers on test sequences: mean over the seeds and its 95 % interval. Σ‖P‖₁: Σ_m ‖P_m‖₁ over all lags, "
        "geometric mean and interval; not cancelled: ‖Σ_m P_m‖₁ as a share of it. Mean lag in steps, and Hoyer's "
        "sparsity (0 even, 1 a single lag), of the hop profile. Silent: connections below "
        f"{SILENT:g} in size."
    )
    return Sheet("Every penalty and strength", text, ["penalty", "β", "seeds", *columns], rows)


def best(records: Sequence[Record]) -> Sheet:
    """Each penalty at the strength with the fewest wrong answers, beside the others at theirs, seed by seed."""
    chosen: dict[str, list[Record]] = {}
    for (penalty, _), own in groups(records).items():
        if penalty not in chosen or wrong(own).mean < wrong(chosen[penalty]).mean:
            chosen[penalty] = own
    rows = [
        [
            penalty,
            "" if penalty == NONE else f"{own[0].beta:.0e}".replace("e-0", "e-"),
            f"{wrong(own):.1f}",
            *("" if other == penalty else f"{_fewer(own, chosen[other]):.1f}" for other in chosen),
        ]
        for penalty, own in chosen.items()
    ]
    text = (
        "Each penalty at the strength at which it had the fewest wrong answers, which flatters all of them alike; and "
        "its wrong answers less those of the others, in points of per cent, mean of the differences seed by seed with "
        "its 95 % interval."
    )
    return Sheet("At its best strength", text, ["penalty", "β", "wrong, %", *(f"less {name}" for name in chosen)], rows)


def cost(costs: Sequence[StepCost]) -> Sheet:
    """What a penalty adds to a step."""
    rows = [
        [
            f"{one.cells:,} cells, {one.kind}",
            f"{one.weights:,}",
            f"{one.alone:.1f}",
            f"{one.penalised:.1f}",
            f"{100 * one.share:.0f}",
        ]
        for one in costs
    ]
    text = (
        f"Milliseconds of a step of training, forward, backward and update, with {_listed(costs)} threads: alone, and "
        "under R-RNN per hop; and the penalty's share of the latter."
    )
    return Sheet("The cost of the penalty", text, ["network", "weights", "alone", "with it", "share, %"], rows)


def _listed(costs: Sequence[StepCost]) -> str:
    return " and ".join(map(str, dict.fromkeys(one.threads for one in costs)))


def _mean(own: Sequence[Record], value: Callable[[Record], float]) -> str:
    return f"{intervals.of_mean([value(record) for record in own]).mean:.3g}"


def _fewer(ours: Sequence[Record], theirs: Sequence[Record]) -> Interval:
    by_seed = {record.seed: record.wrong for record in theirs}
    return intervals.of_mean([100 * (one.wrong - by_seed[one.seed]) for one in ours if one.seed in by_seed])

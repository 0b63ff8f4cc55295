"""What networks trained under penalties of their weights and of themselves as they ran say, network by network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.claims import intervals
from experiments.claims.verdicts import Verdict
from experiments.training.running import Record
from rrnn_ext.reading.sheet import Sheet

CORRELATION, RELATIVE_ERROR = 0.99, 0.05


@dataclass(frozen=True)
class Universal:
    """A claim on every network: shown by all, refuted by one."""

    what: str
    verdict: Verdict
    text: str


def reads_right(records: Sequence[Record]) -> list[Universal]:
    """The walks of the mean step Jacobians are the mean Jacobians, penalty by penalty."""
    found = []
    for penalty in dict.fromkeys(record.setting.penalty for record in records):
        own = [record for record in records if record.setting.penalty == penalty]
        right = [r for r in own if r.correlation >= CORRELATION and r.relative_error <= RELATIVE_ERROR]
        least = min(own, key=lambda record: record.correlation)
        worst = max(own, key=lambda record: record.relative_error)
        text = (
            f"{len(right)} of {len(own)} networks; least correlation {least.correlation:.3f} ({_called(least)}), "
            f"largest relative error {worst.relative_error:.3f} ({_called(worst)})"
        )
        found.append(Universal(penalty, Verdict.SHOWN if len(right) == len(own) else Verdict.REFUTED, text))
    return found


def by_weights(records: Sequence[Record]) -> list[str]:
    """What the weights' walks say instead, kind by kind."""
    return [
        f"{kind}: from {min(values):.2f} to {max(values):.2f}"
        for kind in _kinds(records)
        for values in [[record.by_weights for record in records if record.setting.kind == kind]]
    ]


def table(records: Sequence[Record], kind: str, task: str) -> Sheet:
    """A row for each penalty and strength, means over the seeds."""
    groups: dict[tuple[str, float], list[Record]] = {}
    for record in records:
        if (record.setting.kind, record.setting.task) == (kind, task):
            groups.setdefault((record.setting.penalty, record.setting.beta), []).append(record)
    rows = []
    for (penalty, beta), own in sorted(groups.items(), key=lambda group: (group[0][1], group[0][0])):
        columns = [
            f"{intervals.of_geometric_mean([record.error for record in own])}",
            *(
                f"{intervals.of_mean([value(record) for record in own]).mean:.3g}"
                for value in (
                    lambda r: r.strength,
                    lambda r: r.strength_in_total / r.strength,
                    lambda r: r.off_optimum,
                    lambda r: r.correlation,
                    lambda r: r.relative_error,
                    lambda r: r.by_weights,
                    lambda r: r.saturated,
                    lambda r: r.weights,
                )
            ),
        ]
        rows.append([penalty, "" if penalty == "none" else f"{beta:g}", str(len(own)), *columns])
    header = ["penalty", "β", "seeds", "test MSE", "Σ‖J‖", "not cancelled", "off the optimum", "r", "error of r"]
    return Sheet(f"{kind}, {task}", "", [*header, "r of the weights", "saturated", "Σ|weights|"], rows)


def tables(records: Sequence[Record]) -> list[Sheet]:
    tasks = list(dict.fromkeys(record.setting.task for record in records))
    found = [table(records, kind, task) for kind in _kinds(records) for task in tasks]
    return [sheet for sheet in found if sheet.rows]


def _kinds(records: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(record.setting.kind for record in records))


def _called(record: Record) -> str:
    setting = record.setting
    return f"{setting.kind}, {setting.task}" + ("" if setting.penalty == "none" else f", β = {setting.beta:g}")

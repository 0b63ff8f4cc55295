"""What networks do under each penalty, in numbers that no claim judges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from scipy import stats

from experiments.claims import intervals
from experiments.claims.running.curing import kept
from experiments.claims.running.groups import Number, at, cells, learnt, ratios
from experiments.claims.running.reading import CORRELATION, OF_LAYERS, RELATIVE_ERROR
from experiments.claims.verdicts import listed
from experiments.tasks import modular
from experiments.training.running import networks
from experiments.training.running.measures import FEW, Record
from experiments.training.running.networks import (
    COMPARED,
    DRIVES,
    GAINS,
    KINDS,
    L1,
    NETWORK,
    NETWORK_PER_HOP,
    PENALTIES,
    UNPENALISED,
    WEIGHTS,
    WEIGHTS_PER_HOP,
)
from experiments.training.running.runs import LAYERS, SOME_TASKS, STRONG, TASKS
from rrnn_ext.reading.sheet import Sheet

SPREADS = (0.0, 0.1, 0.2, 0.5, 1.0, math.inf)


def by_penalty(records: Sequence[Record]) -> Sheet:
    """How right the walks of the mean gains are under each penalty, on all tasks and at all strengths."""
    rows = []
    for layers, what in OF_LAYERS.items():
        limit = RELATIVE_ERROR[layers]
        for penalty in (UNPENALISED, *PENALTIES):
            row = []
            for kind in KINDS:
                found = cells(learnt(records), layers=layers, penalties=[penalty]).values()
                own = [record for cell in found for record in cell if record.setting.kind == kind]
                right = sum(record.correlation >= CORRELATION and record.relative_error <= limit for record in own)
                row.append(
                    f"{right} of {len(own)}; {min(record.correlation for record in own):.3f}, "
                    f"{max(record.relative_error for record in own):.3f}, "
                    f"{intervals.of_mean([record.scale for record in own]).mean:.2f}"
                    if own
                    else ""
                )
            if any(row):
                rows.append([what, penalty, *row])
    return Sheet(
        "Reading by penalty",
        "Walks of the mean gains, on all tasks and at all strengths: how many of the networks that learnt anything "
        f"have r ≥ {CORRELATION:g} and an error ≤ {RELATIVE_ERROR[1]:g} ({RELATIVE_ERROR[LAYERS]:g} of stacks); then "
        "the least r, the largest error, and the mean of ⟨P, J⟩ / ⟨J, J⟩, below 1 where walks have the right pattern "
        "and are too small.",
        ["", "penalty", *KINDS],
        rows,
    )


def by_spread(records: Sequence[Record]) -> Sheet:
    """For how strongly gated a network the mean field holds."""
    limit, rows, remarks = RELATIVE_ERROR[1], [], []
    own_layer = [record for record in learnt(records) if record.setting.layers == 1]
    for kind in KINDS:
        of_kind = [record for record in own_layer if record.setting.kind == kind]
        for low, high in pairwise(SPREADS):
            own = [record for record in of_kind if low <= record.spread < high]
            if own:
                errors = sorted(record.relative_error for record in own)
                rows.append(
                    [
                        kind,
                        f"{low:g} to {high:g}" if high < math.inf else f"{low:g} and more",
                        str(len(own)),
                        f"{100 * sum(error <= limit for error in errors) / len(own):.0f} %",
                        f"{errors[len(own) // 2]:.3f}",
                        f"{errors[-1]:.3f}",
                        f"{min(record.correlation for record in own):.3f}",
                    ]
                )
        if len(of_kind) > 2:
            response, gains = (
                stats.spearmanr([getattr(r, name) for r in of_kind], [r.relative_error for r in of_kind]).statistic
                for name in ("spread", "spread_of_gains")
            )
            remarks.append(
                f"{kind}: the error follows the spread of the response with a rank correlation of {response:.2f}, and "
                f"that of the gains with {gains:.2f}."
            )
    return Sheet(
        "Where the mean field fails",
        "All networks of one layer that have learnt something, under whatever penalty, by the spread of their "
        "response, the root mean square of ‖J_s - J‖ over the test sequences s in units of ‖J‖: 0 of a linear network, "
        "and 1 where what a sequence gates is as much as what all have in common. That of the gains is the same of the "
        "gains and carries of all steps.",
        ["", "spread", "networks", f"error ≤ {limit:g}", "median error", "largest error", "least r"],
        rows,
        remarks,
    )


def by_drive(records: Sequence[Record]) -> Sheet:
    """The same on one task, from nearly a sum to a gate."""
    rows = []
    for drive in sorted((*DRIVES, 1.0)):
        task = modular.driven(drive)
        row = []
        for kind in KINDS:
            found = at([record for record in _of(records, kind, task) if record.setting.layers == 1], UNPENALISED)
            own = list(found.values())
            row += [_mean(own, lambda r: r.spread), _geometric(own, lambda r: r.relative_error)]
        if any(row):
            rows.append([f"{drive:g}", f"{_spread_of_optimum(task):.2f}", *row])
    return Sheet(
        "From a sum to a gate",
        "Multiplication of two module averages whose standard deviation is the drive times their mean: the spread of "
        "the response of the best solution; and of networks without a penalty the spread and the relative error of the "
        "walks of the mean gains (geometric mean over the seeds, with its 95 % interval).",
        ["drive", "spread of the optimum", *(f"{kind}: {what}" for kind in KINDS for what in ("spread", "error"))],
        rows,
    )


def cures(records: Sequence[Record]) -> Sheet:
    """Error, cancellation and sparsity of every kind and task at one strength."""
    rows = []
    for layers in sorted({record.setting.layers for record in records}):
        for cell, own in cells(records, layers=layers).items():
            row = []
            for penalty in (UNPENALISED, L1, WEIGHTS, NETWORK, WEIGHTS_PER_HOP, NETWORK_PER_HOP):
                found = list(at(own, penalty).values())
                row.append(
                    f"{_geometric(found, lambda r: r.error, '.2f', mean=True)}, {_mean(found, kept)}, "
                    f"{_mean(found, lambda r: r.off_optimum)}"
                    if found
                    else ""
                )
            rows.append([cell + (f", {layers} layers" if layers > 1 else ""), *row])
    return Sheet(
        "Error, cancellation, sparsity",
        f"At β = {STRONG:g} (L1: a tenth of it), means over the seeds: test MSE, then ‖Σ_m J_m‖₁ as a share of "
        "Σ_m ‖J_m‖₁ (1: lags do not cancel), then the share of Σ_m ‖J_m‖₁ off the pathways of the task's optimum.",
        ["", UNPENALISED, L1, "of the weights", "of the network", "of the weights, per hop", "of the network, per hop"],
        rows,
    )


def instead(records: Sequence[Record]) -> Sheet:
    """How a penalty is met."""
    return Sheet(
        "What the networks do instead",
        f"At β = {STRONG:g} (L1: a tenth of it), in units of the network of the same task and seed without a penalty, "
        f"geometric means over tasks and seeds: {_RATIOS_ARE}. Then means: {_MEANS_ARE}.",
        ["", "penalty", *RATIOS, *MEANS],
        _met(records, [*COMPARED], TASKS),
    )


def other_gains(records: Sequence[Record]) -> Sheet:
    """The same of penalties of the network that differ by their gains."""
    return Sheet(
        "Whose gains",
        f"R-RNN of the network, whose gains are those of {FEW} sequences of a batch and constants, and with other "
        f"gains: the same numbers as in the table before, on {listed(SOME_TASKS)}.",
        ["", "penalty", *RATIOS, *MEANS],
        _met(records, [NETWORK, NETWORK_PER_HOP, *GAINS], SOME_TASKS),
    )


RATIOS: dict[str, Number] = {
    "MSE, sums": lambda record: record.error,
    "MSE, multiplication": lambda record: record.error,
    "Σ‖J‖": lambda record: record.strength,
    "Σ‖J‖ of single sequences": lambda record: record.strength_of_each,
    "Σ‖P‖ of the weights": lambda record: record.strength_of_weights,
    "Σ|weights|": lambda record: record.weights,
}
MEANS: dict[str, Number] = {
    "off the optimum": lambda record: record.off_optimum,
    "r": lambda record: record.correlation,
    "r of the weights": lambda record: record.by_weights,
    "saturated": lambda record: record.saturated,
}
_RATIOS_ARE = (
    "the MSE; Σ‖J‖, the strength of the mean Jacobians; that of single sequences, which stays large where sequences "
    "cancel in the mean; Σ‖P‖ of the weights' walks and Σ|weights|, which grow where gains fall"
)
_MEANS_ARE = (
    "the share of Σ‖J‖ off the pathways of the optimum; the correlation of the walks of the mean gains with J, and "
    "that of the weights' walks; the share of states beyond 0.9 in size"
)


def _met(records: Sequence[Record], penalties: Sequence[str], tasks: Sequence[str]) -> list[list[str]]:
    rows = []
    for kind in KINDS:
        own = {
            task: of_cell
            for task in tasks
            for of_cell in [cells(records, penalties=[UNPENALISED, *penalties]).get(f"{kind}, {task}", [])]
        }
        for penalty in penalties:
            found = [record for of_cell in own.values() for record in at(of_cell, penalty).values()]
            if not found:
                continue
            row = [kind, penalty]
            for name, number in RATIOS.items():
                counting = [task for task in own if not name.startswith("MSE") or _counts(name, task)]
                values = [
                    ratio
                    for task in counting
                    for ratio in ratios(at(own[task], penalty), at(own[task], UNPENALISED), number)
                ]
                row.append(f"{intervals.of_geometric_mean(values).mean:.2g}" if values else "")
            row += [f"{intervals.of_mean([number(record) for record in found]).mean:.3g}" for number in MEANS.values()]
            rows.append(row)
    return rows


def _counts(name: str, task: str) -> bool:
    return (name == "MSE, sums") == (task != "multiplication")


def _of(records: Iterable[Record], kind: str, task: str) -> list[Record]:
    return [record for record in records if (record.setting.kind, record.setting.task) == (kind, task)]


def _spread_of_optimum(task: str) -> float:
    """Of E[a b | x], whose response to what tells of a is the best guess of b."""
    made = networks.TASKS[task]()
    assert isinstance(made, modular.Multiplication)
    return made.spread


def _mean(records: Sequence[Record], number: Number, spec: str = ".2f") -> str:
    return f"{intervals.of_mean([number(record) for record in records]).mean:{spec}}" if records else ""


def _geometric(records: Sequence[Record], number: Number, spec: str = ".3f", *, mean: bool = False) -> str:
    if not records:
        return ""
    found = intervals.of_geometric_mean([number(record) for record in records])
    return f"{found.mean if mean else found:{spec}}"

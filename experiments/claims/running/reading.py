"""The claims on reading: are the walks of the network that ran the network's own mean Jacobians?"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.claims import intervals
from experiments.claims.limits import LEARNT_MSE
from experiments.claims.running.groups import at, called, cells, extremes, learnt
from experiments.claims.verdicts import Claim, Part, at_least, below, listed
from experiments.training.running.measures import FEW, READ_ON, Record
from experiments.training.running.networks import (
    KINDS,
    MEAN_PER_HOP,
    NETWORK_PER_HOP,
    THROUGH_GAINS_PER_HOP,
    THROUGH_MEAN_PER_HOP,
)
from experiments.training.running.runs import LAYERS, SOME_TASKS, STRONG

CORRELATION = 0.99
RELATIVE_ERROR = {1: 0.05, LAYERS: 0.1}
OF_LAYERS = {1: "one layer", LAYERS: "stacks"}
WORST = (
    "of each kind of network and task the one that is furthest off for each seed, of all penalties at all strengths, "
    f"mean over the seeds, without those with an MSE above {LEARNT_MSE:g}, which have learnt nothing"
)


def correlates(records: Sequence[Record], layers: int) -> Claim:
    parts = []
    for cell, own in cells(learnt(records), layers=layers).items():
        least = extremes(own, min, lambda record: record.correlation)
        found = intervals.of_correlation([record.correlation for record in least])
        right = sum(record.correlation >= CORRELATION for record in own)
        weights = [record.by_weights for record in own]
        note = (
            f"{right} of {len(own)} networks; furthest off: {_named(least)}; walks of the weights: from "
            f"{min(weights):.2f} to {max(weights):.2f}"
        )
        parts.append(Part(cell, found, at_least(found, CORRELATION), note))
    return Claim(
        f"Walks of the mean gains are the mean Jacobians ({OF_LAYERS[layers]})",
        f"The walks of the mean step Jacobians correlate with the mean Jacobians by {CORRELATION:g} or more, on every "
        "task, at every strength, of every kind of network (target of this project).",
        f"Correlation of all P_m with J over outputs, inputs and lags: {WORST}, at least {CORRELATION:g}.",
        "correlation",
        f"≥ {CORRELATION:g}",
        parts,
    )


def within(records: Sequence[Record], layers: int) -> Claim:
    limit = RELATIVE_ERROR[layers]
    parts = []
    for cell, own in cells(learnt(records), layers=layers).items():
        largest = extremes(own, max, lambda record: record.relative_error)
        found = intervals.of_geometric_mean([record.relative_error for record in largest])
        right = sum(record.relative_error <= limit for record in own)
        note = f"{right} of {len(own)} networks; furthest off: {_named(largest)}"
        parts.append(Part(cell, found, below(found, limit), note))
    return Claim(
        f"They are off by {100 * limit:g} % at most ({OF_LAYERS[layers]})",
        "The same walks have a relative error below that (target of this project).",
        f"‖P - J‖ / ‖J‖ over outputs, inputs and lags: {WORST}, below {limit:g}.",
        "relative error",
        f"< {limit:g}",
        parts,
    )


def under_its_own(records: Sequence[Record]) -> Claim:
    limit, parts = RELATIVE_ERROR[1], []
    for cell, own in cells(learnt(records), penalties=[NETWORK_PER_HOP]).items():
        largest = extremes(own, max, lambda record: record.relative_error)
        found = intervals.of_geometric_mean([record.relative_error for record in largest])
        correlation = min(record.correlation for record in own)
        parts.append(Part(cell, found, below(found, limit), f"least correlation {correlation:.4f}; {_named(largest)}"))
    return Claim(
        "Under the penalty of the network per hop they are right",
        "A network of one layer that is trained under the penalty of itself as it runs, per hop, is one whose mean "
        f"gains can be read (target of this project: correlation {CORRELATION:g}, relative error {limit:g}).",
        f"‖P - J‖ / ‖J‖ at the strength that is furthest off for each seed, mean over the seeds, below {limit:g}.",
        "relative error",
        f"< {limit:g}",
        parts,
    )


def few_sequences(records: Sequence[Record]) -> Claim:
    parts = []
    for cell, own in cells(learnt(records)).items():
        least = extremes(own, min, lambda record: record.of_few)
        found = intervals.of_correlation([record.of_few for record in least])
        right = sum(record.of_few >= CORRELATION for record in own)
        parts.append(
            Part(
                cell,
                found,
                at_least(found, CORRELATION),
                f"{right} of {len(own)} networks; furthest off: {_named(least)}",
            )
        )
    return Claim(
        f"The walks of {FEW} sequences read the network",
        f"The exact walks of {FEW} sequences, as many as the penalty takes of a batch, correlate with the mean "
        f"Jacobians of all by {CORRELATION:g} or more (target of this project).",
        f"Mean over {FEW} of the {READ_ON} test sequences of P_m, each with its own gains, and J of all of them: "
        f"{WORST}, at least {CORRELATION:g}. What it is off by is how far the response depends on the sequence, the "
        f"spread, over the root of {FEW}.",
        "correlation",
        f"≥ {CORRELATION:g}",
        parts,
    )


def whose_gains(records: Sequence[Record]) -> Claim:
    variants = {
        NETWORK_PER_HOP: f"{FEW} sequences, constant gains (the default)",
        THROUGH_GAINS_PER_HOP: f"{FEW} sequences, through gains",
        MEAN_PER_HOP: "mean, constant gains",
        THROUGH_MEAN_PER_HOP: "mean, through gains",
    }
    parts = []
    for kind in KINDS:
        for penalty, what in variants.items():
            own = [
                record
                for task in SOME_TASKS
                for record in at(cells(records, penalties=[penalty]).get(f"{kind}, {task}", ()), penalty).values()
            ]
            if not own:
                continue
            least = extremes(own, min, lambda record: record.correlation)
            found = intervals.of_correlation([record.correlation for record in least])
            errors = extremes(own, max, lambda record: record.relative_error)
            error = intervals.of_geometric_mean([record.relative_error for record in errors])
            verdict = at_least(found, CORRELATION) if penalty == NETWORK_PER_HOP else None
            tasks = sorted({record.setting.task for record in least})
            parts.append(Part(f"{kind}, {what}", found, verdict, f"{', '.join(tasks)}; relative error {error}"))
    return Claim(
        "Constant gains of a few sequences keep the reading right",
        "Under a penalty of the network per hop, with the gains of 4 sequences as constants, the walks of the mean "
        "gains remain the mean Jacobians (why that is the default). With gradients through the gains training can "
        "evade the penalty, by gains that cancel over the batch.",
        f"β = {STRONG:g}: correlation of all P_m with J, of {listed(SOME_TASKS)} on the task that is furthest off for "
        f"each seed, mean over the seeds, at least {CORRELATION:g} for the default. For comparison: other gains.",
        "correlation",
        f"≥ {CORRELATION:g}",
        parts,
    )


def _named(networks: Sequence[Record]) -> str:
    """The penalties of one network a seed, the most frequent first."""
    names = [called(record) for record in networks]
    return "; ".join(sorted(dict.fromkeys(names), key=lambda name: -names.count(name)))

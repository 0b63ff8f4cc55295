"""Records of networks that were never trained, with errors and measures as a test needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from experiments.claims.judge import judge
from experiments.claims.summaries import Table
from experiments.claims.verdicts import Claim, Verdict
from experiments.training.results import Measure, Record, Setting

LAGS = 10
SHOWN, REFUTED, NOT_SHOWN = Verdict.SHOWN, Verdict.REFUTED, Verdict.NOT_SHOWN
SEEDS = range(5)
NOISE = (1.0, 1.01, 0.99, 1.02, 0.98)
MEASURES: dict[str, Measure] = {
    "spectral_radius": 1.0,
    "resolvent_l1": 2.0,
    "walks_l1": 4.0,
    "hop_profile": (1 / LAGS,) * LAGS,
    "hoyer": 0.0,
    "gini": 0.0,
    "correlation_jacobian": 0.9,
    "correlation_impulses": 0.9,
    "correlation": 0.99,
    "correlation_normalised": 0.9,
    "correlation_per_hop": 0.95,
    "correlation_in_out": 0.5,
    "correlation_in_out_per_hop": 0.5,
    "correlation_two_edges": 0.4,
    "correlation_membership": 0.1,
    "correlation_membership_signed": 0.2,
    "correlation_membership_rectified": 0.2,
    "communication_sparsity": 0.1,
    "communication_sparsity_per_hop": 0.2,
    "alignment": 0.9,
    "alignment_per_hop": 0.8,
    "signal_share": 0.95,
}


def record(task: str, regulariser: str, beta: float, seed: int, error: float, **measures: Measure) -> Record:
    return Record(Setting(task, regulariser, beta, seed), error, {**MEASURES, **measures})


def curve(task: str, regulariser: str, errors: Mapping[float, Iterable[float]], **measures: Measure) -> list[Record]:
    """Records of the errors of every seed, by beta."""
    return [
        record(task, regulariser, beta, seed, error, **measures)
        for beta, by_seed in errors.items()
        for seed, error in enumerate(by_seed)
    ]


def around(value: float) -> list[float]:
    return [value * noise for noise in NOISE]


def claim(records: list[Record], title: str) -> Claim:
    (found,) = [claim for claim in judge(Table(records)) if claim.title == title]
    return found


def verdicts(found: Claim) -> dict[str, Verdict | None]:
    return {part.what: part.verdict for part in found.parts}

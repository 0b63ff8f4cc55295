"""Records of networks under a penalty of themselves that were never trained, with measures as a test needs them."""

from __future__ import annotations

from typing import Any

from experiments.claims.running.judge import judge
from experiments.claims.verdicts import Claim
from experiments.training.running.measures import Record
from experiments.training.running.networks import UNPENALISED, Setting
from experiments.training.running.runs import STRONG, strength

NOISE = (1.0, 1.01, 0.99)
MEASURES: dict[str, float] = {
    "error": 0.1,
    "correlation": 0.999,
    "relative_error": 0.01,
    "scale": 0.99,
    "of_few": 0.995,
    "error_of_few": 0.1,
    "by_weights": 0.5,
    "spread": 0.2,
    "spread_of_gains": 0.1,
    "strength": 20.0,
    "strength_in_total": 19.0,
    "strength_of_each": 22.0,
    "strength_of_weights": 40.0,
    "off_optimum": 0.4,
    "saturated": 0.0,
    "weights": 300.0,
}


def seeds(
    kind: str, task: str, penalty: str, beta: float = STRONG, *, layers: int = 1, noisy: str = "error", **measures: Any
) -> list[Record]:
    """Three networks, whose measure ``noisy`` differs a little; ``beta`` as of a penalty on walks."""
    values = MEASURES | measures
    beta = 0.0 if penalty == UNPENALISED else strength(penalty, beta)
    return [
        Record(
            Setting(kind, task, penalty, beta, seed, 48, 600, layers=layers), **values | {noisy: values[noisy] * noise}
        )
        for seed, noise in enumerate(NOISE)
    ]


def claim(records: list[Record], title: str) -> Claim:
    """The claim whose title begins so."""
    (found,) = [claim for claim in judge(records) if claim.title.startswith(title)]
    return found

"""Every claim on networks that run, judged."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.claims.running import curing, reading
from experiments.claims.verdicts import Claim
from experiments.training.running.measures import Record
from experiments.training.running.networks import L1, WEIGHTS, WEIGHTS_PER_HOP
from experiments.training.running.runs import LAYERS


def judge(records: Sequence[Record]) -> list[Claim]:
    """Every claim; one that ``records`` do not bear on has no part."""
    return [
        reading.correlates(records, 1),
        reading.within(records, 1),
        reading.correlates(records, LAYERS),
        reading.within(records, LAYERS),
        reading.under_its_own(records),
        reading.few_sequences(records),
        reading.whose_gains(records),
        curing.sparse(records),
        curing.no_cancellation(records),
        curing.lower_error(records, WEIGHTS_PER_HOP, WEIGHTS),
        curing.lower_error(records, L1, L1),
        curing.sparser(records, WEIGHTS_PER_HOP, WEIGHTS),
        curing.sparser(records, L1, L1),
    ]

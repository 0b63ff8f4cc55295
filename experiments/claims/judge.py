"""Every claim, judged."""

from __future__ import annotations

from experiments.claims import penalties, reading_off
from experiments.claims.summaries import Table
from experiments.claims.verdicts import Claim


def judge(table: Table) -> list[Claim]:
    """Every claim; one that the networks of ``table`` do not bear on has no part."""
    return [
        reading_off.influence_map_reads_the_function(table),
        reading_off.recurrent_weights_do_not(table),
        reading_off.hop_by_hop(table),
        reading_off.one_hop_does_not(table),
        reading_off.signal_hops(table),
        penalties.lower_error_at_every_strength(table),
        penalties.strength_of_doubling(table),
        penalties.lower_error_at_equal_sparsity(table),
        reading_off.sparse_signals(table),
    ]

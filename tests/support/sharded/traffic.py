"""What a call sends and what it holds: n w numbers a hop and direction, and nothing of the size of the whole matrix."""

from __future__ import annotations

from typing import Any

import pytest

import rrnn_ext
from benchmarks.sharded_model import Problem, messages
from benchmarks.sharded_traffic import Traffic
from rrnn_ext.sharded import blocks, route
from support.sharded.functions import INPUTS, OUTPUTS, weights
from support.sharded.ranks import Ranks, case

UNITS, HOPS, BLOCK = 256, 5, 512


@case
def messages_and_memory(ranks: Ranks) -> None:
    from torch.distributed.tensor import Shard

    wholes = weights(UNITS)
    problem = Problem(UNITS, min(INPUTS, OUTPUTS), HOPS, ranks.size)
    for placement in (Shard(0), Shard(1)):
        for rectify in (False, True):
            given = [ranks.place(each, Shard(dim)) for each, dim in zip(wholes, (placement.dim, 0, 1), strict=True)]
            options: dict[str, Any] = {"hops": HOPS, "rectify": rectify, "norm": "l2"}
            rrnn_ext.resolvent_penalty(*given, **options)  # what the first call alone makes is made
            with pytest.MonkeyPatch.context() as patch, Traffic() as traffic:
                patch.setattr(route, "LEAST_UNITS", 1)
                patch.setattr(blocks, "_BLOCK", BLOCK)
                rrnn_ext.resolvent_penalty(*given, **options).backward()
            assert traffic.messages == messages(problem, INPUTS * OUTPUTS)
            shard = given[0].to_local().numel()
            *others, largest = sorted(traffic.memory.values())
            assert largest == shard  # the gradient, once
            assert others[-1] <= max(problem.units * problem.width * HOPS, BLOCK)

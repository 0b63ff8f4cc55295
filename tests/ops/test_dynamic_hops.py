"""The ops of finite walks take hops as a SymInt: one compiled graph serves every number of hops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from rrnn_ext.ops.finite_walks import Chain

GRAPH = torch.randn(5, 5) / 4, torch.randn(5, 2), torch.randn(3, 5)


def sums(hops: int) -> Tensor:
    walks, chain = torch.ops.rrnn_ext.finite_walks(*GRAPH, None, 0.5, hops, False, False, Chain.narrow)
    gradients = torch.ops.rrnn_ext.finite_walks_backward(walks, chain, *GRAPH, None, 0.5, hops, False, False)
    return torch.cat([each.flatten() for each in (walks, *gradients)])


def penalty(hops: int) -> Tensor:
    options = None, None, 0.5, hops, False, True, 0
    value, walks, chain = torch.ops.rrnn_ext.finite_walks_penalty(*GRAPH, *options, Chain.narrow)
    gradients = torch.ops.rrnn_ext.finite_walks_penalty_backward(value, walks, chain, *GRAPH, *options)
    return torch.cat([each.flatten() for each in (value, walks, *gradients)])


@pytest.mark.parametrize("function", [sums, penalty])
def test_a_changing_number_of_hops_is_compiled_once(function: Any) -> None:
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=counter)
    for hops in range(2, 13):
        assert torch.equal(compiled(hops), function(hops))
    assert counter.frame_count == 1

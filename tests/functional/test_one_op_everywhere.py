"""A penalty is one op, in eager mode, in compiled graphs and under torch.func: the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.utils import make_boxed_func

import rrnn_ext

Call = tuple[str, dict[str, Any], bool]  # the op, the options, whether the graph has sides
CALLS: dict[str, Call] = {
    "finite": ("finite_walks_penalty", {"hops": 5}, True),
    "finite, rectified, per hop": ("finite_walks_penalty", {"hops": 5, "rectify": True, "per_hop": True}, True),
    "infinite, rectified": ("pathway_sum", {"rectify": True}, True),
    "infinite, all pairs": ("all_pairs_norm", {}, False),
    "infinite, all pairs, squares": ("all_pairs_norm", {"norm": "l2"}, False),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def drawn(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape) + shape[0])) - 0.4


def penalty_of(call: Call) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    _, options, has_sides = call
    weight_in, weight_out = (drawn(6, 2), drawn(3, 6)) if has_sides else (None, None)
    weight_hh = (drawn(6, 6) / 3).requires_grad_()
    options = {**options, "reduction": "none"}
    return lambda weight_hh: rrnn_ext.resolvent_penalty(weight_hh, weight_in, weight_out, **options), weight_hh


@every_call
def test_compiled(call: Call) -> None:
    function, weight_hh = penalty_of(call)
    ops: set[str] = set()

    def look(graph: torch.fx.GraphModule, _: Any) -> Any:
        ops.update(node.target._schema.name for node in graph.graph.nodes if hasattr(node.target, "_schema"))
        return make_boxed_func(graph)

    compiled = torch.compile(function, fullgraph=True, backend=aot_autograd(fw_compiler=look))
    value, expected = compiled(weight_hh), function(weight_hh)
    assert f"rrnn_ext::{call[0]}" in ops
    assert torch.equal(value, expected)
    assert torch.equal(*(torch.autograd.grad(each, weight_hh)[0] for each in (value, expected)))


@every_call
def test_under_vmap(call: Call) -> None:
    """A vmapped dimension is a batch."""
    function, weight_hh = penalty_of(call)
    stacked = torch.stack([weight_hh.detach(), weight_hh.detach() / 2])
    torch.testing.assert_close(torch.func.vmap(function)(stacked), function(stacked), rtol=1e-6, atol=0)


@every_call
def test_under_a_gradient_of_torch_func(call: Call) -> None:
    function, weight_hh = penalty_of(call)
    _, value = torch.func.grad_and_value(function)(weight_hh.detach())
    assert torch.equal(value, function(weight_hh))

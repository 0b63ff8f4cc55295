"""What holds of every registered op torch.ops.rrnn_ext.*: schema, fake kernel, layouts, whose memory is whose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.op_calls import CALLS, CASES, Case, calls, every_case, op
from torch import Tensor

DTYPES = (torch.float32, torch.float64)
# Those that also go through the compiler's front end, which takes a while.
COMPILED = ("rectified", "inputs_alone", "outputs_alone", "pathway", "batch_own_factors", "no_units", "no_graphs")

every_op = pytest.mark.parametrize("name", CALLS)


def outputs(result: Any) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def test_every_registered_op_is_tested() -> None:
    registered = {
        name.split("::")[1] for name in torch._C._dispatch_get_all_op_names() if name.startswith("rrnn_ext::")
    }
    # Families with a file of tests of their own, and an op that changes its arguments.
    elsewhere = "lif", "hop", "driven_walks", "sparse", "penalty_value_and_grad_accumulate"
    assert {name for name in registered if not name.startswith(elsewhere)} == set(CALLS)


@every_op
@pytest.mark.emulated
class TestEveryOp:
    @every_case
    def test_schema_and_fake_kernel(self, name: str, case: Case) -> None:
        for dtype in DTYPES:
            for arguments in calls(name, case, dtype):
                torch.library.opcheck(op(name), arguments, test_utils=("test_schema", "test_faketensor"))

    @pytest.mark.parametrize("case", [CASES[which] for which in COMPILED], ids=COMPILED)
    def test_opcheck(self, name: str, case: Case) -> None:
        """Everything that opcheck looks at, with static and dynamic shapes."""
        checks = ("test_autograd_registration", "test_aot_dispatch_static", "test_aot_dispatch_dynamic")
        torch.library.opcheck(op(name), next(calls(name, case, torch.float64)), test_utils=checks)

    @every_case
    def test_any_layout_gives_the_same_numbers(self, name: str, case: Case) -> None:
        for arguments in calls(name, case, torch.float32):
            for position, argument in enumerate(arguments):
                if not isinstance(argument, Tensor):
                    continue
                for view in layouts(argument):
                    viewed, copied = list(arguments), list(arguments)
                    viewed[position], copied[position] = view, view.clone(memory_format=torch.contiguous_format)
                    for actual, expected in zip(outputs(op(name)(*viewed)), outputs(op(name)(*copied)), strict=True):
                        assert torch.equal(actual, expected)

    @every_case
    def test_arguments_are_left_alone(self, name: str, case: Case) -> None:
        for arguments in calls(name, case, torch.float64):
            before = [each.clone() if isinstance(each, Tensor) else each for each in arguments]
            op(name)(*arguments)
            for one, other in zip(before, arguments, strict=True):
                assert torch.equal(one, other) if isinstance(one, Tensor) else one is other

    def test_results_are_the_callers_own(self, name: str) -> None:
        """Two calls share no memory with one another, nor with their arguments."""
        (arguments, *_) = calls(name, CASES["batch"], torch.float64)
        first, second = outputs(op(name)(*arguments)), outputs(op(name)(*arguments))
        tensors = [*first, *second, *(each for each in arguments if isinstance(each, Tensor))]
        starts = [tensor.data_ptr() for tensor in tensors if tensor.numel()]
        assert len(set(starts)) == len(starts)


def layouts(tensor: Tensor) -> Iterator[Tensor]:
    """Views of the same shape that are not dense in row-major order; the same numbers, but for the expanded one."""
    wide = tensor.new_full([2 * size + 1 for size in tensor.shape], float("nan"))
    sliced = wide[tuple(slice(1, None, 2) for _ in tensor.shape)]
    yield sliced.copy_(tensor)
    yield torch._neg_view(-tensor)
    if tensor.dim() > 1:
        yield tensor.mT.contiguous().mT
    if tensor.dim() and tensor.shape[0] > 1:
        yield tensor[:1].expand_as(tensor)

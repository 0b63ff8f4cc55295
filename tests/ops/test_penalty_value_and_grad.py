"""The op that adds to gradients: to rows of any stride, to those of a batch or of all of it, or not at all."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from support.random_weights import weights
from torch import Tensor

from rrnn_ext import reference
from rrnn_ext.ops.finite_walks import PenaltyArguments
from rrnn_ext.ops.penalty_value_and_grad import accumulate, value_and_grad

OP = torch.ops.rrnn_ext.penalty_value_and_grad_accumulate.default
STRENGTH, ALPHA, HOPS = 0.75, 0.875, 5
NAMES = ("weight_hh", "weight_in", "weight_out")


def penalty_of(given: dict[str, Any], **options: Any) -> PenaltyArguments:
    graph: Any = [given.get(name) for name in NAMES]
    asked: Any = {"rectify": False, "per_hop": False, "norm": 0, "hop_weights": None, "pair_weights": None, **options}
    return PenaltyArguments(**dict(zip(NAMES, graph, strict=True)), alpha=ALPHA, hops=HOPS, **asked)


def gradients_of(given: dict[str, Any], **options: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """The reference's penalty, and the gradients of the sum over a batch."""
    leaves = {name: weight.detach().cpu().requires_grad_() for name, weight in given.items()}
    value = reference.resolvent_penalty(**leaves, alpha=ALPHA, hops=HOPS, **options)
    found = torch.autograd.grad(STRENGTH * value.sum(), list(leaves.values()))
    return value.detach(), dict(zip(leaves, found, strict=True))


def filled(weight: Tensor) -> Tensor:
    return torch.arange(weight.numel(), dtype=weight.dtype, device=weight.device).reshape(weight.shape).cos()


@pytest.mark.emulated
@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
@pytest.mark.parametrize("sides", [(3, 2), (2, 3), (1, 1), (None, 2), (3, None), (20, 19)], ids=str)
@pytest.mark.parametrize("n", [4, 33])
class TestAccumulate:
    def test_rows_apart(self, n: int, sides: tuple[int | None, int | None], batch: tuple[int, ...]) -> None:
        """What is between the rows stays as it is."""
        given = weights(n, *sides, seed=1, batches=(batch, batch, batch))
        around = {
            name: filled(weight.new_empty(*weight.shape[:-1], weight.shape[-1] + 3)) for name, weight in given.items()
        }
        before = {name: each.clone() for name, each in around.items()}
        grads = [None if name not in around else around[name][..., 1:-2] for name in NAMES]
        value = accumulate(grads, STRENGTH, penalty_of(given))
        expected, added = gradients_of(given)
        torch.testing.assert_close(value.sum().cpu(), expected.sum())
        for name, each in around.items():
            before[name][..., 1:-2] += added[name].to(DEVICE)
            torch.testing.assert_close(each, before[name])

    def test_some_alone(self, n: int, sides: tuple[int | None, int | None], batch: tuple[int, ...]) -> None:
        given = weights(n, *sides, seed=2, batches=(batch, batch, batch))
        _, everything = value_and_grad(STRENGTH, penalty_of(given))
        for wanted in range(3):
            if everything[wanted] is None:
                continue
            grads = [None if at != wanted else torch.zeros_like(each) for at, each in enumerate(everything)]  # type: ignore[arg-type]
            accumulate(grads, STRENGTH, penalty_of(given))
            torch.testing.assert_close(grads[wanted], everything[wanted])

    def test_sides_that_a_batch_shares(
        self, n: int, sides: tuple[int | None, int | None], batch: tuple[int, ...]
    ) -> None:
        shared = weights(n, *sides, seed=3, batches=(batch, (), ()))
        given = {name: weight.expand(*batch, *weight.shape[-2:]) for name, weight in shared.items()}
        grads = [filled(shared[name]) if name in shared else None for name in NAMES]
        accumulate(grads, STRENGTH, penalty_of(given))
        for name, grad in zip(NAMES, grads, strict=True):
            if grad is not None:
                _, added = gradients_of(shared)
                torch.testing.assert_close(grad.cpu(), filled(shared[name]).cpu() + added[name])


@pytest.mark.emulated
@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
@pytest.mark.parametrize("sides", [(3, 2), (1, 1), (1, 35), (40, 1), (None, 2), (3, None), (0, 2)], ids=str)
@pytest.mark.parametrize("n", [1, 33])
@pytest.mark.parametrize("options", [{}, {"per_hop": True}, {"per_hop": True, "hop_weights": True}], ids=str)
class TestWhereWalksCannotCancel:
    """The op carries the sum over all inputs alone. A weight of zero has no gradient."""

    def test_value_and_gradient(
        self, options: dict[str, Any], n: int, sides: tuple[int | None, int | None], batch: tuple[int, ...]
    ) -> None:
        if "hop_weights" in options:
            options = {**options, "hop_weights": torch.tensor([1.0, -2.0, 0.0, 0.5, 0.25], dtype=torch.float64)}
        given = weights(n, *sides, seed=5, batches=(batch, batch, batch))
        for weight in given.values():
            weight[..., 1::2, ::3] = 0
        on_device = {
            name: option.to(DEVICE) if isinstance(option, Tensor) else option for name, option in options.items()
        }
        penalty = penalty_of(given, rectify=True, **on_device)
        expected, gradients = gradients_of(given, rectify=True, **options)
        value, found = value_and_grad(STRENGTH, penalty)
        torch.testing.assert_close(value.sum().cpu(), expected)
        before = [None if each is None else filled(each) for each in found]
        grads = [None if each is None else each.clone() for each in before]
        torch.testing.assert_close(accumulate(grads, STRENGTH, penalty), value)
        for name, own, grad, filling in zip(NAMES, found, grads, before, strict=True):
            if own is not None and grad is not None and filling is not None:
                torch.testing.assert_close(own.cpu(), gradients[name])
                torch.testing.assert_close(grad, filling + own)

    def test_sides_that_a_batch_shares(
        self, options: dict[str, Any], n: int, sides: tuple[int | None, int | None], batch: tuple[int, ...]
    ) -> None:
        if "hop_weights" in options:
            return
        shared = weights(n, *sides, seed=6, batches=(batch, (), ()))
        given = {name: weight.expand(*batch, *weight.shape[-2:]) for name, weight in shared.items()}
        grads = [filled(shared[name]) if name in shared else None for name in NAMES]
        accumulate(grads, STRENGTH, penalty_of(given, rectify=True, **options))
        _, added = gradients_of(shared, rectify=True, **options)
        for name, grad in zip(NAMES, grads, strict=True):
            if grad is not None:
                torch.testing.assert_close(grad.cpu(), filled(shared[name]).cpu() + added[name])


@pytest.mark.emulated
def test_the_same_from_run_to_run() -> None:
    given = weights(65, 16, 8, dtype=torch.float32)
    runs = []
    for _ in range(2):
        grads = [filled(given[name]) for name in NAMES]
        runs.append([accumulate(grads, STRENGTH, penalty_of(given)), *grads])
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one, other)


def test_whoever_saved_the_gradient_is_told() -> None:
    given = weights(4, 3, 2)
    grads = [torch.zeros_like(given[name]) for name in NAMES]
    before = [grad._version for grad in grads]
    accumulate(grads, STRENGTH, penalty_of(given))
    assert all(grad._version > version for grad, version in zip(grads, before, strict=True))


@pytest.mark.emulated
def test_schema() -> None:
    given = weights(4, 3, 2)
    grads = [torch.zeros_like(given[name]) for name in NAMES]
    torch.library.opcheck(OP, (*grads, STRENGTH, *penalty_of(given)), test_utils=("test_schema", "test_faketensor"))


@pytest.mark.skipif(DEVICE.type == "cuda" or CUDA_EMULATED, reason="CUDA kernels do not redo what overflows")
@pytest.mark.parametrize("sides", [(3, 2), (2, 3), (1, 1), (None, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_overflows_on_the_way_is_added_right(sides: tuple[int | None, int | None], dtype: torch.dtype) -> None:
    """Walks that grow by 2^k a hop, with hop weights that make up for it. In another unit nothing overflows."""
    unit = 2.0 ** (35 if dtype == torch.float32 else 265)
    given = weights(6, *sides, seed=4, dtype=dtype)
    lags = torch.arange(HOPS, dtype=dtype)
    moderate = penalty_of(given, hop_weights=torch.ones(HOPS, dtype=dtype))
    large = penalty_of({**given, "weight_hh": unit * given["weight_hh"]}, hop_weights=unit**-lags)
    expected, gradients = value_and_grad(STRENGTH, moderate)
    grads = [None if gradient is None else filled(gradient) for gradient in gradients]
    value = accumulate(grads, STRENGTH, large)
    torch.testing.assert_close(value, expected)
    for at, (grad, gradient) in enumerate(zip(grads, gradients, strict=True)):
        if grad is not None and gradient is not None:
            torch.testing.assert_close(grad, filled(gradient) + (gradient / unit if at == 0 else gradient))


@pytest.mark.emulated
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_nan_is_added(name: str, rectify: bool) -> None:
    given = weights(5, 2, 3)
    given[name][0, 0] = torch.nan
    grads = [torch.zeros_like(given[name]) for name in NAMES]
    assert accumulate(grads, STRENGTH, penalty_of(given, rectify=rectify)).isnan()
    assert all(grad.isnan().any() for grad in grads)


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("grads", "text"),
    [
        ([torch.zeros(4, 3), None, None], "grad_hh must be (4, 4), got (4, 3)"),
        ([torch.zeros(4, 4).double(), None, None], "grad_hh must have the dtype of weight_hh"),
        ([torch.zeros(4, 8)[:, ::2], None, None], "grad_hh must have rows without gaps that do not overlap, in order"),
        (
            [torch.zeros(4).expand(4, 4), None, None],
            "grad_hh must have rows without gaps that do not overlap, in order",
        ),
        ([None, torch.zeros(3, 4).mT, None], "grad_in must have rows without gaps that do not overlap, in order"),
        ([None, None, torch.zeros(4, 4)], "grad_out needs weight_out"),
    ],
)
def test_errors(grads: list[Tensor | None], text: str) -> None:
    given = weights(4, 3, None, dtype=torch.float32)
    grads = [None if grad is None else grad.to(DEVICE) for grad in grads]
    with pytest.raises(RuntimeError, match=re.escape(text)):
        accumulate(grads, STRENGTH, penalty_of(given))
    assert all(grad is None or not grad.any() for grad in grads)

"""Sums of many hops of few units, whose value and gradient are made through powers of the weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from support.oracle import check
from support.random_weights import weights

from rrnn_ext import reference
from rrnn_ext.ops.finite_walks import PenaltyArguments
from rrnn_ext.ops.penalty_value_and_grad import accumulate, value_and_grad

pytestmark = [pytest.mark.native, pytest.mark.skipif(CUDA_EMULATED, reason="the CPU's kernels")]

NAMES = ("weight_hh", "weight_in", "weight_out")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def penalty_of(given: dict[str, Any], hops: int, **options: Any) -> PenaltyArguments:
    asked = {"rectify": False, "per_hop": False, "norm": 0, "hop_weights": None, "pair_weights": None, **options}
    return PenaltyArguments(**{name: given.get(name) for name in NAMES}, alpha=1.0, hops=hops, **asked)  # type: ignore[arg-type]


def gradients_of(given: dict[str, Any], hops: int, **options: Any) -> list[torch.Tensor]:
    """The reference's value and gradients, in float64."""
    leaves = {name: weight.detach().cpu().double().requires_grad_() for name, weight in given.items()}
    value = reference.resolvent_penalty(**leaves, hops=hops, **options)
    return [value.detach(), *torch.autograd.grad(value, list(leaves.values()))]


@DTYPES
@pytest.mark.parametrize("sides", [(5, 4), (4, 5), (None, 3), (6, None), (17, 40)], ids=str)
@pytest.mark.parametrize("hops", [8, 13, 31, 32, 50])
def test_value_and_gradient(sides: tuple[int | None, int | None], hops: int, dtype: torch.dtype) -> None:
    for rectify, norm in ((False, "l1"), (True, "l2")):
        leaves = weights(12, *sides, seed=hops, dtype=dtype)
        check("resolvent_penalty", leaves, {"hops": hops, "rectify": rectify, "norm": norm, "alpha": 0.75})


@pytest.mark.parametrize(("n", "i", "o", "hops"), [(64, 32, 32, 50), (96, 33, 48, 21), (63, 30, 24, 37)])
def test_as_accurate_as_hop_by_hop(n: int, i: int, o: int, hops: int) -> None:
    """In the mean over all elements of a gradient. Hop weights of one are taken hop by hop."""
    generator = torch.Generator().manual_seed(n)
    given = {
        name: (torch.randn(*shape, generator=generator) / n**0.5).to(DEVICE)
        for name, shape in zip(NAMES, ((n, n), (n, i), (o, n)), strict=True)
    }
    _, *truth = gradients_of(given, hops)

    def errors(**options: Any) -> list[float]:
        _, gradients = value_and_grad(1.0, penalty_of(given, hops, **options))
        return [
            float((found.cpu().double() - true).norm() / true.norm())  # type: ignore[union-attr]
            for found, true in zip(gradients, truth, strict=True)
        ]

    by_powers, by_hop = errors(), errors(hop_weights=torch.ones(hops, device=DEVICE))
    assert by_powers != by_hop
    for of_powers, of_hops in zip(by_powers, by_hop, strict=True):
        assert of_powers <= 2 * of_hops


@pytest.mark.parametrize("rectify", [False, True])
def test_added_to_rows_apart_the_same_from_run_to_run(rectify: bool) -> None:
    given = weights(40, 24, 20, seed=1, dtype=torch.float32)
    runs = []
    for _ in range(2):
        around = [torch.ones(weight.shape[0], weight.shape[1] + 2) for weight in given.values()]
        value = accumulate([each[:, 1:-1] for each in around], 0.5, penalty_of(given, 60, rectify=rectify))
        runs.append([value, *around])
        truth = gradients_of(given, 60, rectify=rectify)
        for each, true in zip(around, truth[1:], strict=True):
            expected = torch.ones_like(each)
            expected[:, 1:-1] += (0.5 * true).float()
            torch.testing.assert_close(each, expected, rtol=1e-4, atol=1e-5 * float(true.abs().max()))
    assert all(map(torch.equal, *runs))


@DTYPES
def test_powers_that_overflow_where_no_walk_does(dtype: torch.dtype) -> None:
    """Edges between units that no input reaches grow beyond all numbers, of use to nobody."""
    given = weights(12, 6, 5, seed=2, dtype=dtype)
    given["weight_hh"][6:, :6] = 0
    given["weight_hh"][6:, 6:] *= torch.finfo(dtype).max ** 0.2
    given["weight_in"][6:] = 0
    given["weight_out"][:, 6:] = 0
    value, *truth = gradients_of({name: weight[:6, :6] for name, weight in given.items()}, 40)
    found, gradients = value_and_grad(1.0, penalty_of(given, 40))
    torch.testing.assert_close(found.cpu().double(), value, rtol=1e-5, atol=0)
    for gradient, true in zip(gradients[1:], truth[1:], strict=True):
        assert gradient is not None
        torch.testing.assert_close(gradient[:6, :6].cpu().double(), true, rtol=1e-4, atol=1e-5)


def test_nan_comes_out() -> None:
    given = weights(12, 6, 5, seed=3, dtype=torch.float32)
    given["weight_hh"][3, 4] = torch.nan
    value, gradients = value_and_grad(1.0, penalty_of(given, 40))
    assert value.isnan()
    assert all(gradient is not None and gradient.isnan().any() for gradient in gradients)

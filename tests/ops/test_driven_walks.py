"""The op of walks through a network that runs: kernels beside PyTorch's operations, and its derivatives."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from rrnn_ext.ops import driven_walks as family
from rrnn_ext.ops import native
from rrnn_ext.ops.driven_walks import driven_chain

pytestmark = pytest.mark.native

ALPHA = 0.7
CASES = [
    # gates, parts, carries, hops, count, width, entering at each hop
    (1, 1, False, 5, 1, 3, False),
    (1, 1, True, 3, 2, 2, True),
    (3, 1, True, 6, 1, 8, False),
    (3, 1, True, 2, 4, 5, True),
    (4, 2, True, 7, 1, 1, False),
    (4, 2, True, 4, 3, 7, True),
    (2, 2, False, 1, 1, 2, False),
    (1, 1, False, 0, 1, 2, False),
    (1, 1, True, 70, 1, 9, True),
    (2, 1, True, 3, 1, 300, False),
]


def problem(case: tuple[Any, ...], n: int, dtype: torch.dtype = torch.float64) -> Any:
    gates, parts, carries, hops, count, width, each = case
    generator = torch.Generator().manual_seed(0)

    def made(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    given = (
        made(gates * n, n) / n**0.5,
        made(hops, count, parts, gates * n),
        made(hops, count, parts, parts, n) if carries else None,
        made(hops + 1 if each else 1, count, width, n),
    )
    return given


def chain_of(weight_hh: Tensor, gains: Tensor, carries: Tensor | None, entering: Tensor) -> Tensor:
    return driven_chain(weight_hh, gains, carries, entering, ALPHA)


def by_matrices(weight_hh: Tensor, gains: Tensor, carries: Tensor | None, entering: Tensor) -> Tensor:
    """Step Jacobians as matrices of all parts, (parts n, parts n), and products of them."""
    hops, count, parts, rows = gains.shape
    n = weight_hh.shape[1]
    found = []
    for network in range(count):
        state = torch.nn.functional.pad(entering[0, network], (0, (parts - 1) * n))
        chain = [state]
        for hop in range(hops):
            step = torch.zeros(parts, n, parts, n, dtype=weight_hh.dtype)
            for after, gate in itertools.product(range(parts), range(rows // n)):
                of_gate = slice(gate * n, (gate + 1) * n)
                step[after, :, 0] += gains[hop, network, after, of_gate].unsqueeze(-1) * weight_hh[of_gate]
            for after, before in itertools.product(range(parts), repeat=2):
                if carries is not None:
                    step[after, :, before] += carries[hop, network, after, before].diag()
            state = ALPHA * state @ step.reshape(parts * n, parts * n)
            if len(entering) > 1:
                state = state + torch.nn.functional.pad(entering[hop + 1, network], (0, (parts - 1) * n))
            chain.append(state)
        found.append(torch.stack(chain).unflatten(-1, (parts, n)))
    return torch.stack(found, 1)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n", [1, 5, 48])
@pytest.mark.parametrize("case", CASES)
def test_chain_and_gradients_are_those_of_products_of_matrices(case: tuple[Any, ...], n: int, threads: int) -> None:
    given = problem(case, n)
    tensors = [each for each in given if each is not None]
    for each in tensors:
        each.requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        chain = chain_of(*given)
        grad = torch.randn(chain.shape, dtype=chain.dtype)
        found = torch.autograd.grad(chain, tensors, grad, materialize_grads=True, allow_unused=True)
    finally:
        torch.set_num_threads(before)
    expected = by_matrices(*given)
    wanted = torch.autograd.grad(expected, tensors, grad, materialize_grads=True, allow_unused=True)
    for own, right in ((chain, expected), *zip(found, wanted, strict=True)):
        torch.testing.assert_close(own, right, rtol=1e-12, atol=1e-12 * max(1.0, right.detach().norm().item()))


@pytest.mark.parametrize("case", CASES)
def test_large_enough_for_several_threads(case: tuple[Any, ...]) -> None:
    given = problem(case, 130, torch.float32)
    chain = chain_of(*given)
    wide: Any = [None if each is None else each.double() for each in given]
    expected = by_matrices(*wide)
    torch.testing.assert_close(chain.double(), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("case", CASES[:6])
def test_kernels_beside_the_operations_of_other_devices(case: tuple[Any, ...]) -> None:
    """What a device without kernels runs, by the op's own arguments."""
    given = problem(case, 9)
    chain = native.driven_walks(*given, ALPHA)
    torch.testing.assert_close(
        family._chain(given[0], given[1], given[2], given[3], ALPHA), chain, rtol=1e-12, atol=1e-12
    )
    grad = torch.randn(chain.shape, dtype=chain.dtype)
    for of_gains in (False, True):
        arguments = grad, chain, *given[:3], ALPHA, of_gains
        found = native.driven_walks_backward(*arguments)
        for own, right in zip(found, family._chain_backward(*arguments), strict=True):
            torch.testing.assert_close(own, right, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("case", [CASES[1], CASES[3], CASES[5]])
def test_derivatives_of_both_orders(case: tuple[Any, ...]) -> None:
    given = problem(case, 2)
    given = [each.requires_grad_() for each in given]
    assert torch.autograd.gradcheck(chain_of, given, check_batched_grad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *own: chain_of(*own).square(), given, fast_mode=True)


@pytest.mark.parametrize("case", CASES[:6])
def test_opcheck(case: tuple[Any, ...]) -> None:
    given = problem(case, 4)
    torch.library.opcheck(native.driven_walks.default, (*given, ALPHA))
    chain = native.driven_walks(*given, ALPHA)
    for of_gains in (False, True):
        arguments = torch.ones_like(chain), chain, *given[:3], ALPHA, of_gains
        torch.library.opcheck(native.driven_walks_backward.default, arguments)


def test_vmap() -> None:
    given = problem(CASES[5], 4)
    stacked = [torch.stack([each, 2 * each]) for each in given]
    found = torch.func.vmap(chain_of)(*stacked)
    for at in range(2):
        torch.testing.assert_close(found[at], chain_of(*(each[at] for each in stacked)))


def test_layouts_and_runs_give_the_same_bits() -> None:
    given = problem(CASES[5], 33)
    chain = chain_of(*given)
    strided = [each.unsqueeze(-1).expand(*each.shape, 2).contiguous()[..., 0] for each in given]
    assert not strided[0].is_contiguous()
    assert torch.equal(chain_of(*strided), chain)


def test_nan_comes_out() -> None:
    given = problem(CASES[0], 5)
    given[0][2, 3] = torch.nan
    chain = chain_of(*given)
    assert chain[0].isfinite().all()
    assert chain[1, ..., 3].isnan().all()


@pytest.mark.parametrize(
    ("at", "shape", "message"),
    [
        (0, (6, 4), "weight_hh must be (gates x n, n), got (6, 4)"),
        (1, (2, 1, 1, 5), "gains must be (hops, count, parts, 4), got (2, 1, 1, 5)"),
        (2, (2, 1, 1, 1, 5), "carries must be (2, 1, 1, 1, 4), got (2, 1, 1, 1, 5)"),
        (3, (2, 1, 3, 4), "entering must be (1 or 3, 1, width, 4), got (2, 1, 3, 4)"),
    ],
)
def test_what_does_not_fit_is_refused(at: int, shape: tuple[int, ...], message: str) -> None:
    given = [torch.ones(4, 4), torch.ones(2, 1, 1, 4), torch.ones(2, 1, 1, 1, 4), torch.ones(1, 1, 3, 4)]
    given[at] = torch.ones(shape)
    with pytest.raises(RuntimeError, match=re.escape(message)):
        native.driven_walks(*given, 1.0)

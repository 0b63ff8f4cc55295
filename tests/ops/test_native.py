"""The kernels over ragged sizes and on several threads, against the definitions in float64.

`make sanitize` runs this file, so it needs torch and rrnn_ext alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Barrier
from typing import Any

import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from torch import Tensor

from rrnn_ext import reference
from rrnn_ext.ops.finite_walks import Chain

pytestmark = pytest.mark.native

SIZES = (0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 65, 129, 257)
WIDTHS = (0, 1, 2, 3, 5, 8, 9, 33)
HOPS = (1, 2, 3, 7, 40)
DTYPES = (torch.float32, torch.float64)
# Of the sum of the absolute values of all terms.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}
MODES: dict[str, dict[str, Any]] = {"sum": {}, "weighted": {"weighted": True}, "per hop": {"per_hop": True}}
# Work enough for two threads, kFlopsPerThread (csrc/cpu/algorithms/team.h), and for the widest vectors
# (csrc/cpu/kernels/kernels.cpp).
FLOPS_FOR_TWO_THREADS = 2 * 4e6
ALPHA = 0.875


@dataclass(frozen=True)
class Problem:
    """Random weights of one graph or of a batch, rounded to float32 so that both dtypes have the same numbers."""

    n: int
    i: int | None
    o: int | None
    hops: int
    batch: int | None = None
    rectify: bool = False
    per_hop: bool = False
    weighted: bool = False

    def flops(self) -> float:
        """As in csrc/cpu/algorithms/finite_walks.h: the narrower side's vectors through weight_hh."""
        width = min(size for size in (self.i, self.o) if size is not None)
        return 2.0 * self.n**2 * width * self.hops

    def tensors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """weight_hh, whose absolute row sums are below one, weight_in, weight_out and hop_weights."""
        generator = torch.Generator().manual_seed(self.n)
        rows = () if self.batch is None else (self.batch,)

        def uniform(*shape: int) -> Tensor:
            return (2 * torch.rand(*rows, *shape, generator=generator) - 1).to(DEVICE, dtype)

        n = self.n
        # A shift by one unit keeps long walks as heavy as short ones.
        weight_hh = (0.3 / max(n, 1)) * uniform(n, n) + 0.65 * torch.eye(n, dtype=dtype, device=DEVICE).roll(1, 0)
        weight_in = None if self.i is None else uniform(n, self.i)
        weight_out = None if self.o is None else uniform(self.o, n)
        return weight_hh, weight_in, weight_out, uniform(self.hops) if self.weighted else None

    def options(self) -> tuple[float, int, bool, bool]:
        return ALPHA, self.hops, self.rectify, self.per_hop

    def chain(self) -> Chain:
        """Both sides' vectors where the device has a way to use them."""
        sides = self.i, self.o
        if None in sides or self.per_hop or self.weighted:
            return Chain.narrow
        few = max(size or 0 for size in sides) <= 64
        on_cuda = DEVICE.type == "cuda" or CUDA_EMULATED
        return Chain.both if (few and on_cuda) or sides == (1, 1) else Chain.narrow

    def definition(self, weights: list[Tensor], hop_weights: Tensor | None, rectify: bool) -> Tensor:
        """walks (..., terms, o, i) of those weights that are given."""
        weight_hh, *sides = weights
        weight_in = None if self.i is None else sides[0]
        weight_out = None if self.o is None else sides[-1]
        terms = reference.hop_decomposition(
            weight_hh, weight_in, weight_out, hops=self.hops, alpha=ALPHA, rectify=rectify
        )
        if self.hops == 1:
            terms = terms.expand(*weights[0].shape[:-2], *terms.shape[-3:])
        if self.per_hop:
            return terms
        return (terms if hop_weights is None else hop_weights[..., None, None] * terms).sum(-3, keepdim=True)

    def truth(self, grad_walks: Tensor) -> tuple[Tensor, list[Tensor]]:
        """walks and the gradients of the given weights, in float64."""
        weight_hh, weight_in, weight_out, hop_weights = self.tensors(torch.float64)
        given = [weight.requires_grad_() for weight in (weight_hh, weight_in, weight_out) if weight is not None]
        walks = self.definition(given, hop_weights, self.rectify)
        gradients = torch.autograd.grad(walks, given, grad_walks.double(), materialize_grads=True)
        return walks.detach(), list(gradients)

    def scales(self, grad_walks: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The sums of the absolute values of the terms of `truth`."""
        weight_hh, weight_in, weight_out, hop_weights = self.tensors(torch.float64)
        given = [weight.abs().requires_grad_() for weight in (weight_hh, weight_in, weight_out) if weight is not None]
        walks = self.definition(given, None if hop_weights is None else hop_weights.abs(), False)
        gradients = torch.autograd.grad(walks, given, grad_walks.double().abs(), materialize_grads=True)
        return walks.detach(), list(gradients)


def upstream(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Eighths, exact in every dtype, none zero."""
    generator = torch.Generator().manual_seed(len(shape))
    steps = torch.randint(1, 9, shape, generator=generator) * (2 * torch.randint(0, 2, shape, generator=generator) - 1)
    return (steps / 8).to(DEVICE, dtype)


def run(problem: Problem, dtype: torch.dtype) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
    """walks with and without a chain, the gradients of what is given, and the upstream gradient of those."""
    *weights, hop_weights = problem.tensors(dtype)
    graph = (*weights, hop_weights, *problem.options())
    walks, chain = torch.ops.rrnn_ext.finite_walks(*graph, problem.chain())
    without_chain, nothing = torch.ops.rrnn_ext.finite_walks(*graph, Chain.none)
    assert nothing.numel() == 0
    grad_walks = upstream(walks.shape, dtype)
    gradients = torch.ops.rrnn_ext.finite_walks_backward(grad_walks, chain, *graph)
    given = [gradient for gradient, weight in zip(gradients, weights, strict=True) if weight is not None]
    return walks, without_chain, given, grad_walks


def assert_near(what: str, actual: Tensor, expected: Tensor, scale: Tensor) -> None:
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    if actual.numel() == 0:
        return
    error, bound = (actual.double() - expected).abs(), TOLERANCE[actual.dtype] * scale
    wrong = ~(error <= bound)
    assert not wrong.any(), f"{what}: {int(wrong.sum())} of {wrong.numel()} off by up to {float(error.max()):.3g}"


def check(problem: Problem, dtype: torch.dtype) -> None:
    walks, without_chain, gradients, grad_walks = run(problem, dtype)
    true_walks, true_gradients = problem.truth(grad_walks)
    scale, gradient_scales = problem.scales(grad_walks)
    assert_near(f"walks of {problem}", walks, true_walks, scale)
    assert_near(f"walks of {problem} without a chain", without_chain, true_walks, scale)
    for actual, expected, bound in zip(gradients, true_gradients, gradient_scales, strict=True):
        assert_near(f"gradient {tuple(actual.shape)} of {problem}", actual, expected, bound)


def sides(width: int) -> Iterator[tuple[int | None, int | None]]:
    """(i, o) whose chains carry `width` vectors, from the inputs and from the outputs."""
    wider = width + 1 + width % 4
    yield from ((width, width), (width, wider), (wider, width), (width, None), (None, width))


# Those whose kernels run in reasonable time where a GPU is emulated.
SIZES_TO_EMULATE = [pytest.param(n, marks=pytest.mark.emulated) if n in (3, 17, 33) else n for n in SIZES]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", SIZES_TO_EMULATE)
def test_ragged_sizes(n: int, mode: str, set_threads: Callable[[int], None]) -> None:
    """Two of the five kinds of sides at each width: which, and what else, goes round with n and mode."""
    set_threads(1)
    first = n + 2 * list(MODES).index(mode)
    for at, width in enumerate(WIDTHS):
        for turn in (first + at, first + at + 1):
            i, o = list(sides(width))[turn % 5]
            problem = Problem(n, i, o, HOPS[(turn + n) % len(HOPS)], rectify=turn % 2 == 0, **MODES[mode])
            check(problem, DTYPES[turn // 2 % 2])


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("n", SIZES_TO_EMULATE)
def test_ragged_sizes_of_a_single_pathway(n: int, rectify: bool, set_threads: Callable[[int], None]) -> None:
    """Both chains in one pass."""
    set_threads(1)
    for at, hops in enumerate(HOPS):
        check(Problem(n, 1, 1, hops, rectify=rectify), DTYPES[(n + at) % 2])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [33, 64, 65, 79, 129, 257, 520])
def test_sizes_for_two_threads(n: int, mode: str, set_threads: Callable[[int], None]) -> None:
    set_threads(2)
    problems = []
    for at, width in enumerate((*WIDTHS[1:], 129)):
        i, o = list(sides(width))[(at + n) % 5]
        problem = Problem(n, i, o, 1, rectify=at % 2 == 0, **MODES[mode])
        hops = max(2, math.ceil(FLOPS_FOR_TWO_THREADS / problem.flops()))
        if hops <= 40:
            problems.append(replace(problem, hops=hops))
    assert problems
    for at, problem in enumerate(problems):
        check(problem, DTYPES[at // 2 % 2])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("batch", "n", "i", "o", "hops"),
    [
        (0, 5, 2, 1, 3),
        (3, 0, 2, 1, 3),
        (3, 5, 0, 1, 3),
        (None, 420, 1, 1, 40),
        (1, 257, 3, 2, 40),  # fewer graphs than threads
        (3, 129, 2, 5, 41),  # an odd one out
        (13, 129, 1, 1, 20),
        (701, 17, 8, 9, 3),
        (701, 17, 1, 1, 20),
        (260, 33, None, 2, 8),
        (260, 33, 2, None, 8),
    ],
)
def test_batches(
    batch: int | None,
    n: int,
    i: int | None,
    o: int | None,
    hops: int,
    mode: str,
    threads: int,
    set_threads: Callable[[int], None],
) -> None:
    set_threads(threads)
    turn = threads + list(MODES).index(mode)
    problem = Problem(n, i, o, hops, batch, rectify=turn % 2 == 0, **MODES[mode])
    flops = problem.flops() * (1 if batch is None else batch)
    assert flops == 0 or flops >= FLOPS_FOR_TWO_THREADS
    check(problem, DTYPES[n % 2])


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("batch", "n"), [(None, 3), (None, 129), (0, 3), (4, 0), (4, 17), (150, 33)])
def test_penalty(batch: int | None, n: int, mode: str, squared: bool) -> None:
    """The norm and the upstream gradient it hands to the walks."""
    cases = [(3, 2, None), (1, 1, None), (2, 3, False), (5, None, batch is not None), (0, 2, False)]
    for at, (i, o, own_pairs) in enumerate(cases):
        dtype = DTYPES[(at + squared) % 2]
        problem = Problem(n, i, o, 6, batch, squared, **MODES[mode])
        *weights, hop_weights = problem.tensors(dtype)
        if problem.per_hop:
            hop_weights = upstream(torch.Size([6]) if batch is None else torch.Size([batch, 6]), dtype)
        rows = () if batch is None else (batch,)
        pairs = n if o is None else o, n if i is None else i
        pair_weights = (
            None if own_pairs is None else upstream(torch.Size([*(rows if own_pairs else ()), *pairs]), dtype).abs()
        )
        graph = (*weights, hop_weights, pair_weights, *problem.options(), int(squared))
        value, walks, chain = torch.ops.rrnn_ext.finite_walks_penalty(*graph, problem.chain())
        value_alone, _, nothing = torch.ops.rrnn_ext.finite_walks_penalty(*graph, Chain.none)
        assert nothing.numel() == 0
        grad_value = upstream(torch.Size(rows), dtype)
        gradients = torch.ops.rrnn_ext.finite_walks_penalty_backward(grad_value, walks, chain, *graph)

        # The sign of a walk near zero is a matter of rounding: the definition takes over the walks that came out.
        factors = torch.ones_like(walks) if pair_weights is None else pair_weights.unsqueeze(-3).expand_as(walks)
        if problem.per_hop and hop_weights is not None:
            factors = factors * hop_weights[..., None, None]
        sizes = walks.square() if squared else walks.abs()
        expected = (factors * sizes).double().sum((-3, -2, -1))
        bound = (factors * sizes).double().abs().sum((-3, -2, -1))
        assert_near(f"penalty of {problem}", value, expected, bound)
        grad_walks = grad_value[..., None, None, None] * factors * (2 * walks if squared else walks.sign())
        true_walks, true_gradients = problem.truth(grad_walks)
        scale, gradient_scales = problem.scales(grad_walks)
        assert_near(f"walks of {problem}", walks, true_walks, scale)
        size_scale = (factors.abs() * (scale.square() if squared else scale)).double().sum((-3, -2, -1))
        assert_near(f"penalty of {problem} without a chain", value_alone, expected, 2 * size_scale)
        given = [gradient for gradient, weight in zip(gradients, weights, strict=True) if weight is not None]
        for actual, true, limit in zip(given, true_gradients, gradient_scales, strict=True):
            assert_near(f"penalty gradient {tuple(actual.shape)} of {problem}", actual, true, limit)


@pytest.mark.parametrize(
    "problem",
    [
        Problem(257, 3, 2, 40),
        Problem(420, 1, 1, 40, rectify=True),
        Problem(257, 2, None, 40, per_hop=True),
        Problem(33, 2, 3, 8, batch=260),
    ],
    ids=str,
)
def test_two_callers_at_once(problem: Problem, set_threads: Callable[[int], None]) -> None:
    """Each caller's team of two threads keeps to itself: the numbers are the lone caller's, bit by bit."""
    set_threads(2)
    assert (problem.batch or 1) * problem.flops() >= FLOPS_FOR_TWO_THREADS

    def results() -> list[Tensor]:
        walks, without_chain, gradients, _ = run(problem, torch.float32)
        return [walks, without_chain, *gradients]

    alone, start = results(), Barrier(2)

    def caller() -> None:
        torch.set_num_threads(2)
        start.wait()
        for _ in range(10):
            assert all(map(torch.equal, results(), alone))

    with ThreadPoolExecutor(2) as pool:
        for call in [pool.submit(caller) for _ in range(2)]:
            call.result()


def converging(batch: int, n: int, dtype: torch.dtype) -> Tensor:
    """(batch, n, n), spectral radius at most 0.95 * ALPHA also of the absolute values."""
    weight_hh = Problem(n, 1, 1, 1, batch).tensors(dtype)[0]
    return torch.where(weight_hh.abs() < 0.01 / max(n, 1), 0.0, weight_hh)  # and some are pruned


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("threads", "batch", "n"),
    [*((1, 1 + n % 3, n) for n in SIZES), (2, 0, 5), (2, 1, 520), (2, 7, 129), (2, 100, 33)],
)
def test_infinite_sums_of_a_single_pathway(
    threads: int, batch: int, n: int, dtype: torch.dtype, set_threads: Callable[[int], None]
) -> None:
    set_threads(threads)
    assert threads == 1 or batch * 80 * n**2 >= FLOPS_FOR_TWO_THREADS or not batch  # Pathway::flops
    weight_hh = converging(batch, n, dtype)
    sources, targets = 1.125 + upstream(torch.Size([2, batch, n]), dtype)
    x, y, found = torch.ops.rrnn_ext.pathway(weight_hh, sources, targets, ALPHA)
    found = found == 1  # else the iteration leaves it to others
    assert found.numel() * n == 0 or found.double().mean() > 0.3
    scale = upstream(torch.Size([batch]), dtype)
    gradient = torch.ops.rrnn_ext.pathway_backward(scale, weight_hh, x, y, ALPHA)

    w, u, v = (each.double().requires_grad_() for each in (weight_hh, sources, targets))
    total = reference.resolvent(w, u[..., None], v[..., None, :], alpha=ALPHA, rectify=True) / ALPHA**2
    truth = torch.autograd.grad(total, (w, u, v), scale.double()[:, None, None], materialize_grads=True)
    # Rows of (I - A)^{-1} sum to less than 6, and rounding is a share of the largest element.
    for what, actual, expected in (
        ("gradient", gradient, truth[0]),
        ("y", scale[:, None] * y, truth[1]),
        ("x", scale[:, None] * x, truth[2]),
    ):
        actual, expected = actual[found], expected[found]
        assert_near(f"{what} at n = {n}", actual, expected, expected.abs().amax() if expected.numel() else expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize(
    ("threads", "batch", "n"),
    [*((1, 1 + n % 3, n) for n in SIZES), (2, 0, 5), (2, 3, 65), (2, 23, 33), (2, 1600, 8)],
)
def test_infinite_sums_of_all_pairs(
    threads: int, batch: int, n: int, rectify: bool, dtype: torch.dtype, set_threads: Callable[[int], None]
) -> None:
    set_threads(threads)
    assert threads == 1 or batch * 10 * n**3 >= FLOPS_FOR_TWO_THREADS / 1.01 or not batch  # SmallGraph::flops
    weight_hh = converging(batch, n, dtype)
    pair_weights = upstream(torch.Size([n, n]), dtype).abs()
    options = (pair_weights, ALPHA, rectify, True)
    value, walks, converges = torch.ops.rrnn_ext.all_pairs_penalty(weight_hh, *options)
    assert bool((converges == 1).all())
    grad_value = upstream(torch.Size([batch]), dtype)
    gradient = torch.ops.rrnn_ext.all_pairs_penalty_backward(grad_value, walks, weight_hh, *options)

    w = weight_hh.double().requires_grad_()
    true_walks = reference.resolvent(w, alpha=ALPHA, rectify=rectify)
    true_value = (pair_weights.double() * true_walks.square()).sum((-2, -1))
    (true_gradient,) = torch.autograd.grad(true_value, w, grad_value.double())
    for what, actual, expected in (
        ("walks", walks, true_walks.detach()),
        ("value", value, true_value.detach()),
        ("gradient", gradient, true_gradient),
    ):
        bound = expected.abs().amax() if expected.numel() else expected
        assert_near(f"{what} at n = {n}", actual, expected, 10 * bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 18, 66])
def test_infinite_sums_of_all_pairs_with_pivots_of_zero(n: int, dtype: torch.dtype) -> None:
    """I - A begins with zeros on its diagonal, and is regular; the spectral radius is a half."""
    units = torch.arange(n // 2)
    a = torch.zeros(1, n, n, dtype=torch.float64)
    a[0, units, units] = 1.0
    a[0, units, units + n // 2] = 0.5
    a[0, units + n // 2, units] = -0.5
    value, walks, converges = torch.ops.rrnn_ext.all_pairs_penalty(a.to(DEVICE, dtype), None, 1.0, False, 0)
    expected = reference.resolvent(a)
    assert converges.tolist() == [1]
    torch.testing.assert_close(walks.cpu().double(), expected, rtol=0, atol=10 * TOLERANCE[dtype])
    torch.testing.assert_close(value.cpu().double(), expected.abs().sum((-2, -1)), rtol=10 * TOLERANCE[dtype], atol=0)

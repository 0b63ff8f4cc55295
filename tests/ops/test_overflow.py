"""Finite sums that float32 or float64 overflows on the way to: on the CPU, what is finite comes out finite and right.

The oracle is the same sum in another unit: with W / s in place of W, and w_m s^m in place of w_m, nothing overflows,
and reference.py knows the rest in float64. For s, a power of two, that is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from torch import Tensor

import rrnn_ext
from rrnn_ext import reference

pytestmark = pytest.mark.skipif(
    DEVICE.type == "cuda" or CUDA_EMULATED, reason="CUDA kernels do not redo what overflows"
)

HOPS = 40
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
DTYPES = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float32", "float64"])
SIDES = pytest.mark.parametrize(
    ("inputs", "outputs"), [(2, 3), (3, 2), (1, 1), (2, None), (None, 2), (None, None)], ids=str
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float32, generator=torch.Generator().manual_seed(seed)).double()


def sides(n: int, inputs: int | None, outputs: int | None) -> tuple[Tensor | None, Tensor | None]:
    return None if inputs is None else drawn(n, inputs, seed=1), None if outputs is None else drawn(outputs, n, seed=2)


def lag_weights(decay: int, growth: int = 0, first: int = 0) -> Tensor:
    """Of either sign, smaller by 2^decay from lag to lag, and times 2^(growth (first + lag))."""
    lags = torch.arange(HOPS, dtype=torch.float64)
    return drawn(HOPS, seed=3) * torch.exp2(growth * (first + lags) - decay * lags)


def of_radius_one(n: int) -> Tensor:
    """Even where it is rectified."""
    matrix = drawn(n, n)
    return (matrix / torch.linalg.eigvals(matrix.abs()).abs().max()).float().double()


def run(
    function: Callable[..., Tensor], weights: tuple[Tensor | None, ...], grad: float = 1.0, **options: Any
) -> tuple[Tensor, list[Tensor]]:
    leaves = [None if weight is None else weight.clone().requires_grad_() for weight in weights]
    value = function(*leaves, **options)
    given = [leaf for leaf in leaves if leaf is not None]
    return value.detach(), list(torch.autograd.grad((grad * value).sum(), given))


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Infinite where the expected number is beyond the range; else within tolerance of the largest that is not."""
    representable = expected.to(actual.dtype)
    inside = representable.isfinite()
    assert torch.equal(actual[~inside], representable[~inside])
    if inside.any():
        scale = expected[inside].abs().max().item()
        torch.testing.assert_close(actual[inside].double(), expected[inside], rtol=0, atol=tolerance * scale)


def cast(weights: tuple[Tensor | None, ...], dtype: torch.dtype) -> tuple[Tensor | None, ...]:
    return tuple(None if weight is None else weight.to(dtype) for weight in weights)


@SIDES
@DTYPES
@pytest.mark.parametrize("rectify", [False, True], ids=["signed", "rectified"])
@pytest.mark.parametrize("per_hop", [False, True], ids=["total", "per hop"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_growing_walks_with_shrinking_weights(
    inputs: int | None, outputs: int | None, rectify: bool, per_hop: bool, norm: str, dtype: torch.dtype
) -> None:
    """Walks overflow; where each is squared and then weighted, the squares do."""
    squares = per_hop and norm == "l2"
    growth, decay = {torch.float32: (2 if squares else 4, 3), torch.float64: (15 if squares else 32, 25)}[dtype]
    n, weights = 6, lag_weights(decay)
    unit, (weight_in, weight_out) = of_radius_one(n), sides(n, inputs, outputs)
    options: dict[str, Any] = {"rectify": rectify, "per_hop": per_hop, "norm": norm, "hops": HOPS}
    scale = 2.0**growth
    first = 1 if inputs is None and outputs is None else 0  # the exponent of A in the first walk
    actual, gradients = run(
        rrnn_ext.resolvent_penalty,
        cast((scale * unit, weight_in, weight_out), dtype),
        hop_weights=weights.to(dtype),
        **options,
    )
    expected, true_gradients = run(
        reference.resolvent_penalty,
        (unit, weight_in, weight_out),
        hop_weights=lag_weights(decay, (2 if squares else 1) * growth, first),
        **options,
    )
    assert actual.isfinite()
    assert_near(actual, expected, TOLERANCE[dtype])
    true_gradients[0] /= scale
    for gradient, true_gradient in zip(gradients, true_gradients, strict=True):
        assert_near(gradient, true_gradient, TOLERANCE[dtype])


@SIDES
@DTYPES
def test_each_walk_that_is_representable(inputs: int | None, outputs: int | None, dtype: torch.dtype) -> None:
    """The later ones are beyond the range; the gradient by the first ones is not."""
    n, growth = 6, {torch.float32: 4, torch.float64: 32}[dtype]
    unit, (weight_in, weight_out) = 4 * of_radius_one(n), sides(n, inputs, outputs)
    first = 1 if inputs is None and outputs is None else 0
    weights: tuple[Any, ...] = cast((2.0**growth * unit, weight_in, weight_out), dtype)
    terms = rrnn_ext.hop_decomposition(*weights, hops=HOPS)
    expected = reference.hop_decomposition(unit, weight_in, weight_out, hops=HOPS)
    for lag in range(HOPS):
        half = growth * (lag + first) // 2  # the whole exponent may be beyond the range where the walk is not
        rest = growth * (lag + first) - half
        assert_near(terms[lag], expected[lag] * 2.0**half * 2.0**rest, TOLERANCE[dtype])
    assert not terms.isnan().any()
    assert terms[-1].isinf().any()

    wanted = 5
    _, gradients = run(
        lambda *given, **options: rrnn_ext.hop_decomposition(*given, **options)[:wanted], weights, hops=HOPS
    )
    _, true_gradients = run(reference.hop_decomposition, cast(weights, torch.float64), hops=wanted)
    for gradient, true_gradient in zip(gradients, true_gradients, strict=True):
        assert_near(gradient, true_gradient, TOLERANCE[dtype])


@DTYPES
@pytest.mark.parametrize("sources", [1, 2])
def test_a_hump(sources: int, dtype: torch.dtype) -> None:
    """The only walk grows to 2^2000 and shrinks back to 1."""
    half, gain = 100, 2.0**20
    n = 2 * half + 1
    links = torch.cat([torch.full((half,), gain), torch.full((half,), 1 / gain)]).to(dtype)
    weight_hh = torch.diag(links, -1).requires_grad_()
    weight_in = torch.zeros(n, sources, dtype=dtype)
    weight_in[0, 0] = 1
    weight_out = torch.zeros(sources, n, dtype=dtype)
    weight_out[0, -1] = 1
    value = rrnn_ext.resolvent_penalty(weight_hh, weight_in, weight_out, hops=n, rectify=True)
    assert value == 1
    (gradient,) = torch.autograd.grad(value, weight_hh)
    assert torch.equal(gradient.diagonal(-1), 1 / links)


@DTYPES
def test_a_chain_that_only_the_gradient_needs(dtype: torch.dtype) -> None:
    """Of a single pathway: y overflows, v . x does not."""
    n, hops, big = 7, 12, 2.0 ** {torch.float32: 120, torch.float64: 1000}[dtype]
    weight_hh, (weight_in, weight_out) = 8 * drawn(n, n), sides(n, 1, 1)
    assert weight_in is not None
    assert weight_out is not None
    expected, true_gradients = run(reference.resolvent_penalty, (weight_hh, weight_in, weight_out), hops=hops)
    actual, gradients = run(
        rrnn_ext.resolvent_penalty, cast((weight_hh, weight_in / big, weight_out * big), dtype), hops=hops
    )
    assert_near(actual, expected, TOLERANCE[dtype])
    assert_near(gradients[0], true_gradients[0], TOLERANCE[dtype])
    assert gradients[1].isinf().any()  # by u: that is y, and beyond the range
    assert not gradients[1].isnan().any()
    assert_near(gradients[2] * big, true_gradients[2], TOLERANCE[dtype])


@DTYPES
@pytest.mark.parametrize("sign", [1, -1], ids=["large alpha", "small alpha"])
def test_factors_that_cancel(sign: int, dtype: torch.dtype) -> None:
    """Of a large alpha the square overflows, and with a small one products of weights do."""
    scale = 2.0 ** (sign * {torch.float32: 100, torch.float64: 800}[dtype])
    graph = 0.7 * drawn(6, 6), drawn(6, 2, seed=1), drawn(3, 6, seed=2)
    actual, gradients = run(
        rrnn_ext.resolvent_penalty, tuple((weight / scale).to(dtype) for weight in graph), hops=6, alpha=scale
    )
    expected, true_gradients = run(reference.resolvent_penalty, graph, hops=6)
    assert_near(actual, expected, TOLERANCE[dtype])
    for gradient, true_gradient in zip(gradients, true_gradients, strict=True):
        assert_near(gradient / scale, true_gradient, TOLERANCE[dtype])


def test_other_graphs_of_the_batch_keep_their_bits() -> None:
    weight_hh, weight_in, weight_out = (drawn(*shape).float() for shape in ((3, 9, 9), (3, 9, 2), (3, 3, 9)))
    weights = 2.0 ** (-3 * torch.arange(HOPS))
    options: dict[str, Any] = {"hops": HOPS, "hop_weights": weights, "reduction": "none"}
    weight_hh[0] /= 4
    alone, gradients_alone = run(rrnn_ext.resolvent_penalty, (weight_hh[:1], weight_in[:1], weight_out[:1]), **options)
    weight_hh[1] *= 20
    weight_hh[2, 0, 0] = torch.inf
    together, gradients = run(rrnn_ext.resolvent_penalty, (weight_hh, weight_in, weight_out), **options)
    assert torch.equal(together[:1], alone)
    assert together[1].isfinite()
    assert not together[2].isfinite()
    for gradient, gradient_alone in zip(gradients, gradients_alone, strict=True):
        assert torch.equal(gradient[:1], gradient_alone)
        assert gradient[1].isfinite().all()
        assert not gradient[2].isfinite().all()


@pytest.mark.parametrize(("inputs", "outputs"), [(9, 5), (1, 1), (24, 24)])
def test_by_several_threads(inputs: int, outputs: int, set_threads: Callable[[int], None]) -> None:
    set_threads(3)
    n = 600
    single = inputs == 1  # without weights, and with a chain from the output that overflows
    scale, big = (1.0, 2.0**126) if single else (16.0, 1.0)
    unit, (weight_in, weight_out) = drawn(n, n) / n**0.5, sides(n, inputs, outputs)
    assert weight_in is not None
    assert weight_out is not None
    actual, gradients = run(
        rrnn_ext.resolvent_penalty,
        cast((scale * unit, weight_in / big, weight_out * big), torch.float32),
        hops=HOPS,
        hop_weights=None if single else lag_weights(3).float(),
    )
    expected, true_gradients = run(
        reference.resolvent_penalty,
        ((unit.float() if single else (scale * unit).float() / scale).double(), weight_in, weight_out),
        hops=HOPS,
        hop_weights=None if single else lag_weights(3, 4),
    )
    assert_near(actual, expected, 1e-4)
    assert_near(gradients[0] * scale, true_gradients[0], 1e-4)
    assert_near(gradients[2] * big, true_gradients[2], 1e-4)


@DTYPES
def test_weights_that_are_no_numbers_are_not_redone(dtype: torch.dtype) -> None:
    weights = lag_weights(3).to(dtype)
    for broken in (torch.inf, torch.nan):
        for at in range(3):
            graph = [100 * drawn(5, 5), drawn(5, 2, seed=1), drawn(3, 5, seed=2)]
            graph[at][0, 0] = broken
            value, gradients = run(
                rrnn_ext.resolvent_penalty, cast(tuple(graph), dtype), hops=HOPS, hop_weights=weights
            )
            assert not value.isfinite()
            assert not all(bool(gradient.isfinite().all()) for gradient in gradients)


@DTYPES
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_pairs_without_weight_and_with_a_small_one(norm: str, dtype: torch.dtype) -> None:
    """One pathway is beyond the range, another one's square is."""
    hops, (far, exponent, small) = 16, {torch.float32: (120, 70, -80), torch.float64: (1015, 600, -800)}[dtype]
    weight_hh = 2 * torch.eye(2, dtype=torch.float64)
    weight_in = torch.tensor([[2.0**far, 0.0], [0.0, 2.0**exponent]], dtype=torch.float64)
    value, (grad_hh, grad_in) = run(
        lambda weight_hh, weight_in, **options: rrnn_ext.resolvent_penalty(weight_hh, weight_in, None, **options),
        cast((weight_hh, weight_in), dtype),
        hops=hops,
        pair_weights=torch.tensor([[0.0, 1.0], [1.0, 2.0**small]], dtype=dtype),
        norm=norm,
    )
    total, slope = 2.0**hops - 1, sum(m * 2.0 ** (m - 1) for m in range(hops))  # of one input, and its derivative
    if norm == "l1":
        assert value == total * 2.0 ** (exponent + small)
        assert grad_in[1, 1] == total * 2.0**small
        assert grad_hh[1, 1] == slope * 2.0 ** (exponent + small)
    else:
        scale = 2.0 ** (exponent + small) * 2.0**exponent
        assert value.item() == pytest.approx(total**2 * scale, rel=1e-6)
        assert grad_in[1, 1].item() == pytest.approx(2 * total**2 * 2.0 ** (exponent + small), rel=1e-6)
        assert grad_hh[1, 1].item() == pytest.approx(2 * total * slope * scale, rel=1e-6)
    assert grad_in[0, 0] == grad_hh[0, 0] == 0

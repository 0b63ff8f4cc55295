"""The CUDA kernels of finite walks, on a GPU or emulated: every way in which a matrix is laid out on blocks and tiles.

Emulated, the size of the device decides which way is taken, as csrc/cuda/kernels/chain_plan.cu says. On a GPU the same
problems take fewer ways, and the larger ones of test_native.py take the rest.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from test_native import Problem, check, run

from rrnn_ext.ops.finite_walks import Chain

pytestmark = [
    pytest.mark.skipif(DEVICE.type == "cpu" and not CUDA_EMULATED, reason="needs the CUDA ops"),
    pytest.mark.emulated,
]

ops = torch.ops.rrnn_ext
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
# Multiprocessors, bytes of shared memory of each, and blocks of the largest cluster.
LARGE, SMALL = 232448, 101376
DEVICES = {
    "one": (1, LARGE, 8),
    "small": (4, SMALL, 8),
    "many small": (12, SMALL, 8),
    "few": (3, LARGE, 8),
    "no clusters": (4, SMALL, 1),
}


@pytest.fixture(params=DEVICES)
def emulated_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name. A real GPU is what it is: one of them will do."""
    if DEVICE.type == "cuda" and request.param != "one":
        pytest.skip("a GPU that is there")
    multiprocessors, shared_bytes, cluster = DEVICES[request.param]
    monkeypatch.setenv("EMULATED_MULTIPROCESSORS", str(multiprocessors))
    monkeypatch.setenv("EMULATED_SHARED_BYTES", str(shared_bytes))
    monkeypatch.setenv("EMULATED_CLUSTER", str(cluster))
    return str(request.param)


@DTYPES
@pytest.mark.parametrize(
    "options",
    [
        {"n": 1, "i": 1, "o": 1, "hops": 2},
        {"n": 130, "i": 3, "o": 5, "hops": 4},  # tiles that end early, in both directions
        {"n": 264, "i": 1, "o": 1, "hops": 5, "rectify": True},  # rows of whole vectors
        {"n": 197, "i": 2, "o": None, "hops": 3},  # one direction alone
        {"n": 197, "i": None, "o": 2, "hops": 3, "weighted": True},
        {"n": 132, "i": 9, "o": 3, "hops": 3, "per_hop": True},  # two groups of vectors, or three
        {"n": 70, "i": 2, "o": 3, "hops": 4, "batch": 7},  # more graphs than there is room for at once
        {"n": 132, "i": 3, "o": 3, "hops": 1, "batch": 2, "weighted": True},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_layouts(options: dict[str, Any], dtype: torch.dtype, emulated_device: str) -> None:
    check(Problem(**options), dtype)


@DTYPES
@pytest.mark.parametrize(
    ("n", "width"), [(1, 2), (2, 1), (2, 16), (33, 3), (33, 16), (129, 4), (129, 9), (151, 7), (151, 16)]
)
def test_ragged_sizes(n: int, width: int, dtype: torch.dtype) -> None:
    check(Problem(n, width, width + 1, 3), dtype)


def test_sums_of_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than one lane gathers at once."""
    monkeypatch.setenv("EMULATED_MULTIPROCESSORS", "12")
    monkeypatch.setenv("EMULATED_CLUSTER", "1")
    check(Problem(580, 9, 5, 3), torch.float32)


@DTYPES
@pytest.mark.parametrize(
    "options",
    [
        {"i": 1, "o": 1},
        {"i": 2, "o": 9, "rectify": True},
        {"i": 3, "o": 1, "per_hop": True},
        {"i": 1, "o": 2, "batch": 2},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_walks_read_off_in_chunks_of_units(options: dict[str, Any], dtype: torch.dtype) -> None:
    check(Problem(n=515, hops=2, **options), dtype)


@DTYPES
def test_more_vectors_than_one_pass_serves(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATED_MULTIPROCESSORS", "2")
    check(Problem(65, 50, 37, 3, rectify=True), dtype)
    check(Problem(65, 70, 66, 2), dtype)


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 2), (3, 70)], ids=["both sides' chains", "one chain"])
@pytest.mark.parametrize("rectify", [False, True])
def test_a_nan_that_walks_pass_comes_out(inputs: int, outputs: int, rectify: bool) -> None:
    problem = Problem(33, inputs, outputs, 3, rectify=rectify)
    weight_hh, *graph = problem.tensors(torch.float32)
    weight_hh[32, 31] = torch.nan
    value, walks, _ = ops.finite_walks_penalty(weight_hh, *graph, None, 0.9, 3, rectify, False, 0, problem.chain())
    assert value.isnan()
    assert walks.isnan().any()


@DTYPES
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 2), (2, 5), (4, 4), (64, 1)])
def test_either_chain_gives_the_gradient(inputs: int, outputs: int, dtype: torch.dtype) -> None:
    *graph, _ = Problem(70, inputs, outputs, 4, batch=2, rectify=True).tensors(dtype)
    options = None, 0.9, 4, True, False
    found = []
    for kind, vectors in ((Chain.narrow, min(inputs, outputs)), (Chain.both, inputs + outputs)):
        walks, chain = ops.finite_walks(*graph, *options, kind)
        assert chain.shape == (2, 4, vectors, 70)
        found.append((walks, *ops.finite_walks_backward(walks.cos(), chain, *graph, *options)))
    for a, b in zip(*found, strict=True):
        tolerance = 1e-5 if dtype == torch.float32 else 1e-13
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * b.abs().max().item())


def test_both_chains_of_more_vectors_than_a_block_has() -> None:
    *graph, _ = Problem(70, 65, 65, 4).tensors(torch.float32)
    with pytest.raises(RuntimeError, match=r"chain_kind 2 \(both\) is for at most 64 .* on CUDA, got 65 and 65"):
        ops.finite_walks(*graph, None, 0.9, 4, True, False, Chain.both)


def test_the_same_bits_again(emulated_device: str) -> None:
    """Emulated, threads run in another order each time."""
    first, second = (run(Problem(133, 2, 3, 4), torch.float32) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(a, b) for a, b in zip(first[2], second[2], strict=True))


@DTYPES
@pytest.mark.parametrize("per_hop", [False, True])
@pytest.mark.parametrize("squared", [False, True])
def test_penalty(squared: bool, per_hop: bool, dtype: torch.dtype) -> None:
    """Against the norm of the walks that the op returns, which the tests above have checked, and its gradient."""
    # Hop by hop, a norm of more than one block.
    problem = Problem(100, None, 5, 70 if per_hop else 3, batch=2, per_hop=per_hop, weighted=True)
    *weights, hop_weights = problem.tensors(dtype)
    generator = torch.Generator().manual_seed(1)
    pair_weights = torch.rand(2, 5, 100, generator=generator).to(DEVICE, dtype)
    graph = (*weights, hop_weights)
    options = 0.9, problem.hops, True, per_hop
    value, walks, chain = ops.finite_walks_penalty(*graph, pair_weights, *options, int(squared), problem.chain())
    given = walks.clone().requires_grad_()
    sizes = given.square() if squared else given.abs()
    terms = (pair_weights[:, None] * sizes).sum((-2, -1))
    expected = ((hop_weights * terms) if per_hop else terms).sum(-1)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-5 if dtype == torch.float32 else 1e-13, atol=0)

    grad_value = torch.tensor([0.7, -1.3], dtype=dtype, device=DEVICE)
    (grad_walks,) = torch.autograd.grad(expected, given, grad_value)
    actual = ops.finite_walks_penalty_backward(grad_value, walks, chain, *graph, pair_weights, *options, int(squared))
    through_walks = ops.finite_walks_backward(grad_walks, chain, *graph, *options)
    for a, b in zip((actual[0], actual[2]), (through_walks[0], through_walks[2]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * b.abs().max().item())


@pytest.mark.parametrize("kind", [Chain.narrow, Chain.both], ids=lambda kind: kind.name)
@pytest.mark.parametrize("n", [64, 65, 130])
def test_the_penalty_of_a_sum_of_one_pathway(n: int, kind: Chain) -> None:
    """v' (I + A + A^2) u and its gradient, by hand."""
    weight_hh, weight_in, weight_out, _ = Problem(n, 1, 1, 3).tensors(torch.float64)
    assert weight_in is not None
    assert weight_out is not None
    graph = weight_hh, weight_in, weight_out, None, None
    options = 0.5, 3, False, False, 1
    value, walks, chain = ops.finite_walks_penalty(*graph, *options, kind)
    x = [weight_in, 0.5 * weight_hh @ weight_in]
    y = [weight_out.mT, 0.5 * weight_hh.mT @ weight_out.mT]
    walk = 0.25 * weight_out @ (x[0] + x[1] + 0.5 * weight_hh @ x[1])
    torch.testing.assert_close(value, walk.square().squeeze())
    grad_hh, grad_in, grad_out = ops.finite_walks_penalty_backward(
        torch.ones_like(value), walks, chain, *graph, *options
    )
    scale = 2 * walk * 0.25
    torch.testing.assert_close(grad_hh, 0.5 * scale * (y[0] @ (x[0] + x[1]).mT + y[1] @ x[0].mT))
    torch.testing.assert_close(grad_in, scale * (y[0] + y[1] + 0.5 * weight_hh.mT @ y[1]))
    torch.testing.assert_close(grad_out, scale * (x[0] + x[1] + 0.5 * weight_hh @ x[1]).mT)

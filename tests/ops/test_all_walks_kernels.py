"""The CUDA ops of infinite sums, on a GPU or emulated: against float64 LAPACK, and what they say of convergence."""

from __future__ import annotations

import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from support.launches import recorded
from torch import Tensor

from rrnn_ext.ops.finite_walks import Chain

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(DEVICE.type == "cpu" and not CUDA_EMULATED, reason="needs the CUDA ops"),
]

ops = torch.ops.rrnn_ext
ALPHA = 0.9
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
CHIP = 227 << 10  # shared memory that holds graphs of 128 units in float32, and of 64 in float64
SMALL_CHIP = 32 << 10  # here, graphs of more than 32 units go by tiles, as those of more than 128 do anywhere
LARGE = [300, 2100] if DEVICE.type == "cuda" else []  # too slow to emulate
DTYPES = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float32", "float64"])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def graphs(batch: int, n: int, radius: float, rectify: bool) -> Tensor:
    """(batch, n, n), float64, with this spectral radius of ALPHA phi(W)."""
    weight_hh = drawn(batch, n, n, seed=n)
    phi = weight_hh.abs() if rectify else weight_hh
    return weight_hh * (radius / ALPHA / torch.linalg.eigvals(phi).abs().amax(-1))[:, None, None]


def rotation(n: int, radius: float) -> Tensor:
    """A cycle through all units, whose eigenvalues all have this size."""
    return radius / ALPHA * torch.eye(n, dtype=torch.float64).roll(1, 0)


def upper(n: int) -> Tensor:
    """No walk is longer than n, but they grow before they end."""
    return 3 / n**0.5 * drawn(n, n).triu(1)


def inverse_minus_identity(weight_hh: Tensor, rectify: bool = False) -> Tensor:
    eye = torch.eye(weight_hh.shape[-1], dtype=torch.float64)
    weight_hh = weight_hh.cpu().double()
    return torch.stack(
        [torch.linalg.inv(eye - each) - eye for each in ALPHA * (weight_hh.abs() if rectify else weight_hh)]
    )


def assert_near(actual: Tensor, expected: Tensor, tolerance: float, least: float = 0) -> None:
    """Within tolerance of the largest element. That of walks is at least 1, of the identity that was taken off them."""
    scale = max(least, expected.abs().max().item())
    torch.testing.assert_close(actual.cpu().double(), expected, rtol=0, atol=tolerance * scale)


@DTYPES
@pytest.mark.parametrize(
    ("n", "chip"),
    [(1, CHIP), (31, CHIP), (32, CHIP), (60, CHIP), (101, CHIP), (33, SMALL_CHIP), (70, SMALL_CHIP), (133, CHIP)],
)
@pytest.mark.parametrize(
    ("rectify", "squared", "pairs"), [(False, False, None), (True, True, "own"), (False, True, "shared")]
)
def test_all_pairs(
    n: int,
    chip: int,
    rectify: bool,
    squared: bool,
    pairs: str | None,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EMULATED_SHARED_BYTES", str(chip))
    weight_hh = graphs(2, n, 0.7, rectify).to(DEVICE, dtype)
    shape = (2, n, n) if pairs == "own" else (n, n)
    pair_weights = None if pairs is None else drawn(*shape, seed=1).abs().to(DEVICE, dtype)
    options = ALPHA, rectify, int(squared)
    value, walks, converges = ops.all_pairs_penalty(weight_hh, pair_weights, *options)
    assert converges.tolist() == [1, 1]

    weights = weight_hh.cpu().double().requires_grad_()
    expected = inverse_minus_identity(weights, rectify)
    sizes = expected.square() if squared else expected.abs()
    expected_value = (sizes if pair_weights is None else pair_weights.cpu().double() * sizes).sum((-2, -1))
    assert_near(walks, expected.detach(), TOLERANCE[dtype], least=1)
    assert_near(value, expected_value.detach(), 5 * TOLERANCE[dtype])

    grad_value = torch.tensor([0.7, -1.3], device=DEVICE, dtype=dtype)
    grad_hh = ops.all_pairs_penalty_backward(grad_value, walks, weight_hh, pair_weights, *options)
    (expected_grad,) = torch.autograd.grad(expected_value, weights, grad_value.cpu().double())
    assert_near(grad_hh, expected_grad, TOLERANCE[dtype])


@DTYPES
@pytest.mark.parametrize(("n", "chip"), [(20, CHIP), (40, SMALL_CHIP)])
def test_each_graph_of_a_batch_converges_or_not_by_itself(
    n: int, chip: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMULATED_SHARED_BYTES", str(chip))
    not_finite = graphs(2, n, 0.5, False)
    not_finite[0, 1, 0] = torch.nan
    not_finite[1, 0, 1] = torch.inf
    numbers = torch.stack([graphs(1, n, 0.8, False)[0], 0.2 / n * drawn(n, n), rotation(n, 1 - 2e-4), upper(n)])
    diverging = torch.stack([graphs(1, n, 1.5, False)[0], rotation(n, 1.0), rotation(n, 1 + 1e-4)])
    weight_hh = torch.cat([numbers, not_finite, diverging]).to(DEVICE, dtype)
    if dtype == torch.float32:
        weight_hh[7] = rotation(n, ALPHA).float().to(DEVICE)  # exactly 1 in float32, too
    alpha = torch.tensor(ALPHA, dtype=dtype).item()
    value, walks, converges = ops.all_pairs_penalty(weight_hh, None, alpha, False, 0)
    if dtype == torch.float32:
        weight_hh[7] = 0
        value[7], walks[7], converges[7] = torch.nan, torch.nan, 0
    assert converges.tolist() == [1] * 6 + [0] * 3
    assert value.isfinite().tolist() == [True] * 4 + [False] * 5
    assert walks[4:].isnan().all()
    for graph in range(4):  # rounding is felt as strongly as walks can grow
        slow = 1e4 if graph == 2 else 1.0
        assert_near(
            walks[graph], inverse_minus_identity(weight_hh[graph : graph + 1])[0], slow * TOLERANCE[dtype], least=1
        )
    grad_hh = ops.all_pairs_penalty_backward(torch.ones_like(value), walks, weight_hh, None, ALPHA, False, 0)
    assert grad_hh.isnan().flatten(1).any(-1).tolist() == [False] * 4 + [True] * 5


@DTYPES
@pytest.mark.parametrize(("n", "chip"), [(1, CHIP), (20, CHIP), (40, SMALL_CHIP)])
def test_a_norm_of_one_is_no_proof(n: int, chip: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """The eigenvalues are -1: I - A is as regular as can be, and the walks have no sum."""
    monkeypatch.setenv("EMULATED_SHARED_BYTES", str(chip))
    weight_hh = -torch.eye(n, dtype=dtype, device=DEVICE).expand(1, n, n)
    value, walks, converges = ops.all_pairs_penalty(weight_hh, None, 1.0, False, 0)
    assert converges.tolist() == [0]
    assert value.isnan().all()
    assert walks.isnan().all()


@pytest.mark.skipif(not CUDA_EMULATED, reason="emulated launches are recorded")
@DTYPES
@pytest.mark.parametrize("radii", [(0.5, 0.5), (0.3, 0.9), (0.99, 0.5)])
def test_squarings_end_once_every_graph_is_settled(
    radii: tuple[float, float], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMULATED_SHARED_BYTES", str(SMALL_CHIP))
    weight_hh = torch.cat([graphs(1, 40, radius, False) for radius in radii])
    needed, power = 0, ALPHA * weight_hh
    while bool((power.square().sum((-2, -1)) >= 0.99**2).any()):
        needed, power = needed + 1, power @ power
    with recorded() as launches:
        _, _, converges = ops.all_pairs_penalty(weight_hh.to(dtype), None, ALPHA, False, 0)
    assert converges.tolist() == [1, 1]
    # Before the first one, after each, and after the look that finds nothing open; other kernels have nothing to do.
    assert [launch.barriers for launch in launches if launch.barriers] == [needed + 2]


@pytest.mark.parametrize(("n", "chip"), [(24, CHIP), (40, SMALL_CHIP)])
def test_all_pairs_twice_is_the_same_bits(n: int, chip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATED_SHARED_BYTES", str(chip))
    weight_hh = graphs(3, n, 0.9, False).to(DEVICE, torch.float32)
    once, again = (ops.all_pairs_penalty(weight_hh, None, ALPHA, False, 0) for _ in range(2))
    for one, other in zip(once, again, strict=True):
        assert torch.equal(one, other)
    alone = ops.all_pairs_penalty(weight_hh[1:2], None, ALPHA, False, 0)
    assert torch.equal(alone[1][0], once[1][1])


def solved(weight_hh: Tensor, sources: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    a = torch.eye(weight_hh.shape[-1], dtype=torch.float64) - ALPHA * weight_hh.cpu().double().abs()
    return (
        torch.linalg.solve(a, sources.cpu().double().unsqueeze(-1)).squeeze(-1),
        torch.linalg.solve(a.mT, targets.cpu().double().unsqueeze(-1)).squeeze(-1),
    )


@DTYPES
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("n", [1, 2, 9, 40, 67, *LARGE])
def test_pathway(n: int, batch: int, dtype: torch.dtype) -> None:
    weight_hh = graphs(batch, n, 0.8, True).to(DEVICE, dtype)
    sources, targets = (0.1 + drawn(batch, n, seed=seed).abs().to(DEVICE, dtype) for seed in (1, 2))
    x, y, found = ops.pathway(weight_hh, sources, targets, ALPHA)
    assert found.tolist() == [1] * batch
    for actual, expected in zip((x, y), solved(weight_hh, sources, targets), strict=True):
        assert_near(actual, expected, TOLERANCE[dtype])
    scale = drawn(batch, seed=3).to(DEVICE, dtype)
    grad_hh = ops.pathway_backward(scale, weight_hh, x, y, ALPHA)
    outer = y.cpu().double().unsqueeze(-1) * x.cpu().double().unsqueeze(-2)
    assert_near(
        grad_hh, ALPHA * scale.cpu().double()[:, None, None] * outer * weight_hh.cpu().double().sign(), TOLERANCE[dtype]
    )


@DTYPES
@pytest.mark.parametrize("batch", [False, True])
def test_pathways_that_the_iteration_does_not_settle(batch: bool, dtype: torch.dtype) -> None:
    """Where no unit is both source and target; without any source; where walks end; where the sum diverges; NaN."""
    n = 18
    ones = torch.ones(n, dtype=torch.float64)
    odd = torch.arange(n) % 2
    some, none = graphs(1, n, 0.8, True)[0], torch.zeros(n, dtype=torch.float64)
    broken = some.clone()
    broken[3, 4] = torch.nan
    cases = [
        (some, odd, 1 - odd),
        (some, none, ones),
        (upper(n), odd, ones),
        (graphs(1, n, 1.2, True)[0], ones, ones),
        (rotation(n, 1.5), odd, ones),
        (broken, ones, ones),
    ]
    weight_hh, sources, targets = (
        torch.stack([case[part].double() for case in cases]).to(DEVICE, dtype) for part in range(3)
    )
    if batch:
        x, y, found = ops.pathway(weight_hh, sources, targets, ALPHA)
    else:
        each = [ops.pathway(weight_hh[i : i + 1], sources[i : i + 1], targets[i : i + 1], ALPHA) for i in range(6)]
        x, y, found = (torch.cat(parts) for parts in zip(*each, strict=True))
    assert found.tolist() == [1, 1, 1, 0, 0, 1]
    assert x[3:].isnan().all()
    assert y[3:].isnan().all()
    for actual, expected in zip((x, y), solved(weight_hh[:3], sources[:3], targets[:3]), strict=True):
        assert_near(actual[:3], expected, TOLERANCE[dtype])


@pytest.mark.skipif(not CUDA_EMULATED, reason="needs a memory so slow that launches of small graphs end early")
@pytest.mark.parametrize(("together", "dtype"), [(True, torch.float32), (False, torch.float64)])
def test_launches_of_a_pathway_end_in_time_and_go_on(
    together: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several blocks for a problem, or one; by steps from both ends, and by the series where these do not settle it."""
    n, batch = 9, 2
    monkeypatch.setenv("EMULATED_MULTIPROCESSORS", "12" if together else "2")
    weight_hh = graphs(batch, n, 0.9, True).to(dtype)
    odd = (torch.arange(n) % 2).to(dtype)
    sources, targets = torch.stack([odd, odd + 1]), torch.stack([1 - odd, odd + 0.5])
    with recorded() as whole:
        expected = ops.pathway(weight_hh, sources, targets, ALPHA)
    assert not any(launch.barriers for launch in whole[1:])
    assert expected[2].tolist() == [1] * batch
    monkeypatch.setenv("EMULATED_MEMORY_CLOCK", "3")
    with recorded() as parts:
        found = ops.pathway(weight_hh, sources, targets, ALPHA)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    if together:
        most = 48e3 * 0.5 // weight_hh[0].nbytes  # passes
        assert max(launch.barriers for launch in parts) <= 3 * most + 8 * batch < whole[0].barriers
        assert sum(launch.barriers > 0 for launch in parts) > 2


def test_no_units_and_no_graphs() -> None:
    for batch, n in ((2, 0), (0, 3), (0, 0)):
        weight_hh, vectors = torch.zeros(batch, n, n, device=DEVICE), torch.zeros(batch, n, device=DEVICE)
        value, walks, converges = ops.all_pairs_penalty(weight_hh, None, ALPHA, False, 0)
        assert value.tolist() == [0] * batch
        assert converges.tolist() == [1] * batch
        assert ops.all_pairs_penalty_backward(value, walks, weight_hh, None, ALPHA, False, 0).shape == (batch, n, n)
        x, y, found = ops.pathway(weight_hh, vectors, vectors, ALPHA)
        assert found.tolist() == [1] * batch
        assert ops.pathway_backward(value, weight_hh, x, y, ALPHA).shape == (batch, n, n)


@DTYPES
@pytest.mark.parametrize("n", [32, 40, 64])
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_weights_may_begin_anywhere(n: int, shift: int, dtype: torch.dtype) -> None:
    """A view into flat parameters begins where it happens to; vectors of 16 bytes do not."""
    aligned = graphs(1, n, 0.7, True).to(DEVICE, dtype)
    shifted = torch.empty(n * n + shift, device=DEVICE, dtype=dtype)[shift:].view(1, n, n).copy_(aligned)
    vectors, ones = torch.ones(1, n, device=DEVICE, dtype=dtype), torch.ones(1, device=DEVICE, dtype=dtype)

    def results(weight_hh: Tensor) -> list[Tensor]:
        value, walks, _ = ops.all_pairs_penalty(weight_hh, None, ALPHA, True, 0)
        x, y, _ = ops.pathway(weight_hh, vectors, vectors, ALPHA)
        found = [value, walks, x, y]
        found.append(ops.all_pairs_penalty_backward(ones, walks, weight_hh, None, ALPHA, True, 0))
        found.append(ops.pathway_backward(ones, weight_hh, x, y, ALPHA))
        for u, v in ((vectors[..., None], vectors[:, None]), (vectors[..., None], None)):
            penalty = (*ops.finite_walks_penalty(weight_hh, u, v, None, None, ALPHA, 4, True, False, 0, Chain.narrow),)
            found += [
                *penalty[:2],
                *ops.finite_walks_penalty_backward(
                    ones, *penalty[1:], weight_hh, u, v, None, None, ALPHA, 4, True, False, 0
                ),
            ]
        return found

    for a, b in zip(results(shifted), results(aligned), strict=True):
        assert torch.equal(a, b)

"""The ops of walks through a network that runs, against products of the matrices of its steps."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from support.device import CUDA_EMULATED, DEVICE
from torch import Tensor

from rrnn_ext.ops import finite_walks, native
from rrnn_ext.ops._driven_by_hops import DrivenWalks
from rrnn_ext.ops.driven_walks import DrivenPenalty, walk_penalty, walk_sums

pytestmark = [pytest.mark.native, pytest.mark.emulated]

ALPHA, INPUTS = 0.7, 3
CASES = [
    # gates, parts, input gains, carries, hops, networks, width, entering at each hop
    (1, 1, False, False, 5, 1, 3, False),
    (1, 1, False, True, 3, 2, 2, True),
    (3, 1, True, True, 6, 1, 8, False),
    (3, 1, True, True, 3, 4, 5, True),
    (4, 2, False, True, 7, 1, 1, False),
    (4, 2, True, True, 4, 3, 7, True),
    (2, 3, False, False, 2, 1, 2, False),
    (1, 1, True, False, 1, 1, 2, False),
    (1, 1, False, True, 40, 1, 9, True),
    (2, 1, False, True, 3, 1, 90, False),
]
SIZES = [1, 5] if CUDA_EMULATED else [1, 5, 48]
OPTIONS: dict[str, dict[str, Any]] = {
    "total": {},
    "weighted": {"hop_weights": True},
    "per hop": {"per_hop": True},
    "pairs": {"pair_weights": True, "norm": 1},
    "per hop, weighted": {"per_hop": True, "hop_weights": True, "pair_weights": True},
}
every_case = pytest.mark.parametrize("case", CASES)
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def drawn(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)


def problem(case: tuple[Any, ...], n: int, dtype: torch.dtype = torch.float64, **options: Any) -> DrivenWalks:
    gates, parts, input_gains, carries, hops, networks, width, each = case
    weights = drawn(6, hops, dtype=dtype)
    weights[-1:] *= hops < 3  # the last one of several has none
    return DrivenWalks(
        weight_hh=drawn(0, gates * n, n, dtype=dtype) / n**0.5,
        weight_ih=drawn(1, gates * n, INPUTS, dtype=dtype),
        entering=drawn(2, hops, networks, width, n, dtype=dtype) if each else drawn(2, width, n, dtype=dtype),
        gains=drawn(3, hops, networks, parts, gates * n, dtype=dtype),
        input_gains=drawn(4, hops, networks, parts, gates * n, dtype=dtype) if input_gains else None,
        carries=drawn(5, hops, networks, parts, parts, n, dtype=dtype) if carries else None,
        hop_weights=weights if options.get("hop_weights") else None,
        alpha=ALPHA,
        edges=2,
        per_hop=options.get("per_hop", False),
    )


def penalty_of(walks: DrivenWalks, pair_weights: bool = False, norm: int = 0, **_: Any) -> DrivenPenalty:
    pairs = drawn(7, walks.entering.shape[-2], INPUTS, dtype=walks.gains.dtype).abs() if pair_weights else None
    return DrivenPenalty(*walks[:7], pairs, *walks[7:], norm)


def by_matrices(walks: DrivenWalks) -> Tensor:
    """Every P_m (hops, k, w, i) by products of step Jacobians, matrices of all parts (parts n, parts n)."""
    hops, networks, parts, rows = walks.gains.shape
    n = walks.weight_hh.shape[1]
    input_gains = walks.gains if walks.input_gains is None else walks.input_gains
    found = []
    for network in range(networks):
        each_hop = walks.entering.dim() > 2
        first = walks.entering[0, network] if each_hop else walks.entering
        state = torch.nn.functional.pad(first, (0, (parts - 1) * n))
        own = []
        for hop in range(hops):
            step = torch.zeros(parts, n, parts, n, dtype=first.dtype, device=first.device)
            incoming = torch.zeros(parts, n, INPUTS, dtype=first.dtype, device=first.device)
            for after, gate in itertools.product(range(parts), range(rows // n)):
                of_gate = slice(gate * n, (gate + 1) * n)
                step[after, :, 0] += walks.gains[hop, network, after, of_gate].unsqueeze(-1) * walks.weight_hh[of_gate]
                incoming[after] += input_gains[hop, network, after, of_gate].unsqueeze(-1) * walks.weight_ih[of_gate]
            for after, before in itertools.product(range(parts), repeat=2):
                if walks.carries is not None:
                    step[after, :, before] += walks.carries[hop, network, after, before].diag()
            own.append(ALPHA**2 * state @ incoming.flatten(0, 1))
            state = ALPHA * state @ step.reshape(parts * n, parts * n)
            if each_hop and hop + 1 < hops:
                state = state + torch.nn.functional.pad(walks.entering[hop + 1, network], (0, (parts - 1) * n))
        found.append(torch.stack(own))
    return torch.stack(found, 1)


def expected_walks(walks: DrivenWalks) -> Tensor:
    found = by_matrices(walks)
    if walks.per_hop:
        return found
    return (found if walks.hop_weights is None else walks.hop_weights.view(-1, 1, 1, 1) * found).sum(0, keepdim=True)


def expected_penalty(penalty: DrivenPenalty) -> Tensor:
    found = expected_walks(penalty.walks)
    sizes = found.square() if penalty.norm else found.abs()
    sizes = sizes if penalty.pair_weights is None else penalty.pair_weights * sizes
    if penalty.per_hop and penalty.hop_weights is not None:
        sizes = penalty.hop_weights.view(-1, 1, 1, 1) * sizes
    return sizes.sum() / found.shape[1]


def moving(given: Any) -> tuple[Any, list[Tensor]]:
    """With tensors that require a gradient, and those."""
    own = [None if each is None else each.requires_grad_() for each in given[:6]]
    return given._make([*own, *given[6:]]), [each for each in own if each is not None]


def with_tensors(given: Any, tensors: Iterable[Tensor]) -> Any:
    """With others in the place of those that are there."""
    own = iter(tensors)
    return type(given)(*(None if each is None else next(own) for each in given[:6]), *given[6:])


def assert_near(found: Tensor, wanted: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance * max(1.0, float(wanted.detach().norm())))


@every_case
@every_option
@pytest.mark.parametrize("n", SIZES)
def test_penalty_and_gradients(case: tuple[Any, ...], options: dict[str, Any], n: int) -> None:
    penalty, tensors = moving(penalty_of(problem(case, n, **options), **options))
    value, expected = walk_penalty(penalty), expected_penalty(penalty)
    assert_near(value, expected)
    wanted = torch.autograd.grad(expected, tensors, materialize_grads=True, allow_unused=True)
    for own, right in zip(torch.autograd.grad(value, tensors), wanted, strict=True):
        assert_near(own, right)


@every_case
@pytest.mark.parametrize("per_hop", [False, True])
def test_walks_and_gradients(case: tuple[Any, ...], per_hop: bool) -> None:
    walks, tensors = moving(problem(case, SIZES[-1], per_hop=per_hop, hop_weights=not per_hop))
    found, expected = walk_sums(walks), expected_walks(walks)
    assert_near(found, expected)
    grad = drawn(8, *found.shape)
    wanted = torch.autograd.grad(expected, tensors, grad, materialize_grads=True, allow_unused=True)
    for own, right in zip(torch.autograd.grad(found, tensors, grad), wanted, strict=True):
        assert_near(own, right)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("case", [CASES[3], CASES[5]])
@pytest.mark.skipif(CUDA_EMULATED, reason="takes long")
def test_large_enough_for_several_threads(case: tuple[Any, ...]) -> None:
    penalty, tensors = moving(penalty_of(problem(case, 130, torch.float32, per_hop=True)))
    wide, wide_tensors = moving(penalty_of(problem(case, 130, torch.float32, per_hop=True)))
    wide = wide._make(each.double() if isinstance(each, Tensor) else each for each in wide)
    value, expected = walk_penalty(penalty), expected_penalty(wide)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0.0)
    wanted = torch.autograd.grad(expected, wide_tensors, materialize_grads=True, allow_unused=True)
    for own, right in zip(torch.autograd.grad(value, tensors), wanted, strict=True):
        torch.testing.assert_close(own, right, rtol=1e-3, atol=1e-4 * float(right.abs().max()))


@pytest.mark.parametrize("case", [CASES[1], CASES[3], CASES[5]])
@every_option
def test_derivatives_of_both_orders(case: tuple[Any, ...], options: dict[str, Any]) -> None:
    penalty = penalty_of(problem(case, 2, **options), **{**options, "norm": 1})
    _, tensors = moving(penalty)

    def value(*own: Tensor) -> Tensor:
        return walk_penalty(with_tensors(penalty, own))

    assert torch.autograd.gradcheck(value, tensors, check_batched_grad=True, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(value, tensors, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("case", [CASES[3], CASES[5]])
def test_derivatives_of_walks_of_both_orders(case: tuple[Any, ...]) -> None:
    walks = problem(case, 2, per_hop=True)
    _, tensors = moving(walks)

    def value(*own: Tensor) -> Tensor:
        return walk_sums(with_tensors(walks, own))

    assert torch.autograd.gradcheck(value, tensors, check_batched_grad=True, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(value, tensors, fast_mode=True)


@pytest.mark.skipif(CUDA_EMULATED, reason="the same for every device")
def test_opcheck() -> None:
    per_hop = OPTIONS["per hop, weighted"]
    walks = problem(CASES[5], 4, per_hop=True)
    penalty = penalty_of(problem(CASES[5], 4, **per_hop), **per_hop)
    _, chain = native.driven_walks(*walks, True)
    value, sums, links = native.driven_walks_penalty(*penalty, True)
    for keep in (False, True):
        torch.library.opcheck(native.driven_walks.default, (*walks, keep))
        torch.library.opcheck(native.driven_walks_penalty.default, (*penalty, keep))
        torch.library.opcheck(native.driven_walks_backward.default, (torch.ones_like(sums), chain, *walks, keep))
        arguments = torch.ones_like(value), sums, links, *penalty, keep
        torch.library.opcheck(native.driven_walks_penalty_backward.default, arguments)
    torch.library.opcheck(native.driven_walks_penalty.default, (*moving(penalty)[0], True))
    torch.library.opcheck(native.driven_walks.default, (*moving(walks)[0], True))


def test_vmap_and_gradients_of_torch_func() -> None:
    walks = problem(CASES[5], 4)
    penalty = penalty_of(walks)
    stacked = torch.stack([penalty.weight_hh, 2 * penalty.weight_hh])

    def value(weight_hh: Tensor) -> Tensor:
        return walk_penalty(penalty._replace(weight_hh=weight_hh))

    def sums(weight_hh: Tensor) -> Tensor:
        return walk_sums(walks._replace(weight_hh=weight_hh))

    for function in (value, sums):
        found = torch.func.vmap(function)(stacked)
        for at in range(2):
            assert_near(found[at], function(stacked[at]))
    gradients = torch.func.vmap(torch.func.grad(value))(stacked)
    for at in range(2):
        weight_hh = stacked[at].clone().requires_grad_()
        (wanted,) = torch.autograd.grad(value(weight_hh), weight_hh)
        assert_near(gradients[at], wanted)
    assert_near(torch.func.jacfwd(sums)(penalty.weight_hh), torch.func.jacrev(sums)(penalty.weight_hh))


def test_gains_without_a_gradient_have_none() -> None:
    penalty = penalty_of(problem(CASES[5], 4))
    weights = [each.requires_grad_() for each in penalty[:3]]
    value = walk_penalty(penalty)
    value.backward()
    wanted = torch.autograd.grad(expected_penalty(penalty), weights)
    for weight, right in zip(weights, wanted, strict=True):
        assert weight.grad is not None
        assert_near(weight.grad, right)
    assert penalty.gains.grad is None


@every_option
def test_layouts_and_runs_give_the_same_bits(options: dict[str, Any]) -> None:
    penalty, tensors = moving(penalty_of(problem(CASES[5], 33, **options), **options))
    value = walk_penalty(penalty)
    wanted = value, *torch.autograd.grad(value, tensors)
    strided = [each.detach().unsqueeze(-1).expand(*each.shape, 2).contiguous()[..., 0] for each in tensors]
    assert not strided[0].is_contiguous()
    own, tensors = moving(with_tensors(penalty, strided))
    value = walk_penalty(own)
    for found, right in zip((value, *torch.autograd.grad(value, tensors)), wanted, strict=True):
        assert torch.equal(found, right)


def test_nan_comes_out() -> None:
    walks = problem(CASES[0], 5, per_hop=True)
    walks.weight_hh[2, 3] = torch.nan
    found = walk_sums(walks)
    assert found[0].isfinite().all()
    assert found[1:].isnan().all()
    assert walk_penalty(penalty_of(walks)).isnan()


def test_what_has_no_weight_takes_no_part() -> None:
    for per_hop in (False, True):
        walks = problem(CASES[0], 5, hop_weights=True, per_hop=per_hop)
        assert walks.hop_weights is not None
        walks.hop_weights[:] = torch.tensor([1.0, 0.5, 0.0, 0.0, 0.0])
        walks.gains[2:] = torch.inf
        penalty, tensors = moving(penalty_of(walks))
        value = walk_penalty(penalty)
        first = penalty._replace(gains=penalty.gains[:2], hop_weights=walks.hop_weights[:2])
        assert_near(value, walk_penalty(first))
        assert all(each.isfinite().all() for each in torch.autograd.grad(value, tensors))


@pytest.mark.parametrize(("width", "inputs"), [(0, 3), (2, 0)])
def test_nothing_read_and_nothing_coming_in(width: int, inputs: int) -> None:
    walks = problem((1, 1, False, False, 3, 2, width, False), 4)
    penalty, tensors = moving(penalty_of(walks._replace(weight_ih=walks.weight_ih[:, :inputs])))
    value = walk_penalty(penalty)
    assert value == 0
    for weight, gradient in zip(tensors, torch.autograd.grad(value, tensors), strict=True):
        assert torch.equal(gradient, torch.zeros_like(weight))


@pytest.mark.parametrize(
    ("at", "shape", "message"),
    [
        (0, (6, 4), "weight_hh must be (gates x n, n), got (6, 4)"),
        (1, (3, 2), "weight_ih must be (4, *), got (3, 2)"),
        (2, (3, 1, 3, 4), "entering must be (width, 4) or (2, 1, *, 4), got (3, 1, 3, 4)"),
        (3, (2, 1, 1, 5), "gains must be (hops, networks, parts, 4) with at least one of each, got (2, 1, 1, 5)"),
        (4, (2, 1, 1, 5), "input_gains must be (2, 1, 1, 4), got (2, 1, 1, 5)"),
        (5, (2, 1, 1, 1, 5), "carries must be (2, 1, 1, 1, 4), got (2, 1, 1, 1, 5)"),
        (6, (3,), "hop_weights must be (2,), got (3,)"),
    ],
)
def test_what_does_not_fit_is_refused(at: int, shape: tuple[int, ...], message: str) -> None:
    shapes = [(4, 4), (4, 2), (3, 4), (2, 1, 1, 4), (2, 1, 1, 4), (2, 1, 1, 1, 4), (2,)]
    shapes[at] = shape
    given = [torch.ones(own, device=DEVICE) for own in shapes]
    with pytest.raises(RuntimeError, match=re.escape(message)):
        native.driven_walks(*given, 1.0, 2, False, False)


SHAPES = [(256, 16, 8, 20), (300, 5, 2, 12), (33, 40, 1, 5), (130, 40, 9, 30)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("n", "inputs", "outputs", "hops"), SHAPES)
@pytest.mark.skipif(CUDA_EMULATED or DEVICE.type == "cuda", reason="of the loops of the CPU")
def test_gains_of_one_change_no_bit(n: int, inputs: int, outputs: int, hops: int, dtype: torch.dtype) -> None:
    """Where the outputs are the narrower side, from which finite walks go too. A factor that is not one may be rounded
    in another place, of gradients and of weighted sums alone."""
    weights = [drawn(0, n, n) / n**0.5, drawn(1, n, inputs), drawn(2, outputs, n)]
    weight_hh, weight_in, weight_out = (weight.to(dtype).requires_grad_() for weight in weights)
    given = weight_hh, weight_in, weight_out
    gains = torch.ones(hops, 1, 1, n, dtype=dtype)
    pairs = drawn(3, outputs, inputs).to(dtype).abs()
    hop_weights = drawn(4, hops).to(dtype)
    for per_hop, norm, own_pairs in ((False, 0, None), (True, 0, pairs), (False, 1, None), (True, 1, None)):
        for alpha, weighted in ((1.0, None), (0.9, None), (1.0, hop_weights)):
            sides = weight_hh, weight_in, weight_out, weighted, own_pairs
            finite = finite_walks.penalty_by_rules(
                finite_walks.PenaltyArguments(*sides, alpha, hops, False, per_hop, norm)
            )
            tensors = weight_hh, weight_in, weight_out, gains, None, None, weighted, own_pairs
            driven = walk_penalty(DrivenPenalty(*tensors, alpha, 2, per_hop, norm))
            gradients = [torch.autograd.grad(value, given) for value in (driven, finite)]
            if alpha == 1.0 and weighted is None:
                assert torch.equal(driven, finite)
                assert all(torch.equal(own, right) for own, right in zip(*gradients, strict=True))
                continue
            torch.testing.assert_close(driven, finite, rtol=4 * torch.finfo(dtype).eps, atol=0.0)
            for own, right in zip(*gradients, strict=True):
                assert ((own - right).norm() <= 100 * torch.finfo(dtype).eps * right.norm()).all()

"""First and second derivatives by finite differences, and how autograd is used with them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.oracle import assert_within
from support.random_weights import weights
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import rrnn_ext

SIDES = [(2, 2), (2, None), (None, 2), (None, None)]
SUMS: list[dict[str, Any]] = [
    {"hops": 3},
    {"hops": 3, "per_hop": True},
    {"hops": 3, "method": "inverse"},
    {"hops": None},
    {"hops": None, "method": "series"},
    {"hops": None, "method": "inverse"},
]


def problem(i: int | None, o: int | None, batch: tuple[int, ...] = ()) -> tuple[list[str], list[Tensor]]:
    """Names and leaves of weights and alpha."""
    leaves = weights(3, i, o, seed=11, batches=(batch, batch, batch))
    leaves["alpha"] = torch.full(batch, 0.75, dtype=torch.float64, device=DEVICE)
    return list(leaves), [leaf.requires_grad_() for leaf in leaves.values()]


def by_name(function: Callable[..., Tensor], names: list[str], **options: Any) -> Callable[..., Tensor]:
    return lambda *leaves: function(**dict(zip(names, leaves, strict=True)), **options)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("options", SUMS, ids=str)
@pytest.mark.parametrize(("i", "o"), SIDES)
def test_penalty(i: int | None, o: int | None, options: dict[str, Any], rectify: bool, norm: str) -> None:
    names, leaves = problem(i, o)
    call = by_name(rrnn_ext.resolvent_penalty, names, rectify=rectify, norm=norm, **options)
    assert gradcheck(call, leaves)
    assert gradgradcheck(call, leaves)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("per_hop", [False, True])
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize(("i", "o"), [(2, 1), (None, None)])
def test_penalty_weighted(i: int | None, o: int | None, rectify: bool, per_hop: bool, norm: str) -> None:
    names, leaves = problem(i, o)
    call = by_name(
        rrnn_ext.resolvent_penalty,
        names,
        hops=3,
        rectify=rectify,
        per_hop=per_hop,
        norm=norm,
        hop_weights=torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64, device=DEVICE),
        pair_weights=torch.linspace(0.1, 1.0, (o or 3) * (i or 3), dtype=torch.float64, device=DEVICE).view(o or 3, -1),
    )
    assert gradcheck(call, leaves)
    assert gradgradcheck(call, leaves)


@pytest.mark.parametrize("options", SUMS, ids=str)
@pytest.mark.parametrize(("i", "o"), [(2, 1), (None, None)])
def test_penalty_of_batches(i: int | None, o: int | None, options: dict[str, Any]) -> None:
    names, leaves = problem(i, o, batch=(2,))
    call = by_name(rrnn_ext.resolvent_penalty, names, reduction="none", **options)
    assert gradcheck(call, leaves)
    assert gradgradcheck(call, leaves)


def test_penalty_of_broadcast_batches() -> None:
    leaves = weights(3, 2, 1, batches=((2, 1), (2,), ()))
    leaves["alpha"] = torch.tensor([[0.5, 0.75], [1.0, 0.875]], dtype=torch.float64, device=DEVICE)
    call = by_name(rrnn_ext.resolvent_penalty, list(leaves), hops=3, reduction="none")
    inputs = [leaf.requires_grad_() for leaf in leaves.values()]
    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("hops", [3, None])
@pytest.mark.parametrize(("i", "o"), SIDES)
def test_resolvent(i: int | None, o: int | None, hops: int | None, rectify: bool) -> None:
    names, leaves = problem(i, o)
    call = by_name(rrnn_ext.resolvent, names, hops=hops, rectify=rectify)
    assert gradcheck(call, leaves)
    assert gradgradcheck(call, leaves)


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize(("i", "o"), SIDES)
def test_hop_decomposition(i: int | None, o: int | None, rectify: bool) -> None:
    names, leaves = problem(i, o)
    call = by_name(rrnn_ext.hop_decomposition, names, hops=3, rectify=rectify)
    assert gradcheck(call, leaves)
    assert gradgradcheck(call, leaves)


SOME: list[dict[str, Any]] = [
    {"hops": 4},
    {"hops": 4, "rectify": True},
    {"hops": 4, "per_hop": True, "norm": "l2"},
    {"hops": None},
    {"hops": None, "rectify": True},
]
NAMES = ("weight_hh", "weight_in", "weight_out", "alpha")


@functools.cache
def _full_gradients(position: int) -> dict[str, Tensor]:
    names, leaves = problem(2, 2)
    value = by_name(rrnn_ext.resolvent_penalty, names, **SOME[position])(*leaves)
    return dict(zip(names, torch.autograd.grad(value, leaves), strict=True))


@pytest.mark.parametrize("position", range(len(SOME)), ids=[str(options) for options in SOME])
@pytest.mark.parametrize(
    "wanted",
    [names for k in (1, 2, 3) for names in itertools.combinations(NAMES, k)],
    ids=lambda names: "+".join(names),
)
def test_gradients_for_some_leaves_only(wanted: tuple[str, ...], position: int) -> None:
    names, leaves = problem(2, 2)
    given: dict[str, Any] = {
        name: leaf.detach().requires_grad_(name in wanted) for name, leaf in zip(names, leaves, strict=True)
    }
    rrnn_ext.resolvent_penalty(**given, **SOME[position]).backward()
    for name, leaf in given.items():
        if name in wanted:
            torch.testing.assert_close(leaf.grad, _full_gradients(position)[name], rtol=1e-12, atol=1e-15)
        else:
            assert leaf.grad is None


@pytest.mark.parametrize("options", SOME, ids=str)
class TestBackward:
    def test_upstream_gradient_scales(self, options: dict[str, Any]) -> None:
        names, leaves = problem(2, 2)
        call = by_name(rrnn_ext.resolvent_penalty, names, **options)
        once = torch.autograd.grad(call(*leaves), leaves)
        scaled = torch.autograd.grad(-2.5 * call(*leaves), leaves)
        for a, b in zip(once, scaled, strict=True):
            torch.testing.assert_close(b, -2.5 * a, rtol=1e-13, atol=1e-15)

    def test_one_upstream_gradient_for_every_batch_element(self, options: dict[str, Any]) -> None:
        names, leaves = problem(2, 2, batch=(3,))
        call = by_name(rrnn_ext.resolvent_penalty, names, reduction="none", **options)
        upstream = torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64, device=DEVICE)
        single = torch.autograd.grad(call(*leaves).sum(), leaves)
        actual = torch.autograd.grad(call(*leaves), leaves, upstream)
        for a, b in zip(single, actual, strict=True):
            expected = a * upstream.reshape(3, *[1] * (a.dim() - 1))
            torch.testing.assert_close(b, expected, rtol=1e-13, atol=1e-15)

    def test_twice(self, options: dict[str, Any]) -> None:
        names, leaves = problem(2, 2)
        value = by_name(rrnn_ext.resolvent_penalty, names, **options)(*leaves)
        first = torch.autograd.grad(value, leaves, retain_graph=True)
        second = torch.autograd.grad(value, leaves)
        for a, b in zip(first, second, strict=True):
            assert torch.equal(a, b)
        with pytest.raises(RuntimeError, match="second time"):
            torch.autograd.grad(value, leaves)

    def test_accumulates(self, options: dict[str, Any]) -> None:
        names, leaves = problem(2, 2)
        call = by_name(rrnn_ext.resolvent_penalty, names, **options)
        single = torch.autograd.grad(call(*leaves), leaves)
        (call(*leaves) + call(*leaves)).backward()
        for leaf, gradient in zip(leaves, single, strict=True):
            torch.testing.assert_close(leaf.grad, 2 * gradient, rtol=1e-13, atol=1e-15)

    def test_one_tensor_in_two_places(self, options: dict[str, Any]) -> None:
        """Tied weights: read-out and input are one parameter."""
        w, u, *_ = problem(2, 2)[1]
        apart = torch.autograd.grad(
            rrnn_ext.resolvent_penalty(w, u, (v := u.detach().mT.clone().requires_grad_()), **options), (u, v)
        )
        tied = torch.autograd.grad(rrnn_ext.resolvent_penalty(w, u, u.mT, **options), u)[0]
        torch.testing.assert_close(tied, apart[0] + apart[1].mT, rtol=1e-12, atol=1e-15)

    def test_weights_changed_in_place_before_backward(self, options: dict[str, Any]) -> None:
        """An optimiser step between forward and backward: an error, or still the gradient of the value computed."""
        names, leaves = problem(2, 2)
        call = by_name(rrnn_ext.resolvent_penalty, names, **options)
        right = torch.autograd.grad(call(*leaves), leaves)
        value = call(*leaves)
        with torch.no_grad():
            for leaf in leaves[:3]:
                leaf.mul_(0.5)
        try:
            actual = torch.autograd.grad(value, leaves)
        except RuntimeError as error:
            if "inplace" not in str(error):
                raise
        else:
            for a, b in zip(actual, right, strict=True):
                torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("name", "shape"), [("hop_weights", (3,)), ("pair_weights", (2, 2))])
def test_constants_that_require_a_gradient_are_refused(name: str, shape: tuple[int, ...]) -> None:
    """They would get none, and nobody would hear of it."""
    factors: Any = torch.ones(shape, dtype=torch.float64, device=DEVICE, requires_grad=True)
    with pytest.raises(ValueError, match=rf"{name} must be a constant.*pass {name}.detach\(\)"):
        rrnn_ext.resolvent_penalty(**weights(3, 2, 2), hops=3, **{name: factors})
    rrnn_ext.resolvent_penalty(**weights(3, 2, 2), hops=3, **{name: factors.detach()})


@pytest.mark.parametrize("per_hop", [False, True])
def test_rectified_gradient_at_a_pruned_weight_is_zero(per_hop: bool) -> None:
    """As torch.abs has it: a weight that was pruned stays where it is."""
    given, generator = weights(6, 2, 2), torch.Generator().manual_seed(0)
    pruned: dict[str, Any] = {
        name: torch.where(torch.rand(matrix.shape, generator=generator).to(DEVICE) < 0.5, 0.0, matrix)
        for name, matrix in given.items()
    }
    leaves = {name: matrix.requires_grad_() for name, matrix in pruned.items()}
    value = rrnn_ext.resolvent_penalty(**leaves, hops=4, rectify=True, per_hop=per_hop)
    gradients = torch.autograd.grad(value, list(leaves.values()))
    for leaf, gradient in zip(leaves.values(), gradients, strict=True):
        assert not gradient[leaf.detach() == 0].any()
        assert gradient.any()


@pytest.mark.parametrize("per_hop", [False, True])
@pytest.mark.parametrize("inputs", [1, 2])
def test_a_pair_without_a_walk_gives_no_gradient(inputs: int, per_hop: bool) -> None:
    """The derivative of |x| at 0 is 0, as in PyTorch, also where an edge would make the first walk of a pair."""
    w = torch.zeros(2, 2, dtype=torch.float64, device=DEVICE, requires_grad=True)
    u = torch.eye(2, inputs, dtype=torch.float64, device=DEVICE)
    v = torch.tensor([[0.0, 1.0]], dtype=torch.float64, device=DEVICE)
    rrnn_ext.resolvent_penalty(w, u, v, hops=3, per_hop=per_hop).backward()
    assert w.grad is not None
    assert (w.grad[:, 0] == 0).all()  # the first input has no walk to the output
    assert w.grad.any() == (inputs == 2 and not per_hop)


def test_a_pair_without_a_walk_gives_no_gradient_in_the_sum_of_all() -> None:
    w = (0.5 * torch.eye(3, dtype=torch.float64)).to(DEVICE).requires_grad_()
    rrnn_ext.resolvent_penalty(w).backward()
    assert w.grad is not None
    assert w.grad.diagonal().gt(0).all()
    assert (w.grad == w.grad.diagonal().diag()).all()


def test_signed_gradient_at_a_pruned_weight_is_not() -> None:
    """Without rectify a weight at zero is an ordinary point, unless every walk through it is missing."""
    w = torch.tensor([[0.5, 0.0], [0.0, 0.25]], dtype=torch.float64, device=DEVICE, requires_grad=True)
    ones = torch.ones(2, 2, dtype=torch.float64, device=DEVICE)
    value = rrnn_ext.resolvent_penalty(w, ones[:, :1], ones[:1], hops=2)
    assert torch.equal(torch.autograd.grad(value, w)[0], ones)


def test_a_gradient_step_lowers_the_penalty() -> None:
    """The gradient's length predicts the decrease of a small step."""
    leaves = [leaf.requires_grad_() for leaf in weights(20, 4, 3).values()]
    value = rrnn_ext.resolvent_penalty(*leaves, hops=10)
    gradients = torch.autograd.grad(value, leaves)
    rate = 1e-7
    moved = [leaf.detach() - rate * gradient for leaf, gradient in zip(leaves, gradients, strict=True)]
    decrease = value.detach() - rrnn_ext.resolvent_penalty(*moved, hops=10)
    predicted = rate * torch.stack([gradient.square().sum() for gradient in gradients]).sum()
    assert_within("decrease", decrease, predicted, 1e-4 * float(predicted))

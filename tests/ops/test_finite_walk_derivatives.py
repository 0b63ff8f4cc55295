"""Derivatives of finite walks and of their penalty, by every path that leads to them below the public functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.op_calls import Case, every_case, op
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from rrnn_ext._options import Norm
from rrnn_ext.ops.finite_walks import Chain, PenaltyArguments, WalkArguments, walk_sums
from rrnn_ext.ops.penalty_value_and_grad import walk_penalty


def leaves(case: Case) -> tuple[list[Tensor], Callable[..., Any]]:
    """The given weights as leaves, and the function that puts them back in their places."""
    graph = case.graph()
    names = ("weight_hh", "weight_in", "weight_out")
    present = [name for name in names if graph[name] is not None]

    def in_place(*given: Tensor) -> Any:
        by_name = dict(zip(present, given, strict=True))
        return tuple(by_name.get(name) for name in names)

    return [graph[name].requires_grad_() for name in present], in_place


def sums_of(case: Case) -> tuple[Callable[..., Tensor], list[Tensor]]:
    given, in_place = leaves(case)
    options = {"hop_weights": case.graph()["hop_weights"], **case.options()}
    return lambda *matrices: walk_sums(WalkArguments(*in_place(*matrices), **options)), given


def penalty_of(case: Case, function: Callable[..., Tensor]) -> tuple[Callable[..., Tensor], list[Tensor]]:
    given, in_place = leaves(case)
    factors = {"hop_weights": case.graph()["hop_weights"], "pair_weights": case.factors_of_pairs()}
    options = {**factors, **case.options(), "norm": Norm(case.squared)}
    return lambda *matrices: function(PenaltyArguments(*in_place(*matrices), **options)), given


def of_the_dispatcher(penalty: PenaltyArguments) -> Tensor:
    return op("finite_walks_penalty")(*penalty, Chain.narrow)[0]


def norm_of_walks(penalty: PenaltyArguments) -> Tensor:
    """In PyTorch's own operations, whose derivatives are PyTorch's, but for those of the walks."""
    hop_weights, pair_weights, per_hop = penalty.hop_weights, penalty.pair_weights, penalty.per_hop
    sums = WalkArguments(*penalty[:4], *penalty[5:9])
    walks = walk_sums(sums._replace(hop_weights=None) if per_hop else sums)
    sizes = walks.square() if penalty.norm == Norm.l2 else walks.abs()
    by_term = (sizes if pair_weights is None else pair_weights.unsqueeze(-3) * sizes).sum((-2, -1))
    return (by_term if hop_weights is None or not per_hop else hop_weights * by_term).sum(-1)


@every_case
class TestDerivatives:
    def test_walk_sums(self, case: Case) -> None:
        function, given = sums_of(case)
        assert gradcheck(function, given, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(function, given, check_fwd_over_rev=True)

    def test_walk_penalty(self, case: Case) -> None:
        function, given = penalty_of(case, walk_penalty)
        assert gradcheck(function, given, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(function, given, check_fwd_over_rev=True)

    @pytest.mark.emulated
    def test_light_path_is_the_general_one(self, case: Case) -> None:
        """The penalty in eager mode, where the dispatcher and transforms find it, and as the norm of the walks: the
        value, first and second derivatives."""
        results = []
        for path in (walk_penalty, of_the_dispatcher, norm_of_walks):
            function, given = penalty_of(case, path)
            value = function(*given)
            upstream = torch.linspace(0.5, 2.0, value.numel(), dtype=value.dtype, device=DEVICE)
            upstream = upstream.reshape(value.shape).requires_grad_()
            first = torch.autograd.grad(value, given, upstream, create_graph=True)
            directions = [torch.cos(torch.arange(g.numel()).to(g)).reshape(g.shape) for g in first]
            second = torch.autograd.grad(first, [*given, upstream], directions, materialize_grads=True)
            results.append([value.detach(), *(g.detach() for g in first), *second])
        for light, *others in zip(*results, strict=True):
            for general in others:
                torch.testing.assert_close(light, general, rtol=1e-12, atol=1e-14)

    @pytest.mark.emulated
    def test_light_path_without_gradients(self, case: Case) -> None:
        function, given = penalty_of(case, walk_penalty)
        with_gradients = function(*given)
        with torch.no_grad():
            value = function(*given)
        assert with_gradients.requires_grad
        assert not value.requires_grad
        torch.testing.assert_close(value, with_gradients.detach(), rtol=1e-14, atol=0.0)

    def test_gradients_of_some_weights_alone(self, case: Case) -> None:
        """The light path gives what is wanted, at first and at second order, whichever weights are leaves."""
        function, given = penalty_of(case, walk_penalty)
        everything = torch.autograd.grad(function(*given).sum(), given)
        for position, full in enumerate(everything):
            some = [leaf.detach().requires_grad_(at == position) for at, leaf in enumerate(given)]
            (alone,) = torch.autograd.grad(function(*some).sum(), some[position])
            assert torch.equal(alone, full)
            (twice,) = torch.autograd.grad(function(*some).sum(), some[position], create_graph=True)
            torch.testing.assert_close(twice.detach(), full, rtol=1e-12, atol=1e-14)

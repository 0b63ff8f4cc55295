"""Rows of the recurrent weight stay where they are, whatever its size: the same values and gradients hop by hop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rrnn_ext
from rrnn_ext import reference
from rrnn_ext.sharded import route
from support.sharded import functions, wrappings
from support.sharded.functions import ALPHA, close, compare, placed, weights, whole
from support.sharded.ranks import Case, Ranks, case


def by_rows(function: Case) -> Case:
    """The same case where no weight is too small for it."""

    def as_usual(ranks: Ranks) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(route, "LEAST_UNITS", 1)
            function(ranks)

    as_usual.__name__ = f"{function.__name__}_by_rows"
    return case(as_usual)


for shared in (
    functions.every_placement,
    functions.every_option,
    functions.every_side,
    functions.empty_shards,
    functions.gradients_without_a_graph,
    functions.errors_before_a_message,
    functions.a_sum_that_diverges,
    wrappings.penalties_with_a_backward_of_their_own,
    wrappings.penalties_without_a_graph,
    wrappings.mixed_precision,
    wrappings.replicas_of_shards,
):
    by_rows(shared)


def rows(ranks: Ranks, *wholes: Tensor) -> list[Any]:
    from torch.distributed.tensor import Shard

    return placed(ranks, wholes, [(Shard(0),)] * len(wholes))


@by_rows
def a_learnt_alpha(ranks: Ranks) -> None:
    from torch.distributed.tensor import Shard

    w, u, v = weights()
    for hops in (4, None):
        for rectify, placement, sides in (
            (False, Shard(0), (u, v)),
            (True, Shard(1), (u, v)),
            (False, Shard(0), (u, None)),
            (False, Shard(1), (u[:, :1], v)),
        ):
            options: dict[str, Any] = {"hops": hops, "rectify": rectify, "norm": "l2"}
            alpha = torch.tensor(ALPHA, dtype=torch.float64, requires_grad=True)
            given = [ranks.place(w, placement), *(None if each is None else each for each in sides)]
            value = rrnn_ext.resolvent_penalty(*given, alpha=alpha, **options)
            wanted = reference.resolvent_penalty(w, *sides, alpha=alpha, **options)
            close(value, wanted)
            (slope,), (right,) = (torch.autograd.grad(each, alpha) for each in (value, wanted))
            close(slope, right)
            ranks.agree(slope)


@by_rows
def many_units(ranks: Ranks) -> None:
    """More than a dense matrix of an iteration would be made for, of large and small walks, sides of many vectors."""
    w, u, v = weights(301, 20, 5)
    for matrix, options in ((w, {"hops": 6}), (w, {"hops": None}), (0.1 * w, {"hops": None, "rectify": True})):
        compare(ranks, "resolvent_penalty", rows(ranks, matrix, u, v), (matrix, u, v), **options)


@by_rows
def information(ranks: Ranks) -> None:
    w = weights(301)[0]
    for rectify in (False, True):
        exact = float(torch.linalg.eigvals(w.abs() if rectify else w).abs().max())
        info = rrnn_ext.resolvent_info(*rows(ranks, w), alpha=0.5 / exact, hops=3, rectify=rectify)
        assert abs(float(info.spectral_radius) - 0.5) < 1e-8
        assert info.converges
        assert info.lower_bound <= 0.5 + 1e-12 <= info.upper_bound + 1e-11
        ranks.agree(info.upper_bound)


@by_rows
def sums_at_their_limit(ranks: Ranks) -> None:
    """Certain errors and certain sums on both sides of a radius of 1, of signed, nonnegative and reducible matrices."""
    w, u, v = weights(12)
    chain = torch.diag(torch.full((11,), 0.1, dtype=torch.float64), 1) + 0.9 * torch.eye(12, dtype=torch.float64)
    for matrix in (w, w.abs(), chain):
        unit = matrix / torch.linalg.eigvals(matrix).abs().max()
        given = rows(ranks, 0.95 * unit, u, v)
        compare(ranks, "resolvent", given, (0.95 * unit, u, v), hops=None)
        with pytest.raises(rrnn_ext.ResolventDivergenceError) as raised:
            rrnn_ext.resolvent(*rows(ranks, 1.05 * unit, u, v), hops=None)
        assert 1 < raised.value.spectral_radius < 1.5


@by_rows
def no_numbers(ranks: Ranks) -> None:
    """A value that one rank has is NaN on all, finite sums and infinite ones; a hop without weight takes no part."""
    w, u, v = weights()
    bad = w.clone()
    bad[0, 0] = torch.nan
    for hops in (3, None):
        assert rrnn_ext.resolvent_penalty(*rows(ranks, bad, u, v), hops=hops).isnan()
    large = torch.full_like(w, 1e200)  # whose third hop overflows
    hop_weights = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    for per_hop in (False, True):
        options: dict[str, Any] = {"hops": 3, "hop_weights": hop_weights, "per_hop": per_hop}
        given = rows(ranks, large, u, v)
        value = rrnn_ext.resolvent_penalty(*given, **options)
        close(value, (v @ u).abs().sum())


@by_rows
def overflow_on_the_way(ranks: Ranks) -> None:
    """Of hops without weight, of which the gradient's chains overflow, and of units that no output reads."""
    w, u, v = (each.float() for each in weights())
    options: dict[str, Any] = {"hops": 4, "hop_weights": torch.tensor([1.0, 1.0, 0.0, 0.0])}
    for per_hop in (False, True):
        leaves = [each.double().requires_grad_() for each in (1e25 * w, u, v)]
        right = reference.resolvent_penalty(*leaves, per_hop=per_hop, **options)
        given = rows(ranks, *(each.detach().float() for each in leaves))
        value = rrnn_ext.resolvent_penalty(*given, per_hop=per_hop, **options)
        close(value.double(), right.detach(), 1e-5)
        gradients = torch.autograd.grad(right, leaves), torch.autograd.grad(value, given)
        for wanted, found in zip(*gradients, strict=True):
            close(whole(found).double(), wanted, 1e-5)
    w[:3, 3:] = 0
    w[3:] *= 1e20
    v[:, 3:] = 0
    value = rrnn_ext.resolvent_penalty(*rows(ranks, w, u, v), hops=5)
    close(value.double(), reference.resolvent_penalty(w.double(), u.double(), v.double(), hops=5), 1e-5)
    ranks.agree(value)


@by_rows
def halves(ranks: Ranks) -> None:
    """Computed in float32, as of weights that are whole."""
    wholes = [each.bfloat16() for each in weights()]
    leaves = [each.clone().requires_grad_() for each in wholes]
    for hops, rectify in ((4, False), (4, True), (None, True)):
        wanted = rrnn_ext.resolvent_penalty(*leaves, hops=hops, rectify=rectify, alpha=0.5)
        given = rows(ranks, *wholes)
        found = rrnn_ext.resolvent_penalty(*given, hops=hops, rectify=rectify, alpha=0.5)
        assert found.dtype == torch.bfloat16
        close(found.float(), wanted.float(), 1e-2)
        for gradient, right in zip(torch.autograd.grad(found, given), torch.autograd.grad(wanted, leaves), strict=True):
            assert gradient.dtype == torch.bfloat16
            close(whole(gradient).float(), right.float(), 2e-2)


@by_rows
def what_rows_have_not(ranks: Ranks) -> None:
    w, u, v = rows(ranks, *weights())
    for given, options in (((w, u, v), {"hops": 3, "method": "inverse"}), ((w,), {"hops": 3}), ((w,), {"hops": None})):
        with pytest.raises(ValueError, match=r"weight_hh\.full_tensor\(\)"):
            rrnn_ext.resolvent_penalty(*given, **options)
    for hops in (3, None):
        value = rrnn_ext.resolvent_penalty(w, u, v, hops=hops)
        with pytest.raises(NotImplementedError, match=r"weight_hh\.full_tensor\(\)"):
            torch.autograd.grad(value, w, create_graph=True)
    by_inverse = rrnn_ext.resolvent_penalty(w.full_tensor(), u, v, hops=3, method="inverse")
    close(by_inverse, reference.resolvent_penalty(*weights(), hops=3))


@by_rows
def backward_twice(ranks: Ranks) -> None:
    given = rows(ranks, *weights())
    for hops, sides in ((4, slice(0, 3)), (None, slice(0, 2))):
        own = given[sides]
        value = rrnn_ext.resolvent_penalty(*own, hops=hops)
        first, second = (torch.autograd.grad(value, own, retain_graph=True) for _ in range(2))
        for each, again in zip(first, second, strict=True):
            assert torch.equal(whole(each), whole(again))


@by_rows
def without_gradients(ranks: Ranks) -> None:
    """No graph, and a frozen weight has no gradient."""
    w, u, v = rows(ranks, *weights())
    wanted = reference.resolvent_penalty(*weights(), hops=4)
    with torch.no_grad():
        value = rrnn_ext.resolvent_penalty(w, u, v, hops=4)
    assert not value.requires_grad
    close(value, wanted)
    w.requires_grad_(False)
    value = rrnn_ext.resolvent_penalty(w, u, v, hops=4)
    value.backward()
    assert w.grad is None
    leaf = weights()[1].requires_grad_()
    reference.resolvent_penalty(weights()[0], leaf, weights()[2], hops=4).backward()
    assert leaf.grad is not None
    close(u.grad, leaf.grad)


@by_rows
def meshes_that_differ(ranks: Ranks) -> None:
    """The sides lie on a mesh of two dimensions, the rows in one of another."""
    if ranks.size != 4:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("across", "within"))
    w, u, v = weights()

    def on(weight: Tensor, *placements: Any) -> Any:
        return nn.Parameter(distribute_tensor(weight, mesh, placements))

    for given in (
        (ranks.place(w, Shard(0)), on(u, Shard(0), Replicate()), on(v, Shard(1), Shard(0))),
        (on(w, Replicate(), Shard(0)), ranks.place(u, Shard(0)), ranks.place(v)),
        (on(w, Shard(1), Replicate()), on(u, Shard(0), Shard(1)), on(v, Replicate(), Replicate())),
        (on(w, Shard(0), Shard(0)), on(u, Shard(0), Shard(0)), on(v, Shard(1), Shard(1))),
    ):
        compare(ranks, "resolvent_penalty", given, (w, u, v), hops=4)
        compare(ranks, "resolvent", given, (w, u, v), hops=None)

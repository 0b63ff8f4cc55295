"""The functions of sharded weights: values and gradients as the definition gives them of the whole."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import rrnn_ext
from rrnn_ext import reference
from support.sharded.ranks import Ranks, case

UNITS, INPUTS, OUTPUTS = 7, 3, 2  # no number of ranks divides them
ALPHA = 0.9


def weights(units: int = UNITS, inputs: int = INPUTS, outputs: int = OUTPUTS) -> tuple[Tensor, Tensor, Tensor]:
    """The same on every rank."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return 0.5 * drawn(units, units) / units**0.5, drawn(units, inputs), drawn(outputs, units)


def whole(tensor: Any) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def close(found: Any, wanted: Tensor, tolerance: float = 1e-10) -> None:
    wanted = wanted.detach()
    torch.testing.assert_close(
        whole(found).detach(), wanted, rtol=tolerance, atol=tolerance * float(wanted.abs().max())
    )


def compare(ranks: Ranks, function: str, given: Sequence[Any], wholes: Sequence[Tensor | None], **options: Any) -> None:
    """Value and gradients of a function of ``given`` against the definition of the ``wholes``."""
    leaves = [None if each is None else each.detach().clone().requires_grad_() for each in wholes]
    wanted = getattr(reference, function)(*leaves, **options)
    found = getattr(rrnn_ext, function)(*given, **options)
    assert type(found) is Tensor
    close(found, wanted.detach())
    ranks.agree(found)
    upstream = torch.linspace(1, 2, wanted.numel(), dtype=wanted.dtype).reshape(wanted.shape)
    own: list[Any] = [each for each in given if each is not None]
    gradients = torch.autograd.grad(found, own, upstream)
    used = [each for each in leaves if each is not None]
    expected = torch.autograd.grad(wanted, used, upstream, allow_unused=True, materialize_grads=True)
    for leaf, gradient, right in zip(own, gradients, expected, strict=True):
        assert getattr(gradient, "placements", None) == getattr(leaf, "placements", None)
        close(gradient, right)


def placements() -> list[tuple[Any, ...]]:
    from torch.distributed.tensor import Replicate, Shard

    return [(), (Replicate(),), (Shard(0),), (Shard(1),)]


def combinations(size: int) -> list[tuple[tuple[Any, ...], ...]]:
    """Of three weights, of which one at the least is a DTensor: on three ranks all of them, else some."""
    every = [each for each in itertools.product(placements(), repeat=3) if any(each)]
    return every if size == 3 else every[::5]


def placed(ranks: Ranks, wholes: Sequence[Tensor], how: Sequence[Sequence[Any]]) -> list[Any]:
    return [ranks.place(weight, *each) for weight, each in zip(wholes, how, strict=True)]


@case
def every_placement(ranks: Ranks) -> None:
    wholes = weights()
    for how in combinations(ranks.size):
        compare(ranks, "resolvent_penalty", placed(ranks, wholes, how), wholes, hops=4, alpha=ALPHA)


OPTIONS: list[dict[str, Any]] = [
    {"hops": 1},
    {"hops": 5, "rectify": True},
    {"hops": 5, "rectify": True, "per_hop": True, "norm": "l2"},
    {"hops": 3, "norm": "l2"},
    {"hops": 3, "per_hop": True, "hop_weights": torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64)},
    {"hops": 3, "hop_weights": torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)},
    {"hops": None},
    {"hops": None, "rectify": True, "norm": "l2"},
]


@case
def every_option(ranks: Ranks) -> None:
    from torch.distributed.tensor import Shard

    wholes = weights()
    pair_weights = torch.linspace(0, 1, OUTPUTS * INPUTS, dtype=torch.float64).reshape(OUTPUTS, INPUTS)
    for options in OPTIONS:
        given = placed(ranks, wholes, [(Shard(0),)] * 3)
        compare(ranks, "resolvent_penalty", given, wholes, alpha=ALPHA, **options)
        compare(ranks, "resolvent_penalty", given, wholes, alpha=ALPHA, pair_weights=pair_weights, **options)


SIDES = ((True, True), (True, False), (False, True))


@case
def every_side(ranks: Ranks) -> None:
    from torch.distributed.tensor import Shard

    w, u, v = weights()
    for sides in SIDES:
        wholes = (w, *(each if is_given else None for each, is_given in zip((u, v), sides, strict=True)))
        given = [None if each is None else ranks.place(each, Shard(0)) for each in wholes]
        compare(ranks, "resolvent_penalty", given, wholes, hops=3, alpha=ALPHA)
        compare(ranks, "resolvent", given, wholes, hops=3, alpha=ALPHA)
        compare(ranks, "resolvent", given, wholes, hops=None, alpha=ALPHA)
        compare(ranks, "hop_decomposition", given, wholes, hops=3, alpha=ALPHA)


@case
def all_pairs(ranks: Ranks) -> None:
    from torch.distributed.tensor import Shard

    wholes = (weights()[0], None, None)
    given = (ranks.place(weights()[0], Shard(0)), None, None)
    for function in ("resolvent_penalty", "resolvent", "hop_decomposition"):
        compare(ranks, function, given, wholes, hops=3, alpha=ALPHA)


@case
def empty_shards(ranks: Ranks) -> None:
    """One unit, so that all ranks but the first have no row."""
    from torch.distributed.tensor import Shard

    wholes = weights(1, 1, 2)
    compare(ranks, "resolvent_penalty", placed(ranks, wholes, [(Shard(0),)] * 3), wholes, hops=3)


@case
def a_batch_and_an_alpha(ranks: Ranks) -> None:
    from torch.distributed.tensor import Replicate, Shard

    w, u, v = weights()
    wholes = torch.stack([w, -w]), u, v
    alpha = torch.tensor(ALPHA, dtype=torch.float64, requires_grad=True)
    for placement in (Shard(0), Shard(1), Shard(2), Replicate()):
        given = ranks.place(wholes[0], placement), ranks.place(u, Shard(0)), v
        value = rrnn_ext.resolvent_penalty(*given, hops=4, alpha=alpha)
        gradients = torch.autograd.grad(value, (given[0], alpha))
        whole_hh = wholes[0].clone().requires_grad_()
        wanted = reference.resolvent_penalty(whole_hh, u, v, hops=4, alpha=alpha)
        close(value.detach(), wanted.detach())
        for found, right in zip(gradients, torch.autograd.grad(wanted, (whole_hh, alpha)), strict=True):
            close(found, right)


@case
def second_derivatives(ranks: Ranks) -> None:
    """Of the sum of squares, whose gradient is smooth."""
    from torch.distributed.tensor import Shard

    def curvature(penalty: Callable[..., Tensor], *given: Any) -> Any:
        value = penalty(*given, hops=3, norm="l2")
        (slope,) = torch.autograd.grad(value, given[0], create_graph=True)
        return torch.autograd.grad((whole(slope) ** 2).sum(), given)

    wholes = weights()
    found = curvature(rrnn_ext.resolvent_penalty, *placed(ranks, wholes, [(Shard(0),)] * 3))
    leaves = [each.clone().requires_grad_() for each in wholes]
    for each, right in zip(found, curvature(reference.resolvent_penalty, *leaves), strict=True):
        close(each, right)


@case
def gradients_without_a_graph(ranks: Ranks) -> None:
    """They are added to the shards of .grad, a DTensor, whether or not there is one already."""
    from torch.distributed.tensor import Shard

    wholes = weights()
    leaves = [each.clone().requires_grad_() for each in wholes]
    wanted = reference.resolvent_penalty(*leaves, hops=4)
    (2 * wanted).backward()
    for how in ([(Shard(0),)] * 3, [(Shard(1),), (), (Shard(0),)]):
        given = placed(ranks, wholes, how)
        for times in (1, 2):
            value = rrnn_ext.accumulate_penalty_grad(*given, strength=2.0, hops=4)
            assert not value.requires_grad
            close(value, wanted.detach())
            for leaf, right in zip(given, leaves, strict=True):
                assert right.grad is not None
                assert getattr(leaf.grad, "placements", None) == getattr(leaf, "placements", None)
                close(leaf.grad, times * right.grad)


@case
def errors_before_a_message(ranks: Ranks) -> None:
    """On one rank alone, which would wait for the others if it had sent one."""
    from torch.distributed.tensor import Shard

    w, u, v = placed(ranks, weights(), [(Shard(0),)] * 3)
    if ranks.rank == 0:
        with pytest.raises(ValueError, match=r"weight_in must be \(\.\.\., 7, i\) to match weight_hh \(7, 7\)"):
            rrnn_ext.resolvent_penalty(w, v, v, hops=3)
        with pytest.raises(TypeError, match="weight_in must have the dtype of weight_hh"):
            rrnn_ext.resolvent_penalty(w, u.float(), v, hops=3)
        with pytest.raises(ValueError, match="hops must be at least 1"):
            rrnn_ext.hop_decomposition(w, u, v, hops=0)
        with pytest.raises(ValueError, match="hop_weights must be"):
            rrnn_ext.resolvent(w, u, v, hops=3, hop_weights=torch.ones(2, dtype=torch.float64))


@case
def a_sum_that_diverges(ranks: Ranks) -> None:
    from torch.distributed.tensor import Shard

    w, u, v = placed(ranks, weights(), [(Shard(0),)] * 3)
    with pytest.raises(rrnn_ext.ResolventDivergenceError):
        rrnn_ext.resolvent_penalty(10 * w, u, v, hops=None)

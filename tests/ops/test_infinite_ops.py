"""Derivatives of the ops of infinite penalties: of both modes, second ones, and many upstream gradients at once."""

from __future__ import annotations

import pytest
import torch
from support.device import DEVICE
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from rrnn_ext._options import Norm
from rrnn_ext.ops.all_pairs import all_pairs_norm
from rrnn_ext.ops.infinite_pathways import infinite_pathways
from rrnn_ext.ops.pathway import pathway_sum

ALPHA = 0.9


def drawn(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE).requires_grad_()


@pytest.mark.parametrize("units", [1, 4])
def test_pathway_sum(units: int) -> None:
    weight_hh = (drawn(2, units, units, seed=0).detach() / (2 * units)).requires_grad_()
    sources, targets = drawn(2, units, seed=1), drawn(2, units, seed=2)

    def function(*graph: Tensor) -> Tensor:
        return pathway_sum(*graph, ALPHA, None, None)[0]

    given = weight_hh, sources, targets
    assert gradcheck(function, given, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(function, given, check_fwd_over_rev=True)


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 3), (3, 2)])
def test_infinite_pathways(inputs: int, outputs: int, rectify: bool) -> None:
    weight_hh = (drawn(2, 4, 4, seed=0).detach() / 8).requires_grad_()
    sources, targets = drawn(2, 4, inputs, seed=1), drawn(2, outputs, 4, seed=2)

    def function(*graph: Tensor) -> Tensor:
        return infinite_pathways(*graph, ALPHA, rectify, None, None)[0]

    given = weight_hh, sources, targets
    assert gradcheck(function, given, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(function, given, check_fwd_over_rev=True)


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("weighed", [False, True])
def test_all_pairs_norm(rectify: bool, norm: Norm, weighed: bool) -> None:
    weight_hh = (drawn(2, 4, 4, seed=0).detach() / 8).requires_grad_()
    pair_weights = drawn(4, 4, seed=1).detach().square() if weighed else None

    def function(weight_hh: Tensor) -> Tensor:
        return all_pairs_norm(weight_hh, pair_weights, ALPHA, rectify, int(norm), None, None)[0]

    assert gradcheck(function, (weight_hh,), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(function, (weight_hh,), check_fwd_over_rev=True)

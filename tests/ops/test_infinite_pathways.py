"""Infinite sums between inputs and outputs, against the inverse in float64 and its derivatives by autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.device import DEVICE
from torch import Tensor

import rrnn_ext

Graph = tuple[Tensor, Tensor, Tensor]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ends(n: int, i: int, o: int) -> tuple[Tensor, Tensor]:
    return drawn(n, i, seed=1), drawn(o, n, seed=2) / n**0.5


def of_radius(radius: float, *shape: int) -> Tensor:
    w = drawn(*shape)
    return w * (radius / torch.linalg.eigvals(w).abs().amax(-1))[..., None, None]


def lopsided(n: int) -> Tensor:
    """Nilpotent, and far from normal: its walks grow by ten orders of magnitude before there are none."""
    return torch.triu(drawn(n, n), 1) * 2


GRAPHS = {
    "few_inputs": (of_radius(0.9, 300, 300), *ends(300, 2, 5)),
    "few_outputs": (of_radius(0.9, 300, 300), *ends(300, 5, 2)),
    "nearly_divergent": (of_radius(1 - 1e-4, 60, 60), *ends(60, 3, 2)),
    "nilpotent": (lopsided(24), *ends(24, 2, 3)),
    "batch": (of_radius(0.7, 3, 20, 20), *ends(20, 2, 3)),
    "small_norm": (of_radius(0.02, 40, 40), *ends(40, 2, 3)),
}


def by_inverse(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor, alpha: float) -> Tensor:
    eye = torch.eye(weight_hh.shape[-1], dtype=torch.float64)
    return alpha**2 * weight_out @ torch.linalg.inv(eye - alpha * weight_hh) @ weight_in


def value_and_gradients(function: Any, graph: Graph, like: torch.dtype, alpha: float) -> list[Tensor]:
    """Of the sum of R times numbers of either sign, in float64."""
    weights = [weight.to(DEVICE, like).requires_grad_() for weight in graph]
    walks = function(*weights, alpha=alpha)
    upstream = drawn(*walks.shape, seed=3).to(walks)
    return [each.cpu().double() for each in (walks, *torch.autograd.grad((walks * upstream).sum(), weights))]


@pytest.mark.parametrize("alpha", [1.0, 0.875])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_value_and_gradients(graph: Graph, dtype: torch.dtype, alpha: float) -> None:
    weight_hh, weight_in, weight_out = (weight.to(dtype).double() for weight in graph)
    rounded = weight_hh, weight_in, weight_out
    actual = value_and_gradients(rrnn_ext.resolvent, graph, dtype, alpha)
    expected = value_and_gradients(by_inverse, rounded, torch.float64, alpha)
    for own, known in zip(actual, expected, strict=True):
        error = (own - known).abs().amax() / known.abs().amax()
        assert error <= (2.0**-11 if dtype == torch.float32 else 1e-8)


@pytest.mark.skipif(DEVICE.type == "cuda", reason="on a GPU nothing is made in wider numbers")
def test_the_other_end_may_overflow() -> None:
    """From the one input, walks fade and grow again; from the one output, they grow beyond float32 and fade."""
    weight_hh = torch.diag(torch.tensor([0.5] * 100 + [2.0] * 150), -1)
    picks = torch.eye(251)
    assert rrnn_ext.resolvent(weight_hh, picks[:, :1], picks[250:]).item() == 2.0**50
    assert rrnn_ext.resolvent(weight_hh, picks[:, :2], picks[250:])[0, 0].item() == 2.0**50


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_makes_none(number: float) -> None:
    weight_hh, weight_in, weight_out = (weight.to(DEVICE) for weight in GRAPHS["few_inputs"])
    weight_in = weight_in.clone()
    weight_in[7, 1] = number
    walks = rrnn_ext.resolvent(weight_hh, weight_in, weight_out)
    assert walks[:, 0].isfinite().all()
    assert not walks[:, 1].isfinite().any()
    weight_hh = weight_hh.clone()
    weight_hh[3, 5] = number
    assert rrnn_ext.resolvent(weight_hh, weight_in, weight_out).isnan().all()


@pytest.mark.parametrize(("inputs", "outputs"), [(0, 2), (2, 0), (0, 0)])
def test_no_inputs_or_no_outputs(inputs: int, outputs: int) -> None:
    graph = of_radius(0.9, 30, 30), *ends(30, inputs, outputs)
    walks, *gradients = value_and_gradients(rrnn_ext.resolvent, graph, torch.float32, 1.0)
    assert walks.shape == (outputs, inputs)
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.skipif(DEVICE.type == "cuda", reason="on a GPU the error comes with the next sum")
@pytest.mark.parametrize("radius", [1.0, 1.01, 3.0])
def test_no_value_of_a_sum_that_diverges(radius: float) -> None:
    """I - A is as regular as can be, and its inverse no sum of walks."""
    turn = torch.tensor([[0.0, -radius], [radius, 0.0]]).to(DEVICE)
    picks = torch.eye(2, device=DEVICE)
    with pytest.raises(rrnn_ext.ResolventDivergenceError):
        rrnn_ext.resolvent(turn, picks[:, :1], picks[1:])


@pytest.mark.skipif(DEVICE.type == "cuda", reason="it is the CPU whose time this saves")
def test_value_and_gradients_take_one_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    factorise, calls = torch.linalg.lu_factor_ex, []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return factorise(*arguments, **options)

    monkeypatch.setattr(torch.linalg, "lu_factor_ex", counted)
    value_and_gradients(rrnn_ext.resolvent, GRAPHS["few_inputs"], torch.float32, 1.0)
    assert len(calls) == 1

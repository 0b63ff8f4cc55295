"""Surrogate derivatives against the functions that they are the derivatives of."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rrnn_ext.spiking import surrogate_derivative
from rrnn_ext.spiking.surrogate import SURROGATES, Surrogate

# Smooth steps of which each is the derivative.
STEPS: dict[Surrogate, Callable[[Tensor], Tensor]] = {
    "fast_sigmoid": lambda x: x / (1 + x.abs()),
    "atan": lambda x: torch.atan(math.pi / 2 * x) / (math.pi / 2),
    "triangle": lambda x: torch.where(x.abs() < 1, x - x * x.abs() / 2, x.sign() / 2),
}


@pytest.mark.parametrize("slope", [1.0, 25.0])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_is_the_derivative_of_a_smooth_step(surrogate: Surrogate, slope: float) -> None:
    distance = torch.linspace(-2.03, 2, 101, dtype=torch.float64).requires_grad_()
    step = STEPS[surrogate](slope * distance) / slope
    wanted = torch.autograd.grad(step.sum(), distance)[0]
    torch.testing.assert_close(surrogate_derivative(distance.detach(), surrogate, slope), wanted)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_is_one_at_the_threshold(surrogate: Surrogate) -> None:
    assert surrogate_derivative(torch.tensor(0.0), surrogate).item() == 1


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match=r"surrogate must be one of .*, got 'step'"):
        surrogate_derivative(torch.zeros(1), "step")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="slope must be positive and finite, got -1"):
        surrogate_derivative(torch.zeros(1), slope=-1.0)

"""One evaluation of a contender, value and gradients, and whether all contenders compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchmarks.names import OURS
from benchmarks.peers import Penalty

VALUE_RTOL = 1e-4

Result = tuple[Tensor, tuple[Tensor, ...]]  # a value and its gradients
Step = Callable[[], Result]


def value_and_gradient(penalty: Penalty, weights: tuple[Tensor, ...]) -> Step:
    """One evaluation as training needs it: the penalty and its gradient for every weight."""

    def step() -> tuple[Tensor, tuple[Tensor, ...]]:
        value = penalty(*weights)
        return value, torch.autograd.grad(value, weights)

    return step


def added_to_grad(accumulate: Penalty, weights: tuple[Tensor, ...]) -> Callable[[], Tensor]:
    """The same without a graph: the value, and gradients that are added to those that the weights have."""
    for weight in weights:
        weight.grad = torch.zeros_like(weight)

    def step() -> Tensor:
        return accumulate(*weights)

    return step


def gradients_added(step: Callable[[], Tensor], weights: tuple[Tensor, ...]) -> Result:
    """What one step of ``added_to_grad`` adds."""
    before = [weight.grad.clone() for weight in weights if weight.grad is not None]
    value = step()
    after = [weight.grad for weight in weights if weight.grad is not None]
    return value, tuple(new - old for new, old in zip(after, before, strict=True))


def check_agreement(steps: Mapping[str, Step], gradient_rtol: float) -> None:
    """Every contender computes our value and gradients; these by their norm, as one rounded sign of R is no error."""
    value, gradients = steps[OURS]()
    for name, step in steps.items():
        peer_value, peer_gradients = step()
        if not (peer_value - value).abs() <= VALUE_RTOL * value.abs():
            raise AssertionError(f"{name} computes {peer_value.item()} where {OURS} computes {value.item()}")
        for index, (peer_gradient, gradient) in enumerate(zip(peer_gradients, gradients, strict=True)):
            error = ((peer_gradient - gradient).norm() / gradient.norm()).item()
            if not error <= gradient_rtol:
                raise AssertionError(
                    f"gradient {index} of {name} and of {OURS} differ by {error:.1e} (> {gradient_rtol:.0e})"
                )

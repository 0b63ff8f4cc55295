"""The response of a network that runs, by lag: what its walks are compared with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]
"""Sequences (count, steps, inputs) to outputs (..., count, outputs): one network, or a stack of them. A stack also
takes a set of sequences of its own for each network, (..., count, steps, inputs)."""

IMPULSE = 0.5  # the standard deviation of a signal in the tasks: a size that networks have met


@torch.no_grad()
def lag_response_by_impulses(network: Network, sequences: Tensor, *, size: float = IMPULSE) -> Tensor:
    """(..., L, o, i): how outputs answer a bump of one input at one step, per unit of it, by lag.

    (f(x + size e) - f(x - size e)) / (2 size), mean over the ``sequences`` (count, steps, inputs) that the bumps are
    put on; one sequence of zeros asks the quiet network. A finite size also sees where tanh saturates.
    """
    count, steps, inputs = sequences.shape
    bumps = size * torch.eye(steps * inputs).to(sequences).view(-1, 1, steps, inputs)

    def mean_outputs(bumped: Tensor) -> Tensor:
        outputs = network(bumped.flatten(0, 1))
        return outputs.unflatten(-2, (steps * inputs, count)).mean(-2)

    in_time = (mean_outputs(sequences + bumps) - mean_outputs(sequences - bumps)) / (2 * size)
    return in_time.unflatten(-2, (steps, inputs)).flip(-3).mT


def lag_response_by_jacobian(network: Network, sequences: Tensor) -> Tensor:
    """(..., L, o, i): the derivative of the outputs by the inputs, by lag, mean over ``sequences``
    (count, steps, inputs). On one sequence of zeros, without biases, these are the walks P_m."""
    stack = network(sequences).shape[:-2]
    own = sequences.expand(*stack, *sequences.shape).clone().requires_grad_()
    # The outputs of one network on one sequence depend on that sequence alone, so a sum has the gradients of all.
    totals = network(own).sum(tuple(range(len(stack) + 1)))
    by_output = [torch.autograd.grad(total, own, retain_graph=True)[0].mean(-3) for total in totals]
    return torch.stack(by_output, dim=-2).flip(-3)

"""The response of a network that runs, by lag: what its walks are compared with.

>>> import torch
>>> from rrnn_ext import reading
>>> rnn, readout = torch.nn.RNN(2, 8, batch_first=True, bias=False), torch.nn.Linear(8, 1, bias=False)
>>> def network(sequences):
...     return readout(rnn(sequences)[0][:, -1])
>>> quiet = torch.zeros(1, 5, 2)  # a sequence of 5 steps
>>> response = reading.lag_response_by_jacobian(network, quiet)
>>> walks = reading.Network.from_module(rnn, readout).walks(steps=5)[0]
>>> torch.testing.assert_close(response, walks.float())
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Runs = Callable[[Tensor], Tensor]
"""A network as a function of sequences (count, steps, inputs), to outputs (..., count, outputs): one network, or a
stack of them. A stack also takes a set of sequences of its own for each network, (..., count, steps, inputs)."""

IMPULSE = 0.5  # within what networks have met, where inputs have a standard deviation of that size


@torch.no_grad()
def lag_response_by_impulses(network: Runs, sequences: Tensor, *, size: float = IMPULSE) -> Tensor:
    """(..., L, o, i): how outputs answer a bump of one input at one step, per unit of it, by lag.

    (f(x + size e) - f(x - size e)) / (2 size), mean over the ``sequences`` (count, steps, inputs) that the bumps are
    put on; one sequence of zeros asks the quiet network. A finite size also sees where tanh saturates.
    """
    count, steps, inputs = sequences.shape
    bumps = size * torch.eye(steps * inputs, device=sequences.device).to(sequences).view(-1, 1, steps, inputs)

    def mean_outputs(bumped: Tensor) -> Tensor:
        outputs = network(bumped.flatten(0, 1))
        return outputs.unflatten(-2, (steps * inputs, count)).mean(-2)

    in_time = (mean_outputs(sequences + bumps) - mean_outputs(sequences - bumps)) / (2 * size)
    return in_time.unflatten(-2, (steps, inputs)).flip(-3).mT


def lag_response_by_jacobian(network: Runs, sequences: Tensor) -> Tensor:
    """(..., L, o, i): the derivative of the outputs by the inputs, by lag, mean over ``sequences``
    (count, steps, inputs). On one sequence of zeros, without biases, these are the walks P_m."""
    stack = network(sequences).shape[:-2]
    own = sequences.expand(*stack, *sequences.shape).clone().requires_grad_()
    # The outputs of one network on one sequence depend on that sequence alone, so a sum has the gradients of all.
    totals = network(own).sum(tuple(range(len(stack) + 1)))
    by_output = [torch.autograd.grad(total, own, retain_graph=True)[0].mean(-3) for total in totals]
    return torch.stack(by_output, dim=-2).flip(-3)

"""Many vanilla RNNs of one shape, side by side: every weight has a leading dimension that counts the networks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Networks(NamedTuple):
    """b networks: ``h_t = tanh(W h_{t-1} + U x_t + bias)``, ``y = V h_L + bias_out``, L the last step.

    The walks run through W = weight_hh, U = weight_in, V = weight_out.
    """

    weight_hh: Tensor  # (b, n, n)
    weight_in: Tensor  # (b, n, i)
    bias: Tensor  # (b, n); nn.RNN's two biases in one
    weight_out: Tensor  # (b, o, n)
    bias_out: Tensor  # (b, o)

    def select(self, index: int | slice | Tensor) -> Networks:
        """Some of the networks; with an integer index one of them, without the leading dimension."""
        return Networks(*(weight[index] for weight in self))

    def state_dict(self) -> dict[str, Tensor]:
        """Of one network, as of a module with ``rnn = nn.RNN(i, n)`` and ``readout = nn.Linear(n, o)``."""
        return {
            "rnn.weight_ih_l0": self.weight_in.clone(),
            "rnn.weight_hh_l0": self.weight_hh.clone(),
            "rnn.bias_ih_l0": self.bias.clone(),
            "rnn.bias_hh_l0": torch.zeros_like(self.bias),
            "readout.weight": self.weight_out.clone(),
            "readout.bias": self.bias_out.clone(),
        }


def new_networks(seeds: Sequence[int], *, inputs: int, hidden: int, outputs: int) -> Networks:
    """One network for each seed, by the law of nn.RNN and nn.Linear: all uniform within ±1/√n.

    A network depends on its own seed alone, not on its neighbours, and the global generator is left as it is.
    """
    return join([_new_network(seed, inputs, hidden, outputs) for seed in seeds])


def join(stacks: Iterable[Networks]) -> Networks:
    """One stack of several."""
    return Networks(*(torch.cat(weights) for weights in zip(*stacks, strict=True)))


def from_state_dicts(states: Iterable[Mapping[str, Tensor]]) -> Networks:
    """The networks of :meth:`Networks.state_dict`, as one stack."""
    return join(
        Networks(
            state["rnn.weight_hh_l0"][None],
            state["rnn.weight_ih_l0"][None],
            (state["rnn.bias_ih_l0"] + state["rnn.bias_hh_l0"])[None],
            state["readout.weight"][None],
            state["readout.bias"][None],
        )
        for state in states
    )


def outputs(networks: Networks, sequences: Tensor) -> Tensor:
    """The read-out after the last step, (b, count, o); with gradients of the first order, for autograd alone.

    Args:
        networks: b of them.
        sequences: (b, count, steps, i), or (count, steps, i) for all networks alike.
    """
    # The bias is the weight of an input that is always one.
    entering = torch.cat([networks.weight_in, networks.bias[..., None]], dim=-1)
    inputs = functional.pad(sequences, (0, 1), value=1.0).expand(len(entering), *sequences.shape[-3:-1], -1)
    state = _LastState.apply(inputs, networks.weight_hh, entering)
    return torch.baddbmm(networks.bias_out[:, None], state, networks.weight_out.mT)


class _LastState(torch.autograd.Function):
    """(b, count, n) of ``h_t = tanh(W h_{t-1} + U x_t)``, and its gradient by back-propagation through time.

    By hand, since that takes two thirds of autograd's time: autograd multiplies by transposed matrices, which MKL does
    more slowly for matrices of this size, and takes new memory for what is here added in place.
    """

    @staticmethod
    def forward(ctx: Any, sequences: Tensor, weight_hh: Tensor, weight_in: Tensor) -> Tensor:
        by_step = sequences.movedim(-2, 0).contiguous()  # (steps, b, count, i)
        recurrent, entering = weight_hh.mT.contiguous(), weight_in.mT.contiguous()
        states = by_step.new_empty(*by_step.shape[:-1], weight_hh.shape[-1])
        for step, state in enumerate(states):
            torch.bmm(by_step[step], entering, out=state)
            if step:
                state.baddbmm_(states[step - 1], recurrent)
            state.tanh_()
        ctx.save_for_backward(by_step, weight_hh, weight_in, states)
        return states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        by_step, weight_hh, weight_in, states = ctx.saved_tensors
        grad_sequences = torch.empty_like(by_step) if ctx.needs_input_grad[0] else None
        grad_hh, grad_in = torch.zeros_like(weight_hh), torch.zeros_like(weight_in)
        grad_state, grad_sum = grad.contiguous(), torch.empty_like(grad)  # of a step, after and before its tanh
        for step in reversed(range(len(by_step))):
            torch.ops.aten.tanh_backward.grad_input(grad_state, states[step], grad_input=grad_sum)
            grad_in.baddbmm_(grad_sum.mT, by_step[step])
            if grad_sequences is not None:
                torch.bmm(grad_sum, weight_in, out=grad_sequences[step])
            if step:
                grad_hh.baddbmm_(grad_sum.mT, states[step - 1])
                grad_state = torch.bmm(grad_sum, weight_hh)
        return None if grad_sequences is None else grad_sequences.movedim(0, -2), grad_hh, grad_in


def _new_network(seed: int, inputs: int, hidden: int, outputs: int) -> Networks:
    generator = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(hidden)

    def draw(*shape: int) -> Tensor:
        return torch.empty(1, *shape).uniform_(-bound, bound, generator=generator)

    weight_in, weight_hh = draw(hidden, inputs), draw(hidden, hidden)
    bias = draw(hidden) + draw(hidden)
    return Networks(weight_hh, weight_in, bias, draw(outputs, hidden), draw(outputs))
